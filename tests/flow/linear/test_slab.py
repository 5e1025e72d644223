"""The compiled solver by slabs against the sparse direct one."""

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, WATER, State, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.kernels.inversion import invert
from rockbank.flow.linear.block import BlockSolver
from rockbank.flow.linear.choose import WIDEST_SLAB, solver_for
from rockbank.flow.linear.cpr import CPRSolver
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.slab import SlabSolver
from rockbank.flow.simulate import jacobian as derivatives

CURVES = (Corey(residual=0.15, span=0.75), Corey(residual=0.12, span=0.78))
FLUIDS = {
    "co-current": Fluid(
        water=Phase(viscosity=3e-4, density=1000.0),
        oil=Phase(viscosity=5e-3, density=700.0),
        curves=BrooksCorey(water_curve=CURVES[0], oil_curve=CURVES[1]),
    ),
    "everything": Fluid(
        water=Phase(viscosity=3e-4, density=1000.0, compressibility=4e-10),
        oil=Phase(viscosity=5e-3, density=700.0, compressibility=1e-9),
        curves=BrooksCorey(water_curve=CURVES[0], oil_curve=CURVES[1], entry_pressure=5e3),
        gravity=9.8,
    ),
}
# Round-off times the condition: where one pressure and two rates hold the wells, that is 1e6 and more.
# (Measured: 1.2e-9 at most, with either solver up to 7e-10 from extended precision.)
ROUND_OFF = 1e-8

ragged = np.ones((9, 5), dtype=bool)
ragged[2, :3] = ragged[3, :2] = ragged[6, 1:] = False
apart = np.ones((5, 4), dtype=bool)
apart[2] = False
holes = np.ones((6, 3, 4), dtype=bool)
holes[1, 1, :] = holes[2, 0, 3] = False
GRIDS = {
    "along x": Grid(shape=(7, 3), spacing=(4.0, 4.0, 10.0)),
    "along y": Grid(shape=(3, 8), spacing=(4.0, 5.0, 10.0)),
    "along z": Grid(shape=(2, 3, 6), spacing=(4.0, 5.0, 2.0)),
    "ragged": Grid(shape=(9, 5), spacing=(4.0, 5.0, 10.0), active=ragged),
    "holes in three dimensions": Grid(shape=(6, 3, 4), spacing=(10.0, 10.0, 2.0), active=holes),
    "wide slabs": Grid(shape=(30, 27), spacing=(4.0, 4.0, 10.0)),
    "one cell": Grid(shape=(1, 1), spacing=(1.0, 1.0, 1.0)),
}
# Of an injector and two producers: by control or by limit, to the matrix it is the same.
KINDS = {
    "rate and pressure": (RATE, BHP, BHP),
    "pressures": (BHP, BHP, BHP),
    "rates and a pressure": (RATE, RATE, BHP),
    "rates of one phase": (BHP, OIL, WATER),
    "one shut": (RATE, SHUT, BHP),
}


def linearised(grid, fluid="co-current", kinds=("rate and pressure",)):
    """A problem and its Jacobian at random states, one member for each of the kinds."""
    generator, members = torch.Generator().manual_seed(0), len(kinds)

    def uniform(*shape):
        return torch.rand(members, *shape, generator=generator, dtype=torch.float64)

    rock = Rock(grid=grid, permeability=1e-14 * 100 ** uniform(*grid.shape), porosity=0.1 + 0.3 * uniform(*grid.shape))
    first, middle, last = (
        tuple(np.argwhere(grid.is_active)[i][: len(grid.shape)]) for i in (0, grid.n_cells // 2, grid.n_cells - 1)
    )
    wells = [
        Well(name="I", kind="injector", cells=[first]),
        Well(name="P", kind="producer", cells=[last] if grid.n_cells == 1 else [last, middle]),
        Well(name="Q", kind="producer", cells=[last]),
    ]
    schedule = Schedule(steps=[1e6], controls={well.name: Control(kind="shut") for well in wells})
    problem, given = discretise(rock, FLUIDS[fluid], wells, schedule, State(pressure=2e7))
    now = Unknowns(
        pressure=2e7 + 1e6 * uniform(grid.n_cells),
        saturation=0.2 + 0.6 * uniform(grid.n_cells),
        bhp=torch.tensor([3e7, 1e7, 1e7], dtype=torch.float64).expand(members, 3),
    )
    equations = Equations(problem, given)
    step = Step(
        length=1e6 * (0.5 + uniform()),
        kinds=torch.tensor([KINDS[name] for name in kinds]),
        targets=torch.ones(members, 3, dtype=torch.float64),
        head=equations.first_head(now.pressure, now.saturation),
    )
    return problem, equations.linearise(now, now, step).jacobian


def right_hand_sides(problem, jacobian, n):
    generator, members = torch.Generator().manual_seed(1), len(jacobian.diagonal)
    return (
        torch.randn(members, problem.grid.n_cells, 2, n, generator=generator, dtype=torch.float64),
        torch.randn(members, len(problem.wells), n, generator=generator, dtype=torch.float64),
    )


def assert_same(got, expected, tolerance=ROUND_OFF):
    """Pressures, saturations and bottom-hole pressures each to their own size."""
    for one, other in ((got[0][:, :, 0], expected[0][:, :, 0]), (got[0][:, :, 1], expected[0][:, :, 1]),
                       (got[1], expected[1])):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance * float(other.abs().max()))


