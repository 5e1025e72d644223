"""A damped step of Gauss-Newton from one iterate, corrected to second order along the valley."""

from __future__ import annotations

from dataclasses import dataclass

from rockbank.matching.methods.gauss_newton.quadratic_model import QuadraticModel
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.state import Record
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Parts, Point, Target, Vector

# A gain ratio above it is as good as the model, and the next step may ask for twice as much.
GOOD_GAIN = 0.6
# A corrected step is corrected once more where it brought what it lacks of the predicted reduction down to this part.
_BETTER = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """A step.

    Attributes:
        point: its end.
        dz: from where it began.
        model_error: residuals, less what the model said of them.
        fraction: of the most predicted reduction that was aimed at.
        gain: the reduction, by the predicted one.
        reduction: of the objective, by the objective before.
    """

    point: Point
    dz: Vector
    model_error: Vector
    fraction: float
    gain: float
    reduction: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """Steps from one iterate, each for one fraction of the most predicted reduction.

    Attributes:
        objective, target: what is minimised.
        last: the iterate.
        model: of the objective there.
        emphasis: by which the wells' term is multiplied.
        tolerance: of the simulator.
        max_corrections: of one step, at most.
    """

    objective: Objective
    target: Target
    last: Record
    model: QuadraticModel
    emphasis: float
    tolerance: float
    max_corrections: int

    @property
    def is_at_optimum(self) -> bool:
        """Whether the model has nothing to reduce."""
        return self.model.predicted_reduction(0.0) <= 0

    def step(self, fraction: float) -> tuple[Trial | None, int]:
        """The step, corrected to second order, and how many runs it took; None where it cannot be simulated."""
        model, best, n_runs = self.model, None, 0
        before = self._emphasised(self.last.parts)
        damping = model.damping(fraction)
        predicted, dz = model.predicted_reduction(damping), model.step(damping)
        while n_runs <= self.max_corrections:
            n_runs += 1
            try:
                point = self.objective.at(self.last.z + dz, self.target, self.tolerance)
            except MEMBER_ERRORS:
                break
            reduction = before - self._emphasised(point.parts)
            if best is not None and predicted - reduction > _BETTER * (predicted - best.reduction * before):
                break
            model_error = point.residual - model.residual - model.jacobian @ dz
            best = Trial(point=point, dz=dz, model_error=model_error, fraction=fraction, gain=reduction / predicted,
                         reduction=reduction / before)  # fmt: skip
            if best.gain > GOOD_GAIN:
                break
            dz = model.step(damping, model_error)
        return best, n_runs

    def _emphasised(self, parts: Parts) -> float:
        return parts.flow + parts.prior + self.emphasis * parts.wells
