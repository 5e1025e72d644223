"""How the simulator's cost grows with the cells, in two and three dimensions: python -m benchmarks.flow.growth

CPU seconds of one thread, forwards and of one gradient beyond it, five report steps of a box flooded from corner to
corner: by the sequential iteration without gravity, by Newton's method on the fully implicit equations with gravity.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks.flow.linear_solvers import box_of
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import simulate

N_STEPS = 5
SHAPES = {
    "two": ((32, 32, 1), (100, 100, 1), (316, 316, 1)),
    "three": ((10, 10, 10), (22, 22, 22), (46, 46, 46)),
}
METHODS = {"sequential": 0.0, "newton": 9.80665}
BAR = 1.2


@dataclass(frozen=True, kw_only=True)
class Cost:
    """CPU seconds of one box.

    Attributes:
        cells: how many.
        forward: of the run.
        gradient: of one gradient beyond it.
    """

    cells: int
    forward: float
    gradient: float


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print(section(measured()))


def measured() -> dict[tuple[str, str], list[Cost]]:
    """Of each method in two and three dimensions, from few cells to many."""
    for method in METHODS:
        cost(method, (11, 11, 11))  # compiles
    return {
        (method, dimensions): [cost(method, shape) for shape in shapes]
        for dimensions, shapes in SHAPES.items()
        for method in METHODS
    }


def cost(method: str, shape: tuple[int, int, int]) -> Cost:
    """One run and its gradient, by the linear solvers that "auto" takes."""
    case, permeability = box_of(shape, N_STEPS)
    fluid = replace(case.fluid, gravity=METHODS[method])
    start = time.process_time()
    options = Options(method=method)
    result = simulate(case.rock, fluid, case.wells, case.schedule, initial=case.initial, options=options)
    forward = time.process_time()
    torch.autograd.grad(result.oil_rate.square().sum(), permeability)
    assert {report.method for report in result.reports[0]} == {method}
    return Cost(cells=int(np.prod(shape)), forward=forward - start, gradient=time.process_time() - forward)


def exponent(costs: Sequence[Cost]) -> float:
    """b of forward + gradient ~ cells^b, between the fewest and the most."""
    few, many = costs[0], costs[-1]
    ratio = (many.forward + many.gradient) / (few.forward + few.gradient)
    return float(np.log(ratio) / np.log(many.cells / few.cells))


def section(costs: Mapping[tuple[str, str], Sequence[Cost]]) -> str:
    """A part of the report, as Markdown."""
    rows = [
        f"| {method} | {dimensions} | "
        + " | ".join(f"{of.cells:,}: {of.forward:.2f} + {of.gradient:.2f}" for of in each)
        + f" | {exponent(each):.2f} | {exponent(each[1:]):.2f} | {'yes' if exponent(each) <= BAR else '**no**'} |"
        for (method, dimensions), each in costs.items()
    ]
    return "\n".join([
        "## Growth", "",
        f"CPU seconds of {N_STEPS} report steps and of one gradient by the number of cells, and the power of that "
        "number with which their sum grows from the least to the most, and from the middle to the most; the bar is "
        f"{BAR}, of the first. Newton's cases have gravity.", "",
        "| method | dimensions | | | | power | last two | met |", "|---|---|---|---|---|---:|---:|---|", *rows, "",
    ])  # fmt: skip


if __name__ == "__main__":
    main()
