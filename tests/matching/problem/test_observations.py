"""Observations: kept in one order, refused where they say nothing, and found in a run."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rockbank.matching.problem.observations import QUANTITIES, Observations, observables

DAY = 86400.0
STEPS = [DAY, 2 * DAY, 5 * DAY]
ENDS = np.cumsum(STEPS)
WELLS = ["P", "I"]
ROWS = [(time, well, quantity) for time in ENDS for well in WELLS for quantity in QUANTITIES]


def observations(rows: list[tuple[float, str, str]] = ROWS, **changes: Any) -> Observations:
    """Values that tell wells, quantities and times apart, in the order of `rows`."""
    time, well, quantity = zip(*rows, strict=True)
    value = np.array([ROWS.index(row) if row in ROWS else -1.0 for row in rows])
    plain = {"time": np.array(time), "well": well, "quantity": quantity, "value": value, "sigma": 1 + value}
    return Observations(**(plain | changes))


@given(st.permutations(ROWS))
def test_the_order_in_which_they_are_listed_changes_nothing(rows: list[tuple[float, str, str]]) -> None:
    for name in ("time", "well", "quantity", "value", "sigma"):
        np.testing.assert_array_equal(getattr(observations(rows), name), getattr(observations(), name))


def test_each_is_found_in_a_run_or_a_batch_of_them() -> None:
    rng = np.random.default_rng(0)
    curves = {name: torch.as_tensor(rng.standard_normal((4, len(STEPS), len(WELLS)))) for name in QUANTITIES}
    measured = observations(ROWS[::2])
    places = measured.places(STEPS, WELLS)
    found = observables(SimpleNamespace(**curves), places)
    for i, (time, well, quantity) in enumerate(zip(measured.time, measured.well, measured.quantity, strict=True)):
        of_step = curves[quantity][:, ENDS.tolist().index(time), WELLS.index(well)]
        np.testing.assert_array_equal(found[:, i], of_step)
    of_one = observables(SimpleNamespace(**{name: of[2] for name, of in curves.items()}), places)
    np.testing.assert_array_equal(of_one, found[2])


def test_a_time_that_a_file_rounded_is_that_of_its_report_step() -> None:
    # Summaries hold times in single precision.
    rounded = observations(time=np.array([time * (1 + 1.2e-7) for time, *_ in ROWS]))
    assert (rounded.time > observations().time).all()
    np.testing.assert_array_equal(rounded.places(STEPS, WELLS), observations().places(STEPS, WELLS))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sigma": np.zeros(18)}, "bhp of P at 1 days: got standard deviation 0; it must be positive"),
        ({"sigma": np.full(18, -1.0)}, "got standard deviation -1; it must be positive"),
        ({"sigma": np.full(18, np.nan)}, "got standard deviation nan; it must be positive"),
        ({"sigma": np.full(18, np.inf)}, "got standard deviation inf; it must be positive"),
        ({"value": np.full(18, np.nan)}, "bhp of P at 1 days: got nan; leave out what was not measured"),
        ({"time": np.full(18, DAY)}, "bhp of I at 1 days is there twice; keep one"),
    ],
)
def test_what_says_nothing_is_refused_by_its_name(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        observations(**changes)


def test_an_observation_of_no_well_or_no_time_of_the_schedule_is_refused_by_its_name() -> None:
    with pytest.raises(ValueError, match=re.escape("bhp of I at 1 days: no such well; the case has ['P']")):
        observations().places(STEPS, ["P"])
    for day, says in (
        (2.5, "no report step ends then, the nearest at 3 "),
        (8.1, "lies outside"),
        (0.0, "lies outside"),
    ):
        with pytest.raises(ValueError, match=f"bhp of I at {day:g} days: {says}"):
            observations([(day * DAY, "I", "bhp")], value=np.zeros(1), sigma=np.ones(1)).places(STEPS, WELLS)
