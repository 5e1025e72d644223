"""The compiled fluxes against the equations that they are those of."""

import pytest
import torch

from rockbank.flow.equations.problem import BHP, RATE
from rockbank.flow.equations.residual import Equations
from rockbank.flow.kernels.phase_fluxes import CompiledEquations
from rockbank.flow.linear.choose import equations_for
from tests.flow.equations.test_residual import VARIANTS, case


@pytest.mark.parametrize("variant", [of for of in VARIANTS if of.get("gravity") or of.get("curves") == "capillary"])
def test_the_compiled_equations_are_the_equations(reservoir, variant):
    equations, now, before, step = case(reservoir(**variant), (RATE, BHP))
    compiled = CompiledEquations(equations.problem, equations.parameters)
    one, other = (of.linearise(now, before, step) for of in (equations, compiled))
    for plain, fast in ((vars(one), vars(other)), (vars(one.jacobian), vars(other.jacobian))):
        for name in plain.keys() - {"jacobian"}:
            # Differences of potentials: round-off of pressures, a hundred times as large.
            torch.testing.assert_close(fast[name], plain[name], rtol=1e-10, atol=1e-13 * plain[name].abs().max().item())


@pytest.mark.parametrize(("shape", "gravity", "kind"), [((11, 10, 10), True, CompiledEquations),
                                                        ((11, 10, 10), False, Equations),
                                                        ((5, 5, 5), True, Equations)])  # fmt: skip
def test_large_grids_take_them_where_phases_may_flow_against_each_other(reservoir, shape, gravity, kind):
    equations = case(reservoir(shape=shape, gravity=gravity), (RATE, BHP), members=1)[0]
    assert type(equations_for(equations.problem, equations.parameters)) is kind
