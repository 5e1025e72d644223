"""At rest, nothing flows."""

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, SaturationTable
from rockbank.flow.equations.equilibrium import equilibrium
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid

GRID = Grid(shape=(1, 1, 50), spacing=(10.0, 10.0, 2.0), top=1000.0)
WATER, OIL = Corey(residual=0.2, span=0.6), Corey(residual=0.2, span=0.6)
PLAIN = BrooksCorey(water_curve=WATER, oil_curve=OIL)
CAPILLARY = BrooksCorey(water_curve=WATER, oil_curve=OIL, entry_pressure=5e3)


def fluid(curves=PLAIN, compressibility=0.0, gravity=GRAVITY):
    return Fluid(
        water=Phase(viscosity=1e-3, density=1000.0, compressibility=compressibility, reference_pressure=2e7),
        oil=Phase(viscosity=1e-3, density=800.0, compressibility=compressibility, reference_pressure=2e7),
        curves=curves,
        gravity=gravity,
    )


def profile(fluid_, **given):
    state = equilibrium(GRID, fluid_, **({"datum": 1000.0, "pressure": 2e7, "contact": 1060.0} | given))
    return state.pressure.flatten().numpy(), state.saturation.flatten().numpy()


@pytest.mark.parametrize("compressibility", [0.0, 1e-9])
def test_pressure_grows_by_the_weight_of_the_phase_that_flows(compressibility):
    liquids = fluid(compressibility=compressibility)
    p, s = profile(liquids)
    oil = GRID.depth < 1060
    np.testing.assert_array_equal(s, np.where(oil, 0.2, 1.0))
    for phase, where in ((liquids.oil, oil), (liquids.water, ~oil)):
        density = phase.density * np.exp(phase.compressibility * (p[where] - phase.reference_pressure))
        weight = GRAVITY * (density[1:] + density[:-1]) / 2 * np.diff(GRID.depth[where])
        # The trapezoidal rule is off by (c rho g dz)^2 / 12 of the weight.
        np.testing.assert_allclose(np.diff(p[where]), weight, rtol=1e-9)


def test_the_datum_may_lie_in_the_water():
    above, _ = profile(fluid())
    at_contact = 2e7 + GRAVITY * 800 * 60
    below, _ = profile(fluid(), datum=1080.0, pressure=at_contact + GRAVITY * 1000 * 20)
    np.testing.assert_allclose(below, above, rtol=1e-14)


def test_capillary_pressure_balances_the_weights_where_both_phases_are():
    liquids = fluid(CAPILLARY)
    p, s = profile(liquids, capillary_at_contact=5e3)
    p_c = CAPILLARY.capillary(torch.as_tensor(s))[0].numpy()
    expected = 5e3 + GRAVITY * 200 * (1060 - GRID.depth)
    both = (s > 0.207) & (s < 0.8)
    assert both.sum() > 5
    np.testing.assert_allclose(p_c[both], expected[both], rtol=1e-9)
    assert (np.diff(s) >= 0).all()
    # Above the contact all the oil is in balance, below it all the water.
    np.testing.assert_allclose(p[GRID.depth < 1060], (2e7 + GRAVITY * 800 * (GRID.depth - 1000))[GRID.depth < 1060])
    water = 2e7 + GRAVITY * 800 * 60 - 5e3 + GRAVITY * 1000 * (GRID.depth - 1060)
    np.testing.assert_allclose((p - p_c)[GRID.depth > 1060], water[GRID.depth > 1060])


def test_without_gravity_the_pressure_is_one():
    p, s = profile(fluid(gravity=0.0))
    assert (p == 2e7).all()
    assert set(s) == {0.2, 1.0}


def test_a_table_ends_where_it_ends():
    table = SaturationTable(saturation=(0.3, 0.9), k_water=(0.0, 1.0), k_oil=(1.0, 0.0), p_capillary=(0.0, 0.0))
    assert set(profile(fluid(table))[1]) == {0.3, 0.9}


def test_cells_that_are_not_active_are_left_out():
    active = np.ones(GRID.shape, dtype=bool)
    active[0, 0, 0] = False
    grid = Grid(shape=GRID.shape, spacing=GRID.spacing, top=GRID.top, active=active)
    state = equilibrium(grid, fluid(), datum=1000.0, pressure=2e7, contact=1060.0)
    np.testing.assert_array_equal(state.pressure.flatten()[1:], profile(fluid())[0][1:])


def test_a_cell_holds_the_mean_of_its_slices():
    # The contact cuts the cell from 1058 to 1060 m at 1058.6: three of ten slices hold oil.
    _, s = profile(fluid(), contact=1058.6, slices=10)
    np.testing.assert_allclose(s[28:31], [0.2, 0.3 * 0.2 + 0.7 * 1.0, 1.0], rtol=1e-12)
    coarse = Grid(shape=(1, 1, 1), spacing=(10.0, 10.0, 100.0), top=1000.0)
    mean = equilibrium(coarse, fluid(CAPILLARY), datum=1000.0, pressure=2e7, contact=1060.0, slices=50)
    fine = equilibrium(GRID, fluid(CAPILLARY), datum=1000.0, pressure=2e7, contact=1060.0)
    assert mean.pressure.item() == pytest.approx(fine.pressure.mean().item(), rel=1e-13)
    assert mean.saturation.item() == pytest.approx(fine.saturation.mean().item(), rel=1e-13)


def test_no_slice_is_refused():
    with pytest.raises(ValueError, match="got 0 slices of a cell; give 1, its centre, or more"):
        profile(fluid(), slices=0)
