"""Ensemble smoother with multiple data assimilation: all members together, without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from iterative_ensemble_smoother import ESMDA, AdaptiveESMDA
from jaxtyping import Float

from rockbank.core.errors import InputError, UserError
from rockbank.matching.methods.interface import MEMBER_ERRORS, ParallelMap, WorkerContext
from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.status import CONVERGED, FAILED, RUNNING
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Vector

# The localisation keeps correlations above 3 / sqrt(members): none with 9 members or fewer.
_LEAST_MEMBERS, _LEAST_LOCALISED = 2, 10
# Of the sum of singular values: all but those that are round-off, whose inverses are none.
_KEPT = 1 - 1e-12
# Of an observable's size: members that differ by less do not differ.
_SAME = 1e-10
# Weights are fractions whose sum is 1 but for round-off.
_NO_WEIGHT = 1e-9


class EnsembleError(UserError, RuntimeError):
    """Too few members are left to go on."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One member's forward run, before the assimilation of that number."""

    member: int
    assimilation: int
    z: Vector
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class EsMda:
    """Assimilates the observations several times, each time with their errors' variance multiplied by alpha:

        z_i <- z_i + C_zd (C_dd + alpha C_e)^-1 (d + sqrt(alpha) e_i - d_i),   sum of 1 / alpha = 1

    (Emerick and Reynolds 2013). 1 / alpha is the number of data by the members' median |(d - d_i) / sigma|^2 (Iglesias
    and Yang 2021; their mean would follow the one section that does not let through), at most 1 / `min_iterations` and
    at least an even share of what is left of 1, so that the last assimilation does not take nearly all of it.

    A latent has no place in space, so that localisation goes by correlation: a latent's number hears only of the
    observables that it correlates with by more than 3 / sqrt(members) (Vossepoel, Evensen and van Leeuwen 2025, eq. 6).
    It is for models whose numbers are heard by few data each. Where every number moves the whole section a little, it
    leaves next to nothing: of the correlations among 100 draws of DeepFlow's case, one in a hundred is above the 0.3
    that it asks for.

    The wells' facies enter as Gaussian data: the probability of sand is 1 or 0, give or take `facies_sigma`. Where it
    is 1 / sqrt(8 ln 2), such a datum costs as much as the cross-entropy that it stands for in the middle, at p = 1/2;
    at the wrong end it costs 2.8, where the cross-entropy is without bound. So the wells bind less than elsewhere.

    A member whose run fails is left out from then on: what it would be updated to hangs on data that it has not.

    Attributes:
        min_iterations: assimilations at least.
        max_iterations: at most.
        is_localised: whether by correlation.
        facies_sigma: of the probability of sand.
        tolerance: of the simulator.
    """

    min_iterations: int = 4
    max_iterations: int = 16
    is_localised: bool = False
    facies_sigma: float = float(1 / np.sqrt(8 * np.log(2)))
    tolerance: float = 1e-4

    @property
    def iteration_cost(self) -> Cost:
        """A run."""
        return Cost(forward=1)

    def check(self, objective: Objective, n_members: int) -> None:
        """InputError for too few members, or a prior that is scaled."""
        if n_members < self._least:
            raise InputError(f"members: got {n_members}; es-mda takes {self._least} at least, better 100")
        if objective.prior_precision != 1:
            raise InputError("scaling: got 'published'; es-mda samples the posterior: leave it at 'posterior'")

    @property
    def _least(self) -> int:
        return _LEAST_LOCALISED if self.is_localised else _LEAST_MEMBERS

    def run(self, context: WorkerContext, n_members: int, seed: int, parallel_map: ParallelMap) -> list[State]:
        """Takes all members to their ends; a run that was killed goes on from their checkpoints.

        Args:
            context: objective, starts and checkpoints.
            n_members: how many.
            seed: of the perturbations of the observations; every member's are its own.
            parallel_map: runs the simulator; members' checkpoints are written where it does.

        Raises:
            InputError: as `check`.
            EnsembleError: too few are left, because the others' runs failed.
        """
        objective = context.objective
        self.check(objective, n_members)
        observed, sigma = self._data(objective)
        ensemble = {i: context.member(i).z for i in range(n_members)}
        left, n_done = (1.0 if len(observed) else 0.0), 0
        while True:
            turns = [Turn(member=i, assimilation=n_done, z=z, tolerance=self.tolerance) for i, z in ensemble.items()]
            predicted = dict(zip(ensemble, parallel_map(respond, turns), strict=True))
            ensemble = {i: z for i, z in ensemble.items() if predicted[i] is not None}
            if len(ensemble) < self._least:
                raise EnsembleError(f"{n_members - len(ensemble)} of {n_members} members failed; es-mda goes on with "
                                    f"{self._least} at least: see their reasons, or ask for more members")  # fmt: skip
            if left <= _NO_WEIGHT:
                break
            values = np.array([predicted[i] for i in ensemble])
            misfit = float(np.median(np.sum(((values - observed) / sigma) ** 2, axis=1)))
            n_left = self.max_iterations - n_done
            wanted = max(len(observed) / max(misfit, 1e-300), left / n_left)
            weight = min(wanted, left, 1 / min(n_left, self.min_iterations))
            noise = np.array([_noise(seed, i, n_done, len(observed)) for i in ensemble])
            updated = self.assimilate(np.array(list(ensemble.values())), values, observed, sigma, noise, 1 / weight)
            ensemble = dict(zip(ensemble, updated, strict=True))
            left, n_done = left - weight, n_done + 1
        return [_end(context, i, n_done) for i in range(n_members)]

    def assimilate(
        self,
        z: Float[np.ndarray, "m n"],
        values: Float[np.ndarray, "m d"],
        observed: Float[np.ndarray, " d"],
        sigma: Float[np.ndarray, " d"],
        noise: Float[np.ndarray, "m d"],
        alpha: float,
    ) -> Float[np.ndarray, "m n"]:
        """The members after one assimilation.

        Args:
            z: before it.
            values: what each member shows.
            observed: what was measured.
            sigma: its standard deviation.
            noise: standard normal, of each member's perturbed observations.
            alpha: what the errors' variance is multiplied by.
        """
        # Members that all show the same, such as no water yet, say nothing, and have no correlation.
        varies = np.ptp(values, axis=0) > _SAME * np.abs(values).max(axis=0, initial=0.0)
        if not varies.any():
            return z
        # The library's own alpha stays 1: the error given to it is multiplied, so that it need not know what came
        # before.
        error = np.sqrt(alpha) * sigma[varies]
        kind = AdaptiveESMDA if self.is_localised else ESMDA
        smoother = kind(covariance=error**2, observations=observed[varies], alpha=1)
        perturbations = (noise[:, varies] * error).T
        smoother.prepare_assimilation(
            Y=np.ascontiguousarray(values[:, varies].T), truncation=_KEPT, observation_perturbations=perturbations
        )
        # One job: processes of its own would take longer to start than the update takes.
        jobs: Mapping[str, int] = {"n_jobs": 1} if self.is_localised else {}
        return np.asarray(smoother.assimilate_batch(X=np.ascontiguousarray(z.T), **jobs).T)

    def _data(self, objective: Objective) -> tuple[Vector, Vector]:
        """Observed values and their standard deviations, in the order of `respond`."""
        observed, sigma = [np.zeros(0)], [np.zeros(0)]
        if objective.has_flow:
            observed.append(objective.observations.value)
            sigma.append(objective.observations.sigma)
        if objective.has_wells:
            is_sand = objective.facies.is_sand.double().numpy()
            observed.append(is_sand)
            sigma.append(np.full_like(is_sand, self.facies_sigma))
        return np.concatenate(observed), np.concatenate(sigma)


