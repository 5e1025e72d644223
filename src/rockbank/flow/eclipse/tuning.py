"""TUNING: what a deck asks of time steps and of Newton's method."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.eclipse.text import Keyword
from rockbank.flow.equations.options import Options
from rockbank.flow.units import DAY, METRIC, exact_text

# Without TUNING: the first step of Eclipse's default, and growth as OPM Flow's own steps have it where they are easy.
# `python -m tools.egg` compares.
DEFAULT = Options(first_step=DAY, growth=2.0)

# Items of the three records that steer how other simulators cut failed steps, and their linear solvers.
_STEERING = ((3, 4, 6, 7, 8, 9), (1, 4, 5, 6, 7, 8, 9, 10, 11, 12), (2, 3, 4, 5, 6, 7, 8, 9, 10))


def read_tuning(keyword: Keyword) -> tuple[Options, list[str]]:
    """Options with first, largest and growth of steps, tolerances and most iterations; and a note on what is left.

    Raises:
        DeckError: it asks for shorter steps after wells change.
    """
    steps, tolerances, iterations = keyword.records
    steps.refuse((10,), "no step is shorter because a well has changed; leave it out, or give shorter report steps")
    default = Options()
    options = Options(
        first_step=steps.number(1, "time") if steps.has(1) else DEFAULT.first_step,
        largest_step=steps.number(2, "time") if steps.has(2) else None,
        growth=steps.number(5, default=default.growth),
        cnv=tolerances.number(2, default=default.cnv),
        mb=tolerances.number(3, default=default.mb),
        max_iterations=iterations.whole(1, default.max_iterations),
    )
    left = [f"{i} of record {n}" for n, (record, items) in enumerate(zip(keyword.records, _STEERING, strict=True), 1)
            for i in items if record.has(i)]  # fmt: skip
    note = f"{keyword.place}: TUNING: passed over are items {', '.join(left)}: of failed steps, and of linear solvers"
    return options, [note] if left else []


def tuning_of(options: Options, steps: Float[np.ndarray, " t"]) -> list[str]:
    """Lines of a TUNING from which `read_tuning` has the steps and tolerances of a run with these options.

    Args:
        options: of the run.
        steps: its report steps, s.
    """
    scale = METRIC.scale("time")
    first = options.first_step or float(max(steps))  # whole report steps
    longest = "1*" if options.largest_step is None else exact_text(options.largest_step, scale)
    return [
        "TUNING",
        f"  {exact_text(first, scale)} {longest} 2* {options.growth!r} /",
        f"  1* {options.cnv!r} {options.mb!r} /",
        f"  {options.max_iterations} /",
    ]
