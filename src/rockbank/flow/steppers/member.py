"""What the sequential iterations have in common: one member's state, and steps that Newton's method takes over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from rockbank.flow.equations.fluid import with_fields
from rockbank.flow.equations.linearised import Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.trajectory import NotConvergedError, StepReport, Trajectory
from rockbank.flow.kernels.cell_ordering import order_cells
from rockbank.flow.kernels.compiled import Cells
from rockbank.flow.kernels.curves import compiled_curves
from rockbank.flow.kernels.well_flow import injected_and_produced
from rockbank.flow.linear.pressure_factor import NoPressureError
from rockbank.flow.steppers import newton
from rockbank.flow.steppers.accumulation import Accumulation
from rockbank.flow.steppers.pressure import Pressure
from rockbank.flow.steppers.well_state import NoFlowError, WellState


class MemberStepper(ABC):
    """One member: its state, and the iteration that takes it through the steps.

    Attributes:
        p: pressure of the oil in the cells, Pa, as `ordering` numbers them.
        s: saturation of water.
        head: of the bores during the next step, Pa.
        injected: of water through perforations, m^3/s.
        produced: of both phases together, likewise.
        taken: the steps so far.
    """

    p: Cells
    s: Cells
    head: Float[torch.Tensor, "1 p"]

    def __init__(self, problem: Problem, parameters: Parameters, options: Options) -> None:
        own = dict(zip(problem.fluid_fields, parameters.fluid[0].tolist(), strict=True))
        problem = replace(problem, fluid=with_fields(problem.fluid, own))
        self.problem, self.parameters, self.options = problem, parameters, options
        self.ordering = ordering = order_cells(problem.grid)
        self.transmissibility = parameters.transmissibility[0].numpy()[ordering.face]
        self.curves = compiled_curves(problem.fluid)
        self.p, self.s = (of[0].numpy()[ordering.cell] for of in (parameters.pressure, parameters.saturation))
        self.wells = WellState(problem, parameters, ordering, self.p)
        self.head = torch.zeros(1, len(self.wells.cell), dtype=torch.float64)
        self.accumulation = Accumulation(problem, parameters.pore_volume[0].numpy()[ordering.cell], ordering.cell)
        self.pressure = Pressure(ordering, self.transmissibility, self.wells)
        self.m_w, self.m_o, self.injected, self.produced = np.zeros((4, len(self.p)))
        self.taken: list[Trajectory] = []

    @property
    def n_iterations(self) -> int:
        """Of all report steps so far."""
        return sum(report.iterations for taken in self.taken for report in taken.reports)

    @abstractmethod
    def step(self, report: int) -> tuple[int, float]:
        """Iterates to the end of a report step.

        Returns:
            the iterations that it took, and the largest mass-balance error of a phase in a cell, by its pore volume.
        """

    def forget(self) -> None:
        """Another method took a step."""
        self.pressure.discard_factors()

    @abstractmethod
    def after(self, now: Unknowns, taken: Trajectory) -> None:
        """What a step leaves for the next, whichever method took it."""

    def take(self, report: int) -> None:
        """One report step."""
        before, held = self.unknowns(), self.wells.held_at(report)
        try:
            iterations, residual = self.step(report)
        except (NotConvergedError, NoPressureError, NoFlowError) as failure:
            self.taken.append(self._by_newton(report, before, held, str(failure)))
            self.after(self.unknowns(), self.taken[-1])
            return
        now, wells = self.unknowns(), self.wells
        converged = StepReport(
            method="sequential", iterations=iterations, n_steps=1, residual=residual, note=wells.note()
        )
        self.taken.append(
            Trajectory(
                steps=self.problem.steps[report : report + 1],
                report=np.array([report]),
                pressure=torch.cat([before.pressure, now.pressure]),
                saturation=torch.cat([before.saturation, now.saturation]),
                bhp=now.bhp,
                head=self.head,
                kinds=wells.kinds[None],
                held_by_limit=wells.held[None],
                reports=(converged,),
            )
        )
        self.after(now, self.taken[-1])

    def unknowns(self) -> Unknowns:
        """The state as it is, on the grid."""
        place = self.ordering.place
        p, s, bhp = (torch.from_numpy(of[None].copy()) for of in (self.p[place], self.s[place], self.wells.bhp))
        return Unknowns(pressure=p, saturation=s, bhp=bhp)

    def set_wells_flow(self) -> None:
        """What the wells inject into the cells and produce from them at the pressures so far."""
        wells = self.wells
        injected_and_produced(wells.cell, wells.injects, wells.inflow(self.p), self.injected, self.produced)

    def _by_newton(self, report: int, before: Unknowns, held: Bool[np.ndarray, " w"], why: str) -> Trajectory:
        (taken,) = newton.run(self.problem, self.parameters, self.options, start=before, head=self.head,
                              held=held[None], reports=range(report, report + 1))  # fmt: skip
        (made,) = taken.reports
        note = "; ".join(filter(None, [f"newton: {why}", made.note]))
        self.p, self.s = (of[-1].numpy()[self.ordering.cell] for of in (taken.pressure, taken.saturation))
        self.wells.bhp, self.wells.held = taken.bhp[-1].numpy(), taken.held_by_limit[-1]
        self.forget()
        return replace(taken, reports=(replace(made, note=note),))
