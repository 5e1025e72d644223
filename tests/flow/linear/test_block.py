"""The block solver against the dense matrix, the sparse direct solver, and itself on other devices and batches."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.linearised import Jacobian, Step, Unknowns
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, WATER, State, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.linear.block import BlockSolver
from rockbank.flow.linear.direct import DirectSolver

FLUID = Fluid(
    water=Phase(viscosity=3e-4, density=1000.0, compressibility=4e-10),
    oil=Phase(viscosity=5e-3, density=700.0, compressibility=1e-9),
    curves=BrooksCorey(
        water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78), entry_pressure=5e3
    ),
    gravity=9.8,
)
# Round-off times the condition of these matrices, which is up to 1e5.
ROUND_OFF = 1e-11
REFINED = 1e-10

holes = np.ones((4, 3, 5), dtype=bool)
holes[1, 1, :] = holes[2, 0, 3] = False
GRIDS = {
    "along x": Grid(shape=(7, 3), spacing=(4.0, 4.0, 10.0)),
    "along y": Grid(shape=(3, 6), spacing=(4.0, 5.0, 10.0)),
    "along z, with holes": Grid(shape=(4, 3, 5), spacing=(10.0, 10.0, 2.0), active=holes),
    "one slab": Grid(shape=(1, 1, 1), spacing=(1.0, 1.0, 1.0)),
}


def linearised(grid, members, seed=0):
    """A problem and its Jacobian at random states, the wells held by everything that can hold them."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(members, *shape, generator=generator, dtype=torch.float64)

    rock = Rock(grid=grid, permeability=1e-14 * 100 ** uniform(*grid.shape), porosity=0.1 + 0.3 * uniform(*grid.shape))
    first, last = (np.argwhere(grid.is_active)[i][: len(grid.shape)] for i in (0, -1))
    wells = [
        Well(name="I", kind="injector", cells=[tuple(first)]),
        Well(name="P", kind="producer", cells=[tuple(last)] if grid.n_cells == 1 else [tuple(last), tuple(first)]),
        Well(name="Q", kind="producer", cells=[tuple(last)]),
    ]
    schedule = Schedule(steps=[1e6], controls={well.name: Control(kind="shut") for well in wells})
    problem, given = discretise(rock, FLUID, wells, schedule, State(pressure=2e7))
    n = grid.n_cells
    now = Unknowns(
        pressure=2e7 + 1e6 * uniform(n),
        saturation=0.2 + 0.6 * uniform(n),
        bhp=torch.tensor([3e7, 1e7, 1e7], dtype=torch.float64).expand(members, 3),
    )
    # Without a pressure among them only the compressibility would hold the level: a matrix of condition 1e8.
    kinds = torch.tensor([[RATE, OIL, BHP], [BHP, RATE, SHUT], [BHP, BHP, WATER]])[torch.arange(members) % 3]
    equations = Equations(problem, given)
    step = Step(
        length=1e6 * (0.5 + uniform()),
        kinds=kinds,
        targets=torch.ones(members, 3, dtype=torch.float64),
        head=equations.first_head(now.pressure, now.saturation),
    )
    return problem, equations.linearise(now, now, step).jacobian


def dense(problem, jacobian, member):
    """The matrix as the layout says, entry by entry: slow, and trusted."""
    n, n_wells = problem.grid.n_cells, len(problem.wells)
    matrix = np.zeros((2 * n + n_wells, 2 * n + n_wells))
    of = {field.name: getattr(jacobian, field.name)[member].numpy() for field in fields(Jacobian)}
    for c in range(n):
        matrix[2 * c : 2 * c + 2, 2 * c : 2 * c + 2] += of["diagonal"][c]
    for f, (left, right) in enumerate(problem.grid.faces):
        for cell, side in ((left, "left"), (right, "right")):
            matrix[2 * left : 2 * left + 2, 2 * cell : 2 * cell + 2] += of[side][f]
            matrix[2 * right : 2 * right + 2, 2 * cell : 2 * cell + 2] -= of[side][f]
    for p, (c, w) in enumerate(zip(problem.perforation_cell, problem.perforation_well, strict=True)):
        unknowns = [2 * c, 2 * c + 1, 2 * n + w]
        matrix[2 * c : 2 * c + 2, unknowns] -= of["perforation"][p]
        matrix[2 * n + w, unknowns] += of["control_rates"][w] @ of["perforation"][p]
    matrix[range(2 * n, 2 * n + n_wells), range(2 * n, 2 * n + n_wells)] += of["control_bhp"]
    return matrix


def equilibrated_solve(matrix, right):
    """Pascals and fractions stand in one matrix: pivoting compares them only after each row and column is made 1."""
    rows = 1 / np.abs(matrix).max(axis=1, keepdims=True)
    columns = 1 / np.abs(rows * matrix).max(axis=0)
    return columns[:, None] * np.linalg.solve(rows * matrix * columns, rows * right)


