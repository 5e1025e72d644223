"""The simulator against closed forms, through `simulate` alone."""

import functools
import math

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well, peaceman_index
from rockbank.flow.simulate import simulate

DAY, YEAR = 86400.0, 365.25 * 86400.0
# Far below what is compared, so that differences are the scheme's and not the iteration's.
TIGHT = {"cnv": 1e-9, "mb": 1e-11, "tolerance": 1e-9}
METHODS = pytest.mark.parametrize("method", ["sequential", "newton"])

WATER, OIL = Phase(viscosity=5e-4, density=1000.0), Phase(viscosity=2e-3, density=700.0)
CURVES = BrooksCorey(water_curve=Corey(residual=0.2, span=0.6), oil_curve=Corey(residual=0.2, span=0.6))
FLUID = Fluid(water=WATER, oil=OIL, curves=CURVES)


def field(grid, value):
    return torch.full(grid.shape, value, dtype=torch.float64)


def run(rock, wells, controls, steps, *, fluid=FLUID, initial=None, **options):
    return simulate(
        rock,
        fluid,
        wells,
        Schedule(steps=steps, controls=controls),
        initial=initial or State(pressure=2e7),
        options=Options(**(TIGHT | options)),
    )


class BuckleyLeverett:
    """Water into a line of oil: a rarefaction behind a shock, whose saturation Welge's (1952) tangent gives.

        x(s) = pushed f'(s) behind the shock,   f'(s_f) = f(s_f) / (s_f - s_wc) at it

    with `pushed` how far the water alone would have come, m; the shock ends at 64 m.
    """

    def __init__(self, ratio):
        self.fluid = Fluid(water=WATER, oil=Phase(viscosity=ratio * WATER.viscosity, density=700.0), curves=CURVES)
        s = torch.linspace(0.2, 0.8, 600_001, dtype=torch.float64)
        (k_w, slope_w), (k_o, slope_o) = CURVES.water(s), CURVES.oil(s)
        f = k_w / (k_w + k_o / ratio)
        slope = (slope_w * k_o - k_w * slope_o) / ratio / (k_w + k_o / ratio) ** 2
        at = int((f[1:] / (s[1:] - 0.2)).argmax()) + 1  # the tangent from connate water is the steepest chord
        self.shock, self.speed = s[at].item(), (f[at] / (s[at] - 0.2)).item()
        self.s, self.f, self.slope = (of[at:].flip(0).numpy() for of in (s, f, slope))
        self.pushed = FRONT / self.speed

    def means(self, x):
        """Mean saturation between the points x."""
        behind = np.interp(x / self.pushed, self.slope, self.s)
        water = x * behind + self.pushed * (1 - np.interp(behind, self.s[::-1], self.f[::-1]))
        at_front = FRONT * self.shock + self.pushed * (1 - self.f[-1])
        return np.diff(np.where(x < FRONT, water, at_front + 0.2 * (x - FRONT))) / np.diff(x)


# On a cell's edge in every grid below: where the shock lies within a cell would else disturb the rates.
LENGTH, FRONT, POROSITY = 100.0, 64.0, 0.25


