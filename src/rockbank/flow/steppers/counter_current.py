"""The sequential iteration where gravity or capillary pressure act, which may drive the phases against each other."""

from __future__ import annotations

import math

import numpy as np
import torch

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.trajectory import NotConvergedError, Trajectory
from rockbank.flow.equations.well_controls import first_state
from rockbank.flow.kernels.capillary import capillary_pressures, compiled_capillary
from rockbank.flow.kernels.compiled import Cells
from rockbank.flow.kernels.counter_current import add_flux, add_phase_fluxes, find_due, transport_both_ways
from rockbank.flow.kernels.curves import mobilities
from rockbank.flow.linear.choose import equations_for
from rockbank.flow.steppers.member import MemberStepper

# Iterations of one step, and sweeps of one transport, after which Newton's method has to help.
MAX_ITERATIONS, MAX_SWEEPS = 40, 400
# The transport may leave this part of the mass-balance error in a cell so far, but need not leave less than that part
# of what is allowed of all cells together: a hundredth costs a third more iterations, a thousandth is as good.
LEFT, LEFT_ALLOWED = 1e-4, 0.5
# Conjugate gradients end when the last step gains less than this part of what all of them do: with 1e-2, which does
# where the phases flow together, twice to three times as many iterations of a box with gravity.
LITTLE = 1e-5
# Least part of a saturation's change that is taken where it turns back.
LEAST_PART = 0.3
# Pressure's factors are too old where an iteration leaves more than this of the error and they were not accurate.
SLOW = 0.5


