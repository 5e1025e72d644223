"""The compiled loops against the residual in torch, cell by cell: the same physics, said twice."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from rockbank.flow import Control, Fluid, Grid, Phase, Rock, Schedule, State, Well
from rockbank.flow.equations.curves.relperm import SaturationFunctions
from rockbank.flow.equations.linearised import Linearised, Unknowns
from rockbank.flow.equations.problem import discretise
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.trajectory import Trajectory
from rockbank.flow.equations.well_controls import held_step
from rockbank.flow.kernels.cell_ordering import order_cells
from rockbank.flow.kernels.curves import compiled_curves, mobilities
from rockbank.flow.kernels.fluxes import connect, flow
from rockbank.flow.results.balance import balance
from rockbank.flow.steppers.accumulation import Accumulation
from rockbank.flow.steppers.mass_balance import residuals
from rockbank.flow.steppers.well_state import WellState
from tests.flow.saturation_functions import COREY, MOBILE_WATER, POWERS, TABLE

# Both sum some ten terms in double precision, each of a few roundings, in another order and with other exponentials
# and powers: by the size of the terms.
ROUND_OFF = 1e-13
DAY, SHAPE = 86400.0, (5, 4, 3)
# Curves, and the compressibility of the water, 1/Pa.
FLUIDS: Mapping[str, tuple[SaturationFunctions, float]] = {
    "squares": (COREY, 0.0),
    "powers, compressible": (POWERS, 1e-9),
    "a table": (TABLE, 0.0),
    "a table of mobile water, compressible": (MOBILE_WATER, 2e-9),
}
WELLS = {"I": ("injector", [(0, 0, k) for k in range(3)]), "P": ("producer", [(4, 3, k) for k in range(3)]),
         "Q": ("producer", [(4, 0, 1)])}  # fmt: skip
RATE, BHP = Control(kind="rate", target=1e-3, limit=3e7), Control(kind="bhp", target=1e7, limit=5e-4)
CONTROLS: Mapping[str, Mapping[str, Control]] = {
    "a rate and pressures": {"I": RATE, "P": BHP, "Q": BHP},
    "a pressure and rates": {
        "I": Control(kind="bhp", target=2e7, limit=2e-3),
        "P": Control(kind="oil", target=2e-4, limit=1e6),
        "Q": Control(kind="water", target=1e-4, limit=1e6),
    },
    "a liquid rate and a shut well": {
        "I": RATE,
        "P": Control(kind="rate", target=3e-4, limit=1e6),
        "Q": Control(kind="shut"),
    },
}
fluids = pytest.mark.parametrize("fluid", FLUIDS)


class Twice:
    """A random state of a random rock with inactive cells, in torch and for the loops.

    Args:
        fluid: of FLUIDS.
        controls: of CONTROLS.
        held: which wells their limits hold.
    """

    def __init__(self, fluid: str, controls: str, held: tuple[bool, bool, bool] = (False, False, False)) -> None:
        rng = np.random.default_rng(7)
        active = rng.uniform(size=SHAPE) > 0.2
        for _, cells in WELLS.values():
            active[tuple(zip(*cells, strict=True))] = True
        curves, c = FLUIDS[fluid]
        rock = Rock(
            grid=Grid(shape=SHAPE, spacing=(20.0, 15.0, (4.0, 10.0, 6.0)), active=active),
            permeability=torch.as_tensor(1e-14 * 100 ** rng.uniform(size=SHAPE)),
            porosity=torch.as_tensor(rng.uniform(0.1, 0.4, SHAPE)),
            compressibility=c * rng.uniform(size=active.sum()),
            reference_pressure=1e7 * rng.uniform(size=active.sum()),
        )
        of_phases = Fluid(
            water=Phase(viscosity=5e-4, density=1000.0, compressibility=c, reference_pressure=1.1e7),
            oil=Phase(viscosity=3e-3, density=800.0, compressibility=3 * c, reference_pressure=0.9e7),
            curves=curves,
        )
        wells = [Well(name=name, kind=kind, cells=cells) for name, (kind, cells) in WELLS.items()]
        schedule = Schedule(steps=[3 * DAY], controls=CONTROLS[controls])
        self.problem, self.parameters = discretise(rock, of_phases, wells, schedule, State(pressure=1.2e7))
        n, (dt,) = self.problem.grid.n_cells, self.problem.steps
        # Beyond the curves' ends too; so that some perforations would flow the wrong way.
        p, before_p, s, before_s = *rng.uniform(0.8e7, 1.6e7, (2, n)), *rng.uniform(0.0, 1.0, (2, n))

        self.ordering = ordering = order_cells(self.problem.grid)
        self.p, self.s = p[ordering.cell], s[ordering.cell]
        self.transmissibility = self.parameters.transmissibility[0].numpy()[ordering.face]
        self.accumulation = Accumulation(
            self.problem, self.parameters.pore_volume[0].numpy()[ordering.cell], ordering.cell
        )
        self.accumulation.begin(dt, before_p[ordering.cell], before_s[ordering.cell])
        self.accumulation.update_pressure(self.p)
        self.m_w, self.m_o = np.empty((2, n))
        b_w, b_o = self.accumulation.b_w, self.accumulation.b_o
        mobilities(self.s, b_w, b_o, compiled_curves(of_phases), self.m_w, self.m_o)
        self.wells = WellState(self.problem, self.parameters, ordering, self.p)
        self.wells.held = np.array(held)
        self.wells.begin(0)
        self.set_wells()
        self.wells.close(self.p)
        self.set_wells()

        equations = Equations(self.problem, self.parameters)
        self.step = held_step(equations, np.array([dt]), np.array([0]), np.array([held]),
                              torch.zeros(1, len(self.wells.cell), dtype=torch.float64))  # fmt: skip
        bhp = torch.as_tensor(self.wells.bhp[None])
        self.now = Unknowns(pressure=torch.as_tensor(p[None]), saturation=torch.as_tensor(s[None]), bhp=bhp)
        self.before = Unknowns(
            pressure=torch.as_tensor(before_p[None]), saturation=torch.as_tensor(before_s[None]), bhp=bhp
        )
        self.torch: Linearised = equations.linearise(self.now, self.before, self.step)

    def set_wells(self) -> None:
        """Bottom-hole pressures and strengths at the state."""
        self.wells.set(self.p, self.m_w, self.m_o, self.accumulation.fvf_ratio)

    def size(self) -> np.ndarray:
        """Of the terms that a cell's equation sums, m^3/s."""
        size = (self.accumulation.water + self.accumulation.oil)[self.ordering.place]
        through = self.parameters.transmissibility[0].numpy() * np.abs(self.torch.flux[0].numpy()).sum(axis=1)
        for side in self.problem.grid.faces.T:
            np.add.at(size, side, through)
        inflow = self.parameters.well_index[0].numpy() * np.abs(self.torch.inflow[0].numpy()).sum(axis=1)
        np.add.at(size, self.problem.perforation_cell, inflow)
        return size


