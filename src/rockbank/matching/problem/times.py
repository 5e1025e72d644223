"""The schedule of a history: cut where something was measured, and ended where the history ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.equations.wells import Control, Schedule

# Report times are sums of steps, and files round them.
SAME_TIME = 1e-6


def until(case: Case, end: float) -> Case:
    """The case whose schedule ends at a time (s), within a step if need be.

    Raises:
        InputError: the schedule ends before.
    """
    ends = np.cumsum(case.schedule.steps)
    if not 0 < end <= ends[-1] * (1 + SAME_TIME):
        raise InputError(f"got {end / 86400:g} days; the schedule ends after {ends[-1] / 86400:g} days")
    case = cut_at(case, np.array([end]))
    ends = np.cumsum(case.schedule.steps)
    n = int(np.abs(ends - end).argmin()) + 1
    return _with_steps(case, np.asarray(case.schedule.steps)[:n], np.arange(n))


def cut_at(case: Case, times: Float[np.ndarray, " n"]) -> Case:
    """The case whose report steps end at these times (s) too, under the controls that hold there.

    So an observation between the ends of two steps is simulated where it was made, and nothing is interpolated.
    """
    ends = np.cumsum(case.schedule.steps)
    inside = np.unique(times[(times > 0) & (times < ends[-1])])
    new = [each for each in inside if np.abs(ends - each).min() > SAME_TIME * ends[-1]]
    # Of measurements at nearly one time the first ends a step.
    new = [each for i, each in enumerate(new) if not i or each - new[i - 1] > SAME_TIME * ends[-1]]
    if not new:
        return case
    cut = np.sort(np.concatenate([ends, new]))
    steps = np.diff(cut, prepend=0.0)
    return _with_steps(case, steps, np.searchsorted(ends, cut))


def _with_steps(case: Case, steps: Float[np.ndarray, " t"], of: Int[np.ndarray, " t"]) -> Case:
    """The case with other steps, each under the controls of the step that it is `of`."""
    if any(np.ndim(value) for control in _controls(case) for value in (control.target, control.limit)):
        raise InputError("the controls' targets are series; give one control for each step")
    schedule = case.schedule
    controls = {
        name: each if isinstance(each, Control) else tuple(each[int(i)] for i in of)
        for name, each in schedule.controls.items()
    }
    history = {name: values[of] for name, values in case.history.items()}
    return replace(case, schedule=Schedule(steps=tuple(steps.tolist()), controls=controls), history=history)


def _controls(case: Case) -> list[Control]:
    return [
        control
        for each in case.schedule.controls.values()
        for control in ([each] if isinstance(each, Control) else each)
    ]
