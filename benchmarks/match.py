"""How long a history match takes: python -m benchmarks.match matches/published-gauss-newton

What a gradient and a Jacobian take in forward runs, at latents that the run's members came through; CPU seconds of
its members from the start to J <= 2, in this process and on one thread; and the speed of 20 members side by side on two
cores, by that on one. Writes reports/deepflow/times.json, which `python -m docs.deepflow` reads. Nothing else should
run on the machine.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rockbank.files import write_json
from rockbank.flow.options import Options
from rockbank.matching.diagnostics import TIME_MEAN_THRESHOLD
from rockbank.matching.ensemble import pool
from rockbank.matching.run import GENERATOR, Run
from rockbank.matching.state import RUNNING, State
from rockbank.steps.layout import progress

TIMES = Path("reports/deepflow/times.json")
# Of the simulator, in Adam and while Gauss-Newton is far.
TOLERANCE = 1e-3
# Members side by side, and their Jacobians.
N_SIDE_BY_SIDE, N_JACOBIANS = 20, 1
_STARTING_SECONDS = 3.0


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a run of gauss-newton with flow and wells")
    parser.add_argument("--members", type=int, default=7, help="how many are taken to J <= 2")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    try:
        run = Run(arguments.run)
        times: dict[str, Any] = {"equivalents": equivalents(run)}
        times["member_cpu_seconds"] = members(run, arguments.members)
        times["scaling"] = side_by_side(run)
    except ValueError as error:
        sys.exit(f"error {error}")
    write_json(TIMES, times)
    print(TIMES)


def equivalents(run: Run) -> dict[str, float]:
    """CPU time of a gradient and of a Jacobian, by that of a forward run: the median over latents."""
    objective, target, options = run.objective, run.member(0).target, Options(tolerance=TOLERANCE)
    paths = [state.records for state in run.states() if state is not None and state.status != RUNNING][:5]
    latents = [of[i].z for of in paths for i in (0, len(of) // 4, len(of) - 1)]
    if not latents:
        raise ValueError(f"{run.folder}: none of its members has ended; let some, so that there are latents to time")
    seconds = []
    with progress("timing gradients", len(latents)) as advance:
        for z in [latents[0], *latents]:
            forward, at = _timed(partial(objective.evaluate, z, options))
            gradient, _ = _timed(partial(objective.gradient, at, target))
            jacobian, _ = _timed(partial(objective.linearise, at, target))
            seconds.append((forward, gradient, jacobian))
            advance(1 if len(seconds) > 1 else 0)
    forward, gradient, jacobian = np.median(seconds[1:], axis=0)  # the first compiled the kernels
    print(f"CPU s: forward {forward:.3f}, gradient {gradient:.3f}, Jacobian {jacobian:.3f}")
    print(f"in forward runs: gradient {gradient / forward:.2f}, Jacobian {jacobian / forward:.2f}")
    return {"gradients": float(gradient / forward), "jacobians": float(jacobian / forward)}


def members(run: Run, n: int) -> list[float | None]:
    """CPU seconds of each to J <= 2; None where it ends above."""
    seconds: list[float | None] = []
    with progress("members to J <= 2", n) as advance:
        for i in range(n):
            member, began = run.member(i), time.process_time()
            state = run.method.start(run.objective, member.target, member.z)
            while state.status == RUNNING and not _is_there(state):
                state = run.method.step(run.objective, member.target, state)
            taken = time.process_time() - began
            seconds.append(taken if _is_there(state) else None)
            advance(1, f"{taken:.0f} CPU s")
    minutes = [float("inf") if of is None else of / 60 for of in seconds]
    print(f"core-minutes to J <= 2: median {np.median(minutes):.2f} of {[round(of, 2) for of in minutes]}")
    return seconds


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
                processes.each(_wait, [_STARTING_SECONDS] * workers, lambda: None)
                began = time.perf_counter()
                with progress(f"{N_SIDE_BY_SIDE} members on {workers}", N_SIDE_BY_SIDE) as advance:
                    processes.members(range(N_SIDE_BY_SIDE), lambda news: advance(news.status != RUNNING))
                seconds[name] = time.perf_counter() - began
    print(f"{N_SIDE_BY_SIDE} members: {seconds['one']:.0f} s on one core, {seconds['two']:.0f} s on two, "
          f"{seconds['one'] / seconds['two']:.2f} times as fast")  # fmt: skip
    return {**seconds, "members": N_SIDE_BY_SIDE}


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
