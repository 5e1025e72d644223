"""A match on a Ray cluster of two nodes: python -m benchmarks.executors matches/published-gauss-newton

The members of a run are taken to their ends by plain processes, and again by a Ray cluster of two nodes of one core
each on this machine, of which one is killed by SIGKILL in the midst: their checkpoints have to be the same bytes. Then
members a second of two workers by those of one, of plain processes and of Ray in turn: what two plain processes reach
is the most that Ray could. Writes reports/executors.json. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.match import _wait
from rockbank.core.files import write_json
from rockbank.core.provenance import git_commit
from rockbank.executors.choose import LOCAL
from rockbank.executors.interface import environment
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.interface import Progress
from rockbank.matching.methods.status import RUNNING
from rockbank.matching.methods.workers import Pool, pool
from rockbank.matching.run import GENERATOR, Run

REPORT = Path("reports/executors.json")
RAY = "ray"
_STARTING_SECONDS = 3.0
N_TRIES = 3


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run whose members go each by itself")
    parser.add_argument("--members", type=int, default=8, help="how many are timed")
    parser.add_argument("--iterations", type=int, default=2, help="that each makes at most")
    arguments = parser.parse_args()
    run = Run(arguments.run)
    asked = {"members": arguments.members, "iterations": arguments.iterations}
    with tempfile.TemporaryDirectory(prefix="rockbank-") as folder:
        report: dict[str, Any] = {"git_commit": git_commit(Path(__file__).parent), **asked}
        report["node_killed"] = killed = node_killed(run, Path(folder), members=4, iterations=arguments.iterations)
        print(f"a node killed after {killed['iterations_before']} iterations of {killed['members']} members: "
              f"{'the same bytes as' if killed['is_same'] else 'NOT WHAT'} plain processes give")  # fmt: skip
        report |= scaling(run, Path(folder), **asked)
    write_json(REPORT, report)
    print(REPORT)
    sys.exit(not killed["is_same"])


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """A Ray cluster of two nodes of one core each on this machine, and the second node."""
    # A busy machine takes longer than Ray waits by itself.
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "300"}
    import ray

    with _quick_to_import():
        cluster, second = _begun()
        try:
            ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
            yield cluster, second
        finally:
            ray.shutdown()
            cluster.shutdown()


@contextmanager
def _quick_to_import() -> Iterator[None]:
    """Without the grammar of internationalised addresses, which jsonschema takes where it is installed.

    It is 3 of the 5 CPU seconds that each of a node's processes takes to begin, and Ray allows them 30 s by the clock.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "rfc3987_syntax.py").write_text("raise ImportError")
        before = os.environ.get("PYTHONPATH")
        with environment({"PYTHONPATH": os.pathsep.join(filter(None, [folder, before]))}):
            yield


def _begun() -> tuple[Any, Any]:
    """As two_nodes; tried again, since Ray gives a node's processes 30 s to begin, however busy the machine is."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False}
    for n_left in range(N_TRIES - 1, -1, -1):
        cluster = Cluster()
        try:
            cluster.add_node(**node)
            return cluster, cluster.add_node(**node)
        except Exception as error:
            cluster.shutdown()
            if n_left == 0:
                raise RuntimeError(f"no Ray cluster begins here: {error}; try again when less else runs") from error
    raise AssertionError


def node_killed(run: Run, folder: Path, **asked: int) -> dict[str, Any]:
    """Whether the members of a run end with the same bytes where one of two nodes is killed at their iterations."""
    whole, broken = (_copy(run, folder / name, **asked) for name in ("whole", "broken"))
    numbers = range(asked["members"])
    with pool(Run, {"folder": whole.folder}, 2) as processes:
        processes.members(numbers, lambda _: None)
    seen: list[Progress] = []
    with two_nodes() as (cluster, second), pool(Run, {"folder": broken.folder}, None, RAY) as processes:

        def on_progress(progress: Progress) -> None:
            seen.append(progress)
            # Both nodes are at work, and neither is done.
            if len(seen) == asked["members"]:
                cluster.remove_node(second, allow_graceful=False)

        processes.members(numbers, on_progress)
    pairs = [(each.checkpoint(i).read_bytes() for each in (whole, broken)) for i in numbers]
    return {**asked, "iterations_before": asked["members"], "is_same": all(first == other for first, other in pairs)}


def scaling(run: Run, folder: Path, **asked: int) -> dict[str, Any]:
    """Members a second of one worker and of two, of plain processes and of Ray in turn, and their ratios."""
    rates: dict[str, list[float]] = {LOCAL: [], RAY: []}
    with two_nodes():
        for workers in (1, 2):
            for executor, of in rates.items():
                some = _copy(run, folder / f"{executor}-{workers}", **asked)
                with pool(Run, {"folder": some.folder}, workers, executor) as processes:
                    of.append(_members_a_second(processes, workers, asked["members"]))
                print(f"{executor}, {workers} at a time: {of[-1]:.3f} members a second")
    ratios = {executor: two / one for executor, (one, two) in rates.items()}
    print("two over one: " + ", ".join(f"{executor} {ratio:.2f}" for executor, ratio in ratios.items()))
    return {"members_per_second": rates, "two_over_one": ratios, "load": os.getloadavg()[0]}


def _members_a_second(processes: Pool, workers: int, n: int) -> float:
    processes.map(_wait, [_STARTING_SECONDS] * workers, lambda: None)
    began, n_ended = time.perf_counter(), 0

    def on_progress(progress: Progress) -> None:
        nonlocal n_ended
        n_ended += progress.status != RUNNING

    processes.members(range(n), on_progress)
    return n_ended / (time.perf_counter() - began)


def _copy(run: Run, folder: Path, **asked: int) -> Run:
    """A run that has not begun."""
    case = (run.folder / run.settings.case).resolve()
    # As the case says now, which may have changed since that run began.
    inputs = fingerprints(load_match_case(case))
    made = Run.create(folder, replace(run.settings, case=str(case), inputs=inputs, **asked))  # type: ignore[arg-type]
    shutil.copytree(run.folder / GENERATOR, folder / GENERATOR)
    return made


if __name__ == "__main__":
    main()