@functools.cache
def waterflood(ratio, n, method):
    """Saturations of a line of n cells, at half the time and at the end, in steps of 0.8 cells of the shock."""
    theory, grid = BuckleyLeverett(ratio), Grid(shape=(n, 1), spacing=(LENGTH / n, 1.0, 1.0))
    rock = Rock(grid=grid, permeability=field(grid, 1e-12), porosity=field(grid, POROSITY))
    index = torch.tensor([1e-11])  # Peaceman's is for wells in a plane
    wells = [
        Well(name="I", kind="injector", cells=[(0, 0)], index=index),
        Well(name="P", kind="producer", cells=[(n - 1, 0)], index=index),
    ]
    rate, n_steps = 1e-6, 4 * n // 5
    controls = {"I": Control(kind="rate", target=rate), "P": Control(kind="bhp", target=1e7)}
    steps = [theory.pushed * POROSITY / rate / n_steps] * n_steps
    result = run(rock, wells, controls, steps, fluid=theory.fluid, method=method)
    assert all(report.n_steps == 1 for report in result.reports[0])
    saturation = result.trajectories[0].saturation.numpy()
    return saturation[n_steps // 2], saturation[-1]


def place_of(level, saturation):
    """Where the profile falls below the level, m."""
    i = int(np.flatnonzero(saturation < level)[0])
    part = (saturation[i - 1] - level) / (saturation[i - 1] - saturation[i])
    return (i - 0.5 + part) * LENGTH / len(saturation)


@pytest.mark.parametrize("ratio", [0.2, 4.0])
def test_welges_tangent_touches_and_his_profile_holds_the_water_that_went_in(ratio):
    theory = BuckleyLeverett(ratio)
    assert theory.slope[-1] == pytest.approx(theory.speed, rel=1e-5)
    assert theory.means(np.array([0.0, LENGTH]))[0] == pytest.approx(0.2 + theory.pushed / LENGTH, rel=1e-6)


@pytest.mark.parametrize(
    ("method", "ratio", "least", "cells"),
    [
        ("sequential", 0.2, 0.8, (50, 100, 200)),
        ("sequential", 4.0, 0.65, (50, 100, 200)),
        pytest.param("newton", 0.2, 0.8, (50, 100), marks=pytest.mark.slow),
        pytest.param("sequential", 0.2, 0.84, (200, 400, 800), marks=pytest.mark.slow),
    ],
)
def test_a_waterflood_converges_to_buckley_and_leverett_at_first_order(method, ratio, least, cells):
    # In the L1 norm. Welge's shock is as fast as what follows it, which costs a logarithm of the cells: the rates
    # rise towards 1 like 1 - 1 / ln n. Measured up to 400 cells: 0.82 to 0.85 with an oil thinner than the water,
    # 0.70 to 0.75 with one four times as viscous.
    theory = BuckleyLeverett(ratio)
    errors = [
        np.abs(waterflood(ratio, n, method)[1] - theory.means(np.linspace(0, LENGTH, n + 1))).mean() for n in cells
    ]
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > least).all(), rates
    assert (rates < 1.1).all(), rates


@METHODS
def test_the_shock_is_where_welge_puts_it_and_moves_at_his_speed(method):
    ratio, distances = 0.2, []
    level = (BuckleyLeverett(ratio).shock + 0.2) / 2
    for n in (25, 50):
        half, end = (place_of(level, saturation) for saturation in waterflood(ratio, n, method))
        distances.append(abs(end - FRONT))
        assert end == pytest.approx(FRONT, abs=1.5 * LENGTH / n)  # the smeared shock is some cells wide
        assert end - half == pytest.approx(FRONT / 2, abs=0.5 * LENGTH / n)  # and travels as it is
    assert distances[1] < 0.65 * distances[0]


# kappa of the square lattice's Green's function, a(r) = (ln r + kappa) / (2 pi) + O(r^-2) (Spitzer 1976, ch. 15)
KAPPA = np.euler_gamma + 1.5 * math.log(2)


@pytest.fixture(scope="module")
def radial():
    """A well in the middle of 41 x 41 cells, the edge held at the pressures of the unbounded radial flow."""
    n, side, thickness, k, rate, edge_index = 41, 10.0, 5.0, 1e-13, 1e-3, 1e-10
    grid = Grid(shape=(n, n), spacing=(side, side, thickness))
    rock = Rock(grid=grid, permeability=field(grid, k), porosity=field(grid, 0.2))
    unit = rate * WATER.viscosity / (k * thickness)
    middle = n // 2
    edge = [(i, j) for i in range(n) for j in range(n) if i in (0, n - 1) or j in (0, n - 1)]
    wells = [Well(name="I", kind="injector", cells=[(middle, middle)])]
    controls = {"I": Control(kind="rate", target=rate)}
    for i, j in edge:
        name, r = f"{i},{j}", math.hypot(i - middle, j - middle)
        wells.append(Well(name=name, kind="producer", cells=[(i, j)], index=torch.tensor([edge_index])))
        controls[name] = Control(kind="bhp", target=2e7 - unit * math.log(r) / (2 * math.pi))
    result = run(rock, wells, controls, [DAY], initial=State(pressure=2e7, saturation=1.0), method="newton")
    pressure = result.trajectories[0].pressure[-1].reshape(n, n).numpy()
    drop = (pressure[middle, middle] - pressure) / unit
    bore = (result.bhp[0, 0].item() - pressure[middle, middle]) / unit
    return drop, bore, middle, float(peaceman_index(rock, wells[0])[0, 0]) / (k * thickness)


