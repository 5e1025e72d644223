"""Aquifers of cells: AQUNUM and AQUCON. tests/flow/test_opm.py holds two decks of them against OPM Flow."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
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
from rockbank.flow.eclipse.writer import require_writable
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.rock import Rock, pore_volume, transmissibility
from rockbank.flow.linear.choose import solver_for
from rockbank.flow.simulate import Result, simulate
from rockbank.flow.units import BAR, DAY, MILLIDARCY
from tests.flow.eclipse.test_deck_faults import told
from tests.flow.eclipse.test_deck_syntax import PARTS, TOKENS, read

__all__ = ["read"]

DECKS = Path(__file__).parents[2] / "decks"
TIGHT = Options(cnv=1e-11, mb=1e-13)
# Cell (1, 1) of the four by two is an aquifer's; its neighbours in the box are cells 1 and 2.
AQUIFER = "AQUNUM\n 1 1 1 1 1000 50 0.3 400 2010 210 /\n/\nAQUCON\n 1 4 4 1 2 1 1 I+ /\n/\n"
HALF = 2 * 400 * MILLIDARCY * 1000 / 50  # of the aquifer's cell, m^3
FACE = 2 * 100 * MILLIDARCY * 5  # of a cell of the deck across I, m^3: its sides are equal


def series(a: float, b: float) -> float:
    return 1 / (1 / a + 1 / b)


def of_pair(case: Case) -> dict[tuple[int, int], float]:
    """Transmissibilities of the aquifers' faces, m^3."""
    t = transmissibility(case.rock)[0]
    pairs = [(int(left), int(right)) for left, right in case.rock.grid.faces]
    return {pair: float(each) for pair, each, axis in zip(pairs, t, case.rock.grid.face_axis, strict=True) if axis == 3}


def test_an_aquifer_s_cell_has_its_own_pores_depth_and_pressure(read: Callable[..., Case]) -> None:
    case, plain = read(after={"PERM": AQUIFER}), read()
    grid = case.rock.grid
    assert pore_volume(case.rock)[0, 0].item() == pytest.approx(0.3 * 1000 * 50)
    assert torch.equal(pore_volume(case.rock)[0, 1:], pore_volume(plain.rock)[0, 1:])
    assert grid.depth.tolist() == [2010.0, *plain.rock.grid.depth[1:]]
    assert float(case.initial.pressure[0, 0]) == pytest.approx(210 * BAR)
    assert float(case.initial.saturation[0, 0]) == 1.0
    assert torch.equal(case.initial.pressure[1:], plain.initial.pressure[1:])
    assert not (grid.faces[grid.face_axis < 3] == 0).any()


def test_it_touches_what_aqucon_says_through_both_halves(read: Callable[..., Case]) -> None:
    assert of_pair(read(after={"PERM": AQUIFER})) == pytest.approx(dict.fromkeys([(0, 6), (0, 7)], series(HALF, FACE)))
    changed = AQUIFER.replace("I+ /", "I+ 0.5 1 /") + "EQUALS\n MULTX 0.3 4 4 2 2 1 1 /\n NTG 0.8 /\n/\n"
    by_area = 2 * 400 * MILLIDARCY * 50 / 50
    assert of_pair(read(after={"PERM": changed})) == pytest.approx(
        {(0, 6): 0.5 * series(by_area, 0.8 * FACE), (0, 7): 0.5 * series(by_area, 0.8 * 0.3 * FACE)}
    )


def test_a_cell_that_it_touches_twice_lets_through_the_sum(read: Callable[..., Case]) -> None:
    corner = AQUIFER.replace("I+ /\n", "I+ /\n 1 4 4 2 2 1 1 J+ /\n")
    assert of_pair(read(after={"PERM": corner}))[0, 7] == pytest.approx(2 * series(HALF, FACE))


