"""The prior itself: each member is its draw."""

from __future__ import annotations

from dataclasses import dataclass

from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.status import CONVERGED
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Target, Vector


@dataclass(frozen=True, kw_only=True)
class Prior:
    """Scenario 1: a draw of the prior as it is."""

    tolerance: float = 1e-4

    @property
    def max_iterations(self) -> int:
        """It makes none."""
        return 0

    @property
    def iteration_cost(self) -> Cost:
        """Nothing."""
        return Cost()

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """The draw, simulated once where the flow counts."""
        point = objective.at(z, target, self.tolerance)
        record = Record(z=point.z, parts=point.parts, cost=Cost(forward=int(objective.has_flow)))
        return State(records=(record,)).ended(CONVERGED, "a draw of the prior")

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """Nothing follows."""
        return state
