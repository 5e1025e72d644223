"""Markov chains whose samples are the posterior's own: the reference for small cases."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.status import SAMPLED
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Parts, Target, Vector

# Acceptance that moves furthest, with a gradient (Roberts and Rosenthal 2001) and without; there it is 0.234 of many
# dimensions and more of few.
_ACCEPTANCE_BLIND, _ACCEPTANCE_GUIDED = 0.3, 0.574
# Of Robbins and Monro's steps of ln delta: n^-0.6 forgets the start, and settles.
_FORGETTING = 0.6
_DELTA_START, _DELTA_MOST = 0.1, 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Gaussian:
    """What proposals leave as it is: N(mean, factor factor^T)."""

    mean: Vector
    factor: Float[np.ndarray, "n n"]

    @classmethod
    def of(cls, samples: Float[np.ndarray, "m n"], *, wider: float = 1.0) -> Self:
        """With the samples' mean and their covariance, its standard deviations `wider` by a factor."""
        return cls(mean=samples.mean(axis=0), factor=wider * np.linalg.cholesky(np.cov(samples.T)))


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Preconditioned Crank-Nicolson, or with `is_guided` Langevin in the same metric (MALA).

        z' = a z - (1 - a) g + b xi,   a = (2 - delta) / (2 + delta),   a^2 + b^2 = 1,   xi of N(0, I)

    with g = 0 or the gradient of the flow and wells terms (Cotter, Roberts, Stuart and White 2013),
    accepted after Metropolis and Hastings. Without data every proposal is accepted, whatever the length of z. The
    step delta is learned during the burn-in alone; every draw is a function of seed, start and number of the step, so
    that a chain that was killed goes on bit by bit. A proposal that the simulator fails on is refused.

    With a `reference` other than the prior the chain runs in its coordinates, z = mean + factor u, and still samples
    the same posterior (Rudolf and Sprungk 2018); the nearer the reference, the longer the steps. With a `surrogate`
    each step is `n_inner` steps through that, taken or refused together by what the simulator says of their end, and
    the posterior is the simulator's whatever the surrogate (Liu 2001, sec. 9.4.3; Christen and Fox 2005).

    Attributes:
        max_iterations: samples, burn-in included; one is a State's record.
        burn_in: samples that are left out.
        thinning: steps to each sample.
        is_guided: whether by the gradient.
        seed: of proposals and acceptance.
        reference: None is the prior.
        surrogate: of the objective, cheap; None asks the simulator at every step. It has no gradient.
        n_inner: steps through the surrogate.
        tolerance: of the simulator.
    """

    max_iterations: int = 2000
    burn_in: int = 500
    thinning: int = 5
    is_guided: bool = False
    seed: int = 0
    reference: Gaussian | None = None
    surrogate: Callable[[Vector], float] | None = None
    n_inner: int = 50
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if self.is_guided and self.surrogate is not None:
            raise InputError("surrogate: it has no gradient to be guided by; leave out one of the two")
        if self.max_iterations <= self.burn_in:
            raise InputError(f"iterations: got {self.max_iterations}; a chain leaves out its first {self.burn_in}: "
                             "allow more")  # fmt: skip

    @property
    def iteration_cost(self) -> Cost:
        """Of a sample, every proposal of which is simulated."""
        return Cost(forward=self.thinning, gradients=self.thinning * self.is_guided)

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a draw of the prior, which is wider than the posterior."""
        point = self._point(objective, target, np.asarray(z, dtype=float))
        n_runs = int(objective.has_flow)
        cost = Cost(forward=n_runs, gradients=n_runs * self.is_guided)
        # Chains from different starts draw differently, with no number of their own.
        key = np.frombuffer(hashlib.sha256(point.z.tobytes()).digest()[:8], dtype=np.uint64)
        memory = {
            "key": np.array([self.seed, key[0]], dtype=np.uint64),
            "log_delta": np.array(np.log(_DELTA_START)),
            "n_accepted": np.array(0),
            "n_failed": np.array(0),
            "gradient": point.gradient,
        }
        return State(records=(Record(z=point.z, parts=point.parts, cost=cost),), memory=memory)

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One sample on."""
        last, memory = state.last, state.memory
        n_before = len(state.records) - 1
        is_burn_in = n_before < self.burn_in
        log_delta, n_accepted, n_failed = (float(memory[name]) for name in ("log_delta", "n_accepted", "n_failed"))
        point = _Proposal(z=last.z, parts=last.parts, gradient=memory["gradient"])
        aim = _ACCEPTANCE_GUIDED if self.is_guided else _ACCEPTANCE_BLIND
        for i_step in range(n_before * self.thinning, (n_before + 1) * self.thinning):
            # The number of the step is in the counter's highest word, which no draw of another reaches.
            counter = np.array([0, 0, 0, i_step + 1], dtype=np.uint64)
            rng = np.random.Generator(np.random.Philox(key=memory["key"], counter=counter))
            delta = min(float(np.exp(log_delta)), _DELTA_MOST)
            try:
                proposed, probability, learned = self._propose(objective, target, point, delta, rng)
            except MEMBER_ERRORS:
                probability, learned, n_failed = 0.0, 0.0, n_failed + 1
            if rng.random() < probability:
                point = proposed
                n_accepted += not is_burn_in
            if is_burn_in:
                log_delta += (learned - aim) / (i_step + 1) ** _FORGETTING
                log_delta = min(log_delta, float(np.log(_DELTA_MOST)))
        # What cannot be simulated has no gradient either.
        n_gradients = self.is_guided * (self.thinning - int(n_failed - float(memory["n_failed"])))
        cost = last.cost + Cost(forward=self.thinning, gradients=n_gradients) if objective.has_flow else last.cost
        now = {
            "key": memory["key"],
            "log_delta": np.array(log_delta),
            "n_accepted": np.array(int(n_accepted)),
            "n_failed": np.array(int(n_failed)),
            "gradient": point.gradient,
        }
        state = replace(state, records=(*state.records, Record(z=point.z, parts=point.parts, cost=cost)), memory=now)
        if len(state.records) > self.max_iterations:
            return state.ended(SAMPLED, f"{self.max_iterations} samples, {self.acceptance(state):.0%} of the steps "
                               "accepted")  # fmt: skip
        return state

    def samples(self, state: State) -> Float[np.ndarray, "m n"]:
        """After the burn-in."""
        return np.array([record.z for record in state.records[self.burn_in + 1 :]])

    def acceptance(self, state: State) -> float:
        """Part of the steps after the burn-in that were accepted."""
        n_steps = self.thinning * max(len(state.records) - 1 - self.burn_in, 0)
        return float(state.memory["n_accepted"]) / n_steps if n_steps else float("nan")

    def _point(self, objective: Objective, target: Target, z: Vector) -> _Proposal:
        at = objective.at(z, target, self.tolerance)
        gradient = np.zeros_like(z)
        if self.is_guided:
            reference = self.reference
            of_u = at.gradient if reference is None else reference.factor.T @ at.gradient
            gradient = of_u - self._whitened(z)
        return _Proposal(z=at.z, parts=at.parts, gradient=gradient)

    def _propose(
        self, objective: Objective, target: Target, point: _Proposal, delta: float, rng: np.random.Generator
    ) -> tuple[_Proposal, float, float]:
        """Where the step goes, the probability of taking it, and that from which delta is learned."""
        if self.surrogate is not None:
            return self._propose_inner(self.surrogate, objective, target, point, delta, rng)
        a = (2 - delta) / (2 + delta)
        b = np.sqrt(1 - a**2)
        u = self._whitened(point.z)
        u_next = a * u - (1 - a) * point.gradient + b * rng.standard_normal(len(u))
        proposed = self._point(objective, target, self._latent(u_next))

        def log_density(to: Vector, of: Vector, gradient: Vector) -> float:
            return -0.5 * float(np.sum(((to - a * of + (1 - a) * gradient) / b) ** 2))

        back, forth = log_density(u, u_next, proposed.gradient), log_density(u_next, u, point.gradient)
        probability = _probability(point.parts.total - proposed.parts.total + back - forth)
        return proposed, probability, probability

    def _propose_inner(
        self,
        surrogate: Callable[[Vector], float],
        objective: Objective,
        target: Target,
        point: _Proposal,
        delta: float,
        rng: np.random.Generator,
    ) -> tuple[_Proposal, float, float]:
        a = (2 - delta) / (2 + delta)
        b = np.sqrt(1 - a**2)
        u, accepted = self._whitened(point.z), 0.0
        at_start = at = surrogate(point.z)
        for _ in range(self.n_inner):
            u_next = a * u + b * rng.standard_normal(len(u))
            at_next = surrogate(self._latent(u_next))
            probability = _probability(at - at_next + 0.5 * float(u_next @ u_next - u @ u))
            accepted += probability / self.n_inner
            if rng.random() < probability:
                u, at = u_next, at_next
        proposed = self._point(objective, target, self._latent(u))
        probability = _probability(point.parts.total - proposed.parts.total + at - at_start)
        return proposed, probability, accepted

    def _latent(self, u: Vector) -> Vector:
        reference = self.reference
        return u if reference is None else reference.mean + reference.factor @ u

    def _whitened(self, z: Vector) -> Vector:
        reference = self.reference
        return z if reference is None else np.linalg.solve(reference.factor, z - reference.mean)


def _probability(log_ratio: float) -> float:
    return float(np.exp(min(log_ratio, 0.0)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Proposal:
    """Where a chain is or may go; the gradient is that of the objective less the reference's, in its coordinates."""

    z: Vector
    parts: Parts
    gradient: Vector
