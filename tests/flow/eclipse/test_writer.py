"""Decks as they are written: what is read again is what was written, and Eclipse takes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch

from rockbank.flow.case import Case
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.eclipse.writer import LEAST_COMPRESSIBILITY, flow_options, write_deck
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State, discretise
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from tests.flow.eclipse.test_deck import assert_same

DAY, BAR = 86400.0, 1e5


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
    for name in ("transmissibility", "pore_volume", "well_index", "targets", "pressure"):
        torch.testing.assert_close(getattr(parameters_once, name), getattr(parameters, name), rtol=2e-15, atol=0)
    np.testing.assert_allclose(problem_once.steps, problem.steps, rtol=2e-15)
    np.testing.assert_array_equal(problem_once.kinds, problem.kinds)
    assert torch.equal(parameters_once.saturation, parameters.saturation)
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