class CounterCurrentStepper(MemberStepper):
    """One member where the phases may flow against each other.

    An iteration finds the pressures at given saturations, which gives the flux of both phases together through each
    face; then, at those fluxes, the saturations. Each phase's mobility is upstream of its own potential throughout.
    """

    def __init__(self, problem: Problem, parameters: Parameters, options: Options) -> None:
        super().__init__(problem, parameters, options)
        self.pressure.little = LITTLE
        problem, ordering = self.problem, self.ordering
        self.equations = equations_for(problem, parameters)
        start, self.head = first_state(self.equations)
        self.wells.bhp, self.wells.head = start.bhp[0].numpy(), self.head[0].numpy()
        self.capillary = compiled_capillary(problem.fluid)
        self.depth = problem.grid.depth[ordering.cell]
        self.half_g_dz = problem.fluid.gravity / 2 * (self.depth[ordering.lower] - self.depth[ordering.upper])
        self.p_c = np.zeros_like(self.p)
        self.flux, self.drive = np.zeros((2, len(ordering.face)))
        self.through = np.zeros((2, len(ordering.side)))
        self.last_change: tuple[Cells, Cells] | None = None

    def forget(self) -> None:
        """Another method took a step."""
        super().forget()
        self.last_change = None

    def after(self, now: Unknowns, taken: Trajectory) -> None:
        """The heads of the bores that follow from what flowed."""
        kinds = torch.as_tensor(taken.kinds[-1:])
        step = Step(
            length=torch.as_tensor(taken.steps[-1:]),
            kinds=kinds,
            targets=torch.zeros(kinds.shape, dtype=torch.float64),
            head=taken.head[-1:],
        )
        self.head = self.equations.next_head(now, step)
        self.wells.head = self.head[0].numpy()

    def step(self, report: int) -> tuple[int, float]:
        """Iterates until the fully implicit equations hold as MRST asks of Newton's method."""
        wells, before, iteration = self.wells, (self.p, self.s), 0
        self.begin(report)
        last = math.inf
        while True:
            water, oil, diagonal = self.linearise()
            allowed, cnv = self._errors(water, oil)
            if not math.isfinite(allowed):
                raise NotConvergedError("the iteration diverged")
            has_converged = iteration > 0 and allowed <= 1
            if iteration and wells.switch(self.p, has_converged=has_converged):
                self.pressure.discard_factors()
                last = math.inf
                continue
            if has_converged:
                wells.close(self.p)
                water, oil, diagonal = self.linearise(is_closed=True)
                allowed, cnv = self._errors(water, oil)
                if allowed <= 1:
                    self.last_change = self.p - before[0], self.s - before[1]
                    return iteration, cnv
            if iteration == MAX_ITERATIONS:
                raise NotConvergedError(f"{iteration} iterations leave {allowed:.2g} times what may be left")
            if allowed > SLOW * last and not self.pressure.is_accurate:
                self.pressure.discard_factors()
            self._update_pressure(water + oil, diagonal)
            if not iteration:
                self._order_cells()
            self._update_saturation(cnv)
            iteration, last = iteration + 1, allowed

    def begin(self, report: int) -> None:
        """Starts from the state before the step, and the change of the last one once more, or a part of it."""
        holds_same, dt = self.wells.begin(report), self.problem.steps[report]
        self.accumulation.begin(dt, self.p, self.s)
        if holds_same and self.last_change is not None:
            dp, ds = self.last_change
            part = min(dt / self.problem.steps[report - 1], 1.0)
            self.p, self.s = self.p + part * dp, (self.s + part * ds).clip(0.0, 1.0)
            self.accumulation.update_pressure(self.p)
        self.change, self.part = np.zeros_like(self.s), np.ones_like(self.s)

    def linearise(self, *, is_closed: bool = False) -> tuple[Cells, Cells, Cells]:
        """Mass-balance errors of water and oil, m^3/s, and the diagonal of the pressure's matrix.

        Into `pressure.conductance`, `flux` and `drive` what `add_phase_fluxes` says.

        Args:
            is_closed: whether the wells' pressures are right already.
        """
        held, at, wells, fluid = self.accumulation, self.ordering, self.wells, self.problem.fluid
        mobilities(self.s, held.b_w, held.b_o, self.curves, self.m_w, self.m_o)
        capillary_pressures(self.s, self.capillary, self.p_c)
        bhp = wells.bhp
        wells.set(self.p, self.m_w, self.m_o, held.fvf_ratio)
        if is_closed:
            wells.bhp = bhp
        water, oil = held.water * self.s - held.held_water, held.oil * (1 - self.s) - held.held_oil
        slope = held.slope(self.s)
        diagonal = np.zeros_like(water) if slope is None else slope.copy()
        add_phase_fluxes(
            self.transmissibility, self.half_g_dz, at.lower, at.upper, self.p, self.p_c,
            fluid.water.density * held.b_w, fluid.oil.density * held.b_o, self.m_w, self.m_o, water, oil, diagonal,
            self.pressure.conductance, self.flux, self.drive,
        )  # fmt: skip
        inflow = wells.inflow(self.p)
        np.subtract.at(water, wells.cell, inflow * wells.water_part)
        np.subtract.at(oil, wells.cell, inflow * (1 - wells.water_part))
        return water, oil, diagonal

    def _errors(self, water: Cells, oil: Cells) -> tuple[float, float]:
        """By what may be left, of the worst cell and of all cells together; and of that cell by its pore volume."""
        pv, dt, options = self.accumulation.pore_volume, self.accumulation.dt, self.options
        cnv = max(float(np.abs(of / pv).max()) for of in (water, oil)) * dt
        together = max(abs(float(of.sum())) for of in (water, oil)) * dt / float(pv.sum())
        return max(cnv / options.cnv, together / options.mb), cnv

    def _update_pressure(self, error: Cells, diagonal: Cells) -> None:
        """Pressures, and the fluxes of both phases together, that take the error of their sum away."""
        at, wells = self.ordering, self.wells
        dp = self.pressure.solve_for(-error, diagonal, self.accumulation.slope(self.s))
        self.p = self.p + dp
        wells.bhp = wells.bhp + wells.change(dp)
        self.accumulation.update_pressure(self.p)
        add_flux(self.pressure.conductance, at.lower, at.upper, dp, self.flux)
        self.set_wells_flow()
        wells.shut_and_open(self.p)

    def _order_cells(self) -> None:
        """By the potentials of oil, then of water, from high to low."""
        fluid = self.problem.fluid
        columns = (fluid.gravity * self.depth * of.density for of in (fluid.oil, fluid.water))
        self.orders = np.array([np.argsort(column - self.p, kind="stable") for column in columns])

    def _update_saturation(self, cnv: float) -> None:
        """Saturations with the fluxes so far; where they turn back, by the secant of the last two changes.

        In a cell whose total mobility falls with its saturation the flux turns away from it: without that, such cells
        around the wells of the Egg model go to and fro between two saturations.
        """
        at, held, before = self.ordering, self.accumulation, self.s
        self.s, is_due = before.copy(), np.empty(len(before), dtype=bool)
        allowed = LEFT_ALLOWED * min(self.options.mb, self.options.cnv)
        tolerance = max(allowed, LEFT * cnv)
        mobilities(self.s, held.b_w, held.b_o, self.curves, self.m_w, self.m_o)
        supply = held.held_water + self.injected
        find_due(
            self.flux, self.drive, self.transmissibility, at.lower, at.upper, supply.copy(), self.produced, held.water,
            tolerance, self.s, self.p_c, self.m_w, self.m_o, is_due,
        )  # fmt: skip
        sweeps = transport_both_ways(
            self.flux, self.drive, self.transmissibility, at.start, at.neighbour, at.side, self.orders, supply,
            self.produced, held.water, held.b_w, held.b_o, self.curves, self.capillary, tolerance, MAX_SWEEPS, self.s,
            self.p_c, self.m_w, self.m_o, is_due, *self.through,
        )  # fmt: skip
        if sweeps > MAX_SWEEPS:
            raise NotConvergedError(f"{MAX_SWEEPS} sweeps of the transport do not converge")
        change = self.s - before
        turns = change * self.change < 0
        part = np.divide(self.part * self.change, self.change - change, out=np.ones_like(change), where=turns)
        self.part, self.change = part.clip(LEAST_PART, 1.0), change
        self.s = before + self.part * change
