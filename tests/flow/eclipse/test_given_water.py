"""SWATINIT: given water that scaled capillary pressures hold. tests/flow/test_opm.py has OPM Flow run such decks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.equations.curves.cell_curves import CellCurves, EndPoints, ends_of
from rockbank.flow.equations.curves.relperm import SaturationTable
from rockbank.flow.equations.equilibrium import equilibrium_of_water
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.wells import Control
from rockbank.flow.simulate import simulate
from rockbank.flow.units import DAY
from tests.flow.eclipse.test_deck_syntax import PARTS, TOKENS, read

__all__ = ["read"]

DECKS = Path(__file__).parents[2] / "decks"
RUNSPEC = PARTS["RUNSPEC"] + "ENDSCALE\n/\n"
PROPS = PARTS["PROPS"].replace("0.2 0 1 0\n 0.8 1 0 0\n", "0.2 0 1 2\n 0.5 0.2 0.3 0.5\n 0.8 1 0 0.1\n")
# The contact is some metres below the cells.
SOLUTION = "SOLUTION\nEQUIL\n 2000 200 2010 0 /\n"


def water(case: Case) -> np.ndarray:
    """Of the cells in the deck's order."""
    return np.asarray(torch.as_tensor(case.initial.saturation).numpy().reshape(4, 2).T.ravel())


@pytest.fixture
def held(read: Callable[..., Case]) -> Callable[[str], Case]:
    """The case of a deck with SWATINIT."""
    return lambda values: read(RUNSPEC=RUNSPEC, PROPS=f"{PROPS}SWATINIT\n {values} /\n", SOLUTION=SOLUTION)


def test_given_water_is_at_rest() -> None:
    case = read_deck(DECKS / "GIVEN_WATER.DATA")
    shut = {well.name: Control(kind="shut") for well in case.wells}
    schedule = replace(case.schedule, steps=[100 * DAY], controls=shut)
    result = simulate(case.rock, case.fluid, case.wells, schedule, initial=case.initial,
                      options=Options(cnv=1e-12, mb=1e-14))  # fmt: skip
    (states,) = result.trajectories
    # Between two cells the trapezoidal rule has their weights, which are off by the square of what compresses them.
    torch.testing.assert_close(states.saturation[1], states.saturation[0], rtol=0, atol=5e-6)
    torch.testing.assert_close(states.pressure[1], states.pressure[0], rtol=1e-6, atol=0)
    # It is not that of the curves, which have as many as there are layers.
    assert states.saturation[0].unique().numel() > 4


def test_below_the_contact_cells_have_all_the_water_that_the_curves_allow(read: Callable[..., Case]) -> None:
    above = SOLUTION.replace("2010", "2001")
    case = read(RUNSPEC=RUNSPEC, PROPS=f"{PROPS}SWATINIT\n 8*0.4 /\n", SOLUTION=above)
    np.testing.assert_allclose(water(case), 0.8)


def test_where_none_is_given_there_is_the_water_of_the_curves(
    held: Callable[[str], Case], read: Callable[..., Case]
) -> None:
    free = water(read(RUNSPEC=RUNSPEC, PROPS=PROPS, SOLUTION=SOLUTION.replace("2010 0 /", "2010 0 4* 0 /")))
    mixed = water(held("0.4 6* 0.6"))
    np.testing.assert_allclose(mixed, [0.4, *free[1:7], 0.6], rtol=1e-9)


def test_it_needs_end_points_and_an_equilibrium(read: Callable[..., Case]) -> None:
    given_water = {"PROPS": "SWATINIT\n 8*0.4 /\n"}
    with pytest.raises(DeckError, match="SWATINIT: end points of cells need ENDSCALE in RUNSPEC; give it"):
        read(after=given_water)
    with pytest.raises(DeckError, match="SWATINIT: PRESSURE, SWAT or SOIL is given too; it needs EQUIL"):
        read(after=given_water, RUNSPEC=RUNSPEC, SOLUTION="SOLUTION\nPRESSURE\n 8*200 /\nSWAT\n 8*0.3 /\n")
    with pytest.raises(DeckError, match=r"SWATINIT: got 1.2 in cell \(4, 2, 1\); it must lie in \[0, 1\]"):
        read(after={"PROPS": "SWATINIT\n 7*0.4 1.2 /\n"}, RUNSPEC=RUNSPEC)


