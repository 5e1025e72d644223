"""The sequential iteration beside Newton's method with gravity, in one run: python -m benchmarks.flow.sequential

CPU seconds of one thread, the mean of two runs forwards, of the box of `linear_solvers`, and of one whose
permeabilities span six decades. It is what `auto` was set by (`flow/steppers/sequential.py`).
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import torch

from benchmarks.flow.__main__ import cpu
from benchmarks.flow.linear_solvers import box_of
from rockbank.flow.case import Case
from rockbank.flow.equations.options import Method, Options
from rockbank.flow.simulate import simulate

SHAPES = ((20, 1, 20), (60, 1, 40), (20, 20, 5), (40, 40, 5), (20, 20, 20))
ROUGH = (30, 30, 10)
METHODS: tuple[Method, ...] = ("sequential", "newton")
DECADES = 6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="report steps of each run")
    n_steps = parser.parse_args().steps
    torch.set_num_threads(1)
    print("| cells | sequential, s | Newton, s | ratio | iterations |\n|---|---:|---:|---:|---:|")
    for shape in SHAPES:
        print(_row(shape, box_of(shape, n_steps)[0], ""), flush=True)
    print(_row(ROUGH, rough(box_of(ROUGH, n_steps)[0]), f", permeabilities of {DECADES} decades"))


def rough(case: Case) -> Case:
    """The same, with permeabilities of cells next to each other drawn anew, log-uniform."""
    low = np.random.default_rng(0).uniform(-DECADES / 2, DECADES / 2, case.rock.grid.shape)
    factor = torch.as_tensor(10.0**low)
    given = case.rock.permeability
    assert isinstance(given, tuple)
    permeability = tuple(of.detach().mean() * factor for of in given)
    return replace(case, rock=replace(case.rock, permeability=permeability))


def _row(shape: tuple[int, int, int], case: Case, said: str) -> str:
    seconds, iterations = [], []
    for method in METHODS:
        options = Options(method=method)

        def run(options: Options = options) -> int:
            result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
            return sum(report.iterations for report in result.reports[0])

        iterations.append(run())  # compiles
        seconds.append(cpu(run, 2))
    of_both = " and ".join(map(str, iterations))
    ratio = f"{seconds[0] / seconds[1]:.2f}"
    return f"| {' x '.join(map(str, shape))}{said} | {seconds[0]:.2f} | {seconds[1]:.2f} | {ratio} | {of_both} |"


if __name__ == "__main__":
    main()
