"""Layers that touch across others by PINCH, in boxes and in corner points: what OPM Flow 2022.10 does not decide.

What it does is in tests/flow/test_opm_grid.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rockbank.flow.case import Case
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.equations.corner_point import CornerPointGrid
from rockbank.flow.equations.rock import transmissibility
from rockbank.flow.simulate import simulate
from rockbank.flow.units import MILLIDARCY
from tests.flow.eclipse.test_deck_syntax import PARTS, read

__all__ = ["read"]

# Two columns of three layers, 5, 0.5 and 6 m thick.
LAYERS = PARTS | {
    "RUNSPEC": PARTS["RUNSPEC"].replace("4 2 1", "2 1 3"),
    "GRID": "GRID\nDX\n 6*10 /\nDY\n 6*10 /\nDZV\n 5 0.5 6 /\nTOPS\n 2*2000 /\n",
    "PORO": "PORO\n 6*0.2 /\n",
    "PERM": PARTS["PERM"].replace("8*100", "6*100"),
    "SCHEDULE": PARTS["SCHEDULE"].replace("4 2 1*", "2 1 1*"),
    "COMPDAT": PARTS["COMPDAT"].replace("4 2 1 1", "2 1 3 3"),
}
CORNERS = LAYERS | {
    "GRID": "GRID\nCOORD\n"
    + "".join(f" {10 * i} {10 * j} 1990 {10 * i} {10 * j} 2030\n" for j in range(2) for i in range(3))
    + "/\nZCORN\n 8*2000 8*2005 8*2005 8*2005.5 8*2005.5 8*2011.5 /\n"
}
BY_MINPV = {"PORO": "PORO\n 2*0.2 2*0.001 2*0.2 /\nMINPV\n 10 /\n"}
BY_ACTNUM = {"PORO": "PORO\n 6*0.2 /\nACTNUM\n 2*1 2*0 2*1 /\n"}


def n_vertical(case: Case) -> int:
    return int((case.rock.grid.face_axis == 2).sum())


@pytest.mark.parametrize("layers", [LAYERS, CORNERS], ids=["boxes", "corners"])
@pytest.mark.parametrize(
    ("off", "pinch", "n"),
    [
        (BY_MINPV, "", 0),
        (BY_MINPV, "PINCH\n 0.1 /\n", 2),
        (BY_MINPV, "PINCH\n 0.1 NOGAP /\n", 0),
        (BY_MINPV, "PINCH\n 0.6 NOGAP /\n", 2),
        (BY_ACTNUM, "PINCH\n 0.1 /\n", 0),
        (BY_ACTNUM, "PINCH\n 0.6 /\n", 2),
        (BY_ACTNUM, "PINCH\n 0.6 NOGAP /\n", 2),
    ],
)
def test_a_layer_is_passed_by_its_thickness_or_by_its_pores(
    read: Callable[..., Case], layers: dict[str, str], off: dict[str, str], pinch: str, n: int
) -> None:
    case = read(**(layers | off), after={"PERM": pinch})
    grid = case.rock.grid
    assert (grid.n_cells, n_vertical(case)) == (4, n)
    if n:
        # From the centres of 5 and of 6 m to their own faces, over 100 m^2: the layer between them adds nothing.
        wanted = 100 * MILLIDARCY * 100 / (2.5 + 3.0)
        found = transmissibility(case.rock)[0][grid.face_axis == 2]
        assert found.tolist() == pytest.approx([wanted, wanted], rel=1e-12)
        result = simulate(case.rock, case.fluid, case.wells, case.schedule, initial=case.initial)
        assert float(result.oil_rate.abs().sum()) > 0
    elif layers is LAYERS:
        assert not isinstance(grid, CornerPointGrid)


@pytest.mark.parametrize(
    ("pinch", "n"), [("", 2), ("PINCH\n/\n", 4), ("PINCH\n 1 GAP 0.1 /\n", 2), ("PINCH\n 1* 1* 0.6 /\n", 4)]
)
def test_a_gap_between_layers_is_closed_up_to_item_3(read: Callable[..., Case], pinch: str, n: int) -> None:
    gap = CORNERS | {"GRID": CORNERS["GRID"].replace("8*2005.5 8*2011.5", "8*2006 8*2012")}
    case = read(**gap, after={"PERM": pinch})
    assert case.rock.grid.n_cells == 6
    assert n_vertical(case) == n


def test_boxes_that_nothing_is_pinched_of_stay_boxes(read: Callable[..., Case]) -> None:
    assert not isinstance(read(**LAYERS, after={"PERM": "PINCH\n/\n"}).rock.grid, CornerPointGrid)
    top = BY_MINPV["PORO"].replace("2*0.2 2*0.001 2*0.2", "2*0.001 4*0.2")
    assert not isinstance(read(**(LAYERS | {"PORO": top, "COMPDAT": LAYERS["COMPDAT"].replace("1 1 1 1", "1 1 2 2")}),
                               after={"PERM": "PINCH\n/\n"}).rock.grid, CornerPointGrid)  # fmt: skip


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ("1 GAP 1* ALL", "PINCH: item 4: got 'ALL'; only TOPBOT is supported"),
        ("1 GAP 1* TOPBOT BOTTOM", "PINCH: item 5: got 'BOTTOM'; use TOP or ALL"),
        ("1 GAP wide", "PINCH: item 3: expected a number, got 'wide'"),
    ],
)
def test_what_pinch_cannot_say_is_refused(read: Callable[..., Case], items: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(**LAYERS, after={"PERM": f"PINCH\n {items} /\n"})