def test_around_a_well_pressure_falls_as_the_lattices_greens_function(radial):
    drop, _, middle, _ = radial
    assert drop[middle + 1, middle] == pytest.approx(1 / 4, rel=1e-9)
    assert drop[middle + 1, middle + 1] == pytest.approx(1 / math.pi, rel=1e-7)  # of the unbounded lattice
    assert drop[middle + 2, middle] == pytest.approx(1 - 2 / math.pi, rel=1e-7)


def test_drawdown_between_cells_is_the_radial_one(radial):
    drop, _, middle, _ = radial
    i, j = np.indices(drop.shape) - middle
    r = np.hypot(i, j)
    far = (r > 3) & (r < middle)
    expected = (np.log(r[far]) + KAPPA) / (2 * math.pi)
    assert (np.abs(drop[far] - expected) < 0.02 / r[far] ** 2).all()  # the lattice's O(r^-2)


def test_the_wells_cell_has_the_pressure_at_peacemans_radius(radial):
    drop, _, middle, _ = radial
    r = 15
    radius = r * math.exp(-2 * math.pi * drop[middle + r, middle])  # in cells: p_cell = p(radius)
    assert radius == pytest.approx(math.exp(-KAPPA), rel=1e-3)
    assert radius == pytest.approx(0.14 * math.sqrt(2), rel=5e-3)  # which Peaceman rounds to 0.14


def test_the_bottom_hole_pressure_is_the_radial_one_at_the_bore(radial):
    drop, bore, middle, index = radial
    assert bore == pytest.approx(1 / index, rel=1e-9)
    r, bore_radius = 15, 0.1 / 10.0  # in cells
    assert bore + drop[middle + r, middle] == pytest.approx(math.log(r / bore_radius) / (2 * math.pi), rel=1e-3)


SHUT = {"W": Control(kind="shut")}


def column(n, height, top=1000.0, k=1e-12):
    grid = Grid(shape=(1, 1, n), spacing=(10.0, 10.0, height / n), top=top)
    # Pores give way a little: what is shut in and cannot be compressed has no definite pressure.
    rock = Rock(grid=grid, permeability=field(grid, k), porosity=field(grid, 0.2), compressibility=5e-10)
    return rock, torch.as_tensor(grid.depth).reshape(grid.shape), [Well(name="W", kind="producer", cells=[(0, 0, 0)])]


def weight(phase, depth, top_pressure, top):
    """Pressure of a column of one liquid at rest: dp/dz = g density exp(c (p - ref)), by separation."""
    c, ref = phase.compressibility, phase.reference_pressure
    return ref - torch.log(math.exp(-c * (top_pressure - ref)) - c * GRAVITY * phase.density * (depth - top)) / c