def test_cells_of_one_aquifer_are_a_row(read: Callable[..., Case]) -> None:
    row = AQUIFER.replace("210 /\n/", "210 /\n 1 2 1 1 500 20 1* 300 /\n 2 1 2 1 10 10 0.1 1 /\n/")
    case = read(after={"PERM": row + "AQUCON\n 2 3 3 2 2 1 1 J+ /\n/\n"})
    second = 2 * 300 * MILLIDARCY * 500 / 20
    assert sorted(of_pair(case)) == [(0, 2), (0, 6), (0, 7), (1, 5)]
    assert of_pair(case)[0, 2] == pytest.approx(series(HALF, second))
    # What AQUNUM does not say is the deck's: porosity, depth, and the pressure of the equilibrium there.
    assert pore_volume(case.rock)[0, 2].item() == pytest.approx(0.2 * 500 * 20)
    assert case.rock.grid.depth[2] == read().rock.grid.depth[2]
    assert float(case.initial.pressure[1, 0]) == pytest.approx(float(read().initial.pressure[1, 0]))


def test_faces_towards_active_cells_are_passed_over_unless_they_are_asked_for(read: Callable[..., Case]) -> None:
    inner = AQUIFER.replace("1 4 4 1 2 1 1", "1 2 4 1 2 1 1")
    case = read(after={"PERM": inner + "ACTNUM\n 6*1 0 1 /\n"})
    # (3, 2) is not active, and (2, 2) is at the edge therefore.
    assert sorted(of_pair(case)) == [(0, 3), (0, 5), (0, 6)]
    (note,) = [note for note in case.notes if "AQUCON" in note]
    assert "AQUCON: 3 of 6 faces are passed over" in note
    assert len(of_pair(read(after={"PERM": inner.replace("I+ /", "I+ 2* YES /")}))) == 6


def test_it_is_active_whatever_the_grid_says_of_its_cell(read: Callable[..., Case]) -> None:
    off = "ACTNUM\n 0 7*1 /\nNTG\n 0 7*1 /\nMINPV\n 90 /\n" + AQUIFER.replace("1000 50", "10 1")
    case = read(after={"PERM": off}, PORO="PORO\n 1* 7*0.2 /\n", SCHEDULE=moved(PARTS["SCHEDULE"]),
                COMPDAT=moved(PARTS["COMPDAT"]))  # fmt: skip
    assert case.rock.grid.n_cells == 8
    assert pore_volume(case.rock)[0, 0].item() == pytest.approx(0.3 * 10)


def moved(text: str) -> str:
    """The injector in cell (2, 1)."""
    return text.replace("INJ G 1 1", "INJ G 2 1").replace("INJ 1 1", "INJ 2 1")


def test_explicit_arrays_hold_in_its_cells_too(read: Callable[..., Case]) -> None:
    case = read(after={"PERM": AQUIFER}, SOLUTION="SOLUTION\nPRESSURE\n 8*205 /\nSWAT\n 8*0.3 /\n")
    assert (case.initial.pressure == 205 * BAR).all()
    assert (case.initial.saturation == 0.3).all()
    assert [note for note in case.notes if "AQUNUM: item 10: got 210; PRESSURE has another, which counts" in note]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ("AQUNUM\n 1 5 1 1 1e3 10 0.2 1 /\n/\n", r"AQUNUM: cell \(5, 1, 1\) is outside the grid of \(4, 2, 1\) cells"),
        ("AQUNUM\n 1 2 1 1 0 10 0.2 1 /\n/\n", "AQUNUM: item 5: got 0; it must be positive"),
        ("AQUNUM\n 1 2 1 1 1e3 -1 0.2 1 /\n/\n", "AQUNUM: item 6: got -1; it must be positive"),
        ("AQUNUM\n 1 2 1 1 1e3 10 1.2 1 /\n/\n", r"AQUNUM: item 7: got porosity 1.2; it must lie in \(0, 1\]"),
        ("AQUNUM\n 1 2 1 1 1e3 10 0.2 -1 /\n/\n", "AQUNUM: item 8: got permeability -1; it must be 0 or more"),
        ("AQUNUM\n 1 2 1 1 1e3 10 0.2 /\n/\n", "AQUNUM: item 8 has no default; give it"),
        ("AQUNUM\n 1 2 1 1 1e3 10 0.2 1 1* -3 /\n/\n", "AQUNUM: item 10: got -3; it must be positive"),
        ("AQUNUM\n 1 2 1 1 1e3 10 0.2 1 2* 2 /\n/\n", r"PVTNUM: got 2 in cell \(2, 1, 1\); the deck has tables for 1"),
        ("AQUNUM\n 1 2 1 1 1e3 10 0.2 1 3* 0 /\n/\n", "AQUNUM: item 12: got 0; it must be 1 or more"),
        ("AQUNUM\n 2 1 1 1 1e3 10 0.2 1 /\n/\n", r"AQUNUM: cell \(1, 1, 1\) is an aquifer's already; take another"),
        ("AQUCON\n 7 1 1 1 1 1 1 I+ /\n/\n", r"AQUCON: item 1: got aquifer 7; AQUNUM has \[1\]"),
        ("AQUCON\n 1 1 5 1 1 1 1 I+ /\n/\n", "AQUCON: got 1 to 5 along x; the grid has 1 to 4"),
        ("AQUCON\n 1 1 1 1 1 1 1 U /\n/\n", "AQUCON: item 8: got 'U'; use X"),
        ("AQUCON\n 1 4 4 1 1 1 1 J- -1 /\n/\n", "AQUCON: item 9: got -1; it must be 0 or more"),
        ("AQUCON\n 1 4 4 1 1 1 1 J- 1 2 /\n/\n", "AQUCON: item 10: got 2; use 0, or 1 for the area of the reservoir's"),
        ("AQUCON\n 1 4 4 1 1 1 1 J- 1 0 MAYBE /\n/\n", "AQUCON: item 11: got 'MAYBE'; use YES, Y, NO or N"),
        ("AQUCON\n 1 4 4 1 1 1 1 J- 1 0 NO 0.5 /\n/\n", "AQUCON: item 12: got '0.5'; connections feel no vertical"),
    ],
)
def test_what_cannot_be_names_its_record(read: Callable[..., Case], record: str, says: str) -> None:
    with pytest.raises(DeckError, match=says):
        read(after={"PERM": AQUIFER + record})


