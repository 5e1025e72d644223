"""What OPM Flow makes of a deck's grid: its transmissibilities along the axes and its pore volumes, cell by cell.

They are those of its INIT file, in single precision.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import resfo

from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.equations.rock import pore_volume, transmissibility
from rockbank.flow.units import BAR, CENTIPOISE, DAY
from tests.flow.eclipse import test_deck_pinch as pinch
from tests.flow.eclipse.test_deck_syntax import PARTS
from tests.flow.test_opm import flow, run_deck

__all__ = ["flow"]

SINGLE = 1e-5
FAULT = "FAULTS\n F 2 2 1 2 1 1 X /\n G 3 3 1 1 1 1 'X-' /\n G 4 4 1 1 1 1 Y /\n/\n"


@pytest.fixture
def same(flow: str, tmp_path: Path) -> Callable[..., Case]:
    """Reads a deck, and holds its pores and transmissibilities against OPM Flow's."""

    def check(of: dict[str, str] = PARTS, **after: str) -> Case:
        parts = {**of, "EDIT": "", "REGIONS": ""}
        order = [*list(of)[:4], "EDIT", "PROPS", "REGIONS", *list(of)[5:]]
        # It asks for sizes of the tables, and for INIT.
        after = {**after, "RUNSPEC": "TABDIMS\n/\nEQLDIMS\n/\nWELLDIMS\n 4 4 2 4 /\nFAULTDIM\n 9 /\nUNIFOUT\n"}
        after["GRID"] = "INIT\n" + after.get("GRID", "")
        deck = tmp_path / "CASE.DATA"
        deck.write_text("".join(parts[name] + after.get(name, "") for name in order))
        run_deck(flow, deck)
        init = {name.strip(): np.asarray(values) for name, values in resfo.read(tmp_path / "CASE.INIT")}
        case = read_deck(deck)
        assert_same_grid(case, init)
        return case

    return check


def assert_same_grid(case: Case, init: dict[str, np.ndarray]) -> None:
    grid = case.rock.grid
    pores, is_active = (init["PORV"].reshape(grid.box[::-1]).T, grid.is_active)
    np.testing.assert_array_equal(pores > 0, is_active)
    np.testing.assert_allclose(pores.ravel()[grid.cells], pore_volume(case.rock)[0], rtol=SINGLE)
    ours = transmissibility(case.rock)[0].numpy() / (CENTIPOISE / DAY / BAR)
    for axis, letter in enumerate("XYZ"):
        theirs = np.zeros(grid.box)
        theirs.T[is_active.T] = init[f"TRAN{letter}"]
        found = np.zeros(grid.box)
        of_axis = grid.face_axis == axis
        found.ravel()[grid.cells[grid.faces[of_axis, 0]]] = ours[of_axis]
        np.testing.assert_allclose(found, theirs, rtol=SINGLE)


@pytest.mark.parametrize(
    ("grid", "edit"),
    [
        ("MULTFLT\n F 0 /\n/\n", "EDIT\nEQUALS\n MULTX 0.5 /\n/\n"),
        ("MULTFLT\n F 0.1 /\n G 0.5 /\n/\nEQUALS\n MULTX 0.5 /\n/\n", ""),
        ("MULTFLT\n F 0.5 /\n/\nMULTFLT\n F 0.5 /\n/\n", ""),
        ("MULTFLT\n F 0.5 /\n/\n", "EDIT\nMULTFLT\n F 0.25 /\n/\n"),
        ("MULTX\n 8*0.5 /\n", "EDIT\nMULTX\n 8*0.2 /\n"),
        ("MULTX\n 8*0.5 /\n", "EDIT\nBOX\n 1 2 1 2 1 1 /\nMULTX\n 4*0.2 /\n"),
        ("MULTX\n 8*0.5 /\n", "EDIT\nMULTIPLY\n MULTX 0.2 /\n MULTX- 3 /\n/\n"),
        ("MULTX\n 8*0.5 /\n", "EDIT\nCOPY\n MULTX MULTY /\n/\n"),
        ("EQUALS\n MULTPV 0.5 /\n/\n", "EDIT\nMULTIPLY\n MULTPV 0.2 /\n/\n"),
        ("BOX\n 1 2 1 1 1 1 /\nMULTX\n 2*0.5 /\n", "EDIT\nMULTY\n 8*0.2 /\n"),
    ],
)
def test_opm_flow_multiplies_faces_and_pores_likewise(same: Callable[..., Case], grid: str, edit: str) -> None:
    same(PERM=FAULT + grid, EDIT=edit)


# The layer in the middle, 0.5 m thick, has pores of 0.05 m^3.
THIN = pinch.BY_MINPV | {"COMPDAT": PARTS["COMPDAT"].replace("4 2 1 1", "2 1 1 1")}
LAYERS, CORNERS = pinch.LAYERS | THIN, pinch.CORNERS | THIN
MULTZ = "EQUALS\n MULTZ 0.5 1 2 1 1 1 1 /\n MULTZ 0.2 1 2 1 1 2 2 /\n MULTZ- 0.3 1 2 1 1 3 3 /\n/\n"


@pytest.mark.parametrize("layers", [LAYERS, CORNERS], ids=["boxes", "corners"])
@pytest.mark.parametrize(
    ("pinch", "perm"),
    [
        ("", ""),
        ("0.1 ", ""),
        ("1 NOGAP ", ""),
        ("1 GAP 0.1 ", ""),
        ("1 GAP 1* TOPBOT TOP ", MULTZ),
        ("1 GAP 1* TOPBOT ALL ", MULTZ),
        ("1 GAP 1* TOPBOT ALL ", "EQUALS\n MULTZ 0 1 1 1 1 2 2 /\n/\n"),
    ],
)
def test_opm_flow_joins_layers_across_what_minpv_switches_off(
    same: Callable[..., Case], layers: dict[str, str], pinch: str, perm: str
) -> None:
    case = same(layers, GRID=f"PINCH\n {pinch}/\n", PERM=perm)
    assert (case.rock.grid.face_axis == 2).sum() == 2


def test_opm_flow_passes_cells_and_the_gap_below_them(same: Callable[..., Case]) -> None:
    gap = CORNERS | {"GRID": CORNERS["GRID"].replace("8*2005.5 8*2011.5", "8*2006 8*2011.5")}
    assert len(same(gap, GRID="PINCH\n 0.1 /\n").rock.grid.faces) == 4
