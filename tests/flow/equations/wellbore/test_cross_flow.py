"""Cross-flow: what enters a bore leaves it mixed, volumes balance, and gradients are exact."""

import math
from itertools import pairwise

import pytest
import torch

from rockbank.flow import (
    GRAVITY,
    Control,
    Fluid,
    Grid,
    Options,
    Phase,
    Rock,
    Schedule,
    State,
    Well,
    simulate,
)
from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import BHP, CLOSED, RATE, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.interface import TIGHT as TIGHTLY
from rockbank.flow.linear.mixtures import MixtureSolver
from rockbank.flow.results.balance import balance
from tests.flow.saturation_functions import COREY

SHAPE = (3, 1, 3)
TIGHT = {"method": "newton", "cnv": 1e-11, "mb": 1e-13}
CONTROLS = {
    "rates": {"I": Control(kind="rate", target=2e-5), "P": Control(kind="rate", target=3e-5)},
    "pressures": {"I": Control(kind="bhp", target=1.9e7), "P": Control(kind="bhp", target=1.6e7)},
    "shut": {"I": Control(kind="shut"), "P": Control(kind="rate", target=3e-5)},
    "closed": {"I": Control(kind="rate", target=0.0), "P": Control(kind="bhp", target=1.6e7, limit=0.0)},
}


def uniform(shape, seed):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(controls, *, factors=(1.0, 1.0, 1.0), cross_flow=True, gravity=GRAVITY):
    """Three layers that only the wells join, of pressures between which those of the wells lie."""
    k = 1e-13 * (0.5 + uniform(SHAPE, 1)) * factors[0]
    index = {"I": 1e-12 * (0.5 + uniform(3, 2)) * factors[1], "P": 1e-12 * (0.5 + uniform(3, 3)) * factors[1]}
    pressure = torch.tensor([1.5e7, 1.7e7, 2.0e7], dtype=torch.float64).expand(SHAPE) * factors[2]
    saturation = torch.tensor([0.3, 0.6, 0.45], dtype=torch.float64).expand(SHAPE)
    wells = [
        Well(
            name=name,
            kind=kind,
            cells=[(i, 0, layer) for layer in range(3)],
            index=index[name],
            cross_flow=cross_flow,
            datum=950.0 if controls == "closed" else None,
        )
        for name, kind, i in (("I", "injector", 0), ("P", "producer", 2))
    ]
    return {
        "rock": Rock(
            grid=Grid(shape=SHAPE, spacing=(20.0, 20.0, 10.0), top=1000.0),
            permeability=[k, k, 1e-20 * torch.ones_like(k)],
            porosity=torch.full(SHAPE, 0.2, dtype=torch.float64),
            compressibility=1e-9,
        ),
        "fluid": Fluid(
            water=Phase(viscosity=5e-4, density=1000.0, compressibility=5e-10, reference_pressure=1.7e7),
            oil=Phase(viscosity=2e-3, density=800.0, compressibility=2e-9, reference_pressure=3.0e8),
            curves=COREY,
            gravity=gravity,
        ),
        "wells": wells,
        "schedule": Schedule(steps=(600.0, 1800.0), controls=CONTROLS[controls]),
        "initial": State(pressure=pressure, saturation=saturation),
    }


def inflow(given, result):
    """Of both phases through the perforations at the end, m^3/s."""
    problem, parameters = discretise(**given)
    (run,) = result.trajectories
    now = Unknowns(pressure=run.pressure[-1:], saturation=run.saturation[-1:], bhp=run.bhp[-1:])
    step = Step(
        length=torch.tensor([1.0]), kinds=torch.as_tensor(run.kinds[-1:]), targets=run.bhp[-1:], head=run.head[-1:]
    )
    equations = Equations(problem, parameters)
    return parameters.well_index[0, :, None] * equations.linearise(now, now, step).inflow[0]


@pytest.mark.parametrize("controls", CONTROLS)
@pytest.mark.parametrize("gravity", [0.0, GRAVITY])
def test_what_leaves_a_bore_is_the_mixture_of_what_enters_it_and_volumes_balance(controls, gravity):
    given = model(controls, gravity=gravity)
    result = simulate(**given, options=Options(**TIGHT))
    i, p = inflow(given, result).split(3)
    both = p.sum(dim=1)
    assert (both < 0).any()
    assert (both > 0).any()
    entering, leaving = -p[both < 0].sum(dim=0), p[both > 0].sum(dim=0)
    torch.testing.assert_close(leaving / leaving.sum(), entering / entering.sum(), rtol=1e-9, atol=0)
    if controls == "closed":
        for of in (i, p):
            torch.testing.assert_close(of.sum(dim=0), torch.zeros(2).double(), rtol=0, atol=1e-9 * of.abs().sum())
    if controls == "rates":
        # An injector's adds water from above.
        back, into = -i[i.sum(dim=1) < 0].sum(dim=0), i[i.sum(dim=1) > 0].sum(dim=0)
        assert (back > 0).all()
        torch.testing.assert_close(into, back + torch.tensor([2e-5, 0.0]).double(), rtol=1e-9, atol=1e-18)
    problem, parameters = discretise(**given)
    assert balance(problem, parameters, result.trajectories[0]).mass_balance_error < 1e-12


