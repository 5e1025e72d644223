"""TUNING: what a deck asks of time steps and of Newton's method."""

from __future__ import annotations

from rockbank.flow.eclipse.text import Keyword, Record
from rockbank.flow.equations.options import Options

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
        first_step=_length(steps, 1),
        largest_step=_length(steps, 2),
        growth=steps.number(5, default=default.growth),
        cnv=tolerances.number(2, default=default.cnv),
        mb=tolerances.number(3, default=default.mb),
        max_iterations=iterations.whole(1, default.max_iterations),
    )
    left = [f"{i} of record {n}" for n, (record, items) in enumerate(zip(keyword.records, _STEERING, strict=True), 1)
            for i in items if record.has(i)]  # fmt: skip
    note = f"{keyword.place}: TUNING: passed over are items {', '.join(left)}: of failed steps, and of linear solvers"
    return options, [note] if left else []


def _length(record: Record, i: int) -> float | None:
    return record.number(i, "time") if record.has(i) else None
