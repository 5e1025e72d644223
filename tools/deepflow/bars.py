"""What the reproduction of DeepFlow's case must reach, and whether it does."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rockbank.core.files import read_json
from rockbank.matching.results.diagnostics import TIME_MEAN_THRESHOLD
from rockbank.matching.results.plots.style import to_text
from tools.deepflow.numbers import ACCURACY_BAR, against_adam, has_histories, members_off_the_bar
from tools.deepflow.runs import Found

GOOD = f"J ≤ {TIME_MEAN_THRESHOLD:g} and accuracy at the wells ≥ {ACCURACY_BAR:g}"
# Adam and gauss-newton are compared over so many members.
N_COMPARED = 10
_SENSES = {"≤": operator.le, "≥": operator.ge}


@dataclass(frozen=True, kw_only=True)
class AcceptanceCriterion:
    """One number that must be reached.

    Attributes:
        what: in words.
        sense: "≤" or "≥".
        limit: that it must be.
        got: what it is; None where it is not known.
        open_as: why the verdict is open; "" where it is not.
    """

    what: str
    sense: str
    limit: float
    got: float | None
    open_as: str = ""

    @property
    def value(self) -> str:
        """What it is, in words."""
        return "–" if self.got is None else "never" if np.isinf(self.got) else to_text(self.got)

    @property
    def target(self) -> str:
        """What it must be, in words."""
        return f"{self.sense} {self.limit:g}"

    @property
    def verdict(self) -> str:
        """Whether it is."""
        if self.got is None or self.open_as:
            return f"open: {self.open_as}"
        return "met" if _SENSES[self.sense](self.got, self.limit) else "**not met**"


def good_members(run: Found) -> AcceptanceCriterion:
    """Part of the members that end well; failed ones do not."""
    got, n = None, run.ended + run.failed
    if run.results is not None:
        got = 100 * (1 - len(members_off_the_bar(run.results)) / n)
    return AcceptanceCriterion(
        what=f"members of {run.plan.name} that end with {GOOD}, %",
        sense="≥",
        limit=95,
        got=got,
        open_as="" if run.is_whole else run.state,
    )


def compared(adam: Found, newton: Found) -> pd.DataFrame | None:
    """Member by member, what gauss-newton needs for Adam's last objective; None where there is nothing to compare."""
    if (
        adam.results is None
        or newton.results is None
        or not has_histories(adam.results)
        or not has_histories(newton.results)
    ):
        return None
    rows = against_adam(adam.results, newton.results)
    return None if rows.empty else rows


def equal_cost(adam: Found, newton: Found) -> AcceptanceCriterion:
    """Gauss-newton's cost to Adam's last objective as a part of Adam's, in the median."""
    rows = compared(adam, newton)
    n = 0 if rows is None else len(rows)
    missing = f"{n} of {N_COMPARED} members have ended in both from the same start" if n < N_COMPARED else ""
    missing = missing or "; ".join(f"{run.plan.name} is {run.note}" for run in (adam, newton) if run.note)
    return AcceptanceCriterion(
        what=f"cost at which {newton.plan.name} reaches the objective that {adam.plan.name} ends with, as a part of "
        "its cost, median",
        sense="≤",
        limit=0.05,
        # Half of them may never reach it.
        got=None if rows is None else float(np.median(rows.part)),
        open_as=missing,
    )


def read_times(path: Path) -> Mapping[str, Any]:
    """CPU seconds of members, and seconds of as many members on one core and on two; {} where not measured.

    Members that end above the threshold have taken infinitely long.
    """
    if not path.is_file():
        return {}
    times = read_json(path)
    return {**times, "member_cpu_seconds": [np.inf if of is None else of for of in times["member_cpu_seconds"]]}


def core_minutes(times: Mapping[str, Any]) -> AcceptanceCriterion:
    """Of a member with flow and wells, in the median."""
    seconds = times.get("member_cpu_seconds")
    return AcceptanceCriterion(
        what=f"core-minutes of a member with flow and wells to J ≤ {TIME_MEAN_THRESHOLD:g}, median",
        sense="≤",
        limit=3,
        got=None if seconds is None else float(np.median(seconds)) / 60,
        open_as="not measured" if seconds is None else "",
    )


def scaling(times: Mapping[str, Any]) -> AcceptanceCriterion:
    """Of members side by side."""
    of = times.get("scaling")
    n = "" if of is None else f"{of['members']} "
    return AcceptanceCriterion(
        what=f"speed of {n}members on 2 cores, of that on 1",
        sense="≥",
        limit=1.9,
        got=None if of is None else of["one"] / of["two"],
        open_as="not measured" if of is None else "",
    )
