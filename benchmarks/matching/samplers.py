"""The small case's posterior by every method, and by Markov chains: what benchmarks.matching.calibration compares."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial.distance import cdist

from rockbank.core.terminal import progress
from rockbank.generator.latents import draw_latents
from rockbank.matching.methods.es_mda import EsMda
from rockbank.matching.methods.gauss_newton.method import GaussNewton
from rockbank.matching.methods.interface import Member, Method
from rockbank.matching.methods.mcmc import Chain, Gaussian
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Target, Vector
from rockbank.matching.run import N_STARTS
from rockbank.testing.mixing import effective_sample_size, r_hat

SEED, N_MEMBERS = 7, 100
# At 1e-3 the flow term is within 0.02 of the exact one, and a run takes two thirds of that at 1e-4.
TOLERANCE = 1e-3
PLAIN = Chain(max_iterations=2000, burn_in=200, thinning=5, seed=SEED, tolerance=TOLERANCE)
Samples = Float[np.ndarray, "m n"]


@dataclass(frozen=True)
class Ensemble:
    """What one method made of it, and what that took in forward-run equivalents."""

    name: str
    samples: Samples
    cost: float


@dataclass(frozen=True)
class Chains:
    """Samples of some chains after their burn-in, and what the chains were like."""

    samples: Float[np.ndarray, "c m n"]
    n_runs: int
    n_failed: int
    acceptance: float

    @property
    def flat(self) -> Samples:
        """Those of all chains."""
        return self.samples.reshape(-1, self.samples.shape[2])

    @property
    def r_hat(self) -> float:
        """Of the worst of the latent's numbers."""
        return max(map(r_hat, self._of_each()))

    @property
    def sizes(self) -> tuple[float, float]:
        """Effective sample sizes of means and variances, of the worst of the latent's numbers."""
        squares = [(x - x.mean()) ** 2 for x in self._of_each()]
        return min(map(effective_sample_size, self._of_each())), min(map(effective_sample_size, squares))

    def apart(self, other: Chains) -> float:
        """How far the means lie apart at most, in standard errors."""
        return max(
            float(abs(x.mean() - y.mean()) / np.hypot(*(of.std() / effective_sample_size(of) ** 0.5 for of in (x, y))))
            for x, y in zip(self._of_each(), other._of_each(), strict=True)
        )

    def _of_each(self) -> list[Float[np.ndarray, "c m"]]:
        return list(np.moveaxis(self.samples, 2, 0))


@dataclass(frozen=True)
class Context:
    """What EsMda needs of a run."""

    objective: Objective
    folder: Path
    method: Method = field(default_factory=GaussNewton)

    def member(self, i: int) -> Member:
        """A draw of the prior, as a run's."""
        return Member(z=prior_draw(self.objective, i), target=self.objective.target())

    def checkpoint(self, i: int) -> Path:
        """In a folder that is thrown away."""
        return self.folder / f"{i:04d}.npz"


class Emulator:
    """The objective with an interpolation of runs in place of the simulator: cubes of distances, and a plane."""

    def __init__(self, objective: Objective, z: Samples, simulated: Float[np.ndarray, "m d"]) -> None:
        """Through runs."""
        of, self.has_wells = objective.observations, objective.has_wells
        self.at, n = z, len(z)
        plane = np.concatenate([np.ones((n, 1)), z], axis=1)
        corner = np.zeros((plane.shape[1],) * 2)
        system = np.block([[cdist(z, z) ** 3, plane], [plane.T, corner]])
        values = np.concatenate([(simulated - of.value) / of.sigma, np.zeros((len(corner), len(of)))])
        self.weights = np.linalg.solve(system, values)
        # The generator's facies in the wells' cells are tanh of a linear map, whose rows are seen at small latents.
        small = 1e-6
        with torch.no_grad():
            sections = objective.rock(small * torch.eye(z.shape[1], dtype=torch.float64))
        self.slopes = (2 * objective.facies.at(sections.facies).numpy() - 1) / small
        self.sign = np.where(objective.facies.is_sand.numpy(), 1.0, -1.0)

    def __call__(self, z: Vector) -> float:
        """The objective, nearly."""
        cubes = np.sum((self.at - z) ** 2, axis=1) ** 1.5
        residual = np.concatenate([cubes, [1.0], z]) @ self.weights
        # -ln (1 + tanh x) / 2 = ln (1 + exp(-2 x))
        wells = np.logaddexp(0, -2 * self.sign * (z @ self.slopes)).sum() if self.has_wells else 0.0
        return float(0.5 * residual @ residual + wells + 0.5 * z @ z)


