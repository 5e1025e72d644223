"""Decks: read as Eclipse means them, written so that they come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.writer import write_deck
from rockbank.flow.equations.curves.relperm import SaturationTable
from rockbank.flow.equations.fluid import GRAVITY, Phase
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.units import MILLIDARCY

DAY, BAR = 86400.0, 1e5

DECK = """
-- A deck with most of what is read.
RUNSPEC
TITLE
  Two layers
DIMENS
  3 2 2 /
OIL
WATER
METRIC
START
  1 FEB 2020 /
TABDIMS
  1 1 /
UNIFOUT

GRID
INIT
DX
  12*10 /
DYV
  2*20 /
DZ   -- layers
  6*2 6*3
/
TOPS
  6*1000 /
BOX
  1 3 1 2 1 1 /
PERMX
  6*100 /
ENDBOX
EQUALS
  'PERMX' 50 1 3 1 2 2 2 /
  'PORO' 0.2 1 3 1 2 1 2 / everywhere
/
COPY
  PERMX PERMY /
  PERMX PERMZ /
/
MULTIPLY
  PERMZ 0.1 /
/
INCLUDE
  'active.inc' /

PROPS
SWOF
  0.2 0    0.8  0.5
  0.5 0.1  0.3  0.2
  0.8 0.6  0    0   /
PVTW
  200 1.0 4.5e-5 0.5 /
PVDO
  100 1.0100501670841679 2
  300 0.9900498337491681 2 /
DENSITY
  800 1020 1 /
ROCK
  200 4D-5 /

SOLUTION
PRESSURE
  12*210 /
SWAT
  6*0.2 6*0.5 /

SUMMARY
WBHP
/
FOPT
BPR
  1 1 1 /
/

SCHEDULE
RPTRST
  BASIC=2 /
WELSPECS
  'INJ' G 1 1 1* WATER 3* NO /
  PROD  G 3 2 1005 OIL 3* NO /
/
COMPDAT
  INJ 2* 1 2 OPEN 1* 1* 0.3 /
  PROD 3 2 1 1 OPEN 1* 2.5 0.2 /
  PROD 3 2 2 2 OPEN 1* 1* 0.2 1* 1.5 /
/
WCONINJE
  INJ WATER OPEN RATE 30 1* 400 /
/
WCONPROD
  'P*' OPEN ORAT 10 /
/
TSTEP
  2*0.5 /
WCONPROD
  PROD OPEN BHP 3* 40 1* 150 /
/
DATES
  12 FEB 2020 /
/
WCONINJE
  INJ WATER SHUT RATE 0 /
/
TSTEP
  5 /