def right_hand_sides(problem, jacobian, n=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    members = len(jacobian.diagonal)
    return (
        torch.randn(members, problem.grid.n_cells, 2, n, generator=generator, dtype=torch.float64),
        torch.randn(members, len(problem.wells), n, generator=generator, dtype=torch.float64),
    )


def assert_same(got, expected, tolerance):
    """Pressures, saturations and bottom-hole pressures each to their own size."""
    for one, other in ((got[0][:, :, 0], expected[0][:, :, 0]), (got[0][:, :, 1], expected[0][:, :, 1]),
                       (got[1], expected[1])):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("transposed", [False, True])
def test_it_solves_with_the_matrix_that_the_layout_means(name, transposed):
    problem, jacobian = linearised(GRIDS[name], members=3)
    cells, wells = right_hand_sides(problem, jacobian)
    factor = BlockSolver().factor(problem, jacobian)
    solved = factor.solve_transposed(cells, wells) if transposed else factor.solve(cells, wells)
    expected = []
    for b in range(3):
        matrix = dense(problem, jacobian, b)
        right = torch.cat([cells[b].flatten(0, 1), wells[b]]).numpy()
        expected.append(torch.from_numpy(equilibrated_solve(matrix.T if transposed else matrix, right)))
    whole = torch.stack(expected)
    assert_same(solved, (whole[:, : -wells.shape[1]].unflatten(1, (-1, 2)), whole[:, -wells.shape[1] :]), ROUND_OFF)


@pytest.mark.parametrize("single", [False, True], ids=["double", "single, refined"])
@pytest.mark.parametrize("name", GRIDS)
def test_it_equals_the_direct_solver_for_eight_members(name, single):
    problem, jacobian = linearised(GRIDS[name], members=8)
    right = right_hand_sides(problem, jacobian)
    block, direct = BlockSolver(single=single).factor(problem, jacobian), DirectSolver().factor(problem, jacobian)
    tolerance = REFINED if single else ROUND_OFF
    assert_same(block.solve(*right), direct.solve(*right), tolerance)
    assert_same(block.solve_transposed(*right), direct.solve_transposed(*right), tolerance)


@pytest.mark.parametrize("size", [1e-60, 1e60])
def test_refinement_serves_right_hand_sides_that_single_precision_cannot_hold(size):
    problem, jacobian = linearised(GRIDS["along x"], members=2)
    cells, wells = right_hand_sides(problem, jacobian)
    exact = BlockSolver().factor(problem, jacobian).solve(size * cells, size * wells)
    assert_same(BlockSolver(single=True).factor(problem, jacobian).solve(size * cells, size * wells), exact, REFINED)


def test_where_single_precision_cannot_be_refined_it_eliminates_again_in_double():
    # What fluids and wells give way by is a billionth: the condition is far above float32's 1e7.
    problem, jacobian = linearised(GRIDS["along x"], members=1)
    stiff = Jacobian(**{field.name: getattr(jacobian, field.name) for field in fields(Jacobian)} | {
        "diagonal": 1e-9 * jacobian.diagonal, "perforation": 1e-9 * jacobian.perforation})  # fmt: skip
    cells, wells = right_hand_sides(problem, stiff)
    exact = BlockSolver().factor(problem, stiff).solve(cells, wells)
    assert_same(BlockSolver(single=True).factor(problem, stiff).solve(cells, wells), exact, REFINED)


def test_a_members_solution_does_not_depend_on_the_batch():
    problem, jacobian = linearised(GRIDS["along z, with holes"], members=5)
    cells, wells = right_hand_sides(problem, jacobian)
    together = BlockSolver().factor(problem, jacobian).solve(cells, wells)
    some = [3, 1]
    alone = BlockSolver().factor(problem, jacobian.take(some)).solve(cells[some], wells[some])
    assert_same(alone, (together[0][some], together[1][some]), 1e-13)  # another order of the same sums


def test_one_solver_serves_one_problem_after_another():
    solver = BlockSolver()
    for name in ("along x", "along y", "along x"):
        problem, jacobian = linearised(GRIDS[name], members=1)
        right = right_hand_sides(problem, jacobian)
        assert_same(
            solver.factor(problem, jacobian).solve(*right), BlockSolver().factor(problem, jacobian).solve(*right), 0
        )


def test_a_singular_matrix_shows_in_its_own_member_only():
    problem, jacobian = linearised(GRIDS["along x"], members=2)
    for name in ("diagonal", "left", "right", "perforation"):
        getattr(jacobian, name)[0] = 0.0
    cells, wells = BlockSolver().factor(problem, jacobian).solve(*right_hand_sides(problem, jacobian))
    assert cells[0].isnan().all()
    assert cells[1].isfinite().all()
    assert wells[1].isfinite().all()


def test_elimination_and_sweeps_never_wait_for_the_device():
    # A meta tensor has no values: whatever asks the host for one raises.
    problem, jacobian = linearised(GRIDS["along z, with holes"], members=2)
    on_meta = Jacobian(**{field.name: getattr(jacobian, field.name).to("meta") for field in fields(Jacobian)})
    right = [of.to("meta") for of in right_hand_sides(problem, jacobian)]
    factor = BlockSolver().factor(problem, on_meta)
    for solved in (factor.solve(*right), factor.solve_transposed(*right)):
        assert [(of.shape, of.dtype, of.device.type) for of in solved] == [(of.shape, of.dtype, "meta") for of in right]
