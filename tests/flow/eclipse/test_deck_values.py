"""What a deck's arrays and tables may hold, and what is said where one is given twice or is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rockbank.flow.case import Case
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.units import MILLIDARCY
from tests.flow.eclipse.test_deck import assert_same
from tests.flow.eclipse.test_deck_syntax import PARTS, read

__all__ = ["read"]
EXPLICIT = "SOLUTION\nPRESSURE\n 8*200 /\nSWAT\n 8*0.3 /\n"


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        ("PORO", "PORO\n 4*0.2 -0.2 3*0.2 /\n", r"PORO: got -0.2 in cell \(1, 2, 1\); it must lie in \[0, 1\], or A"),
        ("PORO", "PORO\n 6*0.2 2*20 /\n", r"PORO: got 20 in cell \(3, 2, 1\) and 1 more; it must lie in \[0, 1\]"),
        ("PORO", "PORO\n 7*0.2 nan /\n", "PORO: item 8: expected a number, got 'nan'"),
        ("PERM", "PERMX\n 8*100 /\nPERMY\n 8*100 /\nPERMZ\n 2*1 -1 5*1 /\n", r"PERMZ: got -1 in cell \(3, 1, 1\); it"),
        ("PERM", "PERMX\n 8*100 /\nPERMY\n 8*-999.25 /\n", r"PERMY: got -999.25 in cell \(1, 1, 1\) and 7 more; it"),
        ("PERM", "PERMX\n 8*220 /\nPERMX\n 8*120 /\nPERMZ\n 8*22 /\n", "the deck has no PERMY; give it, or copy"),
        ("PERM", "PERMY\n 8*220 /\nPERMZ\n 8*22 /\n", "the deck has no PERMX; give it, or copy"),
        ("SOLUTION", EXPLICIT.replace("8*0.3", "7*0.3 1.2"), r"SWAT: got 1.2 in cell \(4, 2, 1\); it must lie in"),
        ("SOLUTION", EXPLICIT.replace("8*0.3", "-0.1 7*0.3"), r"SWAT: got -0.1 in cell \(1, 1, 1\); it must lie in"),
        ("SOLUTION", EXPLICIT.replace("8*200", "7*200 0"), r"PRESSURE: got 0 in cell \(4, 2, 1\); it must be positive"),
        ("SOLUTION", EXPLICIT.replace("SWAT", "SOIL") + "SWAT\n 7*0.7 0.6 /\n", r"SOIL: got 0.3 beside SWAT 0.6 in"),
        ("SOLUTION", EXPLICIT + "EQUIL\n 2000 200 2500 0 /\n", "EQUIL: PRESSURE, SWAT or SOIL is given too; keep one"),
        ("SOLUTION", EXPLICIT.replace("SWAT", "SGAS"), r"SGAS: got 0.3 in cell \(1, 1, 1\) and 7 more; only 0"),
        ("GRID", PARTS["GRID"] + "DXV\n 4*10 /\n", "DXV: DX in .*:11 says the same; keep one"),
        ("PROPS", PARTS["PROPS"] + "PVDO\n 100 1.01 2\n 300 0.99 2 /\n", "PVDO: PVCDO in .* says the same of the oil"),
        ("PERM", PARTS["PERM"].replace("PERMX PERMZ", "PERMX PORO"), "COPY: PERMX is a permeability, PORO a fraction"),
    ],
)  # fmt: skip
def test_what_no_rock_or_fluid_can_be_names_keyword_cell_and_value(
    read: Callable[..., Case], name: str, lines: str, says: str
) -> None:
    with pytest.raises(DeckError, match=says):
        read(**{name: lines})


def test_all_that_is_wrong_is_told_at_once(read: Callable[..., Case]) -> None:
    with pytest.raises(DeckError) as refused:
        read(PORO="PORO\n 8*-1 /\n", PERM=PARTS["PERM"].replace("8*100", "8*-3"), SOLUTION=EXPLICIT.replace("0.3", "3"))
    told = [line.split(": ")[1] for line in str(refused.value).splitlines()]
    assert told == ["PORO", "PERMX", "PERMY", "PERMZ", "SWAT"]


@pytest.mark.parametrize("off", ["ACTNUM\n 7*1 0 /\n", "PORO\n 7*0.2 0 /\n"])
def test_a_cell_that_is_switched_off_may_hold_anything(read: Callable[..., Case], off: str) -> None:
    case = read(
        PORO=off if off.startswith("PORO") else off + PARTS["PORO"],
        PERM=PARTS["PERM"].replace("8*100", "7*100 0"),
        SOLUTION=EXPLICIT.replace("8*0.3", "7*0.3 -99"),
        COMPDAT=PARTS["COMPDAT"].replace("PROD 4 2", "PROD 3 2"),
    )
    assert (case.rock.grid.n_cells, case.rock.grid.is_active[3, 1, 0]) == (7, False)


def test_what_is_given_again_is_noted_and_the_last_one_counts(read: Callable[..., Case]) -> None:
    case = read(PERM="PERMX\n 8*220 /\n" + PARTS["PERM"], after={"PROPS": "ROCK\n 300 2e-5 /\n"})
    assert case.rock.components[0].unique().item() == 100 * MILLIDARCY
    assert case.rock.reference_pressure == 3e7
    table, array = (note for note in case.notes if "again" in note)
    assert ": ROCK is given again, after " in table
    assert table.endswith("; the last one counts")
    assert ": PERMX is given again, after " in array


def test_parts_of_an_array_and_changes_of_it_are_not_given_again(read: Callable[..., Case]) -> None:
    boxes = "BOX\n 1 4 1 1 1 1 /\nPERMX\n 4*100 /\nBOX\n 1 4 2 2 1 1 /\nPERMX\n 4*100 /\nENDBOX\n"
    case = read(PERM=boxes + PARTS["PERM"].replace("PERMX\n 8*100 /\n", "") + "EQUALS\n PERMX 100 1 2 /\n/\n")
    assert_same(case, read())
    assert case.notes == ()


def test_a_direction_of_one_cell_needs_no_permeability(read: Callable[..., Case]) -> None:
    case = read(PERM="PERMX\n 8*100 /\nPERMY\n 8*100 /\n")
    assert_same(case, read())
    assert case.notes == ("the deck has no PERMZ, along which there is one cell: PERMX is taken",)


@pytest.mark.parametrize("solution", ["SOIL\n 8*0.7 /\n", "SOIL\n 8*0.7 /\nSWAT\n 8*0.3 /\n"])
def test_the_oil_s_saturation_is_read(read: Callable[..., Case], solution: str) -> None:
    case = read(SOLUTION=f"SOLUTION\nPRESSURE\n 8*200 /\n{solution}")
    assert case.initial.saturation.numpy() == pytest.approx(0.3)
