"""When a Gauss-Newton member, or one of its starts, has come as far as it will."""

from __future__ import annotations

from dataclasses import dataclass

from scipy.special import chdtrc

from rockbank.matching.methods.state import Record
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Parts, Vector


@dataclass(frozen=True, kw_only=True)
class StoppingRule:
    """What is judged after every Jacobian.

    Attributes:
        max_iterations: Jacobians at most, of all starts together.
        seeks_fit: whether a member ends when the observations are met to within their noise and the wells' facies are
            right; else at its optimum, as randomised maximum likelihood must.
        max_slow: Jacobians in a row that reduce the objective by no more than `little`, after which a start ends.
        little, little_far: of the objective; less where the observations are met, since elsewhere another start is
            worth more than the last percents of this one.
        far: flow term, by the noise floor, above which the observations are not met.
        right: of the wells' facies, the part that is right at a good end.
        rare: a good end is no farther from 0 than all but this part of the prior's draws.
    """

    max_iterations: int
    seeks_fit: bool
    max_slow: int = 2
    little: float = 0.02
    little_far: float = 0.05
    far: float = 2.0
    right: float = 0.98
    rare: float = 1e-6

    def has_reached_limit(self, last: Record) -> bool:
        """Whether it made all the Jacobians that it may."""
        return last.cost.n_jacobians >= self.max_iterations

    def has_reached_noise_level(self, objective: Objective, last: Record) -> bool:
        """Whether the observations are met to within their noise, and the facies, which have none, where draws lie."""
        is_met = last.parts.flow <= objective.noise_floor and (not objective.has_wells or last.parts.accuracy == 1)
        return self.seeks_fit and is_met and not self.is_prior_outlier(last.z)

    def is_far(self, objective: Objective, parts: Parts) -> bool:
        """From the observations."""
        return parts.flow > self.far * objective.noise_floor

    def is_rejected(self, objective: Objective, last: Record) -> bool:
        """No fit to end with: wrong at the wells, or where no draw of the prior lies."""
        is_wrong = objective.has_wells and last.parts.accuracy < self.right
        return self.seeks_fit and (is_wrong or self.is_prior_outlier(last.z))

    def is_prior_outlier(self, z: Vector) -> bool:
        """Where draws of the prior do not lie."""
        return bool(chdtrc(z.size, z @ z) < self.rare)

    def slow_below(self, *, is_far: bool) -> float:
        """Part of the objective that a Jacobian has to reduce it by, or be slow."""
        return self.little_far if is_far else self.little