def test_without_capillary_pressure_it_changes_nothing_and_says_so(read: Callable[..., Case]) -> None:
    case = read(after={"PROPS": "SWATINIT\n 8*0.4 /\n"}, RUNSPEC=RUNSPEC)
    np.testing.assert_allclose(water(case), water(read()))
    assert [note for note in case.notes if "SWATINIT: the curves have no capillary pressure to hold it" in note]


def test_curves_without_end_points_cannot_hold_it(read: Callable[..., Case]) -> None:
    case = read(PROPS=PROPS)
    with pytest.raises(InputError, match="given water needs curves with end points of cells"):
        equilibrium_of_water(case.rock.grid, case.fluid, datum=2000.0, pressure=2e7, contact=2010.0,
                             saturation=np.full(8, 0.4))  # fmt: skip


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_any_water_within_the_curves_is_held(held: Callable[[str], Case], values: list[float]) -> None:
    case = held(" ".join(map(repr, values)))
    np.testing.assert_allclose(water(case), np.clip(values, 0.2, 0.8))
    curves = case.fluid.curves
    assert isinstance(curves, CellCurves)
    p_c = curves.capillary(torch.as_tensor(case.initial.saturation).reshape(1, -1))[0]
    # Oil and water weigh on a flat layer alike, whatever water its cells hold.
    torch.testing.assert_close(p_c, p_c[:, :1].expand_as(p_c))


DECK = "".join((PARTS | {"RUNSPEC": RUNSPEC + "TABDIMS\n 1 1 10* 2 /\n", "PROPS": PROPS.replace(
    "ROCK\n", "ROCKOPTS\n PRESSURE NOSTORE ROCKNUM /\nROCK\n 150 2e-5 /\n") + "SWATINIT\n 8*0.4 /\nREGIONS\n"
    "ROCKNUM\n 4*1 4*2 /\n", "SOLUTION": SOLUTION}).values())  # fmt: skip
PLACES = [i for i, of in enumerate(re.finditer(r"\S+", DECK))
          if not DECK.index("\nGRID") < of.start() < DECK.index("ROCKOPTS")]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_given_water_and_rocks_with_slips_are_read_or_refused_by_file(tmp_path: Path, data: st.DataObject) -> None:
    tokens = re.split(r"(\s+)", DECK)
    for _ in range(data.draw(st.integers(1, 3))):
        tokens[2 * data.draw(st.sampled_from(PLACES))] = data.draw(TOKENS | st.integers(-1, 5).map(str))
    (tmp_path / "CASE.DATA").write_text("".join(tokens))
    said = "CASE.DATA"
    try:
        read_deck(tmp_path / "CASE.DATA")
    except DeckError as error:
        said = str(error)
    assert "CASE.DATA" in said


def test_three_points_that_coincide_in_the_table_are_kept_apart_in_the_cell() -> None:
    # The table's water flows from its connate on, and its oil as long as there is any.
    table = SaturationTable(saturation=(0.2, 0.5, 0.8), k_water=(0.0, 0.3, 1.0), k_oil=(1.0, 0.4, 0.0),
                            p_capillary=(0.0, 0.0, 0.0))  # fmt: skip
    own = {name: np.array([value]) for name, value in ends_of(table).items()}
    ends = EndPoints(**own | {"critical": np.array([0.3]), "residual_oil": np.array([0.3])})
    curves = CellCurves(tables=(table,), region=np.zeros(1, dtype=int), ends=ends, three_points=True)
    at = torch.tensor([[0.2], [0.3], [0.5], [0.7], [0.8]], dtype=torch.float64)
    np.testing.assert_allclose(curves.oil(at)[0].ravel(), [1, 1, 0.4, 0, 0], atol=1e-12)
    np.testing.assert_allclose(curves.water(at)[0].ravel(), [0, 0, 0.3, 1, 1], atol=1e-12)
