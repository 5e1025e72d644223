"""What a match's runs of the simulator cost."""

from __future__ import annotations

from dataclasses import dataclass

# What they take of a forward run's time on DeepFlow's case, as benchmarks.matching.match measured.
COST = {"forward": 1.0, "gradients": 2.5, "jacobians": 13.4, "generator_evaluations": 0.06, "reduced": 9.4}


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Runs of the simulator, and the gradients and Jacobians that followed some of them.

    Attributes:
        forward: through the generator and the simulator.
        gradients: back through both.
        jacobians: of all observations.
        reduced: Jacobians of few combinations of them.
        generator_evaluations: there and back through the generator alone.
    """

    forward: int = 0
    gradients: int = 0
    jacobians: int = 0
    generator_evaluations: int = 0
    reduced: int = 0

    def __add__(self, other: Cost) -> Cost:
        """The sum."""
        return Cost(
            forward=self.forward + other.forward,
            gradients=self.gradients + other.gradients,
            jacobians=self.jacobians + other.jacobians,
            generator_evaluations=self.generator_evaluations + other.generator_evaluations,
            reduced=self.reduced + other.reduced,
        )

    @property
    def n_jacobians(self) -> int:
        """Of either kind."""
        return self.jacobians + self.reduced

    @property
    def runs(self) -> float:
        """All of it in forward runs."""
        return float(sum(weight * getattr(self, name) for name, weight in COST.items()))