def test_all_that_cannot_be_is_told_at_once(read: Callable[..., Case]) -> None:
    wrong = "AQUNUM\n 1 1 1 1 0 50 0.3 400 /\n 1 9 1 1 10 50 0.3 400 /\n 1 2 1 1 10 50 0.3 no /\n/\n"
    with pytest.raises(DeckError) as refused:
        read(after={"PERM": wrong}, TSTEP="AQUNUM\n 1 2 1 1 1 1 0.1 1 /\n/\n" + PARTS["TSTEP"])
    assert [line.partition(": ")[2] for line in told(refused)] == [
        "AQUNUM: item 5: got 0; it must be positive",
        "AQUNUM: cell (9, 1, 1) is outside the grid of (4, 2, 1) cells",
        "AQUNUM: item 8: expected a number, got 'no'",
        "AQUNUM: what cells touch does not change with time; say it before SCHEDULE",
    ]


def test_an_aquifer_that_nothing_touches_is_told(read: Callable[..., Case]) -> None:
    case = read(after={"PERM": AQUIFER.partition("AQUCON")[0]})
    assert of_pair(case) == {}
    assert [note for note in case.notes if "AQUNUM: no AQUCON joins aquifer 1 to a cell" in note]


def test_no_deck_is_written_of_it(read: Callable[..., Case]) -> None:
    with pytest.raises(InputError, match="cells are linked across the grid, of which no deck is written"):
        require_writable(read(after={"PERM": AQUIFER}))


def run(case: Case, rock: Rock, solver: str = "direct") -> Result:
    # Of the days when the aquifer begins to flow.
    schedule = replace(case.schedule, steps=[DAY, 5 * DAY, 30 * DAY],
                       controls={name: case.schedule.of(name)[:3] for name in case.schedule.controls})  # fmt: skip
    return simulate(rock, case.fluid, case.wells, schedule, initial=case.initial,
                    options=replace(TIGHT, solver=solver))  # fmt: skip


@pytest.fixture(scope="module")
def chain() -> Case:
    return read_deck(DECKS / "AQUIFER_CHAIN.DATA")


