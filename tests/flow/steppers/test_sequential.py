"""The sequential iteration against Newton's method: its limit is the same solution, whatever holds the wells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow import (
    Control,
    Fluid,
    Grid,
    Options,
    Phase,
    Rock,
    Schedule,
    State,
    Trajectory,
    Well,
)
from rockbank.flow.equations.curves.relperm import SaturationFunctions
from rockbank.flow.equations.problem import Parameters, Problem, discretise
from rockbank.flow.equations.trajectory import NotConvergedError
from rockbank.flow.results.balance import balance
from rockbank.flow.steppers import newton, sequential
from tests.flow.saturation_functions import COREY, CURVES

DAY = 86400.0
NEWTON = Options(method="newton", solver="direct", cnv=1e-11, mb=1e-13, max_iterations=60)
# No iteration of ours comes so close, so that Newton has to take every step.
BEYOND_ROUND_OFF = replace(NEWTON, method="auto", tolerance=1e-18)
WELLS = {"I": ("injector", ((0, 0), (0, 1), (0, 2))), "P": ("producer", ((8, 6), (8, 5)))}
RATE, BHP = Control(kind="rate", target=100 / DAY), Control(kind="bhp", target=1e7)


def case(
    *,
    shape: tuple[int, ...] = (9, 7),
    active: np.ndarray | None = None,
    curves: SaturationFunctions = COREY,
    c: float = 0.0,
    wells: Mapping[str, tuple[str, Sequence[tuple[int, ...]]]] = WELLS,
    days: Sequence[float] = (5.0, 20.0, 60.0, 60.0, 200.0),
    seed: int = 0,
    **controls: Control | Sequence[Control],
) -> tuple[Problem, Parameters]:
    """Cells whose permeabilities differ a hundredfold, of 900 m^3 of pores each, at first full of oil."""
    generator = torch.Generator().manual_seed(seed)
    grid = Grid(shape=shape, spacing=(20.0, 15.0, 10.0), active=active)
    rock = Rock(
        grid=grid,
        permeability=1e-14 * 100 ** torch.rand(shape, generator=generator, dtype=torch.float64),
        porosity=0.25 + 0.1 * torch.rand(shape, generator=generator, dtype=torch.float64),
        compressibility=c,
        reference_pressure=1e7,
    )
    fluid = Fluid(
        water=Phase(viscosity=5e-4, density=1000.0, compressibility=c, reference_pressure=1e7),
        oil=Phase(viscosity=3e-3, density=800.0, compressibility=3 * c, reference_pressure=1e7),
        curves=curves,
    )
    placed = [Well(name=name, kind=kind, cells=cells) for name, (kind, cells) in wells.items()]
    schedule = Schedule(
        steps=np.array(days) * DAY, controls={name: controls.get(name, RATE if name == "I" else BHP) for name in wells}
    )
    problem, parameters = discretise(rock, fluid, placed, schedule, State(pressure=1.2e7))
    return problem, parameters.detach()


def corner_missing() -> np.ndarray:
    """All cells but a wall and a corner."""
    active = np.ones((9, 7), dtype=bool)
    active[4, 1:6] = active[7:, :2] = False
    return active


FIVE = {
    "I": ("injector", ((4, 3),)),
    **{name: ("producer", (place,)) for name, place in zip("ABCD", [(0, 0), (0, 6), (8, 0), (8, 6)], strict=True)},
}
LAYERED = {"I": ("injector", ((0, 0, 0), (0, 0, 1), (0, 0, 2))), "P": ("producer", ((4, 3, 0), (4, 3, 2)))}
LIQUID = Control(kind="rate", target=60 / DAY)
CASES = {
    "a rate and a pressure": {},
    "two pressures": {"I": Control(kind="bhp", target=3e7)},
    "along the other axis": {"shape": (7, 9), "wells": {"I": ("injector", ((0, 0),)), "P": ("producer", ((6, 8),))}},
    "three dimensions": {"shape": (5, 4, 3), "wells": LAYERED},
    "inactive cells": {"active": corner_missing()},
    "powers": {"curves": CURVES["powers"]},
    "a table": {"curves": CURVES["table"]},
    "a table of mobile water": {"curves": CURVES["table of mobile water"]},
    "compressible": {"c": 1e-9},
    "compressible under rates": {"c": 1e-9, "P": Control(kind="rate", target=80 / DAY)},
    "an oil rate": {"I": Control(kind="bhp", target=3e7), "P": Control(kind="oil", target=30 / DAY)},
    "a water rate": {
        "I": Control(kind="bhp", target=3e7),
        "P": [BHP, BHP, BHP, BHP, Control(kind="water", target=40 / DAY)],
        "days": (5.0, 20.0, 60.0, 400.0, 100.0),
    },
    "five wells": {"wells": FIVE, "B": LIQUID, "D": Control(kind="bhp", target=1.1e7)},
    "a shut well": {"wells": FIVE, "B": [BHP, Control(kind="shut"), BHP, BHP, BHP]},
    "an injector's pressure limit": {"I": Control(kind="rate", target=100 / DAY, limit=2.5e7)},
    "a producer's pressure limit": {
        "I": Control(kind="bhp", target=3e7),
        "P": Control(kind="rate", target=200 / DAY, limit=1.2e7),
    },
    "a producer's rate limit": {"I": Control(kind="bhp", target=3e7), "P": Control(kind="bhp", target=1e7, limit=5e-4)},
    "a producer's pressure limit that changes": {
        "I": Control(kind="bhp", target=3e7),
        "P": [Control(kind="rate", target=200 / DAY, limit=limit) for limit in (1.2e7, 1.2e7, 1.5e7, 1e7, 1.4e7)],
    },
    "an injector's pressure limit that ends": {
        "I": [Control(kind="rate", target=100 / DAY, limit=limit) for limit in (2.5e7, 2.5e7, None, None, 2.2e7)],
    },
    "a rate limit that changes": {
        "I": Control(kind="bhp", target=3e7),
        "P": [Control(kind="bhp", target=1e7, limit=limit) for limit in (5e-4, 4e-4, 4e-4, None, 3e-4)],
    },
    "controls that change": {
        "I": [RATE, Control(kind="rate", target=300 / DAY), RATE, Control(kind="bhp", target=2e7), RATE]
    },
}
cases = pytest.mark.parametrize("name", CASES)


def solved(name: str, tolerance: float) -> tuple[Trajectory, Trajectory]:
    """By the sequential iteration and by Newton's method."""
    problem, parameters = case(**CASES[name])
    return (
        sequential.run(problem, parameters, Options(tolerance=tolerance)),
        newton.run(problem, parameters, NEWTON)[0],
    )