def prior_draw(objective: Objective, i: int) -> Vector:
    """The i-th member's, as a run draws it."""
    return draw_latents(SEED, i + 1, (objective.n_latent,))[i].astype(float)


def by_rml(objective: Objective) -> Ensemble:
    """Randomised maximum likelihood: the optimum of perturbed observations about a draw of the prior."""
    method = GaussNewton(seeks_fit=False, far=TOLERANCE, near=TOLERANCE)
    of, found, cost = objective.observations, [], 0.0
    for i in range(N_MEMBERS):
        z = prior_draw(objective, i)
        noise = np.random.Generator(np.random.Philox(key=np.array([SEED, i + 1], dtype=np.uint64)))
        observed = of.value + of.sigma * noise.standard_normal(len(of))
        starts = tuple(noise.standard_normal((N_STARTS - 1, objective.n_latent)))
        target = replace(objective.target(prior_mean=z, observed=observed), starts=starts)
        state = finished(method, objective, target, z)
        found.append(state.last.z)
        cost += equivalents(state)
    return Ensemble("rml", np.array(found), cost)


def by_es_mda(
    objective: Objective, n_members: int, is_localised: bool
) -> tuple[Ensemble, tuple[Samples, Float[np.ndarray, "m d"]]]:
    """The ensemble, and latents and simulated values of all its runs."""
    with tempfile.TemporaryDirectory() as folder:
        context = Context(objective, Path(folder))
        states = EsMda(is_localised=is_localised, tolerance=TOLERANCE).run(
            context,
            n_members,
            SEED,
            lambda function, arguments: [function(context, argument) for argument in arguments],
        )
    states = [state for state in states if state.status != FAILED]
    n_observed = len(objective.observations)
    z = np.array([record.z for state in states for record in state.records])
    simulated = np.concatenate([state.memory["data"][:, :n_observed] for state in states])
    name = f"es-mda, {'localised' if is_localised else 'not localised'}, {n_members} members"
    samples = np.array([state.last.z for state in states])
    return Ensemble(name, samples, sum(equivalents(state) for state in states)), (z, simulated)


def guided(objective: Objective, rml: Ensemble, nodes: Sequence[Float[np.ndarray, "m k"]]) -> Chain:
    """Chains about an ensemble's mean and covariance, most of whose steps go through an interpolation of runs."""
    return Chain(
        max_iterations=1000,
        burn_in=40,
        thinning=1,
        seed=SEED,
        reference=Gaussian.of(rml.samples, wider=1.2),
        surrogate=Emulator(objective, *nodes),
        n_inner=60,
        tolerance=TOLERANCE,
    )


def by_chains(objective: Objective, method: Chain, n_chains: int, name: str) -> Chains:
    """Chains from draws of the prior."""
    with progress(name, n_chains * method.max_iterations) as advance:
        states = [
            finished(method, objective, objective.target(), prior_draw(objective, 1000 + i), advance)
            for i in range(n_chains)
        ]
    return Chains(
        samples=np.array([method.samples(state) for state in states]),
        n_runs=int(sum(state.last.cost.forward for state in states)),
        n_failed=int(sum(state.memory["n_failed"] for state in states)),
        acceptance=float(np.mean([method.acceptance(state) for state in states])),
    )


def finished(
    method: Method, objective: Objective, target: Target, z: Vector, on_step: Callable[[], None] = lambda: None
) -> State:
    """A member's last state; `on_step` is called after every step."""
    state = method.start(objective, target, z)
    while state.status == RUNNING:
        state = method.step(objective, target, state)
        on_step()
    return state


def equivalents(state: State) -> float:
    """Forward runs; a Jacobian of a few observables or a gradient counts as one more."""
    cost = state.last.cost
    return cost.forward + cost.gradients + cost.n_jacobians
