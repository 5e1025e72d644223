"""The equations' derivatives against automatic ones, and what must hold of the residual whatever the numbers."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.functional import jacobian as automatic

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, WATER, State, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.wells import Schedule
from rockbank.flow.linear.interface import assemble

# Sums of some ten terms, in double precision.
ROUND_OFF = 1e-12
VARIANTS = [
    {},
    {"curves": "table"},
    {"compressible": True},
    {"gravity": True, "shape": (2, 2, 3)},
    {"curves": "capillary"},
    {"compressible": True, "gravity": True, "liquid": "changing"},
    {"compressible": True, "gravity": True, "liquid": "tabled", "curves": "scaled", "shape": (2, 2, 3)},
    {"compressible": True, "gravity": True, "liquid": "regions", "curves": "crossing", "shape": (3, 2, 2)},
    {"compressible": True, "gravity": True, "curves": "capillary", "shape": (3, 2, 2)},
]
variants = pytest.mark.parametrize("variant", VARIANTS, ids=lambda of: ", ".join(map(str, of)) or "plain")
held = pytest.mark.parametrize(
    ("variant", "kinds"),
    [(variant, (RATE, BHP)) for variant in VARIANTS]
    + [(VARIANTS[-1], kinds) for kinds in [(BHP, RATE), (BHP, OIL), (RATE, WATER), (SHUT, RATE), (RATE, SHUT)]],
)


def case(model, kinds, members=2):
    """Equations at random states, in which some perforations would flow the wrong way."""
    generator = torch.Generator().manual_seed(3)

    def uniform(n):
        return torch.rand(members, n, generator=generator, dtype=torch.float64)

    schedule = Schedule(steps=model.steps, controls=model.controls)
    problem, parameters = discretise(model.rock(), model.fluid, model.wells(), schedule, State(pressure=1.2e7))
    equations = Equations(problem, parameters)
    n = problem.grid.n_cells

    def state():
        bhp = torch.tensor([1.3e7, 1.1e7]) + 3e6 * (uniform(2) - 0.5)
        return Unknowns(pressure=1.15e7 + 1e6 * uniform(n), saturation=0.15 + 0.6 * uniform(n), bhp=bhp.double())

    step = Step(
        length=1e5 * (1 + uniform(1)[:, 0]),
        kinds=torch.tensor(kinds).expand(members, -1),
        targets=torch.tensor([2e-4, 3e-4], dtype=torch.float64).expand(members, -1),
        head=2e4 * uniform(3),
    )
    return equations, state(), state(), step


def flowing_case(*given, **named):
    """One in which both wells flow: without, nothing says how high the pressures are."""
    equations, now, before, step = case(*given, **named)
    bhp = torch.tensor([1.5e7, 0.9e7], dtype=torch.float64).expand_as(now.bhp)
    return equations, replace(now, bhp=bhp), before, step


def flat(unknowns):
    return torch.cat([unknowns.pressure, unknowns.saturation, unknowns.bhp], dim=1)


def unknowns_of(x, n):
    return Unknowns(pressure=x[:, :n], saturation=x[:, n : 2 * n], bhp=x[:, 2 * n :])


def residual_of(x, before, equations, step):
    here = equations.linearise(unknowns_of(x, equations.problem.grid.n_cells), before, step)
    return torch.cat([here.cells[..., 0], here.cells[..., 1], here.wells], dim=1)


def dense(equations, jacobian, member):
    """The matrix of one member: rows [water, oil, wells], columns [pressure, saturation, bhp]."""
    problem, blocks = equations.problem, assemble(equations.problem, jacobian)
    n, (left, right) = problem.grid.n_cells, problem.grid.faces.T
    matrix = torch.zeros(2 * n + 2, 2 * n + 2, dtype=torch.float64)
    cells, at, well = (
        torch.arange(n),
        torch.as_tensor(problem.perforation_cell),
        torch.as_tensor(problem.perforation_well),
    )
    for a in (0, 1):
        for x in (0, 1):
            matrix[a * n + cells, x * n + cells] = blocks.cell[member, :, a, x]
            matrix[a * n + left, x * n + right] = blocks.left_right[member, :, a, x]
            matrix[a * n + right, x * n + left] = blocks.right_left[member, :, a, x]
        matrix[a * n + at, 2 * n + well] = blocks.cell_well[member, :, a]
        matrix[2 * n + well, a * n + at] = blocks.well_cell[member, :, a]
    matrix[2 * n + torch.arange(2), 2 * n + torch.arange(2)] = blocks.well[member]
    return matrix


def assert_close(got, expected):
    # Columns of pressures and saturations differ by ten orders of magnitude: each is compared by its own size.
    size = expected.abs().amax(dim=tuple(range(expected.ndim - 1)), keepdim=True)
    assert ((got - expected).abs() <= ROUND_OFF * size).all()


@held
def test_the_jacobian_is_the_residuals_derivative(reservoir, variant, kinds):
    equations, now, before, step = case(reservoir(**variant), kinds)
    expected = automatic(lambda x: residual_of(x, before, equations, step), flat(now), vectorize=True)
    jacobian = equations.linearise(now, before, step).jacobian
    for member in range(2):
        assert_close(dense(equations, jacobian, member), expected[member, :, member])


@held
def test_the_state_before_acts_through_what_the_cells_held_and_shut_wells(reservoir, variant, kinds):
    equations, now, before, step = case(reservoir(**variant), kinds, members=1)
    n = equations.problem.grid.n_cells
    expected = automatic(lambda x: residual_of(flat(now), unknowns_of(x, n), equations, step), flat(before))[0, :, 0]
    cells, wells = equations.before(before, step)
    got = torch.zeros_like(expected)
    for a in (0, 1):
        for x in (0, 1):
            got[a * n + torch.arange(n), x * n + torch.arange(n)] = cells[0, :, a, x]
    got[2 * n + torch.arange(2), 2 * n + torch.arange(2)] = wells[0]
    assert_close(got, expected)


@variants
def test_the_residual_is_the_sum_of_parameters_times_their_factors(reservoir, variant):
    equations, now, before, step = case(reservoir(**variant), (RATE, BHP))
    given, here = equations.parameters, equations.linearise(now, before, step)
    through = given.transmissibility[..., None] * here.flux
    expected = given.pore_volume[..., None] * here.gain
    expected = expected.index_add(1, equations.left, through).index_add(1, equations.right, -through)
    expected = expected.index_add(1, equations.cell, -given.well_index[..., None] * here.inflow)
    assert_close(here.cells, expected)


@variants
def test_what_leaves_a_cell_enters_another(reservoir, variant):
    equations, now, before, step = case(reservoir(**variant), (RATE, BHP))
    here = equations.linearise(now, before, step)
    gained = (equations.parameters.pore_volume[..., None] * here.gain).sum(dim=1)
    size = here.cells.abs().sum()
    assert ((here.cells.sum(dim=1) - gained + here.rates.sum(dim=1)).abs() <= ROUND_OFF * size).all()


def test_no_perforation_flows_the_wrong_way(reservoir):
    equations, now, before, step = case(reservoir(), (RATE, RATE), members=50)
    here = equations.linearise(now, before, step)
    drop = equations.drawdown(now, step.head)
    injects = equations.is_injector[equations.well]
    assert (here.inflow[:, injects] >= 0).all()
    assert (here.inflow[:, ~injects] <= 0).all()
    wrong = (drop * torch.where(injects, 1, -1)) < 0
    assert wrong.any()
    assert (here.inflow[wrong] == 0).all()


def test_an_injector_displaces_both_phases_with_water_alone(reservoir):
    model = reservoir()
    equations, now, before, step = case(model, (RATE, BHP), members=50)
    here = equations.linearise(now, before, step)
    s = now.saturation[:, equations.cell[0]]
    mobility = model.fluid.curves.water(s)[0] / 5e-4 + model.fluid.curves.oil(s)[0] / 2e-3
    drop = equations.drawdown(now, step.head)[:, 0].clamp(min=0)
    torch.testing.assert_close(here.inflow[:, 0, 0], mobility * drop, rtol=ROUND_OFF, atol=0)
    assert (here.inflow[:, 0, 1] == 0).all()