def test_what_aquifers_lose_the_cells_gain(chain: Case) -> None:
    result = run(chain, chain.rock)
    problem, parameters = discretise(chain.rock, chain.fluid, chain.wells, chain.schedule, chain.initial)
    equations, (states,) = Equations(problem, parameters), result.trajectories
    rock, held = chain.rock, []
    for p, s in zip(states.pressure, states.saturation, strict=True):
        pores = parameters.pore_volume * torch.exp(rock.compressibility * (p[None] - rock.reference_pressure))
        held.append(pores * equations.in_cells.volumes(p[None])[0] * torch.stack([s, 1 - s])[:, None])
    steps = torch.tensor([DAY, 5 * DAY, 30 * DAY])
    flowed = torch.stack([result.water_rate, result.oil_rate]).sum(dim=-1) * steps
    gained = torch.stack([(after - before).sum(dim=(1, 2)) for before, after in pairwise(held)], dim=1)
    torch.testing.assert_close(gained, flowed, rtol=0, atol=1e-9 * float(flowed.abs().max()))
    aquifers = chain.rock.grid.aquifers
    assert aquifers is not None
    lost = (held[0] - held[-1])[0, 0, aquifers.cells].sum()
    # It holds far more than the reservoir does, and gives a good part of what is produced.
    assert lost > 0.2 * -result.water_rate[:, 1].sum() * DAY


def test_iterated_and_direct_solutions_agree(chain: Case) -> None:
    direct, iterated = (run(chain, chain.rock, solver) for solver in ("direct", "cpr"))
    torch.testing.assert_close(iterated.bhp, direct.bhp, rtol=1e-9, atol=0)
    problem, _ = discretise(chain.rock, chain.fluid, chain.wells, chain.schedule, chain.initial)
    with pytest.raises(InputError, match="solver 'slabs' takes only grids in which neighbours alone touch"):
        solver_for(problem, "slabs", torch.device("cpu"))


@pytest.mark.parametrize("name", ["permeability", "porosity", "net_to_gross", "face_multiplier"])
def test_the_taylor_remainder_is_of_second_order(chain: Case, name: str) -> None:
    rock, grid = chain.rock, chain.rock.grid
    assert grid.aquifers is not None
    n = len(grid.faces) if name == "face_multiplier" else grid.n_cells
    direction = 0.05 * (torch.rand(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.5)
    changed: dict[str, Callable[[torch.Tensor], object]] = {
        "permeability": lambda x: [k * x.reshape(grid.shape) for k in rock.components],
        "porosity": lambda x: rock.porosity * x.reshape(grid.shape),
        "net_to_gross": lambda x: rock.net_to_gross * x,
        "face_multiplier": lambda x: x,
    }

    def seen(x: torch.Tensor) -> torch.Tensor:
        result = run(chain, replace(rock, **{name: changed[name](x)}))
        return (result.bhp / 1e7).sum() + (result.water_rate[:, 1] / 1e-3).sum() + (result.oil_rate / 1e-3).sum()

    x = torch.ones(n, dtype=torch.float64, requires_grad=True)
    value = seen(x)
    (slope,) = torch.autograd.grad(value, x)
    of_aquifers = slope[grid.face_axis == 3] if n == len(grid.faces) else slope[grid.aquifers.cells]
    assert (of_aquifers != 0).all()
    remainders = [abs(seen(1 + h * direction) - value - h * (slope * direction).sum()).item() for h in (1.0, 0.5, 0.25)]
    rates = [math.log2(coarse / fine) for coarse, fine in pairwise(remainders)]
    assert min(rates) > 1.9


DECK = "".join(text + (AQUIFER if name == "PERM" else "") for name, text in PARTS.items())
PLACES = [i for i, of in enumerate(re.finditer(r"\S+", DECK))
          if DECK.index("AQUNUM") <= of.start() < DECK.index("PROPS")]  # fmt: skip


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_aquifers_with_slips_are_read_or_refused_by_file(tmp_path: Path, data: st.DataObject) -> None:
    tokens = re.split(r"(\s+)", DECK)
    for _ in range(data.draw(st.integers(1, 3))):
        tokens[2 * data.draw(st.sampled_from(PLACES))] = data.draw(
            TOKENS | st.integers(-1, 5).map(str) | st.floats(allow_nan=True).map(repr)
        )
    (tmp_path / "CASE.DATA").write_text("".join(tokens))
    try:
        t = transmissibility(read_deck(tmp_path / "CASE.DATA").rock)
    except DeckError as error:
        said = str(error)
    else:
        said = "CASE.DATA" if np.isfinite(t.numpy()).all() else "what flows is not finite"
    assert "CASE.DATA" in said
