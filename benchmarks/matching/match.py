"""How long a history match takes: python -m benchmarks.matching.match matches/published-gauss-newton

What a closer run, a gradient, a Jacobian, a reduced one and an evaluation of the generator alone take in forward runs,
at latents that the run's members came through, as its posterior.nc holds them; CPU seconds of its members from start
to J <= 2; and the speed of 20 members side by side on two cores, by that on one. All in processes such as members have,
of one thread. Writes reports/deepflow/times.json, which `python -m tools.deepflow` reads. Nothing else should run on
the machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rockbank.core.files import write_json
from rockbank.core.provenance import git_commit
from rockbank.core.terminal import progress
from rockbank.matching.methods.gauss_newton.method import directions
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.methods.workers import Pool, pool
from rockbank.matching.problem.point import Vector
from rockbank.matching.results.diagnostics import TIME_MEAN_THRESHOLD
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import GENERATOR, Run

TIMES = Path("reports/deepflow/times.json")
# Of the simulator, in Adam and while Gauss-Newton is far; and near, and in ES-MDA.
TOLERANCE, TIGHT = 1e-3, 1e-4
# Members side by side, and their Jacobians, which take them different times.
N_SIDE_BY_SIDE, N_JACOBIANS = 20, 3
_STARTING_SECONDS = 3.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of gauss-newton with flow and wells")
    parser.add_argument("--members", type=int, default=7, help="how many are taken to J <= 2")
    arguments = parser.parse_args()
    try:
        run = Run(arguments.run)
        with pool(Run, {"folder": run.folder}, 1) as process:
            times: dict[str, Any] = {"git_commit": git_commit(Path(__file__).parent)}
            times["equivalents"] = equivalents(latents(read_posterior(run.folder)), process)
            times["member_cpu_seconds"] = members(process, arguments.members)
        times["scaling"] = side_by_side(run)
    except ValueError as error:
        sys.exit(f"error {error}")
    write_json(TIMES, times)
    print(TIMES)


def latents(dataset: xr.Dataset, n_members: int = 5) -> list[Vector]:
    """Of the first members that ended, the start, one after a quarter of the way, and the end.

    Raises:
        ValueError: none has.
    """
    has_ended = ~np.isin(dataset.status.values.astype(str), (RUNNING, FAILED))
    found: list[Vector] = []
    for i in np.flatnonzero(has_ended)[:n_members]:
        of = dataset.isel(member=i)
        path = of.z_path.transpose("iterate", "latent").values
        path = path[np.isfinite(path).all(axis=1)].astype(float)
        found += [of.z.values[0], *path[len(path) // 4 :][:1], of.z.values[-1]]
    if not found:
        raise ValueError("none of the run's members has ended; let some, so that there are latents to time")
    return found


def equivalents(at: Sequence[Vector], process: Pool) -> dict[str, float]:
    """CPU time of each of these, by that of a forward run: medians over latents."""
    with progress("timing gradients", len(at) + 1) as advance:
        # The first compiles the kernels.
        seconds = process.map(_seconds, [at[0], *at], partial(advance, 1))[1:]
    forward = float(np.median([of["forward"] for of in seconds]))
    found = {name: float(np.median([of[name] for of in seconds])) / forward for name in seconds[0] if name != "forward"}
    print(f"a forward run takes {forward:.3f} CPU s; in forward runs: "
          + ", ".join(f"{name} {of:.3g}" for name, of in found.items()))  # fmt: skip
    return found


def _seconds(run: Run, z: Vector) -> dict[str, float]:
    objective, target = run.objective, run.member(0).target
    wells = objective.without_flow()
    forward, point = _timed(partial(objective.at, z, target, TOLERANCE))
    tight, _ = _timed(partial(objective.at, z, target, TIGHT))
    gradient, _ = _timed(lambda: point.gradient)
    jacobian, linear = _timed(point.linearise)
    reduced, _ = _timed(partial(point.linearise, directions(linear.jacobian)))
    generator, _ = _timed(lambda: wells.at(z, target).gradient)
    return {"forward": forward, "tight": tight, "gradients": gradient, "jacobians": jacobian,
            "generator_evaluations": generator, "reduced": reduced}  # fmt: skip


def members(process: Pool, n: int) -> list[float | None]:
    """CPU seconds of each to J <= 2; None where it ends above."""
    with progress("members to J <= 2", n) as advance:
        seconds = process.map(_to_threshold, list(range(n)), partial(advance, 1))
    minutes = [float("inf") if of is None else of / 60 for of in seconds]
    print(f"core-minutes to J <= 2: median {np.median(minutes):.2f} of {[round(of, 2) for of in minutes]}")
    return seconds


def _to_threshold(run: Run, i: int) -> float | None:
    member, began = run.member(i), time.process_time()
    state = run.method.start(run.objective, member.target, member.z)
    while state.status == RUNNING and not _is_there(state):
        state = run.method.step(run.objective, member.target, state)
    return time.process_time() - began if _is_there(state) else None


def _is_there(state: State) -> bool:
    return state.last.parts.time_mean <= TIME_MEAN_THRESHOLD


def side_by_side(run: Run) -> dict[str, float]:
    """Seconds of the same members in one process, and in two."""
    seconds = {}
    for name, workers in (("one", 1), ("two", 2)):
        with tempfile.TemporaryDirectory(prefix="rockbank-") as folder:
            some = Path(folder) / "run"
            case = str((run.folder / run.settings.case).resolve())
            Run.create(some, replace(run.settings, case=case, members=N_SIDE_BY_SIDE, iterations=N_JACOBIANS))
            shutil.copytree(run.folder / GENERATOR, some / GENERATOR)
            with pool(Run, {"folder": some}, workers) as processes:
                processes.map(_wait, [_STARTING_SECONDS] * workers, lambda: None)
                began = time.perf_counter()
                with progress(f"{N_SIDE_BY_SIDE} members on {workers}", N_SIDE_BY_SIDE) as advance:
                    processes.members(range(N_SIDE_BY_SIDE), lambda progress: advance(progress.status != RUNNING))
                seconds[name] = time.perf_counter() - began
    print(f"{N_SIDE_BY_SIDE} members: {seconds['one']:.0f} s on one core, {seconds['two']:.0f} s on two, "
          f"{seconds['one'] / seconds['two']:.2f} times as fast")  # fmt: skip
    return {**seconds, "members": N_SIDE_BY_SIDE, "jacobians": N_JACOBIANS}


def _wait(run: Run, seconds: float) -> None:
    """Until every process has its work."""
    _ = run.objective
    time.sleep(seconds)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


if __name__ == "__main__":
    main()
