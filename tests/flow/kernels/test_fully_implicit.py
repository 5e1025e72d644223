"""The compiled equations against those that they are."""

import math

import pytest
import torch
from torch.testing import assert_close

from rockbank.flow import Fluid, Phase
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.problem import BHP, RATE
from rockbank.flow.equations.properties import Properties
from rockbank.flow.equations.residual import Equations
from rockbank.flow.kernels.fully_implicit.equations import CompiledEquations
from rockbank.flow.kernels.fully_implicit.saturation_curves import CompiledProperties
from rockbank.flow.linear.choose import equations_for
from tests.flow.equations.test_residual import VARIANTS, case
from tests.flow.saturation_functions import SCALED


@pytest.mark.parametrize("variant", [of for of in VARIANTS if of.get("gravity") or of.get("curves") == "capillary"])
def test_the_compiled_equations_are_the_equations(reservoir, variant):
    equations, now, before, step = case(reservoir(**variant), (RATE, BHP))
    compiled = CompiledEquations(equations.problem, equations.parameters)
    one, other = (of.linearise(now, before, step) for of in (equations, compiled))
    for plain, fast in ((vars(one), vars(other)), (vars(one.jacobian), vars(other.jacobian))):
        for name in plain.keys() - {"jacobian"}:
            # Differences of potentials: round-off of pressures, a hundred times as large.
            assert_close(fast[name], plain[name], rtol=1e-10, atol=1e-13 * plain[name].abs().max().item())


@pytest.mark.parametrize(("shape", "gravity", "kind"), [((11, 10, 10), True, CompiledEquations),
                                                        ((11, 10, 10), False, Equations),
                                                        ((5, 5, 5), True, Equations)])  # fmt: skip
def test_large_grids_take_them_where_phases_may_flow_against_each_other(reservoir, shape, gravity, kind):
    equations = case(reservoir(shape=shape, gravity=gravity), (RATE, BHP), members=1)[0]
    assert type(equations_for(equations.problem, equations.parameters)) is kind


@pytest.mark.parametrize("curves", [
    SCALED,
    BrooksCorey(water_curve=Corey(residual=0.2, span=0.6, end=0.5), oil_curve=Corey(residual=0.15, span=0.65)),
    BrooksCorey(water_curve=Corey(residual=0.1, span=0.7, exponent=3.5), oil_curve=Corey(residual=0.1, span=0.8,
                exponent=1.0), entry_pressure=2e3),
])  # fmt: skip
def test_curves_are_read_alike_at_their_points_between_and_beyond_them(curves):
    s = torch.cat([torch.tensor(SCALED.saturation), torch.rand(200, generator=torch.Generator().manual_seed(3))])
    s = torch.cat([s.double(), torch.tensor([-0.1, 0.0, 1.0, 1.1, math.nan], dtype=torch.float64)])[None]
    fluid = Fluid(water=Phase(viscosity=1e-3, density=1e3), oil=Phase(viscosity=1e-3, density=8e2), curves=curves)
    plain, fast = (kind(fluid, s.device)._of_saturation(s) for kind in (Properties, CompiledProperties))
    for expected, got in zip(plain, fast, strict=True):
        # Round-off of a saturation beside an end point, where the curve is that small.
        atol = 1e-15 * expected[..., :-1].abs().max().item()
        assert_close(got[..., :-1], expected[..., :-1], rtol=1e-12, atol=atol)
    assert plain[0][..., -1].isnan().all()
    assert fast[0][..., -1].isnan().all()