@pytest.mark.parametrize("fluid", FLUIDS)
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("how", ["solve", "solve_transposed"])
def test_it_equals_the_direct_solver_for_every_well_control(name, fluid, how):
    problem, jacobian = linearised(GRIDS[name], fluid, tuple(KINDS))
    right = right_hand_sides(problem, jacobian, n=5)
    factors = [solver.factor(problem, jacobian) for solver in (SlabSolver(), DirectSolver())]
    assert_same(*(getattr(factor, how)(*right) for factor in factors))


def test_parts_of_the_grid_that_do_not_touch_are_solved_together():
    grid = Grid(shape=(5, 4), spacing=(4.0, 5.0, 10.0), active=apart)
    problem, jacobian = linearised(grid, "everything", tuple(KINDS))
    right = right_hand_sides(problem, jacobian, n=5)
    slabs, direct = (solver.factor(problem, jacobian) for solver in (SlabSolver(), DirectSolver()))
    assert_same(slabs.solve(*right), direct.solve(*right))


@pytest.mark.parametrize("n", [1, 3, 4, 200])
def test_each_right_hand_side_is_solved_as_if_alone(n):
    problem, jacobian = linearised(GRIDS["wide slabs"], kinds=("pressures",))
    cells, wells = right_hand_sides(problem, jacobian, n)
    factor = SlabSolver().factor(problem, jacobian)
    for solve in (factor.solve, factor.solve_transposed):
        x, x_w = solve(cells, wells)
        for k in (0, n - 1):
            alone = solve(cells[..., k : k + 1], wells[..., k : k + 1])
            assert_same((x[..., k : k + 1], x_w[..., k : k + 1]), alone)


def test_right_hand_sides_stay_what_they_are():
    problem, jacobian = linearised(GRIDS["along x"])
    cells, wells = right_hand_sides(problem, jacobian, 2)
    kept = cells.clone(), wells.clone()
    SlabSolver().factor(problem, jacobian).solve(cells, wells)
    torch.testing.assert_close((cells, wells), kept, rtol=0, atol=0)


def test_one_solver_serves_one_problem_after_another():
    solver = SlabSolver()
    for name in ("along x", "along y", "along x"):
        problem, jacobian = linearised(GRIDS[name])
        right = right_hand_sides(problem, jacobian, 2)
        alone = SlabSolver().factor(problem, jacobian).solve(*right)
        assert_same(solver.factor(problem, jacobian).solve(*right), alone, 0)


def test_a_singular_matrix_gives_solutions_that_are_not_finite():
    problem, jacobian = linearised(GRIDS["along x"], kinds=("one shut",))
    jacobian.diagonal[:, 0] = jacobian.left[:, problem.grid.faces[:, 0] == 0] = 0.0
    jacobian.perforation[:, problem.perforation_cell == 0] = 0.0
    jacobian.right[:, problem.grid.faces[:, 0] == 0] = 0.0
    x, _ = SlabSolver().factor(problem, jacobian).solve(*right_hand_sides(problem, jacobian, 1))
    assert not x.isfinite().all()


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 31, 32, 33, 61, 64, 130])
def test_a_matrix_of_any_size_is_inverted(n):
    matrix = np.random.default_rng(n).random((n, n)) + n * np.eye(n)
    inverse = matrix.copy()
    invert(inverse)
    np.testing.assert_allclose(inverse @ matrix, np.eye(n), atol=1e-13)


@pytest.mark.parametrize(
    "variant",
    [
        {"shape": (12, 6)},
        {"shape": (4, 3, 2), "gravity": True, "compressible": True, "curves": "capillary"},
        # The injector's limit holds it: more pressure than that would be needed for its rate.
        {"shape": (6, 4), "I": Control(kind="rate", target=1e-3, limit=1.6e7)},
    ],
    ids=["co-current", "everything", "limit"],
)
def test_gradients_are_those_of_the_direct_solver(reservoir, tight, variant):
    model = reservoir(**variant)
    permeability, porosity = (of.clone().requires_grad_() for of in (model.permeability, model.porosity))
    found = []
    for solver in ("slabs", "direct"):
        options = Options(method="newton", solver=solver, cnv=tight.cnv, mb=tight.mb)
        result = model.run(rock=model.rock(permeability, porosity), options=options)
        outputs = torch.stack([result.bhp / 1e7, result.water_rate / 1e-4, result.oil_rate / 1e-4])
        found.append(derivatives(outputs, [permeability, porosity]))
    for one, other in zip(*found, strict=True):
        # The runs differ by Newton's tolerance, and the derivatives with them.
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-8 * float(other.abs().max()))


def test_auto_takes_the_fastest_for_grid_and_device():
    def chosen(shape, device="cpu"):
        problem, _ = linearised(Grid(shape=shape, spacing=(1.0, 1.0, 1.0)), "everything")
        return type(solver_for(problem, "auto", torch.device(device)))

    side = WIDEST_SLAB + 1
    assert chosen((side, 4)) is SlabSolver
    assert chosen((side, side)) is CPRSolver
    assert chosen((side, side), "cuda") is BlockSolver
