"""Where the fractional flow bends."""

import pytest

from rockbank.flow import Fluid, Phase
from rockbank.flow.equations.fractional_flow import inflections
from rockbank.flow.equations.relperm import BrooksCorey, Corey


def fluid(exponent, mu_o=1e-3):
    curve = Corey(residual=0.0, span=1.0, exponent=exponent)
    phases = (Phase(viscosity=mu, density=1000.0) for mu in (1e-3, mu_o))
    water, oil = phases
    return Fluid(water=water, oil=oil, curves=BrooksCorey(water_curve=curve, oil_curve=curve))


def test_equal_phases_have_it_in_the_middle():
    assert inflections(fluid(2.0)) == pytest.approx((0.5,), abs=1e-3)  # the curve's points


def test_viscous_oil_moves_it_down():
    (at,) = inflections(fluid(2.0, mu_o=5e-3))
    assert at < 0.4
