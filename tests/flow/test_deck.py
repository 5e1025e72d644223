"""Decks: read as Eclipse means them, written so that they come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from rockbank.flow.case import Case
from rockbank.flow.deck import read_deck
from rockbank.flow.deck_text import DeckError
from rockbank.flow.deck_writer import LEAST_COMPRESSIBILITY, flow_options, write_deck
from rockbank.flow.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.grid import Grid
from rockbank.flow.problem import State, discretise
from rockbank.flow.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.rock import Rock
from rockbank.flow.units import MILLIDARCY
from rockbank.flow.wells import Control, Schedule, Well

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
    for name in ("transmissibility", "pore_volume", "well_index", "targets"):
        assert torch.equal(getattr(parameters_a, name), getattr(parameters_b, name)), name
    for name in ("perforation_cell", "perforation_well", "perforation_head", "is_injector", "kinds", "limits", "steps"):
        np.testing.assert_array_equal(getattr(problem_a, name), getattr(problem_b, name), err_msg=name)
    for name in ("fluid", "rock_compressibility", "rock_reference"):
        assert getattr(problem_a, name) == getattr(problem_b, name), name
    assert torch.equal(problem_a.pressure, problem_b.pressure)
    assert torch.equal(problem_a.saturation, problem_b.saturation)
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
    # ln(B) falls by 0.02 over 200 bar and is 0 at 200 bar.
    assert fluid.oil.compressibility == pytest.approx(1e-4 / BAR, rel=1e-12)
    assert fluid.oil.reference_pressure == pytest.approx(200 * BAR, rel=1e-12)
    assert (fluid.oil.viscosity, fluid.oil.density) == (2e-3, 800.0)
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


def rich_case() -> Case:
    """All that a deck holds, with numbers that no unit leaves short."""
    rng = torch.Generator().manual_seed(5)
    active = np.ones((4, 3, 2), dtype=bool)
    active[1, 1] = False
    grid = Grid(shape=(4, 3, 2), spacing=(7.1, (3.3, 5.0, 2.9), (1.7, 2.3)), top=1234.5, active=active)

    def field(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(grid.shape, generator=rng, dtype=torch.float64)

    return Case(
        title="Rich",
        rock=Rock(
            grid=grid,
            permeability=[field(1e-15, 1e-12) for _ in range(3)],
            porosity=field(0.05, 0.35),
            compressibility=4.1e-10,
            reference_pressure=1.91e7,
        ),
        fluid=Fluid(
            water=Phase(viscosity=3.1e-4, density=1013.0, compressibility=4.3e-10, reference_pressure=1.7e7),
            oil=Phase(viscosity=5.3e-3, density=713.0),
            curves=BrooksCorey(
                water_curve=Corey(residual=0.17, span=0.71, end=0.37, exponent=2.9),
                oil_curve=Corey(residual=0.11, span=0.72),
                entry_pressure=2.1e3,
            ),
            gravity=GRAVITY,
        ),
        wells=(
            Well(name="W1", kind="injector", cells=[(0, 0, 0), (0, 0, 1)], skin=0.3, datum=1000.0),
            Well(name="W2", kind="producer", cells=[(3, 0, 1), (3, 1, 1), (3, 2, 1)], axis=1, radius=0.07),
        ),
        schedule=Schedule(
            steps=(0.1 * DAY, 7 * DAY, 7 * DAY, 30.3 * DAY),
            controls={
                "W1": Control(kind="rate", target=torch.tensor([1.1e-4, 1.2e-4, 1.2e-4, 1.3e-4], dtype=torch.float64)),
                "W2": [
                    Control(kind="shut"),
                    Control(kind="rate", target=1.7e-4, limit=1.2e7),
                    Control(kind="water", target=1.3e-5, limit=1.3e7),
                    Control(kind="bhp", target=1.1e7, limit=3.3e-4),
                ],
            },
        ),
        initial=State(pressure=field(1.8e7, 2.2e7), saturation=field(0.2, 0.7)),
        start=datetime(2021, 7, 9, 3, 4, 5),
    )


def test_what_is_written_is_read_again_to_the_last_bit_of_what_the_units_allow(tmp_path: Path) -> None:
    case = rich_case()
    write_deck(tmp_path / "RICH.DATA", case)
    once = read_deck(tmp_path / "RICH.DATA")
    write_deck(tmp_path / "AGAIN.DATA", once)
    assert_same(once, read_deck(tmp_path / "AGAIN.DATA"))
    (problem, parameters), (problem_once, parameters_once) = (
        discretise(each.rock, each.fluid, each.wells, each.schedule, each.initial) for each in (case, once)
    )
    # Where no number x makes x * unit the value, the next one does: a unit of round-off, in each factor.
    for name in ("transmissibility", "pore_volume", "well_index", "targets"):
        torch.testing.assert_close(getattr(parameters_once, name), getattr(parameters, name), rtol=2e-15, atol=0)
    for name in ("steps", "perforation_head"):
        np.testing.assert_allclose(getattr(problem_once, name), getattr(problem, name), rtol=2e-15)
    np.testing.assert_array_equal(problem_once.kinds, problem.kinds)
    torch.testing.assert_close(problem_once.pressure, problem.pressure, rtol=2e-15, atol=0)
    torch.testing.assert_close(problem_once.saturation, problem.saturation, rtol=0, atol=0)
    assert once.fluid.oil == replace(case.fluid.oil, compressibility=LEAST_COMPRESSIBILITY)


def test_curves_are_sampled_densely_with_their_ends(tmp_path: Path) -> None:
    case = rich_case()
    write_deck(tmp_path / "RICH.DATA", case)
    table = read_deck(tmp_path / "RICH.DATA").fluid.curves
    s = torch.linspace(0.17, 1.0, 5000, dtype=torch.float64)
    for name in ("water", "oil"):
        # Straight pieces are off by k'' h^2 / 8, with k'' at most 4.1 and h at most pi/2 * 0.83 / 600.
        torch.testing.assert_close(
            getattr(table, name)(s)[0], getattr(case.fluid.curves, name)(s)[0], rtol=0, atol=4.1 * 0.0022**2 / 8 + 1e-6
        )
    for kink in (0.17, 0.17 + 0.71, 1 - 0.11, 1 - 0.11 - 0.72):
        assert min(abs(kink - each) for each in table.saturation) < 1e-12
    assert (table.saturation[0], table.saturation[-1], table.k_water[0], table.k_oil[-1]) == (0.17, 1.0, 0.0, 0.0)


def test_a_deck_of_one_layer_lies_flat_and_needs_gravity_left_out(tmp_path: Path) -> None:
    case = rich_case()
    flat = Grid(shape=(4, 3), spacing=(7.1, 3.3, 1.7))
    case = replace(
        case,
        rock=Rock(
            grid=flat,
            permeability=torch.full((4, 3), 1e-13, dtype=torch.float64),
            porosity=torch.full((4, 3), 0.2, dtype=torch.float64),
        ),
        fluid=replace(case.fluid, gravity=0.0),
        wells=tuple(
            Well(name=name, kind=kind, cells=[cell])
            for name, kind, cell in (("W1", "injector", (0, 0)), ("W2", "producer", (3, 2)))
        ),
        initial=State(pressure=2e7),
    )
    assert flow_options(case) == ["--linear-solver=cpr", "--enable-gravity=false"]
    write_deck(tmp_path / "FLAT.DATA", case)
    read = read_deck(tmp_path / "FLAT.DATA")
    assert (read.rock.grid.shape, read.fluid.gravity) == ((4, 3), 0.0)
    assert isinstance(read.rock.permeability, torch.Tensor)
    assert "--enable-gravity=false" in (tmp_path / "FLAT.DATA").read_text()


def test_a_deck_of_what_is_not_compressible_starts_at_its_first_instant(tmp_path: Path) -> None:
    case = rich_case()
    grid = Grid(shape=(5, 1), spacing=(10.0, 10.0, 1.0))
    field = torch.ones(grid.shape, dtype=torch.float64)
    liquid = Phase(viscosity=1e-3, density=1000.0)
    case = replace(
        case,
        rock=Rock(grid=grid, permeability=1e-13 * field, porosity=0.2 * field),
        fluid=replace(case.fluid, water=liquid, oil=liquid, gravity=0.0, curves=BrooksCorey(
            water_curve=Corey(residual=0.2, span=0.6), oil_curve=Corey(residual=0.2, span=0.6))),
        wells=tuple(Well(name=name, kind=kind, cells=[cell], index=torch.tensor([1e-12], dtype=torch.float64))
                    for name, kind, cell in (("W1", "injector", (0, 0)), ("W2", "producer", (4, 0)))),
        schedule=Schedule(steps=(DAY, DAY), controls={
            "W1": Control(kind="rate", target=torch.tensor([1e-7, 2e-7], dtype=torch.float64)),
            "W2": Control(kind="bhp", target=1e7)}),
        initial=State(pressure=3e7, saturation=0.2),
    )  # fmt: skip
    write_deck(tmp_path / "NOW.DATA", case)
    # Oil of mobility 1 / mu flows at 1e-7 m^3/s through faces of 1e-13 m^3 and the producer's index.
    drops = 1e-7 * 1e-3 * np.array([4e13, 3e13, 2e13, 1e13, 0.0])
    pressure = read_deck(tmp_path / "NOW.DATA").initial.pressure.flatten().numpy()
    # To the little water that a second brings.
    np.testing.assert_allclose(pressure, 1e7 + 1e-7 * 1e-3 / 1e-12 + drops, rtol=1e-6)
    write_deck(tmp_path / "AS_IT_IS.DATA", case, least_compressibility=0.0)
    assert read_deck(tmp_path / "AS_IT_IS.DATA").initial.pressure.unique().item() == 3e7


def test_a_deck_has_one_member(tmp_path: Path) -> None:
    case = rich_case()
    several = replace(case, initial=State(pressure=torch.full((2, *case.rock.grid.shape), 2e7, dtype=torch.float64)))
    with pytest.raises(ValueError, match="got 2 members; a deck has one"):
        write_deck(tmp_path / "MANY.DATA", several)
    assert not list(tmp_path.iterdir())


def test_titles_and_names_are_such_as_eclipse_takes(tmp_path: Path) -> None:
    case = replace(rich_case(), title='Rich\'s 1/2 -- "quoted"')
    write_deck(tmp_path / "RICH.DATA", case)
    assert read_deck(tmp_path / "RICH.DATA").title == "Richs 12  quoted"
    for name in ("Producer 1", "PRODUCER1", "P'1", ""):
        wells = (replace(case.wells[0], name=name), case.wells[1])
        schedule = replace(case.schedule, controls={name: case.schedule.of("W1")[0], "W2": case.schedule.of("W2")})
        with pytest.raises(ValueError, match="Eclipse takes names of up to 8 characters"):
            write_deck(tmp_path / "NAMED.DATA", replace(case, wells=wells, schedule=schedule))


def test_lines_stay_within_what_eclipse_reads(tmp_path: Path) -> None:
    write_deck(tmp_path / "RICH.DATA", rich_case())
    assert max(len(line) for line in (tmp_path / "RICH.DATA").read_text().splitlines()) <= 128


def test_field_units_are_read(read: Callable[..., Case]) -> None:
    case = read(("METRIC", "FIELD"))
    assert case.rock.grid.sizes[0][0] == pytest.approx(3.048)
    assert case.fluid.water.density == pytest.approx(1020 * 16.018463, rel=1e-7)
    assert case.schedule.of("INJ")[0].target == pytest.approx(30 * 0.158987294928 / DAY)
    assert case.schedule.of("PROD")[2].target == pytest.approx(150 * 6894.757293168)


def test_cross_flow_is_noted(read: Callable[..., Case]) -> None:
    assert read().notes == ()
    (note,) = read(("WATER 3* NO", "WATER")).notes
    assert "CASE.DATA:80: well 'INJ': a perforation that would flow the wrong way is shut" in note


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("UNIFOUT", "DISGAS", "CASE.DATA:15: keyword DISGAS is not supported in section RUNSPEC"),
        ("ROCK\n", "PLYVISC\n", "keyword PLYVISC is not supported in section PROPS"),
        ("  1 1 /\nUNIFOUT", "  2 1 /\nUNIFOUT", "CASE.DATA:14: TABDIMS: item 1: got 2; one region"),
        ("  12*10 /", "  11*10 /", "CASE.DATA:20: DX: got 11 numbers for 12 cells"),
        ("  12*10 /", "  11*10 9 /", "DX varies across x"),
        ("  12*10 /", "  11*10 ten /", "CASE.DATA:20: DX: item 1: expected a number, got 'ten'"),
        ("  6*1000 /", "  5*1000 1001 /", "TOPS tilts"),
        ("  PERMX PERMZ /", "  PERMX MULTZ /", "CASE.DATA:39: COPY: array MULTZ is not supported"),
        ("50 1 3 1 2 2 2", "50 1 4 1 2 2 2", "EQUALS: got 1 to 4 along x; the grid has 1 to 3"),
        ("'active.inc'", "'none.inc'", "none.inc: cannot be read"),
        ("4.5e-5 0.5 /", "4.5e-5 0.5 1e-4 /", "PVTW: item 5: got 1e-4; the viscosity cannot change"),
        ("200 1.0 4.5e-5", "200 1.02 0", "PVTW: volume factor 1.02 without compressibility"),
        ("0.9900498337491681 2 /", "0.99 2.1 /", "PVDO: viscosities from 2 to 2.1"),
        ("0.9900498337491681 2 /", "0.99 2 500 0.99 2 /", "PVDO: the volume factors are"),
        ("  0.5 0.1  0.3  0.2\n", "  0.5 0.1  0.9  0.2\n", "SWOF: saturation table: got k_oil"),
        ("6*0.2 6*0.5 /", "6*0.2 5*0.5 /", "SWAT: got 11 numbers for 12 cells"),
        ("WATER 3* NO", "WATER 3* NO /\n  INJ G 1 1", "well 'INJ' is specified twice"),
        ("  PROD 3 2 1 1 OPEN", "  PRODUCER 3 2 1 1 OPEN", "no well 'PRODUCER'; known are ['INJ', 'PROD']"),
        ("  PROD 3 2 1 1 OPEN", "  PROD 4 2 1 1 OPEN", "cell (4, 2, 1) is outside the grid"),
        ("INJ WATER OPEN RATE", "INJ GAS OPEN RATE", "WCONINJE: item 2: got 'GAS'; only WATER"),
        ("INJ WATER OPEN RATE", "INJ WATER OPEN RESV", "control by 'RESV' is not supported"),
        ("ORAT 10 /", "ORAT 10 5 /", "under ORAT, only a bottom-hole pressure can be the limit"),
        ("ORAT 10 /", "ORAT 10 2* 5 /", "under ORAT, only a bottom-hole pressure can be the limit"),
        ("ORAT 10 /", "ORAT /", "WCONPROD: item 4 has no default"),
        ("ORAT 10 /", "ORAT 10 5* 30 /", "there is no tubing-head pressure"),
        ("  12 FEB 2020 /", "  2 FEB 2020 /", "got a step of 0 s; times have to increase"),
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
    with pytest.raises(DeckError, match="does a file include itself"):
        read_deck(tmp_path / "LOOP.DATA")


def test_a_deck_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DeckError, match=r"NONE\.DATA: cannot be read"):
        read_deck(tmp_path / "NONE.DATA")
