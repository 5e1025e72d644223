"""A match whose posterior is known: observables A z with Gaussian errors, and a standard normal prior."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.interface import Member
from rockbank.matching.problem.observations import Observations
from rockbank.matching.problem.point import Evaluation, Linear, Parts, Target

N_LATENT, N_OBSERVED = 3, 5


class LinearGaussian:
    """With the methods of Objective; some latents fail, where asked."""

    has_flow, has_wells, prior_precision = True, False, 1.0

    def __init__(self, *, seed=0, n_observed=N_OBSERVED, precision=1.0, fails=lambda z: False,
                 error=NewtonError):  # fmt: skip
        rng = np.random.default_rng(seed)
        self.n_latent = N_LATENT
        # Correlated and unequal, so that a method that mixes up rows or forgets a covariance is found out.
        self.matrix = rng.normal(size=(n_observed, N_LATENT)) * np.array([2.0, 1.0, 0.3])
        self.fails, self.error = fails, error
        self.prior_precision = precision
        sigma = rng.uniform(0.5, 1.5, size=n_observed)
        self.observations = Observations(
            time=np.arange(1.0, n_observed + 1),
            well=("P",) * n_observed,
            quantity=("bhp",) * n_observed,
            value=self.matrix @ np.array([0.5, -1.0, 1.0]) + sigma * rng.normal(size=n_observed),
            sigma=sigma,
        )

    @property
    def noise_floor(self):
        return 0.5 * len(self.observations)

    @property
    def covariance(self):
        """Of the posterior."""
        scaled = self.matrix / self.observations.sigma[:, None]
        return np.linalg.inv(scaled.T @ scaled + np.eye(N_LATENT))

    @property
    def mean(self):
        """Of the posterior."""
        return self.covariance @ self.matrix.T @ (self.observations.value / self.observations.sigma**2)

    def target(self, prior_mean=None, observed=None):
        return Target(
            prior_mean=np.zeros(N_LATENT) if prior_mean is None else prior_mean,
            observed=self.observations.value if observed is None else observed,
        )

    def without_flow(self):
        other = copy(self)
        other.has_flow = False
        return other

    def at(self, z, target, tolerance=1e-4):
        return LinearPoint(self, target, self.evaluate(z, tolerance))

    def evaluate(self, z, tolerance=1e-4, **_):
        if self.fails(z):
            raise self.error("step 2: the pressure does not converge")
        return Evaluation(
            at=torch.tensor(z, dtype=torch.float64),
            variables=torch.zeros(2, 1, 1),
            facies=torch.zeros(0, dtype=torch.float64),
            simulated=torch.as_tensor(self.matrix @ z),
        )

    def residual(self, at, target):
        return (at.simulated.numpy() - target.observed) / self.observations.sigma

    def parts(self, at, target):
        return Parts(
            flow=0.5 * self.has_flow * float(np.sum(self.residual(at, target) ** 2)),
            wells=0.0,
            prior=0.5 * float(np.sum((at.z - target.prior_mean) ** 2)),
            time_mean=0.0,
            accuracy=1.0,
        )

    def gradient(self, at, target):
        of_flow = self.matrix.T @ (self.residual(at, target) / self.observations.sigma)
        return self.has_flow * of_flow + at.z - target.prior_mean

    def wells_gradient(self, at):
        return np.zeros(N_LATENT)

    def linearise(self, at, target, basis=None):
        return Linear(
            residual=self.residual(at, target),
            jacobian=self.matrix / self.observations.sigma[:, None],
            wells_gradient=np.zeros(N_LATENT),
            wells_hessian=np.zeros((N_LATENT, N_LATENT)),
        )


@dataclass(frozen=True)
class LinearPoint:
    """With what a Point knows, as the objective says it."""

    objective: LinearGaussian
    target: Target
    evaluation: Evaluation

    @property
    def z(self):
        return self.evaluation.z

    @property
    def residual(self):
        return self.objective.residual(self.evaluation, self.target)

    @property
    def parts(self):
        return self.objective.parts(self.evaluation, self.target)

    @property
    def gradient(self):
        return self.objective.gradient(self.evaluation, self.target)

    @cached_property
    def wells_gradient(self):
        return self.objective.wells_gradient(self.evaluation)

    def linearise(self, basis=None):
        return self.objective.linearise(self.evaluation, self.target, basis)


class LinearContext:
    """A run of it in a folder."""

    def __init__(self, folder: Path, objective: LinearGaussian, method=None):
        self.folder, self.objective, self.method = folder, objective, method

    def member(self, i):
        return Member(z=np.random.default_rng([7, i]).standard_normal(N_LATENT), target=self.objective.target())

    def checkpoint(self, i):
        return self.folder / f"{i:04d}.npz"


def finished(method, objective, target, z):
    """One member's last state."""
    state = method.start(objective, target, z)
    while state.status == "running":
        state = method.step(objective, target, state)
    return state
