"""Where a member stands within Newton's method: the step that it tries, how often it failed, and those it has taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.flow.equations.linearised import Unknowns
from rockbank.flow.equations.trajectory import StepReport, Trajectory

# Of what an iterative linear solver may leave: the factor of the square of the last gain, and the most, which is what
# the first iteration of a step asks for.
FORCING, LOOSEST = 0.5, 0.01


class StepError(NamedTuple):
    """What is left of the residual: by what may be left; in the worst cell, by its pore volume; of the worst well."""

    allowed: float
    cnv: float
    cell: int
    of_well: float
    well: int


@dataclass(frozen=True, kw_only=True, eq=False)
class StepTaken:
    """A step that converged."""

    length: float
    report: int
    state: Unknowns
    head: Float[Tensor, "1 p"]
    kinds: Int[np.ndarray, " w"]
    held: Bool[np.ndarray, " w"]


class MemberState:
    """Where one member stands: the step that it tries, and those that it has taken.

    A report step has `whole` parts, of which `left` are still to be taken; a step takes a power of two of them.
    """

    def __init__(self, whole: int, report: int, held: Bool[np.ndarray, " w"]) -> None:
        self.whole, self.report = whole, report
        self.parts = self.left = whole
        self.n_iterations = 0  # in this report step, those of failed tries included
        self.is_extrapolated = False  # where this try began
        self.taken: list[StepTaken] = []
        self.reports: list[StepReport] = []
        self.try_step(held)

    def try_step(self, held: Bool[np.ndarray, " w"]) -> None:
        """Starts anew, with the wells that their limits hold at first."""
        self.first_held = self.held = held
        self.switches = np.zeros(len(held), dtype=int)
        self.iteration, self.allowed = 0, math.inf

    def switch(self, wells: Bool[np.ndarray, " w"]) -> None:
        """Gives wells from control to limit or back, which makes the step another problem."""
        self.held = self.held ^ wells
        self.switches = self.switches + wells
        self.iteration, self.allowed = 0, math.inf

    def forcing(self, allowed: float) -> float:
        """What the linear solver may leave of the residual (Eisenstat and Walker 1996, choice 2, and Kelley 1995)."""
        gained, self.allowed = 1.0 if math.isinf(self.allowed) else min(allowed / self.allowed, 1.0), allowed
        return min(max(FORCING * gained**2, FORCING / allowed), LOOSEST)

    def end_report(self, residual: float, note: str) -> None:
        """Goes on to the next report step, at its full length."""
        n_steps = sum(step.report == self.report for step in self.taken)
        if n_steps > 1:
            note = "; ".join(filter(None, [note, f"cut into {n_steps} steps"]))
        report = StepReport(
            method="newton", iterations=self.n_iterations, n_steps=n_steps, residual=residual, note=note
        )
        self.reports.append(report)
        self.report += 1
        self.parts = self.left = self.whole
        self.n_iterations = 0

    def trajectory(self, start: Unknowns) -> Trajectory:
        """What this member did, in whole report steps."""
        taken = [step for step in self.taken if step.report < self.report]
        states = [start, *(step.state for step in taken)]
        return Trajectory(
            steps=np.array([step.length for step in taken]),
            report=np.array([step.report for step in taken]),
            pressure=torch.cat([state.pressure for state in states]),
            saturation=torch.cat([state.saturation for state in states]),
            bhp=torch.cat([state.bhp for state in states[1:]]),
            head=torch.cat([step.head for step in taken]),
            kinds=np.array([step.kinds for step in taken]),
            held_by_limit=np.array([step.held for step in taken]),
            reports=tuple(self.reports),
        )
