"""The block solver against the dense matrix, the sparse direct solver, and itself on other devices and batches."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.linearised import Jacobian, Step, Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, WATER, State, discretise
from rockbank.flow.equations.relperm import BrooksCorey, Corey
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.linear.block import BlockSolver
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.simulate import simulate

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
    step = Step(length=1e6 * (0.5 + uniform()), kinds=kinds, targets=torch.ones(members, 3, dtype=torch.float64))
    return problem, Equations(problem, given).linearise(now, now, step).jacobian


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")
@pytest.mark.parametrize("solver", ["block", "block-single"])
def test_a_gpu_runs_the_members_that_the_processor_runs(reservoir, tight, solver):
    model = reservoir(members=3, gravity=True, compressible=True, curves="capillary")
    model.saturation = torch.full(model.grid.shape, 0.2)  # on the processor, whatever the rock's device
    found = []
    for device in ("cuda", "cpu"):
        given = [of.to(device, copy=True).requires_grad_() for of in (model.permeability, model.porosity)]
        result = model.run(rock=model.rock(*given), options=replace(tight, solver=solver))
        assert result.bhp.device.type == device
        shown = torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])
        found.append([of.cpu() for of in (shown.detach(), *torch.autograd.grad(shown.square().sum(), given))])
    for there, here in zip(*found, strict=True):
        torch.testing.assert_close(there, here, rtol=0, atol=1e-7 * float(here.abs().max()))


DAY = 86400.0
THIN = Fluid(
    water=Phase(viscosity=3e-4, density=1000.0),
    oil=Phase(viscosity=5e-3, density=700.0),
    curves=BrooksCorey(water_curve=Corey(residual=0.15, span=0.75), oil_curve=Corey(residual=0.12, span=0.78)),
)
CASES = {
    "incompressible": (THIN, Grid(shape=(9, 5), spacing=(4.0, 4.0, 10.0))),
    "compressible, gravity, capillary": (FLUID, Grid(shape=(5, 3, 4), spacing=(10.0, 10.0, 2.0), top=1000.0)),
}


class Members:
    """Eight rocks of one case, and what is measured of them."""

    def __init__(self, name, members=8):
        self.fluid, self.grid = CASES[name]
        generator = torch.Generator().manual_seed(3)
        shape = (members, *self.grid.shape)
        self.k = (1e-14 * 300 ** torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        self.phi = (0.1 + 0.3 * torch.rand(shape, generator=generator, dtype=torch.float64)).requires_grad_()
        self.rate = torch.linspace(2e-4, 6e-4, members, dtype=torch.float64)[:, None].requires_grad_()
        self.inputs = (self.k, self.phi, self.rate)

    def run(self, some, solver):
        """The members of the slice, in one batch."""
        last = tuple(n - 1 for n in self.grid.shape)
        wells = [
            Well(name="I", kind="injector", cells=[(0,) * len(last)]),
            Well(name="P", kind="producer", cells=[last]),
            Well(name="Q", kind="producer", cells=[(last[0], 0, *last[2:])]),
        ]
        controls = {
            "I": Control(kind="rate", target=self.rate[some], limit=8e7),
            "P": Control(kind="bhp", target=1e7),
            "Q": Control(kind="oil", target=2e-5, limit=1.5e7),
        }
        return simulate(
            Rock(grid=self.grid, permeability=self.k[some], porosity=self.phi[some]),
            self.fluid,
            wells,
            Schedule(steps=[DAY, 5 * DAY, 20 * DAY], controls=controls),
            initial=State(pressure=2e7),
            # few iterations, so that some members must cut steps
            options=Options(method="newton", solver=solver, max_iterations=7),
        )

    def gradients(self, result):
        """Of one weighing of all observables, in log permeability, porosity and log rate."""
        weights = torch.linspace(0.5, 1.5, 9, dtype=torch.float64).reshape(3, 3)
        seen = result.bhp / 1e7 + result.water_rate / 1e-4 - 2 * result.oil_rate / 1e-4
        by_k, by_phi, by_rate = torch.autograd.grad((weights * seen).sum(), self.inputs, retain_graph=True)
        return by_k * self.k.detach(), by_phi, by_rate * self.rate.detach()


@pytest.fixture(scope="module", params=CASES)
def runs(request):
    """A case, its eight members in one batch of the block solver, and each alone with the direct one."""
    members = Members(request.param)
    alone = [members.run(slice(i, i + 1), "direct") for i in range(8)]
    return members, members.run(slice(None), "block"), alone


def assert_same_runs(result, i, expected):
    """The members' steps, states and observables: the same iterations with other round-off."""
    one, other = result.trajectories[i], expected.trajectories[0]
    np.testing.assert_allclose(one.steps, other.steps, rtol=0)
    np.testing.assert_array_equal(one.kinds, other.kinds)
    assert [report.iterations for report in one.reports] == [report.iterations for report in other.reports]
    torch.testing.assert_close(one.pressure, other.pressure, rtol=1e-8, atol=0)
    torch.testing.assert_close(one.saturation, other.saturation, rtol=0, atol=1e-8)
    for name in ("bhp", "water_rate", "oil_rate"):
        here, there = getattr(result, name)[i].detach(), getattr(expected, name)[0].detach()
        torch.testing.assert_close(here, there, rtol=0, atol=1e-8 * float(there.abs().max()))


def test_the_members_keep_their_own_time(runs):
    _, together, _ = runs
    assert len({len(trajectory.steps) for trajectory in together.trajectories}) > 1


def test_eight_members_at_once_run_as_each_alone_with_the_direct_solver(runs):
    _, together, alone = runs
    for i, expected in enumerate(alone):
        assert_same_runs(together, i, expected)


def test_eight_members_at_once_have_the_gradients_of_each_alone_with_the_direct_solver(runs):
    members, together, alone = runs
    each = [members.gradients(result) for result in alone]
    for of, *parts in zip(members.gradients(together), *each, strict=True):
        expected = sum(parts)  # each is zero in the others' rows
        for i in range(8):
            assert (of[i] - expected[i]).norm() < 1e-8 * expected[i].norm()


def test_factors_in_single_precision_lead_to_the_same_runs_and_gradients(runs):
    members, _, alone = runs
    together = members.run(slice(6, 8), "block-single")
    of_single, *expected = (members.gradients(result) for result in (together, *alone[6:]))
    for i, other in enumerate(alone[6:]):
        assert_same_runs(together, i, other)
        for of, of_other in zip(of_single, expected[i], strict=True):
            assert (of[6 + i] - of_other[6 + i]).norm() < 1e-8 * of_other[6 + i].norm()


def test_a_members_run_does_not_depend_on_the_batch(runs):
    members, together, _ = runs
    two = members.run(slice(5, 7), "block")
    for i in range(2):
        one = members.run(slice(5 + i, 6 + i), "block")
        assert_same_runs(two, i, one)
        assert_same_runs(together, 5 + i, one)
