"""The sequential iteration against Newton's method: its limit is the same solution, whatever holds the wells."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow import (
    BrooksCorey,
    Control,
    Corey,
    Fluid,
    Grid,
    Options,
    Phase,
    Rock,
    SaturationTable,
    Schedule,
    State,
    Trajectory,
    Well,
)
from rockbank.flow.equations.problem import Parameters, Problem, discretise
from rockbank.flow.equations.relperm import SaturationFunctions
from rockbank.flow.kernels.band import factorise, fill_band, solve_band
from rockbank.flow.kernels.cell_ordering import order_cells
from rockbank.flow.kernels.curves import compiled_curves, mobilities, mobility_at
from rockbank.flow.kernels.transport import flow_order
from rockbank.flow.results.balance import balance
from rockbank.flow.steppers import newton, sequential

DAY = 86400.0
NEWTON = Options(method="newton", solver="direct", cnv=1e-11, mb=1e-13, max_iterations=60)
# No iteration of ours comes so close, so that Newton has to take every step.
BEYOND_ROUND_OFF = replace(NEWTON, method="auto", tolerance=1e-18)
COREY = BrooksCorey(water_curve=Corey(residual=0.1, span=0.7), oil_curve=Corey(residual=0.2, span=0.7))
CURVES = {
    "squares": COREY,
    "powers": BrooksCorey(
        water_curve=Corey(residual=0.1, span=0.6, exponent=3.0, end=0.4),
        oil_curve=Corey(residual=0.25, span=0.65, exponent=1.5, end=0.9),
    ),
    "table": SaturationTable(
        saturation=(0.1, 0.3, 0.5, 0.8),
        k_water=(0.0, 0.05, 0.2, 0.6),
        k_oil=(0.9, 0.5, 0.15, 0.0),
        p_capillary=(0.0, 0.0, 0.0, 0.0),
    ),
    "table of mobile water": SaturationTable(
        saturation=(0.2, 0.5, 0.9), k_water=(0.02, 0.2, 0.7), k_oil=(0.8, 0.3, 0.01), p_capillary=(0.0, 0.0, 0.0)
    ),
}
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


def test_every_report_step_is_told():
    told: list[int] = []
    sequential.run(*case(), Options(tolerance=1e-3), progress=told.append)
    assert told == [1] * 5


def test_it_applies_where_both_phases_flow_the_same_way():
    problem, _ = case()
    assert sequential.applies(problem) is None
    for name, of in (("gravity", {"gravity": 9.8}), ("capillary", {"curves": BrooksCorey(
            water_curve=COREY.water_curve, oil_curve=COREY.oil_curve, entry_pressure=1e4)})):  # fmt: skip
        other = replace(problem, fluid=replace(problem.fluid, **of))
        assert name in (sequential.applies(other) or "")


@pytest.mark.parametrize("name", CURVES)
def test_the_compiled_curves_are_those_of_relperm(name):
    problem, _ = case(curves=CURVES[name])
    curves, fluid = compiled_curves(problem.fluid), problem.fluid
    s = torch.cat([torch.linspace(0, 1, 501, dtype=torch.float64), torch.tensor([0.1, 0.3, 0.5, 0.8]).double()])
    (k_w, slope_w), (k_o, slope_o) = fluid.curves.water(s), fluid.curves.oil(s)
    expected = torch.stack([k_w / 5e-4, k_o / 3e-3, slope_w / 5e-4, slope_o / 3e-3]).numpy()
    got = np.array([mobility_at(float(of), curves) for of in s]).T
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)  # of mobilities of 300 to 2000 at the end points
    one, m_w, m_o = np.ones(len(s)), np.empty(len(s)), np.empty(len(s))
    mobilities(s.numpy(), 2 * one, 3 * one, curves, m_w, m_o)
    np.testing.assert_allclose(m_w, 2 * expected[0], rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(m_o, 3 * expected[1], rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("shape", [(9, 7), (4, 6), (3, 4, 5), (1, 5), (6, 1)])
def test_the_band_solves_the_pressures_matrix(shape):
    ordering = order_cells(Grid(shape=shape, spacing=(1.0, 1.0, 1.0)))
    rng = np.random.default_rng(1)
    n, conductance = len(ordering.cell), rng.uniform(0.1, 10, len(ordering.face))
    matrix = np.diag(rng.uniform(0.01, 0.1, n))
    for l, u, c in zip(ordering.lower, ordering.upper, conductance, strict=True):  # noqa: E741
        matrix[np.ix_([l, u], [l, u])] += c * np.array([[1, -1], [-1, 1]])
    band, x = np.empty((n, ordering.width)), rng.normal(size=n)
    fill_band(ordering.lower, ordering.upper, conductance, np.diag(matrix).copy(), band)
    solution = matrix @ x
    assert factorise(band)
    solve_band(band, solution)
    np.testing.assert_allclose(solution, x, rtol=1e-10)
    assert ordering.width <= 1 + np.prod(shape) // max(shape)


def test_a_matrix_that_is_not_positive_is_refused():
    ordering = order_cells(Grid(shape=(3, 2), spacing=(1.0, 1.0, 1.0)))
    band = np.empty((6, ordering.width))
    fill_band(ordering.lower, ordering.upper, np.ones(7), np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0]), band)
    assert not factorise(band)


def test_cells_come_behind_those_that_flow_into_them():
    ordering = order_cells(Grid(shape=(6, 5, 4), spacing=(1.0, 1.0, 1.0)))
    n = len(ordering.cell)
    p = np.random.default_rng(2).normal(size=n)
    flux = p[ordering.lower] - p[ordering.upper]
    order = np.empty(n, dtype=np.uint32)
    assert flow_order(flux, *ordering.adjacency, np.empty(n, dtype=np.uint32), order) == n
    at = np.argsort(order)
    assert (
        np.where(flux > 0, at[ordering.upper] - at[ordering.lower], at[ordering.lower] - at[ordering.upper]) > 0
    ).all()


def test_a_flow_in_circles_has_no_order():
    ordering = order_cells(Grid(shape=(2, 2), spacing=(1.0, 1.0, 1.0)))
    circle = {(0, 1): 1.0, (1, 3): 1.0, (2, 3): -1.0, (0, 2): -1.0}
    flux = np.array([circle[int(l), int(u)] for l, u in zip(ordering.lower, ordering.upper, strict=True)])  # noqa: E741
    assert flow_order(flux, *ordering.adjacency, np.empty(4, dtype=np.uint32), np.empty(4, dtype=np.uint32)) == 0
