"""What a method is to those that run it, and what they are to the method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.state import State
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Target, Vector

# What one member's rock can do to the simulator; the case and the generator were checked before, so that an InputError
# is of that rock too.
MEMBER_ERRORS = (NewtonError, np.linalg.LinAlgError, FloatingPointError, InputError)
#: Calls function(context, argument) of each argument, side by side or not, and returns the results in their order.
ParallelMap = Callable[[Callable[[Any, Any], Any], Sequence[Any]], list[Any]]


class Method(Protocol):
    """How one member goes from its start to its end; both are functions of what they are given alone."""

    @property
    def max_iterations(self) -> int:
        """That a member makes at most; 0 where the method makes none."""
        ...

    @property
    def iteration_cost(self) -> Cost:
        """Of an iteration in the mean, for estimates."""
        ...

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """The first state, from a draw of the prior."""
        ...

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """The next one."""
        ...


class EnsembleMethod(Protocol):
    """How all members go from their starts to their ends together, by way of their checkpoints."""

    @property
    def max_iterations(self) -> int:
        """That the members make at most."""
        ...

    @property
    def iteration_cost(self) -> Cost:
        """Of an iteration of one member in the mean, for estimates."""
        ...

    def check(self, objective: Objective, n_members: int) -> None:
        """InputError for what it cannot do, before anything runs."""
        ...

    def run(self, context: WorkerContext, n_members: int, seed: int, parallel_map: ParallelMap) -> Sequence[State]:
        """Their ends."""
        ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member's start and target."""

    z: Vector
    target: Target


class WorkerContext(Protocol):
    """What a process needs to take any member further; it is made anew in each."""

    @property
    def objective(self) -> Objective:
        """What the members minimise."""
        ...

    @property
    def method(self) -> Method:
        """How they do."""
        ...

    def member(self, i: int) -> Member:
        """The i-th."""
        ...

    def checkpoint(self, i: int) -> Path:
        """Where its state lies."""
        ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A member moved on.

    Attributes:
        member: which.
        i_iterate: of its last iterate, 0 at its start.
        cost: until then.
        total: the objective there; NaN where it has none.
        status: of the member.
    """

    member: int
    i_iterate: int
    cost: Cost
    total: float
    status: str

    @classmethod
    def of(cls, member: int, state: State) -> Progress:
        """Of a member in that state."""
        if not state.records:
            return cls(member=member, i_iterate=0, cost=Cost(), total=float("nan"), status=state.status)
        last = state.last
        return cls(
            member=member,
            i_iterate=len(state.records) - 1,
            cost=last.cost,
            total=last.parts.total,
            status=state.status,
        )
