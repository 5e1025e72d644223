"""A match on a Ray cluster of two nodes: python -m benchmarks.executors [RUN]

RUN is the folder of a run whose members go each by itself; without it one of a synthetic case is made, in a folder that
goes again. Its members are taken to their ends by plain processes, and again by a Ray cluster of two nodes of one core
each on this machine, of which one is killed by SIGKILL in the midst: their checkpoints have to be the same bytes. Then
members a second of two workers by those of one, of plain processes and of Ray in turn: what two plain processes reach
is the most that Ray could. Every worker has simulated once before its time counts. Writes reports/executors.md, with
what else ran on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from benchmarks.matching.synthetic_match import write_run
from rockbank.core.files import write_text
from rockbank.executors.choose import LOCAL
from rockbank.executors.interface import environment
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.interface import Progress
from rockbank.matching.methods.workers import Pool, pool
from rockbank.matching.run import GENERATOR, Run

REPORT = Path("reports/executors.md")
RAY = "ray"
_STARTING_SECONDS, _TOLERANCE = 3.0, 1e-4
NODE = {"num_cpus": 1, "include_dashboard": False, "include_log_monitor": False, "no_monitor": True}
N_TRIES = 3
# What two workers have to reach, where two plain processes reach the other.
LEAST, AT_PLAIN = 1.8, 1.9
_HEAD = ("round", "executor", "one a second", "two a second", "two over one", "CPU s of a member", "CPU ms beside it",
         "other programs' cores")  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a run; else a synthetic one is made")
    parser.add_argument("--members", type=int, default=16, help="how many are timed")
    parser.add_argument("--iterations", type=int, default=3, help="that each makes at most")
    parser.add_argument("--rounds", type=int, default=3, help="of the timings, whose median counts")
    arguments = parser.parse_args()
    settings = {"members": arguments.members, "iterations": arguments.iterations}
    with tempfile.TemporaryDirectory(prefix="rockbank-") as temporary:
        folder = Path(temporary)
        run = Run(arguments.run) if arguments.run is not None else write_run(folder / "synthetic", **settings)
        killed = node_killed(run, folder, members=4, iterations=arguments.iterations)
        print(f"a node killed after {killed['iterations_before']} iterations of {killed['members']} members: "
              f"{'the same bytes as' if killed['is_same'] else 'NOT WHAT'} plain processes give")  # fmt: skip
        with two_nodes():
            rounds = [scaling(run, folder / f"round-{i}", **settings) for i in range(arguments.rounds)]
    write_text(REPORT, report(killed, rounds, settings))
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

    for n_left in range(N_TRIES - 1, -1, -1):
        cluster = Cluster()
        try:
            cluster.add_node(**NODE)
            return cluster, cluster.add_node(**NODE)
        except Exception as error:
            cluster.shutdown()
            if n_left == 0:
                raise RuntimeError(f"no Ray cluster begins here: {error}; try again when less else runs") from error
    raise AssertionError


def node_killed(run: Run, folder: Path, **settings: int) -> dict[str, Any]:
    """Whether the members of a run end with the same bytes where one of two nodes is killed at their iterations."""
    whole, broken = (_copy(run, folder / name, **settings) for name in ("whole", "broken"))
    numbers = range(settings["members"])
    with pool(Run, {"folder": whole.folder}, 2) as processes:
        processes.members(numbers, lambda _: None)
    seen: list[Progress] = []
    with two_nodes() as (cluster, second), pool(Run, {"folder": broken.folder}, None, RAY) as processes:

        def on_progress(progress: Progress) -> None:
            seen.append(progress)
            # Both nodes are at work, and neither is done.
            if len(seen) == settings["members"]:
                cluster.remove_node(second, allow_graceful=False)

        processes.members(numbers, on_progress)
    pairs = [(each.checkpoint(i).read_bytes() for each in (whole, broken)) for i in numbers]
    return {
        **settings,
        "iterations_before": settings["members"],
        "is_same": all(first == other for first, other in pairs),
    }


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Members on some workers of an executor.

    Attributes:
        rate: members a second.
        worker_seconds: CPU seconds of the workers, of a member.
        other_seconds: CPU seconds of the driver, and of Ray's own processes, of a member.
        others: cores that other programs kept busy meanwhile.
    """

    rate: float
    worker_seconds: float
    other_seconds: float
    others: float


def scaling(run: Run, folder: Path, **settings: int) -> dict[str, tuple[Timing, Timing]]:
    """One worker and two, of plain processes and of Ray in turn."""
    timings: dict[str, list[Timing]] = {LOCAL: [], RAY: []}
    for workers in (1, 2):
        for executor, of in timings.items():
            some = _copy(run, folder / f"{executor}-{workers}", **settings)
            with pool(Run, {"folder": some.folder}, workers, executor) as processes:
                of.append(_timed(processes, workers, settings["members"]))
            print(f"{executor}, {workers} at a time: {of[-1].rate:.3f} members a second")
    print("two over one: " + ", ".join(f"{executor} {_ratio(of):.2f}" for executor, of in timings.items()))
    return {executor: (one, two) for executor, (one, two) in timings.items()}


