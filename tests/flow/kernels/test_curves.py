"""The compiled relative permeabilities."""

import numpy as np
import pytest
import torch

from rockbank.flow import Fluid, Phase
from rockbank.flow.kernels.curves import compiled_curves, mobilities, mobility_at
from tests.flow.saturation_functions import CURVES


@pytest.mark.parametrize("name", CURVES)
def test_the_compiled_curves_are_those_of_relperm(name):
    water, oil = Phase(viscosity=5e-4, density=1000.0), Phase(viscosity=3e-3, density=800.0)
    fluid = Fluid(water=water, oil=oil, curves=CURVES[name])
    curves = compiled_curves(fluid)
    s = torch.cat([torch.linspace(0, 1, 501, dtype=torch.float64), torch.tensor([0.1, 0.3, 0.5, 0.8]).double()])
    (k_w, slope_w), (k_o, slope_o) = fluid.curves.water(s), fluid.curves.oil(s)
    expected = torch.stack([k_w / 5e-4, k_o / 3e-3, slope_w / 5e-4, slope_o / 3e-3]).numpy()
    got = np.array([mobility_at(float(of), curves) for of in s]).T
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-9)  # of mobilities of 300 to 2000 at the end points
    one, m_w, m_o = np.ones(len(s)), np.empty(len(s)), np.empty(len(s))
    mobilities(s.numpy(), 2 * one, 3 * one, curves, m_w, m_o)
    np.testing.assert_allclose(m_w, 2 * expected[0], rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(m_o, 3 * expected[1], rtol=1e-12, atol=1e-9)
