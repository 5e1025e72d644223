"""What no change of view may change, and what must balance, through `simulate` alone."""

import numpy as np
import pytest
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock, pore_volume
from rockbank.flow.equations.wells import Control, Schedule, Well
from rockbank.flow.simulate import simulate

DAY = 86400.0
# Far below what is compared, so that differences are the scheme's and not the iteration's.
TIGHT = {"cnv": 1e-9, "mb": 1e-11, "tolerance": 1e-9}
METHODS = pytest.mark.parametrize("method", ["sequential", "newton"])

WATER, OIL = Phase(viscosity=5e-4, density=1000.0), Phase(viscosity=2e-3, density=700.0)
CURVES = BrooksCorey(water_curve=Corey(residual=0.2, span=0.6), oil_curve=Corey(residual=0.2, span=0.6))
CAPILLARY = BrooksCorey(
    water_curve=Corey(residual=0.15, span=0.85), oil_curve=Corey(residual=0.0, span=0.85), entry_pressure=1e4
)
FLUID = Fluid(water=WATER, oil=OIL, curves=CURVES)
REAL = {
    "water": Phase(viscosity=5e-4, density=1000.0, compressibility=5e-10),
    "oil": Phase(viscosity=2e-3, density=700.0, compressibility=2e-9),
}
PHYSICS = {
    "incompressible": FLUID,
    "compressible": Fluid(**REAL, curves=CURVES),
    "gravity": Fluid(**REAL, curves=CURVES, gravity=GRAVITY),
    "capillary": Fluid(**REAL, curves=CAPILLARY, gravity=GRAVITY),
}


def random_rock(grid, seed=0, **keywords):
    generator = torch.Generator().manual_seed(seed)
    k = 1e-13 * 30 ** torch.rand(grid.shape, generator=generator, dtype=torch.float64)
    phi = 0.1 + 0.2 * torch.rand(grid.shape, generator=generator, dtype=torch.float64)
    return Rock(grid=grid, permeability=k, porosity=phi, **keywords)


def run(rock, wells, controls, steps, *, fluid=FLUID, initial=None, **options):
    return simulate(
        rock,
        fluid,
        wells,
        Schedule(steps=steps, controls=controls),
        initial=initial or State(pressure=2e7),
        options=Options(**(TIGHT | options)),
    )


@pytest.mark.parametrize("physics", PHYSICS)
def test_what_flows_in_less_what_flows_out_is_what_the_pores_gain(physics):
    fluid, grid = PHYSICS[physics], Grid(shape=(6, 4, 3), spacing=(20.0, 20.0, 5.0), top=1000.0)
    c_r = 0.0 if physics == "incompressible" else 5e-10
    rock = random_rock(grid, compressibility=c_r, reference_pressure=2e7)
    wells = [
        Well(name="I", kind="injector", cells=[(0, 0, 2)]),
        Well(name="P", kind="producer", cells=[(5, 3, k) for k in range(3)]),
        Well(name="Q", kind="producer", cells=[(5, 0, 1)]),
    ]
    controls = {"I": Control(kind="rate", target=2e-4), "P": Control(kind="bhp", target=1.8e7),
                "Q": Control(kind="oil", target=2e-5)}  # fmt: skip
    steps = np.full(10, 5 * DAY)
    loose = {"cnv": 1e-3, "mb": 1e-7, "tolerance": 1e-6}
    result = run(rock, wells, controls, steps, fluid=fluid, **loose)
    assert all(report.n_steps == 1 for report in result.reports[0])  # rates are those of whole report steps
    states, pv = result.trajectories[0], pore_volume(rock)[0]
    pores = pv * torch.exp(c_r * (states.pressure - 2e7))
    for phase, s, rate in (
        (fluid.water, states.saturation, result.water_rate),
        (fluid.oil, 1 - states.saturation, result.oil_rate),
    ):
        held = (pores * s * torch.exp(phase.compressibility * (states.pressure - phase.reference_pressure))).sum(dim=1)
        gained, flowed = held.diff(), rate.sum(dim=1) * torch.as_tensor(steps)
        # mb of the pores in each step, and the well equations' 1 m^3/day or hundredth of a target
        torch.testing.assert_close(gained, flowed, rtol=0, atol=loose["mb"] * pv.sum().item() + 1e-9)


