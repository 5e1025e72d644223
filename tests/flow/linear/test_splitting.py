"""The transposed splitting against the sparse direct solver and the one by slabs."""

import math
from dataclasses import replace
from itertools import pairwise

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
    Well,
    jacobian,
)
from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.linear.choose import solver_for
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.slab import SlabSolver
from rockbank.flow.linear.splitting import FEW, SplittingSolver
from rockbank.flow.steppers import sequential
from tests.flow.saturation_functions import COREY, POWERS, TABLE

DAY = 86400.0
ragged = np.ones((9, 7), dtype=bool)
ragged[4, 1:6] = ragged[7:, :2] = False
RATE, LIQUID = Control(kind="rate", target=100 / DAY), Control(kind="rate", target=50 / DAY)
BHP, HIGH, SHUT = Control(kind="bhp", target=1e7), Control(kind="bhp", target=3e7), Control(kind="shut")
CASES = {
    "rate and pressures": {},
    "pressures": {"I": HIGH},
    "several rates": {"P": LIQUID},
    "an oil rate": {"I": HIGH, "P": [Control(kind="oil", target=30 / DAY), BHP, BHP]},
    "a water rate": {"I": HIGH, "P": [BHP, BHP, Control(kind="water", target=40 / DAY)]},
    "shut in between": {"P": [BHP, SHUT, BHP]},
    "an injector's limit": {"I": Control(kind="rate", target=600 / DAY, limit=2.5e7)},
    "a producer's limit": {"I": HIGH, "P": Control(kind="rate", target=900 / DAY, limit=1.2e7)},
    "pressure with a most rate": {"I": HIGH, "P": Control(kind="bhp", target=1e7, limit=5e-4)},
    "along y": {"shape": (7, 9)},
    "three dimensions": {"shape": (4, 3, 5)},
    "inactive cells": {"active": ragged},
    "powers": {"curves": POWERS},
    "a table": {"curves": TABLE},
    "compressible": {"c": 1e-9},
    "compressible under rates": {"c": 1e-9, "P": LIQUID, "Q": Control(kind="rate", target=20 / DAY)},
}
cases = pytest.mark.parametrize("name", CASES)