END
not read
"""
ACTIVE = "ACTNUM\n  11*1 0 /\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Case]:
    """Reads DECK after some replacements."""

    def read_changed(*changes: tuple[str, str], gravity: float | None = None) -> Case:
        text = DECK
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (tmp_path / "CASE.DATA").write_text(text)
        (tmp_path / "active.inc").write_text(ACTIVE)
        return read_deck(tmp_path / "CASE.DATA", gravity=gravity)

    return read_changed


def assert_same(a: Case, b: Case) -> None:
    """Bit for bit what the solvers see."""
    (problem_a, parameters_a), (problem_b, parameters_b) = (
        discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial) for case in (a, b)
    )
    for name in vars(parameters_a):
        assert torch.equal(getattr(parameters_a, name), getattr(parameters_b, name)), name
    for name in ("perforation_cell", "perforation_well", "is_injector", "kinds", "has_limit", "steps"):
        np.testing.assert_array_equal(getattr(problem_a, name), getattr(problem_b, name), err_msg=name)
    for name in ("fluid", "rock_compressibility", "rock_reference"):
        assert getattr(problem_a, name) == getattr(problem_b, name), name
    a_head, b_head = (
        Equations(problem, parameters).first_head(parameters.pressure, parameters.saturation)
        for problem, parameters in ((problem_a, parameters_a), (problem_b, parameters_b))
    )
    assert torch.equal(a_head, b_head)
    assert [well.name for well in a.wells] == [well.name for well in b.wells]
    assert (a.title, a.start) == (b.title, b.start)


def test_grid_and_rock_are_those_of_the_deck(read: Callable[..., Case]) -> None:
    case = read()
    grid = case.rock.grid
    assert (case.title, case.start) == ("Two layers", datetime(2020, 2, 1))
    assert (grid.box, grid.top, grid.n_cells) == ((3, 2, 2), 1000.0, 11)
    assert [list(sizes) for sizes in grid.sizes] == [[10.0] * 3, [20.0] * 2, [2.0, 3.0]]
    assert not grid.is_active[2, 1, 1]
    k_x, k_y, k_z = case.rock.components
    assert k_x[:, :, 0].unique().item() == 100 * MILLIDARCY
    assert k_y[:, :, 1].unique().item() == 50 * MILLIDARCY
    assert torch.equal(k_z, k_x * 0.1)
    assert (case.rock.compressibility, case.rock.reference_pressure) == (4e-5 * (1 / BAR), 200 * BAR)


def test_fluids_and_curves_are_those_of_the_deck(read: Callable[..., Case]) -> None:
    fluid = read().fluid
    assert fluid.water == Phase(
        viscosity=0.5e-3, density=1020.0, compressibility=4.5e-5 * (1 / BAR), reference_pressure=200 * BAR
    )
    # Between its rows 1 / B and 1 / (B mu) are straight.
    b, b_p, per_mu, _ = fluid.oil.at(torch.tensor([[200 * BAR, 400 * BAR]], dtype=torch.float64))
    slope = (1 / 0.9900498337491681 - 1 / 1.0100501670841679) / (200 * BAR)
    assert b_p[0].tolist() == pytest.approx([slope, slope], rel=1e-12)
    mean = (1 / 0.9900498337491681 + 1 / 1.0100501670841679) / 2
    assert b[0].tolist() == pytest.approx([mean, mean + 200 * BAR * slope], rel=1e-12)
    assert (b / per_mu)[0].tolist() == pytest.approx([2e-3, 2e-3], rel=1e-12)
    assert fluid.oil.density == 800.0
    assert fluid.curves == SaturationTable(
        saturation=(0.2, 0.5, 0.8), k_water=(0.0, 0.1, 0.6), k_oil=(0.8, 0.3, 0.0), p_capillary=(5e4, 2e4, 0.0)
    )
    assert fluid.gravity == GRAVITY
    assert read(gravity=0.0).fluid.gravity == 0.0


def test_the_explicit_initial_state_is_that_of_the_deck(read: Callable[..., Case]) -> None:
    initial = read().initial
    assert initial.pressure.unique().item() == 210 * BAR
    assert initial.saturation[:, :, 0].unique().item() == 0.2
    assert initial.saturation[:, :, 1].unique().item() == 0.5


def test_wells_are_those_of_the_deck_with_its_defaults(read: Callable[..., Case]) -> None:
    injector, producer = read().wells
    assert (injector.name, injector.kind, list(injector.cells)) == ("INJ", "injector", [(0, 0, 0), (0, 0, 1)])
    assert (injector.radius, injector.axis, injector.index, injector.datum) == (0.15, 2, None, None)
    # The lowest cell of the producer is not active.
    assert (producer.kind, list(producer.cells), producer.datum) == ("producer", [(2, 1, 0)], 1005.0)
    assert producer.index.item() == 2.5 * (1e-3 / DAY / BAR)


def test_perforations_that_differ_have_an_index_each(read: Callable[..., Case]) -> None:
    case = read(("INCLUDE\n  'active.inc' /", ""))
    producer = case.wells[1]
    assert list(producer.cells) == [(2, 1, 0), (2, 1, 1)]
    # Peaceman for an isotropic layer of 50 mD, 3 m high, cells 10 x 20 m, skin 1.5.
    r_e = 0.14 * math.hypot(10, 20)
    assert producer.index[1].item() == pytest.approx(
        2 * math.pi * 3 * 50 * MILLIDARCY / (math.log(r_e / 0.1) + 1.5), rel=1e-12
    )


def test_well_indices_that_do_not_follow_the_rock_are_told(read: Callable[..., Case]) -> None:
    case = read(("INCLUDE\n  'active.inc' /", ""))
    told = [note for note in case.notes if "its well indices are numbers" in note]
    assert [note.split("'")[1] for note in told] == ["PROD"]


def test_controls_follow_the_dates_of_the_deck(read: Callable[..., Case]) -> None:
    schedule = read().schedule
    # Two half days, then up to the twelfth of February, 11 days after the first.
    assert list(schedule.steps) == [0.5 * DAY, 0.5 * DAY, 10 * DAY, 5 * DAY]
    injector, producer = schedule.of("INJ"), schedule.of("PROD")
    assert [control.kind for control in injector] == ["rate", "rate", "rate", "shut"]
    assert (injector[0].target, injector[0].limit) == (30 * (1 / DAY), 400 * BAR)
    assert [control.kind for control in producer] == ["oil", "oil", "bhp", "bhp"]
    # Eclipse's least pressure of a producer is one atmosphere.
    assert (producer[0].target, producer[0].limit) == (10 * (1 / DAY), 101325.0)
    assert (producer[2].target, producer[2].limit) == (150 * BAR, 40 * (1 / DAY))


def test_hydrostatic_equilibrium_is_computed_where_it_is_asked(read: Callable[..., Case]) -> None:
    explicit = "PRESSURE\n  12*210 /\nSWAT\n  6*0.2 6*0.5 /\n"
    case = read((explicit, "EQUIL\n  1000 200 1002 0.3 /\n"))
    depth = torch.as_tensor(case.rock.grid.depth)
    p, s = case.rock.flat(case.initial.pressure)[0], case.rock.flat(case.initial.saturation)[0]
    p_c = case.fluid.curves.capillary(s)[0]
    # To first order in compressibility times pressure difference, 1e-4/bar * 0.4 bar.
    water = 200 * BAR + GRAVITY * 800 * 2 - 0.3 * BAR + GRAVITY * 1020 * (depth - 1002)
    oil = 200 * BAR + GRAVITY * 800 * (depth - 1000)
    torch.testing.assert_close(p, oil, rtol=1e-7, atol=0)
    torch.testing.assert_close(p - p_c, water, rtol=1e-6, atol=0)


def test_a_deck_comes_back_from_what_is_written(read: Callable[..., Case], tmp_path: Path) -> None:
    first = read()
    for name in ("once.DATA", "twice.DATA"):
        write_deck(tmp_path / name, first, least_compressibility=0.0)
        again = read_deck(tmp_path / name)
        assert_same(first, again)
        first = again


def test_field_units_are_read(read: Callable[..., Case]) -> None:
    case = read(("METRIC", "FIELD"))
    assert case.rock.grid.sizes[0][0] == pytest.approx(3.048)
    assert case.fluid.water.density == pytest.approx(1020 * 16.018463, rel=1e-7)
    assert case.schedule.of("INJ")[0].target == pytest.approx(30 * 0.158987294928 / DAY)
    assert case.schedule.of("PROD")[2].target == pytest.approx(150 * 6894.757293168)


def test_cross_flow_is_the_decks_unless_it_says_no(read: Callable[..., Case], tmp_path: Path) -> None:
    case = read(("WATER 3* NO", "WATER"))
    assert [well.cross_flow for well in case.wells] == [True, False]
    assert case.notes == ("passed over, since they change nothing here: UNIFOUT, INIT, RPTRST",)
    write_deck(tmp_path / "AGAIN.DATA", case)
    assert [well.cross_flow for well in read_deck(tmp_path / "AGAIN.DATA").wells] == [True, False]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("UNIFOUT", "DISGAS", "CASE.DATA:15: keyword DISGAS is not supported in section RUNSPEC"),
        ("ROCK\n", "PLYVISC\n", "keyword PLYVISC is not supported in section PROPS"),
        ("  1 1 /\nUNIFOUT", "  99999 1 /\nUNIFOUT", "CASE.DATA:14: TABDIMS: item 1: got 99999; give 10000 regions"),
        ("  12*10 /", "  11*10 /", "CASE.DATA:20: DX: got 11 numbers for 12 cells"),
        ("  12*10 /", "  11*10 9 /", "DX varies across x"),
        ("  12*10 /", "  11*10 ten /", "CASE.DATA:20: DX: item 12: expected a number, got 'ten'"),
        ("  PERMX PERMZ /", "  PERMX KRWX /", "CASE.DATA:39: COPY: array KRWX is not supported"),
        ("50 1 3 1 2 2 2", "50 1 4 1 2 2 2", "EQUALS: got 1 to 4 along x; the grid has 1 to 3"),
        ("'active.inc'", "'none.inc'", "none.inc: cannot be read"),
        ("4.5e-5 0.5 /", "4.5e-5 0.5 1 /", "PVTW: fluid: got viscosibility 1e-05 1/Pa"),
        ("200 1.0 4.5e-5", "200 -1.02 0", "PVTW: got volume factor -1.02; it must be positive"),
        ("0.9900498337491681 2 /", "0.99 -2 /", "PVDO: pressures have to increase, and volume factors and viscosities"),
        ("0.9900498337491681 2 /", "0.99 2 500 1.01 2 /", "PVDO: pressure table: got b"),
        ("  0.5 0.1  0.3  0.2\n", "  0.5 0.1  0.9  0.2\n", "SWOF: saturation table: got k_oil"),
        ("6*0.2 6*0.5 /", "6*0.2 5*0.5 /", "SWAT: got 11 numbers for 12 cells"),
        ("  PROD 3 2 1 1 OPEN", "  PRODUCER 3 2 1 1 OPEN", "no well 'PRODUCER'; known are ['INJ', 'PROD']"),
        ("  PROD 3 2 1 1 OPEN", "  PROD 4 2 1 1 OPEN", "cell (4, 2, 1) is outside the grid"),
        ("INJ WATER OPEN RATE", "INJ GAS OPEN RATE", "WCONINJE: item 2: got 'GAS'; only WATER"),
        ("INJ WATER OPEN RATE", "INJ WATER OPEN RESV", "control by 'RESV' is not supported"),
        ("ORAT 10 /", "ORAT 10 5 /", "under ORAT, only a bottom-hole pressure can be the limit"),
        ("ORAT 10 /", "ORAT 10 2* 5 /", "under ORAT, only a bottom-hole pressure can be the limit"),
        ("ORAT 10 /", "ORAT /", "WCONPROD: item 4 has no default"),
        ("ORAT 10 /", "ORAT 10 5* 30 /", "there is no tubing-head pressure"),
        ("  12 FEB 2020 /", "  1 FEB 2020 /", "got a step of -86400 s; times have to increase"),
        ("  12 FEB 2020 /", "  12 FOO 2020 /", "DATES: expected a day, a month such as JAN"),
        ("TSTEP\n  5 /\nEND\n", "TSTEP 5 /\nEND\n", "TSTEP: got '5 /' on the keyword's line; put it on the next"),
        ("  5 /\nEND\nnot read\n", "  5\n", "TSTEP: the deck ends before its '/'"),
        ("'INJ' G 1 1", "'INJ G 1 1", "WELSPECS: a quote is not closed"),
        ("OIL\nWATER\n", "WATER\n", "the deck is not of OIL and WATER"),
    ],
)
def test_what_cannot_be_honoured_names_file_line_and_keyword(
    read: Callable[..., Case], old: str, new: str, says: str
) -> None:
    with pytest.raises(DeckError) as refused:
        read((old, new))
    assert says in str(refused.value)
    assert "CASE.DATA" in str(refused.value)


def test_a_deck_that_includes_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "LOOP.DATA").write_text("RUNSPEC\nINCLUDE\n  LOOP.DATA /\n")
    with pytest.raises(DeckError, match="is included within itself"):
        read_deck(tmp_path / "LOOP.DATA")


def test_a_deck_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeckError, match=r"NONE\.DATA: cannot be read"):
        read_deck(tmp_path / "NONE.DATA")