def test_one_phase_flows_alike_both_ways():
    rock = random_rock(Grid(shape=(9, 7), spacing=(5.0, 4.0, 3.0)))
    initial = State(pressure=2e7, saturation=1.0)
    rates = []
    for places in ((1, 2), (7, 5)), ((7, 5), (1, 2)):
        wells = [Well(name=name, kind=kind, cells=[place])
                 for name, kind, place in zip("IP", ("injector", "producer"), places, strict=True)]  # fmt: skip
        controls = {"I": Control(kind="bhp", target=3e7), "P": Control(kind="bhp", target=1e7)}
        result = run(rock, wells, controls, [DAY], initial=initial, method="newton")
        rates.append(result.water_rate[0].tolist())
    assert rates[0][0] == pytest.approx(-rates[0][1], rel=1e-9)
    assert rates[0] == pytest.approx(rates[1], rel=1e-9)  # the Newton tolerance; the reciprocity is exact


def five_spot(rock, *, fluid=FLUID, places=((0, 0), (-1, -1)), method="newton", steps=(10 * DAY,) * 6, **keywords):
    """An injector and a producer in two corners, or elsewhere."""
    at = [tuple(i % n for i, n in zip(place, rock.grid.shape, strict=False)) for place in places]
    layers = range(rock.grid.shape[2]) if len(rock.grid.shape) == 3 else None
    cells = [[place] if layers is None or len(place) == 3 else [(*place, k) for k in layers] for place in at]
    wells = [
        Well(name="I", kind="injector", cells=cells[0], **keywords),
        Well(name="P", kind="producer", cells=cells[1], **keywords),
    ]
    controls = {"I": Control(kind="rate", target=2e-4), "P": Control(kind="bhp", target=1.5e7)}
    return run(rock, wells, controls, steps, fluid=fluid, method=method)


def assert_same_curves(one, other, rate=1.0):
    """Equal to the Newton tolerance, which TIGHT puts at a billionth of a pore volume."""
    for name, factor in (("bhp", 1.0), ("water_rate", rate), ("oil_rate", rate)):
        expected = factor * getattr(other, name)
        size = float(expected.abs().max())
        torch.testing.assert_close(getattr(one, name), expected, rtol=0, atol=1e-7 * size, msg=name)


def transformed(rock, change, grid):
    return Rock(grid=grid, permeability=change(rock.permeability), porosity=change(rock.porosity))


@METHODS
def test_a_quarter_five_spot_is_symmetric_about_its_diagonal(method):
    grid = Grid(shape=(11, 11), spacing=(10.0, 10.0, 5.0))
    rock = random_rock(grid)
    k, phi = ((of + of.T) / 2 for of in (rock.permeability, rock.porosity))
    states = five_spot(Rock(grid=grid, permeability=k, porosity=phi), method=method).trajectories[0]
    for of, tolerance in ((states.pressure[-1].reshape(11, 11), 1.0), (states.saturation[-1].reshape(11, 11), 1e-7)):
        torch.testing.assert_close(of, of.T, rtol=0, atol=tolerance)
        assert of.std() > 1e3 * tolerance


@METHODS
@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_reservoir_flows_the_same(method, axis):
    rock = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    mirrored = transformed(rock, lambda of: of.flip(axis), rock.grid)
    places = [[0, 1], [6, 5]]
    other = [[n - 1 - i if a == axis else i for a, (i, n) in enumerate(zip(place, (8, 6), strict=True))]
             for place in places]  # fmt: skip
    assert_same_curves(five_spot(mirrored, places=other, method=method), five_spot(rock, places=places, method=method))


@METHODS
def test_a_reservoir_with_its_axes_exchanged_flows_the_same(method):
    rock = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    turned = transformed(rock, lambda of: of.T, Grid(shape=(6, 8), spacing=(8.0, 10.0, 5.0)))
    assert_same_curves(
        five_spot(turned, places=((1, 0), (5, 6)), method=method),
        five_spot(rock, places=((0, 1), (6, 5)), method=method),
    )


def test_a_reservoir_stood_on_its_side_flows_the_same_without_gravity():
    rock = random_rock(Grid(shape=(5, 4, 3), spacing=(10.0, 8.0, 5.0)))
    turned = transformed(rock, lambda of: of.permute(2, 0, 1), Grid(shape=(3, 5, 4), spacing=(5.0, 10.0, 8.0)))
    places = ((0, 1, 2), (4, 3, 0))
    assert_same_curves(
        five_spot(turned, places=[(k, i, j) for i, j, k in places], axis=0), five_spot(rock, places=places, axis=2)
    )


