"""What a match minimises: the negative logarithm of the posterior of a latent, part by part."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.simulate import jacobian, simulate
from rockbank.matching.problem.geology import RockGenerator, WellFacies
from rockbank.matching.problem.observations import Observations, observables

Vector = Float[np.ndarray, " n"]
Scaling = Literal["posterior", "published"]
# Where facies are as good as certain; -ln of it, 32, is the most that one cell can cost, and beyond it nothing pulls.
CERTAIN = 1e-14
# What they take of a forward run's time on DeepFlow's case, as benchmarks.match measured.
COST = {"forward": 1.0, "gradients": 2.5, "jacobians": 13.4, "passes": 0.06, "reduced": 9.4}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What one member is drawn to.

    Attributes:
        centre: of the prior, 0 but for randomised maximum likelihood.
        observed: the measured values, or perturbed ones.
        starts: other draws of the prior, to begin again from where the first leads nowhere.
    """

    centre: Vector
    observed: Vector
    starts: Sequence[Vector] = ()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The objective's parts at one latent, and what the published ones are judged by.

    Attributes:
        flow: 0.5 sum (r / sigma)^2, or the published time mean.
        wells: the facies' binary cross-entropies, summed over the wells' cells.
        prior: 0.5 |z - centre|^2.
        time_mean: DeepFlow's J, of the real observations whatever the member is drawn to; NaN where none is simulated.
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


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Runs of the simulator, and the gradients and Jacobians that followed some of them.

    Attributes:
        forward: through the generator and the simulator.
        gradients: back through both.
        jacobians: of all observations.
        reduced: Jacobians of few combinations of them.
        passes: there and back through the generator alone.
    """

    forward: int = 0
    gradients: int = 0
    jacobians: int = 0
    passes: int = 0
    reduced: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Together."""
        return Cost(
            forward=self.forward + other.forward,
            gradients=self.gradients + other.gradients,
            jacobians=self.jacobians + other.jacobians,
            passes=self.passes + other.passes,
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A latent's rock, and what a run through it shows.

    Attributes:
        at: the latent, as torch derives in it.
        variables: facies probability and porosity variable, which hang on `at`; the simulated values hang on them.
        facies: probability of sand in the wells' cells.
        simulated: where there are observations; empty without the flow term.
    """

    at: Float[Tensor, " n"]
    variables: Float[Tensor, "2 i j"]
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


class Objective:
    """0.5 sum (r / sigma)^2 + sum of cross-entropies at the wells + 0.5 |z - centre|^2 of a case and a generator.

    With the published scaling the flow term is J = sum_n dt_n / (4 T) sum (r / sigma)^2 and the prior's is divided by
    the length of z (Mosser, Dubrule and Blunt 2019, its code).
    """

    def __init__(
        self,
        rock: RockGenerator,
        case: Case,
        observations: Observations,
        facies: WellFacies,
        *,
        flow: bool = True,
        wells: bool = True,
        scaling: Scaling = "posterior",
    ) -> None:
        """Of the case's wells and schedule; its rock only lends grid and compressibility.

        Args:
            rock: latents to rock.
            case: everything but the rock.
            observations: of its wells.
            facies: at its wells.
            flow: whether the observations count.
            wells: whether the wells' facies count.
            scaling: of the three parts.

        Raises:
            InputError: the generator's sections do not fit the grid, or observations the schedule.
        """
        grid = case.rock.grid
        with torch.no_grad():
            made = tuple(rock(torch.zeros(rock.n_latent, dtype=torch.float64)).facies.shape)
        if made != grid.shape:
            raise InputError(f"grid: got {grid.shape} cells, the generator makes sections of {made}; take a generator "
                             "of the grid's shape, or a grid of the generator's")  # fmt: skip
        self.rock, self.case, self.observations, self.facies = rock, case, observations, facies
        self.has_flow, self.has_wells = flow and len(observations) > 0, wells and len(facies.cells) > 0
        steps = np.asarray(case.schedule.steps)
        self._places = observations.places(steps, [well.name for well in case.wells])
        #: dt_n / (4 T) of each observation's report step.
        self._share = steps[self._places[1]] / (4 * steps.sum())
        published = scaling == "published"
        self._root = np.sqrt(2 * self._share if published else np.ones(len(observations))) / observations.sigma
        self._prior = 1.0 / rock.n_latent if published else 1.0

    @property
    def n_latent(self) -> int:
        """Numbers of one latent."""
        return self.rock.n_latent

    def without_flow(self) -> Objective:
        """The wells' and the prior's terms."""
        other = copy(self)
        other.has_flow = False
        return other

    @property
    def noise_floor(self) -> float:
        """Of the flow term: what it comes to in the mean at the truth, where the residuals are the noise."""
        return 0.5 * float(np.sum((self._root * self.observations.sigma) ** 2))

    @property
    def prior_precision(self) -> float:
        """What 0.5 |z - centre|^2 is multiplied by."""
        return self._prior

    def target(self, centre: Vector | None = None, observed: Vector | None = None) -> Target:
        """The posterior's own, or one with another centre or other values."""
        return Target(
            centre=np.zeros(self.n_latent) if centre is None else centre,
            observed=self.observations.value if observed is None else observed,
        )

    def evaluate(self, z: Vector, tolerance: float = 1e-4, *, with_run: bool = False) -> Evaluation:
        """The rock of a latent and, where the flow counts, a run through it.

        Args:
            z: the latent.
            tolerance: of the run, whose other options are the case's.
            with_run: even where the flow does not count.

        Raises:
            NewtonError: the run does not converge.
        """
        at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        variables = self.rock.variables(at)
        simulated = torch.zeros(0, dtype=torch.float64)
        if self.has_flow or with_run:
            section = self.rock.rock(variables)
            rock = replace(self.case.rock, permeability=section.permeability, porosity=section.porosity)
            case, options = self.case, replace(self.case.options, tolerance=tolerance)
            result = simulate(rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=options)
            simulated = observables(result, self._places)
        return Evaluation(
            at=at,
            variables=variables,
            facies=self.facies.at(variables.detach()[0]),
            simulated=simulated,
        )

    def parts(self, at: Evaluation, target: Target) -> Parts:
        """The objective's parts; those that do not count are 0."""
        simulated = at.simulated.detach().numpy()
        flow, time_mean = 0.0, np.nan
        if simulated.size:
            of_observed = ((simulated - self.observations.value) / self.observations.sigma) ** 2
            time_mean = float(self._share @ of_observed)
            flow = 0.5 * float(np.sum(self.residual(at, target) ** 2))
        is_right = (at.facies > 0.5) == self.facies.is_sand
        return Parts(
            flow=flow,
            wells=float(self._cross_entropy(at.facies)) if self.has_wells else 0.0,
            prior=0.5 * self._prior * float(np.sum((at.z - target.centre) ** 2)),
            time_mean=time_mean,
            accuracy=float(is_right.double().mean()) if len(is_right) else np.nan,
        )

    def gradient(self, at: Evaluation, target: Target) -> Vector:
        """Of the objective in z: the adjoint of the run, then back through the generator."""
        pieces = []
        if self.has_flow:
            of_root = torch.as_tensor(self._root)
            scaled = of_root * (at.simulated - torch.as_tensor(target.observed))
            pieces.append(0.5 * (scaled**2).sum())
        if self.has_wells:
            pieces.append(self._cross_entropy(self.facies.at(at.variables[0])))
        gradient = self._prior * (at.z - target.centre)
        if pieces:
            gradient = gradient + _derivative(torch.stack(pieces).sum(), at)
        return np.asarray(gradient)

    def linearise(self, at: Evaluation, target: Target, basis: Float[np.ndarray, "n_obs k"] | None = None) -> Linear:
        """The terms' derivatives in z: all observables' by one adjoint sweep, the generator's forward.

        Args:
            at: where.
            target: of the member.
            basis: directions of the residuals. The Jacobian is then of those alone, and of the residual itself, so
                that the gradient is whole: Q Q^T J, with Q an orthonormal basis of them all. The sweep has less to
                carry.
        """
        of_generator, residual = self.rock.jacobian(at.z), self.residual(at, target)
        of_residual = np.zeros((0, self.n_latent))
        if self.has_flow:
            scaled = torch.as_tensor(self._root) * at.simulated
            directions = None if basis is None else np.linalg.qr(np.column_stack([residual, basis]))[0]
            outputs = scaled if directions is None else torch.as_tensor(directions).T @ scaled
            (of_outputs,) = jacobian(outputs, [at.variables])
            of_residual = (of_outputs.flatten(1) @ of_generator.flatten(1).T).numpy()
            of_residual = of_residual if directions is None else directions @ of_residual
        gradient, hessian = np.zeros(self.n_latent), np.zeros((self.n_latent,) * 2)
        if self.has_wells:
            gradient = self.wells_gradient(at)
            p = at.facies.numpy().clip(CERTAIN, 1 - CERTAIN)
            of_p = self.facies.at(of_generator[:, 0]).T.numpy()
            hessian = of_p.T @ (of_p / (p * (1 - p))[:, None])
        return Linear(residual=residual, jacobian=of_residual, wells_gradient=gradient, wells_hessian=hessian)

    def residual(self, at: Evaluation, target: Target) -> Float[np.ndarray, " n_obs"]:
        """Scaled, so that the flow term is 0.5 |residual|^2; empty where the flow does not count."""
        if not self.has_flow:
            return np.zeros(0)
        return np.asarray(self._root * (at.simulated.detach().numpy() - target.observed))

    def wells_gradient(self, at: Evaluation) -> Vector:
        """Of the wells' term in z."""
        if not self.has_wells:
            return np.zeros(self.n_latent)
        return _derivative(self._cross_entropy(self.facies.at(at.variables[0])), at)

    def _cross_entropy(self, p: Float[Tensor, " m"]) -> Float[Tensor, ""]:
        """-sum f ln p + (1 - f) ln(1 - p)."""
        p = p.clamp(CERTAIN, 1 - CERTAIN)
        entropy: Tensor = -torch.where(self.facies.is_sand, p, 1 - p).log().sum()
        return entropy


def _derivative(value: Float[Tensor, ""], at: Evaluation) -> Vector:
    """Of something that hangs on the evaluation, in its latent; the graph stays, for others."""
    return np.asarray(torch.autograd.grad(value, at.at, retain_graph=True)[0].numpy())
