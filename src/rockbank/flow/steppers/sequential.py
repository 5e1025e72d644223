"""The sequential fully implicit iteration: pressure, then transport in the order of the flow, until both agree.

Its limit is the solution of the fully implicit equations (Jenny, Lee and Tchelepi 2006), without cut steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from rockbank.flow.equations.curves.relperm import BrooksCorey, SaturationTable
from rockbank.flow.equations.linearised import Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.trajectory import NotConvergedError, StoppedError, Trajectory
from rockbank.flow.kernels.cell_ordering import order_cells
from rockbank.flow.kernels.curves import mobilities, mobility_at
from rockbank.flow.kernels.fluxes import flow
from rockbank.flow.kernels.transport import flow_order, transport
from rockbank.flow.steppers.counter_current import CounterCurrentStepper
from rockbank.flow.steppers.mass_balance import residuals
from rockbank.flow.steppers.member import MemberStepper
from rockbank.flow.steppers.pressure import WIDEST_BAND
from rockbank.flow.units import DAY

# Outer iterations of one step; they contract by about 0.15, so that ten digits take a dozen.
MAX_ITERATIONS = 50
# The pressure's factors are too old where an iteration leaves more than this of the last change; new ones do not help
# twice in a step, unless it does not come closer at all.
SLOW, STUCK = 0.4, 0.9
# Least spread of the pressures by which their changes are measured, by the pressure itself.
LEAST_SPREAD = 1e-4


def applies(problem: Problem) -> str | None:
    """None where the sequential iteration takes the problem, else why not."""
    if not problem.fluid.is_plain:
        return "the liquids are no constant ones"
    if problem.has_cross_flow:
        return "wells may have cross-flow"
    if not isinstance(problem.fluid.curves, BrooksCorey | SaturationTable):
        return f"curves of the kind {type(problem.fluid.curves).__name__} are not compiled"
    return None


def is_slower(problem: Problem) -> str | None:
    """Why Newton's method is faster on a problem that the iteration takes too, or None.

    With gravity, on 20 x 1 x 20 to 20 x 20 x 5 cells, smooth and rough, the iteration takes 0.3 to 0.6 of Newton's CPU
    time. Where the pressure needs multigrid it takes 0.5 to 0.8 on smooth rocks of 40 x 40 x 5 and 20 x 20 x 20 cells,
    but 1.3 to 1.6 on a rough one of 30 x 30 x 10 and 1.3 on the Egg model.
    """
    if problem.fluid.is_cocurrent or order_cells(problem.grid).width <= WIDEST_BAND:
        return None
    return f"as fast or faster with gravity or capillary pressure on layers of more than {WIDEST_BAND} cells"


def run(
    problem: Problem,
    parameters: Parameters,
    options: Options,
    *,
    progress: Callable[[int], None] | None = None,
    says: Callable[[str], None] | None = None,
) -> Trajectory:
    """Takes one member through the report steps; Newton's method takes those at which the iteration fails.

    A step has converged when an iteration changes no saturation by more than `options.tolerance`, and no pressure by
    more than that part of the pressures' spread, and when by the rate at which the changes shrink what is left is
    no more either.

    Args:
        problem: one that `applies` has no objection to, with a batch of one.
        parameters: likewise.
        options: of which the tolerance counts, and those of Newton where it has to help.
        progress: called with 1 after every report step.
        says: called then with a few words about how things stand.

    Raises:
        StoppedError: Ctrl-C after the first report step.
        NewtonError: Newton's method could not take a step either.
    """
    kind = TimeStepper if problem.fluid.is_cocurrent else CounterCurrentStepper
    stepper: MemberStepper = kind(problem, parameters.detach(), options)
    try:
        for report in range(len(problem.steps)):
            stepper.take(report)
            if says is not None:
                says(f"day {problem.steps[: report + 1].sum() / DAY:.6g}, {stepper.n_iterations} iterations")
            if progress is not None:
                progress(1)
    except KeyboardInterrupt as interrupt:
        if not stepper.taken:
            raise
        raise StoppedError(_joined(stepper.taken)) from interrupt
    return _joined(stepper.taken)


class TimeStepper(MemberStepper):
    """One member where both phases always flow the same way."""

    def __init__(self, problem: Problem, parameters: Parameters, options: Options) -> None:
        super().__init__(problem, parameters, options)
        problem = self.problem
        connate = float(problem.fluid.curves.connate)
        # Below it no water moves; in a table whose first point has it mobile there is no such saturation.
        self.immobile = connate if mobility_at(connate, self.curves)[0] == 0 else -1.0
        n, n_faces = len(self.p), len(self.ordering.face)
        self.water_part, self.scale = np.zeros((2, n))
        self.flux, self.is_upward = np.zeros(n_faces), np.zeros(n_faces, dtype=np.bool_)
        self.order, self.waiting = np.empty((2, n), dtype=np.uint32)
        self.knows_flux = False

    def forget(self) -> None:
        """Another method took a step."""
        super().forget()
        self.knows_flux = False

    def after(self, now: Unknowns, taken: Trajectory) -> None:
        """Nothing: without gravity the bores have no heads."""

    def step(self, report: int) -> tuple[int, float]:
        """Iterates to the end of a report step."""
        same_wells = self.wells.begin(report)
        self.accumulation.begin(self.problem.steps[report], self.p, self.s)
        self.s = self.s.copy()
        if same_wells and self.knows_flux:
            self._update_saturation()  # with the flow of the step before: closer to the end than the saturations before
        last, has_new_factors, tolerance = np.inf, False, self.options.tolerance
        for iteration in range(1, MAX_ITERATIONS + 1):
            change = max(self._update_pressure(), self._update_saturation())
            if not np.isfinite(change):
                raise NotConvergedError("the iteration diverged")
            is_small = change <= tolerance and change * change <= tolerance * (last - change)
            has_converged = is_small and self.pressure.is_accurate
            if self.wells.switch(self.p, has_converged=has_converged):
                self.pressure.discard_factors()
                change = np.inf
            elif has_converged:
                self._set_wells()
                self.wells.close(self.p)
                return iteration, self._residual()
            elif is_small or change > STUCK * last or (change > SLOW * last and not has_new_factors):
                self.pressure.discard_factors()
                has_new_factors = True
            last = change
        raise NotConvergedError(f"the last of {MAX_ITERATIONS} iterations still changed {change:.2g}")

    def _set_wells(self) -> None:
        mobilities(self.s, self.accumulation.b_w, self.accumulation.b_o, self.curves, self.m_w, self.m_o)
        self.wells.set(self.p, self.m_w, self.m_o, self.accumulation.fvf_ratio)

    def _update_pressure(self) -> float:
        """Pressures, and the flow that they drive, at the saturations so far; the largest change by the spread."""
        ordering, wells, accumulation = self.ordering, self.wells, self.accumulation
        self._set_wells()
        dp = self.pressure.solve(self.p, self.m_w, self.m_o, accumulation.excess(self.s), accumulation.slope(self.s))
        self.p = self.p + dp
        wells.bhp = wells.bhp + wells.change(dp)
        accumulation.update_pressure(self.p)
        if (
            flow(self.pressure.conductance, ordering.lower, ordering.upper, self.p, self.flux, self.is_upward)
            or not self.knows_flux
        ):
            flow_order(self.flux, *ordering.adjacency, self.waiting, self.order)
        self.set_wells_flow()
        wells.shut_and_open(self.p)
        self.knows_flux = True
        least, most = self.p.min(), self.p.max()
        spread = max(most - least, LEAST_SPREAD * max(abs(least), abs(most)))
        return float(np.abs(dp).max() / spread)

    def _update_saturation(self) -> float:
        """Saturations with the flow so far; their largest change."""
        cells, held = self.ordering, self.accumulation
        return transport(
            self.flux, cells.start, cells.neighbour, cells.side, self.order, self.injected, self.produced,
            held.excess(self.s), held.water, held.held_water, held.b_w, held.b_o, self.immobile,
            self.curves, self.s, self.water_part, self.scale,
        )  # fmt: skip

    def _residual(self) -> float:
        """The largest mass-balance error of a phase in a cell, by its pore volume."""
        of_phases = residuals(
            self.ordering, self.transmissibility, self.accumulation, self.wells, self.p, self.s, self.m_w, self.m_o
        )
        pore_volume = self.accumulation.pore_volume
        return float(max((np.abs(of) / pore_volume).max() for of in of_phases) * self.accumulation.dt)


def _joined(parts: list[Trajectory]) -> Trajectory:
    return Trajectory(
        steps=np.concatenate([of.steps for of in parts]),
        report=np.concatenate([of.report for of in parts]),
        pressure=torch.cat([parts[0].pressure[:1], *(of.pressure[1:] for of in parts)]),
        saturation=torch.cat([parts[0].saturation[:1], *(of.saturation[1:] for of in parts)]),
        bhp=torch.cat([of.bhp for of in parts]),
        head=torch.cat([of.head for of in parts]),
        kinds=np.concatenate([of.kinds for of in parts]),
        held_by_limit=np.concatenate([of.held_by_limit for of in parts]),
        reports=tuple(report for of in parts for report in of.reports),
    )