def test_with_gravity_the_horizontal_axes_may_be_exchanged():
    fluid = PHYSICS["capillary"]
    rock = random_rock(Grid(shape=(5, 4, 3), spacing=(10.0, 8.0, 5.0)))
    turned = transformed(rock, lambda of: of.transpose(0, 1), Grid(shape=(4, 5, 3), spacing=(8.0, 10.0, 5.0)))
    assert_same_curves(
        five_spot(turned, places=((1, 0), (3, 4)), fluid=fluid), five_spot(rock, places=((0, 1), (4, 3)), fluid=fluid)
    )


@METHODS
def test_only_permeability_over_viscosity_matters(method):
    rock = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    thick = Fluid(
        water=Phase(viscosity=7 * WATER.viscosity, density=1000.0),
        oil=Phase(viscosity=7 * OIL.viscosity, density=700.0),
        curves=CURVES,
    )
    permeable = Rock(grid=rock.grid, permeability=7 * rock.permeability, porosity=rock.porosity)
    assert_same_curves(five_spot(permeable, fluid=thick, method=method), five_spot(rock, method=method))


@METHODS
def test_a_reservoir_of_twice_the_size_takes_four_times_as_long_at_twice_the_rate(method):
    # T and WI grow by 2, pore volumes by 8
    rock = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    large = transformed(rock, lambda of: of, Grid(shape=(8, 6), spacing=(20.0, 16.0, 10.0)))
    wells = [Well(name=name, kind=kind, cells=[cell], radius=0.2)
             for name, kind, cell in (("I", "injector", (0, 0)), ("P", "producer", (7, 5)))]  # fmt: skip
    controls = {"I": Control(kind="rate", target=4e-4), "P": Control(kind="bhp", target=1.5e7)}
    assert_same_curves(
        run(large, wells, controls, (40 * DAY,) * 6, method=method), five_spot(rock, method=method), rate=2
    )


@METHODS
def test_the_order_of_the_wells_does_not_matter(method):
    rock = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    wells = [
        Well(name="I", kind="injector", cells=[(0, 0), (0, 1)]),
        Well(name="P", kind="producer", cells=[(7, 5)]),
        Well(name="Q", kind="producer", cells=[(7, 0), (6, 0)]),
    ]
    controls = {"I": Control(kind="rate", target=2e-4), "P": Control(kind="bhp", target=1.5e7),
                "Q": Control(kind="bhp", target=1.6e7)}  # fmt: skip
    order = [2, 0, 1]
    one, other = (
        run(rock, some, controls, (10 * DAY,) * 6, method=method) for some in (wells, [wells[i] for i in order])
    )
    for name in ("bhp", "water_rate", "oil_rate"):
        here, there = getattr(one, name)[:, order], getattr(other, name)
        torch.testing.assert_close(there, here, rtol=0, atol=1e-7 * float(here.abs().max()))


@METHODS
def test_a_grid_of_two_axes_is_one_layer(method):
    flat = random_rock(Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0)))
    layer = transformed(flat, lambda of: of[..., None], Grid(shape=(8, 6, 1), spacing=(10.0, 8.0, 5.0)))
    one, other = five_spot(flat, method=method), five_spot(layer, method=method)
    for name in ("bhp", "water_rate", "oil_rate"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name), rtol=0, atol=0)


def test_equal_layers_flow_as_one():
    one = random_rock(Grid(shape=(6, 5), spacing=(10.0, 8.0, 6.0)))
    layers = transformed(
        one, lambda of: of[..., None].expand(6, 5, 3), Grid(shape=(6, 5, 3), spacing=(10.0, 8.0, (1.0, 2.0, 3.0)))
    )
    assert_same_curves(five_spot(layers), five_spot(one))


def test_what_is_not_active_is_as_if_it_were_not_there():
    small = Grid(shape=(6, 5), spacing=(10.0, 8.0, 5.0))
    active = np.zeros((8, 6), dtype=bool)
    active[1:7, :5] = True
    large = Grid(shape=(8, 6), spacing=(10.0, 8.0, 5.0), active=active)
    rock = random_rock(small)
    around = transformed(rock, lambda of: torch.nn.functional.pad(of, (0, 1, 1, 1), value=0.5), large)
    one = five_spot(rock, places=((0, 0), (5, 4)))
    other = five_spot(around, places=((1, 0), (6, 4)))
    assert_same_curves(other, one)
