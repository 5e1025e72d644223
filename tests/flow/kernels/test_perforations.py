"""The compiled perforations against the equations that they are those of, with cross-flow."""

import pytest
import torch

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.kernels.fully_implicit.equations import CompiledEquations
from tests.flow.equations.wellbore.test_cross_flow import model, uniform

BHPS = {
    "one way": (2.1e7, 1e7),
    "an injector that gives more than it takes": (1.9e7, 1e7),
    "an injector that takes more than it gives": (1.55e7, 1e7),
    "an injector that only takes": (1.4e7, 1e7),
    "a producer that crosses": (2.1e7, 1.6e7),
    "both": (1.8e7, 1.8e7),
}


def state(bhp, kinds=(BHP, RATE)):
    """Equations and a state of two members of pressures and saturations that differ from cell to cell."""
    problem, one = discretise(**model("rates"))
    parameters = type(one)(**{name: of.expand(2, *of.shape[1:]).clone() for name, of in vars(one).items()})
    shape = parameters.pressure.shape
    now = Unknowns(
        pressure=parameters.pressure * (1 + 0.02 * uniform(shape, 8)),
        saturation=0.2 + 0.6 * uniform(shape, 9),
        bhp=torch.tensor([bhp, bhp], dtype=torch.float64) + 1e4 * uniform((2, 2), 10),
    )
    before = Unknowns(pressure=parameters.pressure, saturation=parameters.saturation, bhp=now.bhp)
    length = torch.tensor([1e3, 2e3], dtype=torch.float64)
    step = Step(length=length, kinds=torch.tensor([kinds, kinds]), targets=now.bhp, head=1e4 * uniform((2, 6), 11))
    return problem, parameters, now, before, step


@pytest.mark.parametrize("bhp", BHPS.values(), ids=BHPS)
def test_they_are_the_equations_to_round_off_cell_by_cell(bhp):
    assert_alike(*state(bhp))


@pytest.mark.parametrize("kinds", [(SHUT, OIL), (RATE, SHUT), (SHUT, SHUT)])
def test_nothing_flows_through_a_shut_well(kinds):
    assert_alike(*state(BHPS["both"], kinds))


def test_a_bore_in_balance_with_a_cell_has_the_same_slopes():
    problem, parameters, now, before, step = state(BHPS["both"])
    now.bhp[:] = now.pressure[:, problem.perforation_cell][:, [1, 4]] - step.head[:, [1, 4]]
    assert_alike(problem, parameters, now, before, step)


def test_the_states_have_wells_that_mix():
    problem, parameters, now, before, step = state(BHPS["both"])
    jacobian = Equations(problem, parameters).linearise(now, before, step).jacobian
    assert (jacobian.mixture != 0).any(dim=1).all()
    assert (jacobian.by_mixture != 0).any(dim=1).all()


def assert_alike(problem, parameters, now, before, step):
    one, other = (kind(problem, parameters).linearise(now, before, step) for kind in (Equations, CompiledEquations))
    # What a change of the part of water by 1 takes of p, s, bhp and WI: derivatives that are 0 come out as round-off.
    units = {"mixture": 1 / torch.tensor([1e7, 1.0, 1e7, 1e-12], dtype=torch.float64)}
    for name, plain in (vars(one) | vars(one.jacobian)).items():
        if name == "jacobian":
            continue
        off = (getattr(other if hasattr(one, name) else other.jacobian, name) - plain).abs()
        axes = tuple(range(plain.ndim - 1)) if hasattr(one.jacobian, name) else None  # columns have units of their own
        scale = units.get(name, plain.abs().amax(dim=axes))
        assert (off <= 1e-11 * plain.abs() + 1e-13 * scale).all(), name