@cases
def test_its_limit_is_the_fully_implicit_solution(name):
    ours, newtons = solved(name, 1e-11)
    assert {report.method for report in ours.reports} == {"sequential"}
    assert (ours.kinds == newtons.kinds).all()
    # What is left is less than ten times the tolerance after five steps; Newton leaves less.
    torch.testing.assert_close(ours.saturation, newtons.saturation, rtol=0, atol=1e-10)
    torch.testing.assert_close(ours.pressure, newtons.pressure, rtol=1e-9, atol=0)
    torch.testing.assert_close(ours.bhp, newtons.bhp, rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    "name", ["a rate and a pressure", "three dimensions", "compressible under rates", "five wells"]
)
def test_pressures_by_multigrid_are_those_by_factors(name, monkeypatch):
    problem, parameters = case(**CASES[name])
    by_factors = sequential.run(problem, parameters, Options(tolerance=1e-11))
    monkeypatch.setattr("rockbank.flow.steppers.pressure.WIDEST_BAND", 0)
    monkeypatch.setattr("rockbank.flow.linear.multigrid.COARSEST", 10)  # so that there is more than one level
    by_cycles = sequential.run(problem, parameters, Options(tolerance=1e-11))
    assert {report.method for report in by_cycles.reports} == {"sequential"}
    torch.testing.assert_close(by_cycles.saturation, by_factors.saturation, rtol=0, atol=1e-10)
    torch.testing.assert_close(by_cycles.pressure, by_factors.pressure, rtol=1e-9, atol=0)


def test_what_is_left_shrinks_with_the_tolerance():
    problem, parameters = case()
    exact = sequential.run(problem, parameters, Options(tolerance=1e-11))
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-6, 1e-8):
        loose = sequential.run(problem, parameters, Options(tolerance=tolerance))
        spread = exact.pressure.amax() - exact.pressure.amin()
        # Five steps, each of which leaves less than the tolerance.
        assert (loose.saturation - exact.saturation).abs().max() < 5 * tolerance
        assert (loose.pressure - exact.pressure).abs().max() < 5 * tolerance * spread


