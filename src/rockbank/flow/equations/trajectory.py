"""What a run leaves behind: the steps really taken, their states, and how each converged."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.core.errors import UserError


class NewtonError(UserError, RuntimeError):
    """A step did not converge, however short; says which, with its residual and cell."""


class NotConvergedError(RuntimeError):
    """A step that the sequential iteration leaves to Newton's method; says why."""


class StoppedError(KeyboardInterrupt):
    """Ctrl-C during a run of one member, after whole report steps.

    Attributes:
        trajectory: of the report steps that were done.
    """

    def __init__(self, trajectory: Trajectory) -> None:
        super().__init__(f"stopped after {len(trajectory.reports)} report steps")
        self.trajectory = trajectory


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """How one report step came about.

    Attributes:
        method: "sequential" or "newton".
        iterations: of all its steps, those of failed tries included.
        n_steps: how many steps it took.
        n_planned: how many it was to take; those beyond are cuts.
        residual: largest of the last step's scaled residuals: volume error over pore volume.
        note: what the user should know, such as a control that switched or why the sequential path was left.
    """

    method: str
    iterations: int
    n_steps: int
    residual: float
    note: str = ""
    n_planned: int = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectory:
    """The run of one member; m steps were taken for t report steps.

    Attributes:
        steps: length of each step taken, s.
        report: the report step that it belongs to.
        pressure: of the cells, before the first step and after each, Pa.
        saturation: of water, likewise.
        bhp: bottom-hole pressures after each step, Pa.
        head: during it, pressure at the perforations minus the bottom-hole pressure, Pa.
        kinds: what held each well during it, a place in wells.KINDS or problem.CLOSED: the control, or the
            limit that took over.
        held_by_limit: where `kinds` is the limit's, not the control's.
        reports: of each report step.
    """

    steps: Float[np.ndarray, " m"]
    report: Int[np.ndarray, " m"]
    pressure: Float[Tensor, "m+1 n"]
    saturation: Float[Tensor, "m+1 n"]
    bhp: Float[Tensor, "m w"]
    head: Float[Tensor, "m p"]
    kinds: Int[np.ndarray, "m w"]
    held_by_limit: Bool[np.ndarray, "m w"]
    reports: tuple[StepReport, ...]

    @property
    def ends(self) -> Int[np.ndarray, " t"]:
        """The step with which each report step ends; the state after it is one further on."""
        return np.flatnonzero(np.diff(self.report, append=self.report[-1] + 1))

    def first(self, n: int) -> Trajectory:
        """The first n report steps."""
        m = int(np.searchsorted(self.report, n))
        steps = {name: getattr(self, name)[:m] for name in ("steps", "report", "bhp", "head", "kinds", "held_by_limit")}
        states = {name: getattr(self, name)[: m + 1] for name in ("pressure", "saturation")}
        return replace(self, **steps, **states, reports=self.reports[:n])