def test_without_it_no_perforation_flows_the_wrong_way():
    given = model("rates", cross_flow=False)
    i, p = inflow(given, simulate(**given, options=Options(**TIGHT))).split(3)
    assert (i >= 0).all()
    assert (p <= 0).all()


@pytest.mark.parametrize("controls", ["oil", "water", "rate"])
def test_a_well_of_no_rate_is_closed_above_its_perforations_until_it_flows_again(controls):
    given, flowing = model("rates"), Control(kind="rate", target=3e-5)
    closed = Control(kind=controls, target=0.0, limit=1.9e7)  # above the pressure that it comes to
    given["schedule"] = Schedule(steps=(600.0, 600.0, 600.0), controls={"I": CONTROLS["rates"]["I"],
                                                                         "P": [closed, flowing, closed]})  # fmt: skip
    result = simulate(**given, options=Options(**TIGHT))
    (run,) = result.trajectories
    assert run.kinds[:, 1].tolist() == [CLOSED, RATE, CLOSED]
    assert not run.held_by_limit[:, 1].any()
    both = result.water_rate[:, 1] + result.oil_rate[:, 1]
    torch.testing.assert_close(both, torch.tensor([0.0, -3e-5, 0.0], dtype=torch.float64), rtol=1e-9, atol=1e-13)
    assert (inflow(given, result)[3:].abs().sum(dim=1) > 1e-6).all()


@pytest.mark.parametrize("solver", ["slabs", "block"])
def test_every_linear_solver_gives_the_same_run(solver):
    given = model("rates")
    expected = simulate(**given, options=Options(solver="direct", **TIGHT))
    result = simulate(**given, options=Options(solver=solver, **TIGHT))
    torch.testing.assert_close(result.bhp, expected.bhp, rtol=1e-10, atol=0)
    torch.testing.assert_close(result.oil_rate, expected.oil_rate, rtol=1e-8, atol=1e-15)


class Counting(DirectSolver):
    """Counts the right-hand sides."""

    n_solved = 0

    def factor(self, problem, jacobian):
        factor = super().factor(problem, jacobian)

        class Factor:
            def solve(_, cells, wells, tolerance=TIGHTLY):
                self.n_solved += cells.shape[-1]
                return factor.solve(cells, wells, tolerance)

        return Factor()


@pytest.mark.parametrize(("bhp", "n_more"), [((2e7, 1e7), 0), ((2e7, 1.6e7), 1), ((1.6e7, 1.6e7), 2)])
def test_one_more_right_hand_side_is_solved_for_each_well_that_crosses(bhp, n_more):
    problem, parameters = discretise(**model("rates"))
    now = Unknowns(
        pressure=parameters.pressure, saturation=parameters.saturation, bhp=torch.tensor([bhp], dtype=torch.float64)
    )
    step = Step(
        length=torch.tensor([1e3]), kinds=torch.tensor([[BHP, BHP]]), targets=now.bhp, head=torch.zeros(1, 6).double()
    )
    jacobian = Equations(problem, parameters).linearise(now, now, step).jacobian
    solver = Counting()
    right = torch.ones(*now.pressure.shape, 2, 1).double(), torch.ones(1, 2, 1).double()
    MixtureSolver(solver).factor(problem, jacobian).solve(*right)
    assert solver.n_solved == 1 + n_more


@pytest.mark.parametrize("controls", ["rates", "pressures", "closed"])
@pytest.mark.parametrize("varied", [0, 1, 2], ids=["permeability", "well index", "initial pressure"])
def test_the_taylor_remainder_is_of_second_order(controls, varied):
    directions = [0.02 * uniform(SHAPE, 5), 0.02 * uniform(3, 6), 2e-3 * uniform(SHAPE, 7)]

    def misfit(x):
        factors = [1.0, 1.0, 1.0]
        factors[varied] = x
        result = simulate(**model(controls, factors=factors), options=Options(solver="direct", **TIGHT))
        return sum((of / scale).square().sum() for of, scale in (
            (result.bhp, 1e6), (result.water_rate, 1e-5), (result.oil_rate, 1e-5)))  # fmt: skip

    x = torch.ones_like(directions[varied], requires_grad=True)
    value = misfit(x)
    (slope,) = torch.autograd.grad(value, x)
    slope = (slope * directions[varied]).sum()
    remainders = [abs(misfit(1 + h * directions[varied]) - value - h * slope).item() for h in (1.0, 0.5, 0.25)]
    assert min(math.log2(coarse / fine) for coarse, fine in pairwise(remainders)) > 1.9