@pytest.mark.parametrize("name", ["a rate and a pressure", "compressible", "five wells", "a producer's rate limit"])
def test_volumes_balance_to_the_tolerance(name):
    problem, parameters = case(**CASES[name])
    trajectory = sequential.run(problem, parameters, Options(tolerance=1e-10))
    # In pore volumes of all cells, several of which flow through each cell in a step.
    assert balance(problem, parameters, trajectory).mass_balance_error < 1e-9
    assert max(report.residual for report in trajectory.reports) < 1e-7


def test_rates_that_hold_wells_are_met_to_round_off_however_loose_the_tolerance():
    problem, parameters = case(c=1e-9, P=Control(kind="rate", target=80 / DAY))
    trajectory = sequential.run(problem, parameters, Options(tolerance=1e-2))
    volumes = balance(problem, parameters, trajectory).injected[-1].sum(axis=-1)
    np.testing.assert_allclose(volumes, [100 / DAY * problem.steps.sum(), -80 / DAY * problem.steps.sum()], rtol=1e-12)


def test_the_order_of_the_axes_makes_no_difference():
    problem, parameters = case(wells={"I": ("injector", ((0, 0),)), "P": ("producer", ((8, 6),))})
    along = sequential.run(problem, parameters, Options(tolerance=1e-11))
    permeability = 1e-14 * 100 ** torch.rand(9, 7, generator=(generator := torch.Generator().manual_seed(0)),
                                             dtype=torch.float64)  # fmt: skip
    porosity = 0.25 + 0.1 * torch.rand(9, 7, generator=generator, dtype=torch.float64)
    rock = Rock(grid=Grid(shape=(7, 9), spacing=(15.0, 20.0, 10.0)), permeability=permeability.T, porosity=porosity.T)
    wells = [Well(name="I", kind="injector", cells=[(0, 0)]), Well(name="P", kind="producer", cells=[(6, 8)])]
    schedule = Schedule(steps=problem.steps, controls={"I": RATE, "P": BHP})
    turned = discretise(rock, problem.fluid, wells, schedule, State(pressure=1.2e7))
    across = sequential.run(*turned, Options(tolerance=1e-11))
    was = along.saturation.reshape(-1, 9, 7).transpose(1, 2).reshape(-1, 63)
    torch.testing.assert_close(across.saturation, was, rtol=0, atol=1e-10)
    torch.testing.assert_close(across.bhp, along.bhp, rtol=1e-9, atol=0)


def test_newtons_method_takes_the_steps_that_it_cannot_and_says_why():
    problem, parameters = case()
    helped = sequential.run(problem, parameters, BEYOND_ROUND_OFF)
    assert {report.method for report in helped.reports} == {"newton"}
    assert all(report.note.startswith("newton: the last of 50 iterations") for report in helped.reports)
    (newtons,) = newton.run(problem, parameters, NEWTON)
    torch.testing.assert_close(helped.saturation, newtons.saturation, rtol=0, atol=1e-10)


@pytest.mark.parametrize("failed", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name in CASES if "limit" in name])
def test_what_newtons_method_leaves_holding_a_well_holds_it_in_the_next_step(name, failed, monkeypatch):
    problem, parameters = case(**CASES[name])
    step = sequential.TimeStepper.step

    def fails_once(self: sequential.TimeStepper, report: int) -> tuple[int, float]:
        if report != failed:
            return step(self, report)
        self.wells.begin(report)
        raise NotConvergedError("as asked")

    monkeypatch.setattr(sequential.TimeStepper, "step", fails_once)
    ours = sequential.run(problem, parameters, replace(NEWTON, tolerance=1e-11))
    (newtons,) = newton.run(problem, parameters, NEWTON)
    assert [report.method for report in ours.reports].count("newton") == 1
    assert (ours.held_by_limit == newtons.held_by_limit).all()
    assert (ours.kinds == newtons.kinds).all()
    torch.testing.assert_close(ours.bhp, newtons.bhp, rtol=1e-9, atol=0)


def test_every_report_step_is_counted():
    done: list[int] = []
    sequential.run(*case(), Options(tolerance=1e-3), progress=done.append)
    assert done == [1] * 5


def test_it_applies_but_where_wells_may_cross_flow_and_liquids_change():
    problem, _ = case()
    assert sequential.applies(problem) is None
    assert sequential.applies(replace(problem, fluid=replace(problem.fluid, gravity=9.8))) is None
    crossing = replace(problem, crosses=np.ones_like(problem.crosses))
    assert "cross-flow" in (sequential.applies(crossing) or "")
    water = replace(problem.fluid.water, viscosibility=1e-9)
    assert "liquids" in (sequential.applies(replace(problem, fluid=replace(problem.fluid, water=water))) or "")