def case(*, shape=(9, 7), active=None, curves=COREY, c=0.0, **controls):
    """An injector of two perforations and two producers, one of them in the middle, in rock of a hundredfold spread."""
    generator = torch.Generator().manual_seed(0)
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
    nx, ny, *rest = shape
    deep = (0,) * len(rest)
    wells = [
        Well(name="I", kind="injector", cells=[(0, 0, *deep), (0, 1, *deep)]),
        Well(name="P", kind="producer", cells=[(nx - 1, ny - 1, *deep), (nx - 1, ny - 2, *deep)]),
        Well(name="Q", kind="producer", cells=[(nx // 2, ny - 1, *deep)]),
    ]
    held = {"I": RATE, "P": BHP, "Q": BHP} | controls
    schedule = Schedule(steps=np.array([5.0, 60.0, 300.0]) * DAY, controls=held)
    problem, parameters = discretise(rock, fluid, wells, schedule, State(pressure=1.2e7))
    return problem, parameters.detach()


def jacobians(problem, parameters):
    """One for each step that the sequential iteration takes."""
    run = sequential.run(problem, parameters, Options(tolerance=1e-8))
    assert {report.method for report in run.reports} == {"sequential"}
    equations = Equations(problem, parameters)
    for k in range(len(run.steps)):
        before, now = (
            Unknowns(pressure=run.pressure[[at]], saturation=run.saturation[[at]], bhp=run.bhp[[at and k]])
            for at in (k, k + 1)
        )
        step = Step(
            length=torch.from_numpy(run.steps[[k]]),
            kinds=torch.from_numpy(run.kinds[[k]]),
            targets=parameters.targets[:, k],
            head=run.head[[k]],
        )
        yield equations.linearise(now, before, step).jacobian


def right_hand_sides(problem, n, members=1):
    """Of the size of a misfit's: a pressure changes it as much as a saturation where it changes by 10 bar."""
    generator = torch.Generator().manual_seed(1)
    cells = torch.randn(members, problem.grid.n_cells, 2, n, generator=generator, dtype=torch.float64)
    wells = torch.randn(members, len(problem.wells), n, generator=generator, dtype=torch.float64)
    return cells * torch.tensor([[1e-6], [1.0]], dtype=torch.float64), wells * 1e-6


class Counting:
    """A solver that counts what it is asked for."""

    def __init__(self):
        self.n = 0

    def factor(self, problem, of):
        self.n += 1
        return DirectSolver().factor(problem, of)


def assert_close(got, expected, tolerance):
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


@cases
def test_the_multipliers_of_every_step_are_those_of_the_direct_solver(name):
    problem, parameters = case(**CASES[name])
    other, right = Counting(), right_hand_sides(problem, n=2)
    for of in jacobians(problem, parameters):
        got = SplittingSolver(other).factor(problem, of).solve_transposed(*right)
        # The iteration leaves a part of its last change, which is 1e-10.
        assert_close(got, DirectSolver().factor(problem, of).solve_transposed(*right), 1e-9)
    assert other.n == 0


def test_members_have_the_multipliers_that_they_have_alone():
    problem, parameters = case()
    first, last = (list(jacobians(problem, parameters))[k] for k in (0, -1))
    both = type(first)(**{name: torch.cat([of, getattr(last, name)]) for name, of in vars(first).items()})
    cells, wells = right_hand_sides(problem, n=1, members=2)
    solver = SplittingSolver(Counting())
    together = solver.factor(problem, both).solve_transposed(cells, wells)
    for i, of in enumerate((first, last)):
        alone = solver.factor(problem, of).solve_transposed(cells[[i]], wells[[i]])
        assert_close([part[[i]] for part in together], alone, 0)


def test_right_hand_sides_stay_what_they_are():
    problem, parameters = case()
    right = right_hand_sides(problem, n=1)
    kept = [of.clone() for of in right]
    SplittingSolver(Counting()).factor(problem, next(jacobians(problem, parameters))).solve_transposed(*right)
    assert_close(right, kept, 0)


def test_many_right_hand_sides_and_solutions_forward_are_the_other_solvers():
    problem, parameters = case()
    of, other = next(jacobians(problem, parameters)), Counting()
    factor, direct = SplittingSolver(other).factor(problem, of), DirectSolver().factor(problem, of)
    few, many = right_hand_sides(problem, FEW), right_hand_sides(problem, FEW + 1)
    factor.solve_transposed(*few)
    assert other.n == 0
    assert_close(factor.solve_transposed(*many), direct.solve_transposed(*many), 0)
    assert_close(factor.solve(*few), direct.solve(*few), 0)
    assert other.n == 1


def test_the_other_solver_takes_what_the_iteration_does_not_solve():
    # Where water has come through, more of a well's flow brings its oil rate only slowly: the changes shrink by 0.6.
    problem, parameters = case(I=HIGH, P=Control(kind="oil", target=30 / DAY))
    *_, of = jacobians(problem, parameters)
    other, right = Counting(), right_hand_sides(problem, n=1)
    got = SplittingSolver(other).factor(problem, of).solve_transposed(*right)
    assert_close(got, DirectSolver().factor(problem, of).solve_transposed(*right), 0)
    assert other.n == 1


def test_the_other_solver_takes_a_pressure_that_nothing_holds():
    problem, parameters = case()
    of, right, other = next(jacobians(problem, parameters)), right_hand_sides(problem, n=1), Counting()
    of = replace(of, perforation=torch.zeros_like(of.perforation))
    y, _ = SplittingSolver(other).factor(problem, of).solve_transposed(*right)
    assert other.n == 1
    assert not y.isfinite().all() or y.abs().max() > 1e6


def test_auto_iterates_where_both_phases_flow_the_same_way():
    problem, _ = case()
    assert type(solver_for(problem, "auto", torch.device("cpu"))) is SplittingSolver
    assert type(solver_for(problem, "slabs", torch.device("cpu"))) is SlabSolver
    heavy = replace(problem, fluid=replace(problem.fluid, gravity=9.8))
    assert type(solver_for(heavy, "auto", torch.device("cpu"))) is SlabSolver


VARIANTS = {
    "rate": {"shape": (12, 6)},
    "limit": {"I": Control(kind="rate", target=1e-3, limit=1.6e7)},
    "oil": {"I": Control(kind="bhp", target=1.5e7), "P": Control(kind="oil", target=5e-5)},
    "shut in between": {
        "compressible": True,
        "I": [Control(kind="rate", target=3e-4), Control(kind="shut"), Control(kind="rate", target=1e-4)],
    },
    "table": {"curves": "table", "shape": (5, 7)},
    "compressible": {"compressible": True, "shape": (5, 4)},
    "three dimensions": {"shape": (4, 3, 3)},
}
variants = pytest.mark.parametrize("name", VARIANTS)


def observables(model, log_permeability, porosity, options):
    """Of order 1."""
    result = model.run(rock=model.rock(log_permeability.exp(), porosity), options=options)
    return torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])


@variants
@pytest.mark.parametrize("tolerance", [1e-3, 1e-10])
def test_gradients_of_a_run_are_those_by_slabs_however_loose_it_was(reservoir, name, tolerance):
    model = reservoir(**VARIANTS[name])
    at = model.permeability.log().requires_grad_(), model.porosity.clone().requires_grad_()
    found = []
    for solver in ("auto", "slabs", "direct"):
        of = observables(model, *at, Options(method="sequential", tolerance=tolerance, solver=solver))
        found.append(torch.autograd.grad((of**2).sum(), at))
    assert_close(found[0], found[1], 1e-8)
    assert_close(found[0], found[2], 1e-8)


def test_one_sweep_for_all_observables_gives_the_gradient_of_each(reservoir):
    model = reservoir()
    at = model.permeability.log().requires_grad_(), model.porosity.clone().requires_grad_()
    of = observables(model, *at, Options())
    by_each = [torch.autograd.grad(one, at, retain_graph=True) for one in of.flatten()]
    for whole, rows in zip(jacobian(of, at), zip(*by_each, strict=True), strict=True):
        assert_close([whole.flatten(0, 2)], [torch.stack(rows)], 1e-9)


@variants
def test_the_taylor_remainder_is_of_second_order(reservoir, name):
    model, options = reservoir(**VARIANTS[name]), Options(method="sequential", tolerance=1e-11)
    generator = torch.Generator().manual_seed(7)
    at = model.permeability.log(), model.porosity
    along = [torch.randn(of.shape, generator=generator, dtype=torch.float64) * size
             for of, size in zip(at, (1.0, 0.1), strict=True)]  # fmt: skip

    def misfit(h):
        return (observables(model, at[0] + h * along[0], at[1] + h * along[1], options) ** 2).sum()

    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = misfit(zero)
    (slope,) = torch.autograd.grad(value, zero)
    left = [abs((misfit(h) - value - h * slope).item()) for h in (0.02, 0.01, 0.005)]
    assert min(math.log2(coarse / fine) for coarse, fine in pairwise(left)) > 1.9
