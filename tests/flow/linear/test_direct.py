"""The sparse direct solver against the dense matrix."""

import pytest
import torch

from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import BHP, OIL, RATE
from rockbank.flow.linear.direct import DirectSolver
from tests.flow.equations.test_residual import VARIANTS, case, dense, flowing_case


@pytest.mark.parametrize(
    ("variant", "kinds"), [(variant, kinds) for variant in VARIANTS for kinds in [(RATE, BHP), (BHP, OIL)]]
)
def test_the_direct_solver_solves_with_the_matrix_and_its_transpose(reservoir, variant, kinds):
    equations, now, before, step = flowing_case(reservoir(**variant), kinds)
    jacobian = equations.linearise(now, before, step).jacobian
    n = equations.problem.grid.n_cells
    generator = torch.Generator().manual_seed(5)
    cells = torch.randn(2, n, 2, 3, generator=generator, dtype=torch.float64)
    wells = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)
    factor = DirectSolver().factor(equations.problem, jacobian)
    for member in range(2):
        matrix = dense(equations, jacobian, member)
        for solve, of in ((factor.solve, matrix), (factor.solve_transposed, matrix.T)):
            solved_cells, solved_wells = (x[member] for x in solve(cells, wells))
            x = torch.cat([solved_cells[:, 0], solved_cells[:, 1], solved_wells])
            right = torch.cat([cells[member, :, 0], cells[member, :, 1], wells[member]])
            # Backward stability: the residual is round-off of the terms that make it up.
            assert ((of @ x - right).abs() <= 1e-9 * (of.abs() @ x.abs() + right.abs())).all()


def test_a_singular_matrix_gives_a_solution_that_is_not_finite(reservoir):
    equations, now, before, step = case(reservoir(), (RATE, BHP), members=1)
    nothing = Jacobian(
        **{name: torch.zeros_like(of) for name, of in vars(equations.linearise(now, before, step).jacobian).items()}
    )
    right = torch.ones(1, equations.problem.grid.n_cells, 2, 1).double(), torch.ones(1, 2, 1).double()
    cells, wells = DirectSolver().factor(equations.problem, nothing).solve(*right)
    assert not cells.isfinite().any()
    assert not wells.isfinite().any()