def test_a_compressible_column_at_rest_stays_at_rest_to_second_order():
    oil = Phase(viscosity=2e-3, density=700.0, compressibility=2e-8)  # tenfold a real oil's, to see the error
    fluid = Fluid(water=WATER, oil=oil, curves=CURVES, gravity=GRAVITY)
    errors = []
    for n in (10, 20, 40):
        rock, depth, wells = column(n, 1000.0)
        expected = weight(oil, depth, 2e7, 1000.0)
        result = run(rock, wells, SHUT, [YEAR] * 5, fluid=fluid, initial=State(pressure=expected))
        states = result.trajectories[0]
        assert not result.oil_rate.any()
        moved = states.pressure[-1] - expected.flatten()
        resting = 0.2 * torch.exp(-rock.compressibility * moved)  # the water, whatever room the pores leave around it
        torch.testing.assert_close(states.saturation[-1], resting, rtol=0, atol=1e-9)
        errors.append(moved.abs().max().item())
        assert (states.pressure[-1] - states.pressure[-2]).abs().max() < 1e-3 * errors[-1]  # nothing flows any more
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (rates > 1.85).all(), rates  # 1.89, 1.95: towards 2


def test_from_any_pressure_a_column_comes_to_rest_at_its_weight():
    water = Phase(viscosity=5e-4, density=1000.0, compressibility=5e-10)
    fluid = Fluid(water=water, oil=OIL, curves=CURVES, gravity=GRAVITY)
    rock, depth, wells = column(20, 100.0)
    result = run(rock, wells, SHUT, [YEAR] * 5, fluid=fluid, initial=State(pressure=2e7, saturation=1.0))
    pressure = result.trajectories[0].pressure[-1]
    expected = weight(water, depth, pressure[0].item(), depth.min().item()).flatten()
    # A millionth of the head of 1e6 Pa: c dp is 5e-4, and its square over the 19^2 cells is what the scheme leaves.
    torch.testing.assert_close(pressure, expected, rtol=0, atol=1.0)


CAPILLARY = BrooksCorey(
    water_curve=Corey(residual=0.15, span=0.85), oil_curve=Corey(residual=0.0, span=0.85), entry_pressure=1e4
)


def test_a_transition_zone_at_capillary_and_gravity_equilibrium_stays_put():
    fluid = Fluid(water=WATER, oil=OIL, curves=CAPILLARY, gravity=GRAVITY)
    rock, depth, wells = column(40, 40.0)
    p_w = 2e7 + WATER.density * GRAVITY * (depth - 1030.0)
    p_c = (OIL.density - WATER.density) * GRAVITY * (depth - 1030.0)  # zero at the free water level
    s = 0.15 + 0.85 * (p_c.clamp(min=1e4) / 1e4) ** -2  # pore index 2
    initial = State(pressure=p_w + p_c.clamp(min=1e4), saturation=s)
    result = run(rock, wells, SHUT, [YEAR] * 10, fluid=fluid, initial=initial, cnv=1e-8)
    states = result.trajectories[0]
    assert s.min() < 0.3
    assert s.max() == 1.0
    torch.testing.assert_close(states.saturation[-1], s.flatten(), rtol=0, atol=1e-7)  # ten times the Newton tolerance
    torch.testing.assert_close(states.pressure[-1], initial.pressure.flatten(), rtol=0, atol=1e-2)


def test_oil_and_water_mixed_in_a_column_part_until_capillary_pressure_bears_the_weight():
    fluid = Fluid(water=WATER, oil=OIL, curves=CAPILLARY, gravity=GRAVITY)
    rock, depth, wells = column(20, 20.0)
    steps = [YEAR * 2.0**i for i in range(12)]
    # Round-off of the pressure, times steps of centuries, moves a millionth of the pores.
    result = run(rock, wells, SHUT, steps, fluid=fluid, initial=State(pressure=2e7, saturation=0.5), cnv=1e-5, mb=1e-9)
    states = result.trajectories[0]
    s = states.saturation[-1]
    room = torch.exp(rock.compressibility * (states.pressure[-1] - 2e7))
    assert (s * room).mean().item() == pytest.approx(0.5, abs=12 * 1e-9)
    both_flow = (s > 0.25) & (s < 0.99)
    p_c = CAPILLARY.capillary(s)[0] - (OIL.density - WATER.density) * GRAVITY * depth.flatten()
    assert both_flow.sum() > 5
    # By the end, 4,000 years, the slowest of them is this far from rest.
    assert (p_c[both_flow] - p_c[both_flow].mean()).abs().max() < 1.0
