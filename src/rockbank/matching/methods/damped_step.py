"""Damped steps of Gauss-Newton from one iterate: shorter until one gains enough, and bent after the valley."""

from __future__ import annotations

from dataclasses import dataclass

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.quadratic_model import QuadraticModel
from rockbank.matching.methods.state import Record
from rockbank.matching.problem.objective import Evaluation, Objective, Parts, Target, Vector

# Shorter trials ask for so much less: coarsely until one is good, then finely for the best.
_COARSE, _FINE = 2.6, 1.6
# A gain ratio above it is as good as the model, and the next step may ask for twice as much.
GOOD_GAIN = 0.6
# A bent step is bent once more where it brought what it lacks of the promise down to this part.
_BETTER = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """A step.

    Attributes:
        missed: residuals, less what the model said of them.
        fraction: of the model's promise that was asked for.
        gain: what was won, of what the model promised of this step.
        saved: what was won, of the objective before.
    """

    evaluation: Evaluation
    parts: Parts
    dz: Vector
    missed: Vector
    fraction: float
    gain: float
    saved: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Search:
    """For the step from one iterate.

    Attributes:
        objective, target: what is minimised.
        last: the iterate.
        model: of the objective there.
        emphasis: by which the wells' term is multiplied.
        tolerance: of the simulator.
        max_trials: runs after which no shorter step is tried.
        max_bends: of one step, at most.
    """

    objective: Objective
    target: Target
    last: Record
    model: QuadraticModel
    emphasis: float
    tolerance: float
    max_trials: int
    max_bends: int

    def best(self, fraction: float, max_vain: int) -> tuple[Trial | None, int]:
        """The best of a few damped steps, each shorter than the one before, and how many runs they took."""
        best, n_runs = None, 0
        if self.model.promised(0.0) <= 0:  # at an optimum
            return best, n_runs
        while n_runs < (max_vain if best is None else self.max_trials):
            trial, n = self.bent(fraction)
            n_runs += n
            if trial is not None and trial.saved > (0.0 if best is None else best.saved):
                best = trial
                if best.gain > GOOD_GAIN:
                    break
            elif best is not None:
                break
            fraction /= _COARSE if best is None else _FINE
        return best, n_runs

    def bent(self, fraction: float) -> tuple[Trial | None, int]:
        """One damped step, bent to the valley, and how many runs it took; None where it cannot be simulated."""
        objective, model, best, n_runs = self.objective, self.model, None, 0
        before = _emphasised(self.last.parts, self.emphasis)
        damping = model.damping(fraction)
        promised, dz = model.promised(damping), model.step(damping)
        while n_runs <= self.max_bends:
            n_runs += 1
            try:
                then = objective.evaluate(self.last.z + dz, self.tolerance)
            except NewtonError:
                break
            parts = objective.parts(then, self.target)
            won = before - _emphasised(parts, self.emphasis)
            if best is not None and promised - won > _BETTER * (promised - best.saved * before):
                break
            missed = objective.residual(then, self.target) - model.residual - model.jacobian @ dz
            best = Trial(evaluation=then, parts=parts, dz=dz, missed=missed, fraction=fraction, gain=won / promised,
                          saved=won / before)  # fmt: skip
            if best.gain > GOOD_GAIN:
                break
            dz = model.step(damping, missed)
        return best, n_runs


def _emphasised(parts: Parts, emphasis: float) -> float:
    return parts.flow + parts.prior + emphasis * parts.wells
