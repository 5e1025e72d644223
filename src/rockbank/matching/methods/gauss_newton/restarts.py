"""Starts of a Gauss-Newton member: its own draw of the prior, and others where that leads nowhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from rockbank.matching.methods.gauss_newton.search_state import SearchState
from rockbank.matching.methods.gauss_newton.stopping import StoppingRule
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.state import Record, State
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Point, Target, Vector


@dataclass(frozen=True, kw_only=True)
class Restarts:
    """From where a member starts, and to which of its ends it comes back.

    Attributes:
        rule: what a good end is.
        fraction: of the model's most reduction that a start's first step asks for.
        tolerance: of the simulator, at a start.
    """

    rule: StoppingRule
    fraction: float
    tolerance: float

    def first(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a latent as it is."""
        record, point = self._record(objective, target, z, Cost())
        return State(records=(record,), memory=self._memory(0), point=point)

    def start(self, objective: Objective, target: Target, state: State, i: int) -> State:
        """At the first start from the i-th on that can be simulated, its wells fitted; the member's draw is the 0th.

        Where there is none, where it was, past the last start.
        """
        starts = (state.records[0].z, *target.starts)
        cost = state.last.cost
        for i_start, z in list(enumerate(starts))[i:]:
            if objective.has_wells:
                # Where the flow counts, its steps go on with the fit; a rougher one takes them more Jacobians.
                part = 1e-4 if objective.has_flow else 1e-5
                z, n_evaluations = fit_wells(objective, replace(target, prior_mean=z), z, part)
                cost = cost + Cost(generator_evaluations=n_evaluations)
            try:
                record, point = self._record(objective, target, z, cost)
            except MEMBER_ERRORS:
                cost = cost + Cost(forward=1)
                continue
            return state.then(record, point, self._memory(i_start))
        memory = replace(SearchState.of(state), n_slow=0, i_start=len(starts), basis=np.zeros((0, 0)))
        return replace(with_cost(state, cost), memory=memory.arrays())

    def best(self, objective: Objective, state: State) -> State:
        """The state, come back to the best of its iterates where it started more than once.

        That is the one of least objective; of a fit, of those that are neither far from the observations nor rejected,
        where there are any.
        """

        def rank(record: Record) -> tuple[bool, float]:
            is_bad = self.rule.is_far(objective, record.parts) or self.rule.is_rejected(objective, record)
            return self.rule.seeks_fit and is_bad, record.parts.total

        best = min(state.records, key=rank)
        if best is state.last or not SearchState.of(state).i_start:
            return state
        return replace(state, records=(*state.records, replace(best, cost=state.last.cost)), point=None)

    def _memory(self, i_start: int) -> dict[str, np.ndarray]:
        return SearchState.at_start(i_start, self.fraction, self.tolerance).arrays()

    def _record(self, objective: Objective, target: Target, z: Vector, before: Cost) -> tuple[Record, Point]:
        point = objective.at(z, target, self.tolerance)
        cost = before + Cost(forward=int(objective.has_flow))
        return Record(z=point.z, parts=point.parts, cost=cost), point


def fit_wells(objective: Objective, target: Target, z: Vector, part: float) -> tuple[Vector, int]:
    """Towards the nearest minimum of the wells' and the prior's terms, by L-BFGS, and how many evaluations it took.

    It ends where a step takes off no more than that `part` of them.
    """
    wells = objective.without_flow()

    def value(z: Vector) -> tuple[float, Vector]:
        point = wells.at(z, target)
        return point.parts.total, point.gradient

    found = minimize(value, z, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": part, "maxcor": 25})
    return np.asarray(found.x), int(found.nfev)


def with_cost(state: State, cost: Cost) -> State:
    """The same, after runs that failed: what they cost is the iterate's where they began."""
    return replace(state, records=(*state.records[:-1], replace(state.last, cost=cost)))