def _ratio(of: Sequence[Timing]) -> float:
    return of[1].rate / of[0].rate


def _allowed(of: Sequence[Timing]) -> float:
    """The ratio that is left by what the command and Ray's processes take of two cores, members being equally fast."""
    return 2 * of[1].worker_seconds / (of[1].worker_seconds + of[1].other_seconds)


def _timed(processes: Pool, workers: int, n: int) -> Timing:
    processes.map(_warm, [_STARTING_SECONDS] * workers, lambda: None)
    before, busy, began = _cpu_seconds(), _busy_seconds(), time.perf_counter()
    processes.members(range(n), lambda _: None)
    seconds, busy = time.perf_counter() - began, _busy_seconds() - busy
    of_workers, of_others = (now - then for now, then in zip(_cpu_seconds(), before, strict=True))
    return Timing(
        rate=n / seconds,
        worker_seconds=of_workers / n,
        other_seconds=of_others / n,
        others=max(busy - of_workers - of_others, 0.0) / seconds,
    )


def _warm(run: Run, seconds: float) -> None:
    """A worker with all that it imports and compiles, which waits for the others to be so far."""
    member = run.member(0)
    run.objective.at(member.z, member.target, _TOLERANCE).linearise()
    time.sleep(seconds)


def _cpu_seconds() -> tuple[float, float]:
    """Of the workers, and of this process with whatever else it began."""
    of_workers, rest = 0.0, sum(psutil.Process().cpu_times()[:2])
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            seconds, called = sum(process.cpu_times()[:2]), " ".join(process.cmdline())
            if called.startswith("ray::") or "spawn_main" in called:
                of_workers += seconds
            else:
                rest += seconds
    return of_workers, rest


def _busy_seconds() -> float:
    """Of all of the machine's cores."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.softirq)


def report(killed: Mapping[str, Any], rounds: Sequence[Mapping[str, tuple[Timing, Timing]]], settings: Any) -> str:
    """The page."""
    rows = []
    for i, timings in enumerate(rounds, 1):
        for executor, (one, two) in timings.items():
            cpu = f"{two.worker_seconds:.2f}", f"{1e3 * two.other_seconds:.0f}"
            rates = f"{one.rate:.3f}", f"{two.rate:.3f}", f"{_ratio((one, two)):.2f}"
            rows.append([str(i), executor, *rates, *cpu, f"{one.others:.2f}, {two.others:.2f}"])
    plain, of_ray = (statistics.median(_ratio(timings[name]) for timings in rounds) for name in (LOCAL, RAY))
    by_cpu = [statistics.median(_allowed(timings[name]) for timings in rounds) for name in (LOCAL, RAY)]
    verdict = "reached" if of_ray >= LEAST else "not reached"
    if plain < AT_PLAIN:
        verdict += (
            f"; but two plain processes reached less than {AT_PLAIN} here, and the ratio is as uncertain as theirs"
        )
    same = "the same bytes as" if killed["is_same"] else "NOT WHAT"
    return f"""# Members on a Ray cluster

Written by `python -m benchmarks.executors`: {settings["members"]} members of {settings["iterations"]} iterations
at most, by processes of one machine of {os.cpu_count()} cores, and by a Ray cluster of two nodes of one core each on
it.

With one of two nodes killed after {killed["iterations_before"]} iterations of {killed["members"]} members, Ray gives
{same} plain processes give.

Members a second, of two workers by those of one. Two plain processes are the most that Ray could reach; the bar is
{LEAST} where they reach {AT_PLAIN}.

| median of {len(rounds)} | two over one | left by CPU | bar |
|---|---:|---:|---|
| plain processes | {plain:.2f} | {by_cpu[0]:.2f} | |
| Ray | {of_ray:.2f} | {by_cpu[1]:.2f} | {LEAST}: {verdict} |

Left by CPU is computed: twice the CPU seconds of members, over those and of all that runs beside them. It is what the
executor itself takes of two cores, not how fast members are side by side; other programs lower the clock's ratio.

{_table(_HEAD, rows)}
CPU is of two workers: of the members themselves, and of the command and Ray's own processes. Other programs' cores are
those that were busy with something else while one worker was timed, and two.
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---:"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _copy(run: Run, folder: Path, **settings: int) -> Run:
    """A run that has not begun."""
    case = (run.folder / run.settings.case).resolve()
    # As the case says now, which may have changed since that run began.
    inputs = fingerprints(load_match_case(case))
    made = Run.create(folder, replace(run.settings, case=str(case), inputs=inputs, **settings))  # type: ignore[arg-type]
    if run.has_generator:
        shutil.copytree(run.folder / GENERATOR, folder / GENERATOR)
    return made


if __name__ == "__main__":
    main()