@fluids
@pytest.mark.parametrize(
    ("controls", "held"),
    [(name, (False, False, False)) for name in CONTROLS]
    + [("a rate and pressures", (True, False, True)), ("a pressure and rates", (True, True, False))],
)
def test_the_loops_leave_in_each_cell_what_the_residual_says(
    fluid: str, controls: str, held: tuple[bool, bool, bool]
) -> None:
    of = Twice(fluid, controls, held)
    got = residuals(of.ordering, of.transmissibility, of.accumulation, of.wells, of.p, of.s, of.m_w, of.m_o)
    allowed = ROUND_OFF * of.size()
    for phase, expected in zip(got, of.torch.cells[0].numpy().T, strict=True):
        assert (np.abs(phase[of.ordering.place] - expected) <= allowed).all()


@fluids
def test_total_fluxes_are_those_of_the_residual(fluid: str) -> None:
    of = Twice(fluid, "a rate and pressures")
    ordering, n_faces = of.ordering, len(of.ordering.face)
    conductance, flux, is_upward = np.empty(n_faces), np.empty(n_faces), np.zeros(n_faces, dtype=bool)
    diagonal, excess = np.zeros((2, len(of.p)))
    connect(of.transmissibility, ordering.lower, ordering.upper, of.p, of.m_w, of.m_o, conductance, diagonal, excess)
    flow(conductance, ordering.lower, ordering.upper, of.p, flux, is_upward)
    left, right = of.problem.grid.faces.T
    # From the left cell to the right one; a face's lower cell may be either.
    sign = np.where(ordering.place[left[ordering.face]] == ordering.lower, 1, -1)
    expected = (of.parameters.transmissibility[0] * of.torch.flux[0].sum(dim=-1)).numpy()
    atol = ROUND_OFF * np.abs(expected).max()
    np.testing.assert_allclose(sign * flux, expected[ordering.face], rtol=0, atol=atol)
    into = np.bincount(right, expected, len(of.p)) - np.bincount(left, expected, len(of.p))
    np.testing.assert_allclose(excess[ordering.place], into, rtol=0, atol=6 * atol)  # a cell has six faces


@fluids
@pytest.mark.parametrize("controls", CONTROLS)
def test_wells_flow_as_in_the_residual(fluid: str, controls: str) -> None:
    of = Twice(fluid, controls)
    assert (of.wells.kinds == of.step.kinds[0].numpy()).all()
    inflow = of.wells.inflow(of.p)
    expected = of.parameters.well_index[0].numpy()[:, None] * of.torch.inflow[0].numpy()
    got = np.stack([inflow * of.wells.water_part, inflow * (1 - of.wells.water_part)], axis=1)
    np.testing.assert_allclose(got, expected, rtol=0, atol=ROUND_OFF * np.abs(expected).max())
    # The residual of a rate is in m^3/s, of a pressure in Pa.
    size = np.where(of.wells.is_rated, np.abs(expected).sum(), 1e7)
    assert (np.abs(of.torch.wells[0].numpy()) <= ROUND_OFF * size).all()


@fluids
def test_what_cells_hold_changes_with_pressure_as_in_the_jacobian(fluid: str) -> None:
    of = Twice(fluid, "a rate and pressures")
    slope = of.accumulation.slope(of.s)
    expected = of.torch.jacobian.diagonal[0, :, :, 0].sum(dim=-1).numpy()
    got = np.zeros_like(expected) if slope is None else slope[of.ordering.place]
    np.testing.assert_allclose(got, expected, rtol=ROUND_OFF, atol=0)


@fluids
def test_the_balance_counts_what_the_cells_hold(fluid: str) -> None:
    of = Twice(fluid, "a rate and pressures")
    states = (of.before, of.now)
    trajectory = Trajectory(
        steps=of.problem.steps,
        report=np.array([0]),
        pressure=torch.cat([state.pressure for state in states]),
        saturation=torch.cat([state.saturation for state in states]),
        bhp=of.now.bhp,
        head=of.step.head,
        kinds=of.wells.kinds[None],
        held_by_limit=of.wells.held[None],
        reports=(),
    )
    in_place = balance(of.problem, of.parameters, trajectory).in_place
    held, s = of.accumulation, of.s
    expected = [[held.held_water.sum(), held.held_oil.sum()], [held.water @ s, held.oil @ (1 - s)]]
    np.testing.assert_allclose(in_place, np.array(expected) * held.dt, rtol=ROUND_OFF)
