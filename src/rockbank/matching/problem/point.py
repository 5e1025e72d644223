"""A latent at which one member's objective was evaluated, with all that is computed of it there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.simulate import jacobian
from rockbank.matching.problem.geology import WellFacies
from rockbank.matching.problem.observations import Observations
from rockbank.matching.problem.parameterisation import Parameterisation

Vector = Float[np.ndarray, " n"]
# Where facies are as good as certain; -ln of it, 32, is the most that one cell can cost, and beyond it nothing pulls.
CERTAIN = 1e-14


@dataclass(frozen=True, kw_only=True)
class Target:
    """What one member is fitted to.

    Attributes:
        prior_mean: 0 but for randomised maximum likelihood.
        observed: the measured values, or perturbed ones.
        starts: other draws of the prior, to restart from where the first leads nowhere.
    """

    prior_mean: Vector
    observed: Vector
    starts: Sequence[Vector] = ()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The objective's parts at one latent, and what the published ones are judged by.

    Attributes:
        flow: 0.5 sum (r / sigma)^2, or the published time mean.
        wells: the facies' binary cross-entropies, summed over the wells' cells.
        prior: 0.5 |z - prior_mean|^2.
        time_mean: DeepFlow's J, of the real observations whatever the member is fitted to; NaN where none is simulated.
        accuracy: part of the wells' cells with the right facies; NaN where none is known.
    """

    flow: float
    wells: float
    prior: float
    time_mean: float
    accuracy: float

    @property
    def total(self) -> float:
        """The objective."""
        return self.flow + self.wells + self.prior


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A latent's rock, and what a run through it shows.

    Attributes:
        at: the latent, as torch derives in it.
        variables: of the parameterisation, which hang on `at`; the simulated values hang on them.
        facies: probability of sand in the wells' cells.
        simulated: where there are observations; empty without the flow term.
    """

    at: Float[Tensor, " n"]
    variables: Float[Tensor, "*v"]
    facies: Float[Tensor, " m"]
    simulated: Float[Tensor, " n_obs"]

    @property
    def z(self) -> Vector:
        """The latent."""
        return np.asarray(self.at.detach().numpy())


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """First order of the flow term's residuals, second order (Gauss-Newton) of the wells' term, at one latent.

    Attributes:
        residual: scaled, so that the flow term is 0.5 |residual|^2.
        jacobian: of the residual.
        wells_gradient: of the cross-entropies.
        wells_hessian: of them, generalised Gauss-Newton: positive semi-definite.
    """

    residual: Vector
    jacobian: Float[np.ndarray, "n_obs n"]
    wells_gradient: Vector
    wells_hessian: Float[np.ndarray, "n n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Terms:
    """What an objective's terms are made of, whatever the latent.

    Attributes:
        rock: the parameterisation, latents to rock and fluid.
        observations: of the wells.
        facies: at the wells.
        has_flow, has_wells: which terms count.
        root: what a residual is multiplied by, 1 / sigma or with the published scaling sqrt(dt / (2 T)) / sigma.
        share: dt_n / (4 T) of each observation's report step.
        prior_precision: what 0.5 |z - prior_mean|^2 is multiplied by.
    """

    rock: Parameterisation
    observations: Observations
    facies: WellFacies
    has_flow: bool
    has_wells: bool
    root: Float[np.ndarray, " n_obs"]
    share: Float[np.ndarray, " n_obs"]
    prior_precision: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """An evaluated latent of one member; each of what it knows is computed once, when it is first needed.

    Attributes:
        terms: of the objective.
        target: what the member is fitted to.
        evaluation: of the latent.
    """

    terms: Terms
    target: Target
    evaluation: Evaluation

    @property
    def z(self) -> Vector:
        """The latent."""
        return self.evaluation.z

    @cached_property
    def residual(self) -> Float[np.ndarray, " n_obs"]:
        """Scaled, so that the flow term is 0.5 |residual|^2; empty where the flow does not count."""
        return np.asarray(self._scaled.detach().numpy()) if self.terms.has_flow else np.zeros(0)

    @cached_property
    def parts(self) -> Parts:
        """The objective's parts; those that do not count are 0."""
        terms, evaluation = self.terms, self.evaluation
        simulated = evaluation.simulated.detach().numpy()
        flow, time_mean = 0.0, np.nan
        if simulated.size:
            of_observed = ((simulated - terms.observations.value) / terms.observations.sigma) ** 2
            time_mean = float(terms.share @ of_observed)
            flow = 0.5 * float(np.sum(self.residual**2))
        is_right = (evaluation.facies > 0.5) == terms.facies.is_sand
        return Parts(
            flow=flow,
            wells=float(self._cross_entropy(evaluation.facies)) if terms.has_wells else 0.0,
            prior=0.5 * terms.prior_precision * float(np.sum((self.z - self.target.prior_mean) ** 2)),
            time_mean=time_mean,
            accuracy=float(is_right.double().mean()) if len(is_right) else np.nan,
        )

    @cached_property
    def gradient(self) -> Vector:
        """Of the objective in z: the adjoint of the run, then back through the generator."""
        pieces = []
        if self.terms.has_flow:
            pieces.append(0.5 * (self._scaled**2).sum())
        if self.terms.has_wells:
            pieces.append(self._cross_entropy(self._facies))
        gradient = self.terms.prior_precision * (self.z - self.target.prior_mean)
        if pieces:
            gradient = gradient + self._derivative(torch.stack(pieces).sum())
        return np.asarray(gradient)

    @cached_property
    def wells_gradient(self) -> Vector:
        """Of the wells' term in z."""
        if not self.terms.has_wells:
            return np.zeros(self.z.size)
        return self._derivative(self._cross_entropy(self._facies))

    def linearise(self, basis: Float[np.ndarray, "n_obs k"] | None = None) -> Linear:
        """The terms' derivatives in z: all observables' by one adjoint sweep, the generator's forward.

        Args:
            basis: directions of the residuals. The Jacobian is then of those alone, and of the residual itself, so
                that the gradient is whole: Q Q^T J, with Q an orthonormal basis of them all. The sweep has less to
                carry.
        """
        terms, n = self.terms, self.z.size
        of_generator = terms.rock.jacobian(self.z)
        of_residual = np.zeros((0, n))
        if terms.has_flow:
            directions = None if basis is None else np.linalg.qr(np.column_stack([self.residual, basis]))[0]
            outputs = self._scaled if directions is None else torch.as_tensor(directions).T @ self._scaled
            (of_outputs,) = jacobian(outputs, [self.evaluation.variables])
            of_residual = (of_outputs.flatten(1) @ of_generator.flatten(1).T).numpy()
            of_residual = of_residual if directions is None else directions @ of_residual
        hessian = np.zeros((n, n))
        if terms.has_wells:
            p = self.evaluation.facies.numpy().clip(CERTAIN, 1 - CERTAIN)
            of_p = terms.facies.at(terms.rock.facies(of_generator)).T.numpy()
            hessian = of_p.T @ (of_p / (p * (1 - p))[:, None])
        return Linear(
            residual=self.residual, jacobian=of_residual, wells_gradient=self.wells_gradient, wells_hessian=hessian
        )

    @cached_property
    def _scaled(self) -> Float[Tensor, " n_obs"]:
        """The residual, as torch derives it."""
        scaled: Tensor = torch.as_tensor(self.terms.root) * (
            self.evaluation.simulated - torch.as_tensor(self.target.observed)
        )
        return scaled

    @property
    def _facies(self) -> Float[Tensor, " m"]:
        return self.terms.facies.at(self.terms.rock.facies(self.evaluation.variables))

    def _cross_entropy(self, p: Float[Tensor, " m"]) -> Float[Tensor, ""]:
        """-sum f ln p + (1 - f) ln(1 - p)."""
        p = p.clamp(CERTAIN, 1 - CERTAIN)
        entropy: Tensor = -torch.where(self.terms.facies.is_sand, p, 1 - p).log().sum()
        return entropy

    def _derivative(self, value: Float[Tensor, ""]) -> Vector:
        """Of something that hangs on the evaluation, in its latent; the graph stays, for others."""
        return np.asarray(torch.autograd.grad(value, self.evaluation.at, retain_graph=True)[0].numpy())
