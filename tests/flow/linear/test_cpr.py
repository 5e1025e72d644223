"""The iterative solver against the direct one: solutions, transposed solutions, and gradients of runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from rockbank.flow import Control, Options
from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import BHP, OIL, RATE
from rockbank.flow.kernels.krylov.matrix import multiply
from rockbank.flow.kernels.krylov.preconditioner import precondition, precondition_transposed
from rockbank.flow.linear.choose import FEW_CELLS, solver_for
from rockbank.flow.linear.cpr import CPRSolver
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.interface import TIGHT
from rockbank.flow.linear.multigrid import SETUP, KeptHierarchy, SingularError, hierarchy, once
from tests.flow.equations.test_residual import VARIANTS
from tests.flow.equations.test_residual import flowing_case as case

LARGE = {"compressible": True, "gravity": True, "curves": "capillary", "shape": (9, 8, 5)}


class Never:
    """A solver that must not be needed."""

    def factor(self, problem, jacobian):
        raise AssertionError("the iteration did not converge")


@pytest.mark.parametrize(
    ("variant", "kinds"), [(variant, kinds) for variant in [*VARIANTS, LARGE] for kinds in [(RATE, BHP), (BHP, OIL)]]
)
def test_the_iterative_solver_solves_with_the_matrix_and_its_transpose(reservoir, variant, kinds):
    equations, now, before, step = case(reservoir(**variant), kinds)
    jacobian = equations.linearise(now, before, step).jacobian
    n = equations.problem.grid.n_cells
    generator = torch.Generator().manual_seed(5)
    cells = torch.randn(2, n, 2, 3, generator=generator, dtype=torch.float64)
    wells = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    iterative, direct = (solver.factor(equations.problem, jacobian) for solver in (CPRSolver(Never()), DirectSolver()))
    for solve in ("solve", "solve_transposed"):
        for got, expected in zip(*(getattr(of, solve)(cells, wells) for of in (iterative, direct)), strict=True):
            places = tuple(range(1, got.ndim - 2)) if got.ndim == 4 else (1,)
            size = expected.abs().amax(dim=places, keepdim=True)
            # The tolerance of the residual, by the matrix's condition.
            assert ((got - expected).abs() <= 100 * TIGHT * size).all()


def test_the_transposed_preconditioner_is_the_transpose_of_the_other(reservoir):
    equations, now, before, step = case(reservoir(**VARIANTS[-1]), (RATE, BHP), members=1)
    n, solver = equations.problem.grid.n_cells, CPRSolver(Never())
    factor = solver.factor(equations.problem, equations.linearise(now, before, step).jacobian)
    factor.solve_transposed(torch.ones(1, n, 2, 1).double(), torch.ones(1, 2, 1).double())
    member, levels = factor.members[0], solver.pressure.levels
    right, work, of_wells = np.eye(2 * n).reshape(-1, n, 2), np.empty((n, 2)), np.empty(2)

    def columns(apply, *given):
        out = np.empty((2 * n, n, 2))
        for b, z in zip(right, out, strict=True):
            apply(*given, b, z, *((work,) if apply is not multiply else ()), of_wells)
        return out.reshape(2 * n, 2 * n)

    plain, transposed = (member.matrix, member.inverse), member.transposed
    for both, of, of_transposed in (
        ((multiply, multiply), plain[:1], transposed[:1]),
        ((precondition, precondition_transposed), (*plain, levels), (*transposed, levels)),
    ):
        one, other = columns(both[0], *of), columns(both[1], *of_transposed)
        assert np.abs(one - other.T).max() <= 1e-12 * np.abs(one).max()  # round-off


def test_a_loose_solution_leaves_as_much_as_it_may(reservoir):
    equations, now, before, step = case(reservoir(**LARGE), (RATE, BHP), members=1)
    here = equations.linearise(now, before, step)
    right = here.cells[..., None], here.wells[..., None]
    solver = CPRSolver(Never())
    factor = solver.factor(equations.problem, here.jacobian)
    loose, tight = factor.solve(*right, 1e-2)[0], factor.solve(*right)[0]
    by_column = (loose - tight).norm(dim=1) / tight.norm(dim=1)
    assert 1e-8 < by_column.max() < 1e-1


def test_what_does_not_converge_goes_to_the_other_solver(reservoir):
    equations, now, before, step = case(reservoir(), (RATE, BHP), members=1)
    jacobian = equations.linearise(now, before, step).jacobian
    nothing = Jacobian(**{name: torch.zeros_like(of) for name, of in vars(jacobian).items()})
    right = torch.ones(1, equations.problem.grid.n_cells, 2, 1).double(), torch.ones(1, 2, 1).double()
    for of in CPRSolver().factor(equations.problem, nothing).solve(*right):
        assert not of.isfinite().any()


def test_a_cycle_is_symmetric_and_close_to_the_inverse():
    n = 24
    line = csr_array(np.diag(np.full(n, 2.0)) - np.diag(np.ones(n - 1), 1) - np.diag(np.ones(n - 1), -1))
    eye = csr_array(np.eye(n))
    matrix = csr_array(np.kron(line.toarray(), eye.toarray()) + np.kron(eye.toarray(), line.toarray()))
    levels = hierarchy(matrix)
    assert len(levels.begin) > 2
    rows = np.array([once(levels, one) for one in np.eye(n * n)])
    assert np.abs(rows - rows.T).max() <= 1e-12 * np.abs(rows).max()  # round-off
    # Of the whole space, a cycle leaves less than this in the norm of the energy: a few cycles give a digit.
    left = np.abs(np.linalg.eigvals(np.eye(n * n) - rows @ matrix.toarray())).max()
    assert left < 0.5


def test_a_hierarchy_is_kept_until_it_has_taken_as_many_iterations_more_as_a_setup_does():
    kept = KeptHierarchy()
    first = kept.of(lambda: csr_array(np.eye(3)))
    assert np.isinf(kept.max_iterations(TIGHT))
    kept.judge(10, 1e-10)
    assert SETUP + 10 <= kept.max_iterations(1e-10) <= SETUP + 12
    for _ in range(100):  # as at first, and for half the digits half as many
        kept.judge(10, 1e-10)
        kept.judge(5, 1e-5)
    assert kept.levels is first
    n_slow = 0
    while kept.levels is not None:
        kept.judge(20, 1e-10)
        n_slow += 1
    assert SETUP / 10 <= n_slow <= SETUP / 10 + 2
    assert kept.of(lambda: csr_array(np.eye(3))) is not first


@pytest.mark.parametrize("entry", [0.0, np.nan])
def test_a_matrix_without_positive_diagonal_has_no_hierarchy(entry):
    with pytest.raises(SingularError):
        hierarchy(csr_array(np.diag([1.0, entry, 1.0])))


@pytest.mark.parametrize(("shape", "name"), [((10, 10, 10), "SlabSolver"), ((11, 10, 10), "CPRSolver")])
def test_auto_iterates_on_large_grids(reservoir, shape, name):
    problem = case(reservoir(shape=shape, gravity=True), (RATE, BHP), members=1)[0].problem
    assert (problem.grid.n_cells > FEW_CELLS) == (name == "CPRSolver")
    assert type(solver_for(problem, "auto", torch.device("cpu"))).__name__ == name


SWITCHING = {
    "gravity": True,
    "compressible": True,
    "curves": "capillary",
    "shape": (5, 4, 3),
    "I": Control(kind="rate", target=6e-4, limit=1.6e7),
    "P": Control(kind="bhp", target=1e7),
}


def loss_of(model, options, permeability, porosity):
    result = model.run(rock=model.rock(permeability, porosity), options=options)
    return (
        (result.bhp / 1e7).square().sum() + ((result.oil_rate + 2 * result.water_rate) / 1e-4).square().sum(),
        result,
    )


def test_runs_and_gradients_by_iteration_are_those_by_factors(reservoir, tight):
    model = reservoir(**SWITCHING)
    given = [of.requires_grad_() for of in (model.permeability.log(), model.porosity.clone())]
    found = []
    for solver in ("direct", "cpr"):
        loss, result = loss_of(model, replace(tight, solver=solver), given[0].exp(), given[1])
        found.append((loss.detach(), *torch.autograd.grad(loss, given)))
        held = result.trajectories[0].held_by_limit[:, 0]
        assert 0 < held.sum() < len(held)  # the injector switches
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-8 * one.norm()  # the tolerances of Newton and of the adjoint


def test_the_gradient_by_iteration_is_that_of_the_loss(reservoir, tight):
    model, options = reservoir(**SWITCHING), replace(tight, solver="cpr")
    log = model.permeability.log().requires_grad_()
    along = torch.randn(log.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    loss, _ = loss_of(model, options, log.exp(), model.porosity)
    slope = (torch.autograd.grad(loss, log)[0] * along).sum()
    left = []
    for step in (1e-2, 5e-3, 2.5e-3):
        moved, _ = loss_of(model, options, (log.detach() + step * along).exp(), model.porosity)
        left.append((moved - loss - step * slope).abs().item())
    assert min(np.log2(np.divide(left[:-1], left[1:]))) > 1.9


def test_options_know_it():
    assert Options(solver="cpr").solver == "cpr"