def respond(context: WorkerContext, turn: Turn) -> Vector | None:
    """What a member shows, simulated values and then the wells' facies, from its checkpoint where that has it.

    None, where the simulator fails or has failed.
    """
    path, objective, n_done = context.checkpoint(turn.member), context.objective, turn.assimilation
    state = State.load(path) if path.is_file() else State(records=())
    if len(state.records) > n_done and np.array_equal(state.records[n_done].z, turn.z):
        return np.asarray(state.memory["data"][n_done])
    if state.status == FAILED and len(state.records) == n_done:
        return None
    records, data = state.records[:n_done], state.memory.get("data", np.zeros((0, 0)))[:n_done]
    target = context.member(turn.member).target
    try:
        point = objective.at(turn.z, target, turn.tolerance)
    except MEMBER_ERRORS as error:
        State(records=records, memory={"data": data}).ended(FAILED, f"{type(error).__name__}: {error}").save(path)
        return None
    facies = point.evaluation.facies.numpy() if objective.has_wells else np.zeros(0)
    predicted = np.concatenate([point.evaluation.simulated.detach().numpy(), facies])
    cost = (records[-1].cost if records else Cost()) + Cost(forward=int(objective.has_flow))
    record = Record(z=point.z, parts=point.parts, cost=cost)
    data = np.array([*data, predicted])
    State(records=(*records, record), memory={"data": data}).save(path)
    return predicted


def _end(context: WorkerContext, i: int, n_done: int) -> State:
    path = context.checkpoint(i)
    state = State.load(path)
    if state.status == RUNNING:
        state = state.ended(CONVERGED, f"{n_done} assimilations" if n_done else "no data: a draw of the prior")
        state.save(path)
    return state


def _noise(seed: int, member: int, assimilation: int, n: int) -> Vector:
    # The number of the assimilation is in the counter's highest word, which no draw of another reaches.
    key, counter = np.array([seed, member], dtype=np.uint64), np.array([0, 0, 0, assimilation + 1], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).standard_normal(n)
