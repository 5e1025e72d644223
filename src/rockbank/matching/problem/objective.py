"""What a match minimises: the negative logarithm of the posterior of a latent, part by part."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.simulate import simulate
from rockbank.matching.problem.geology import WellFacies
from rockbank.matching.problem.observations import Observations, observables
from rockbank.matching.problem.parameterisation import Model, Parameterisation
from rockbank.matching.problem.point import Evaluation, Point, Target, Terms, Vector

Scaling = Literal["posterior", "published"]


class Objective:
    """0.5 sum (r / sigma)^2 + sum of cross-entropies at the wells + 0.5 |z - prior_mean|^2 of a case's parameters.

    With the published scaling the flow term is J = sum_n dt_n / (4 T) sum (r / sigma)^2 and the prior's is divided by
    the length of z (Mosser, Dubrule and Blunt 2019, its code).
    """

    def __init__(
        self,
        rock: Parameterisation,
        case: Case,
        observations: Observations,
        facies: WellFacies,
        *,
        flow: bool = True,
        wells: bool = True,
        scaling: Scaling = "posterior",
    ) -> None:
        """Of the case's wells and schedule, whose rock and fluid lend what no parameter says.

        Args:
            rock: the parameterisation, latents to rock and fluid.
            case: everything else.
            observations: of its wells.
            facies: at its wells.
            flow: whether the observations count.
            wells: whether the wells' facies count.
            scaling: of the three parts.

        Raises:
            InputError: the parameters do not fit the case, or observations the schedule, or facies are observed that
                no parameter has.
        """
        has_saturation = case.initial.saturation is not None
        rock.check(Model(rock=case.rock, fluid=case.fluid, has_saturation=has_saturation))
        _require_facies(rock, facies)
        self.rock, self.case, self.observations, self.facies = rock, case, observations, facies
        steps = np.asarray(case.schedule.steps)
        self._places = observations.places(steps, [well.name for well in case.wells])
        self._states = observations.states(self._places)
        share = steps[self._places[1]] / (4 * steps.sum())
        published = scaling == "published"
        self._terms = Terms(
            rock=rock,
            observations=observations,
            facies=facies,
            has_flow=flow and len(observations) > 0,
            has_wells=wells and len(facies.cells) > 0,
            root=np.sqrt(2 * share if published else np.ones(len(observations))) / observations.sigma,
            share=share,
            prior_precision=1.0 / rock.n_latent if published else 1.0,
        )

    @property
    def n_latent(self) -> int:
        """Numbers of one latent."""
        return self.rock.n_latent

    @property
    def has_flow(self) -> bool:
        """Whether the observations count."""
        return self._terms.has_flow

    @property
    def has_wells(self) -> bool:
        """Whether the wells' facies count."""
        return self._terms.has_wells

    @property
    def noise_floor(self) -> float:
        """Of the flow term: what it comes to in the mean at the truth, where the residuals are the noise."""
        return 0.5 * float(np.sum((self._terms.root * self.observations.sigma) ** 2))

    @property
    def prior_precision(self) -> float:
        """What 0.5 |z - prior_mean|^2 is multiplied by."""
        return self._terms.prior_precision

    def without_flow(self) -> Objective:
        """The wells' and the prior's terms."""
        other = copy(self)
        other._terms = replace(self._terms, has_flow=False)
        return other

    def target(self, prior_mean: Vector | None = None, observed: Vector | None = None) -> Target:
        """The posterior's own, or one with another prior mean or other values."""
        return Target(
            prior_mean=np.zeros(self.n_latent) if prior_mean is None else prior_mean,
            observed=self.observations.value if observed is None else observed,
        )

    def at(self, z: Vector, target: Target, tolerance: float = 1e-4, *, with_run: bool = False) -> Point:
        """A latent, evaluated for a member.

        Args:
            z: the latent.
            target: what the member is fitted to.
            tolerance: of the run, whose other options are the case's.
            with_run: even where the flow does not count.

        Raises:
            NewtonError: the run does not converge.
        """
        return self.point(self.evaluate(z, tolerance, with_run=with_run), target)

    def point(self, evaluation: Evaluation, target: Target) -> Point:
        """One that was evaluated before."""
        return Point(terms=self._terms, target=target, evaluation=evaluation)

    def evaluate(self, z: Vector, tolerance: float = 1e-4, *, with_run: bool = False) -> Evaluation:
        """The rock of a latent and, where the flow counts, a run through it; arguments and errors as of `at`."""
        at = torch.tensor(z, dtype=torch.float64, requires_grad=True)
        variables = self.rock.variables(at)
        simulated = torch.zeros(0, dtype=torch.float64)
        if self.has_flow or with_run:
            case, options = self.case, replace(self.case.options, tolerance=tolerance)
            model = self.rock.model(variables, Model(rock=case.rock, fluid=case.fluid))
            result = simulate(model.rock, model.fluid, case.wells, case.schedule, initial=case.initial,
                              states=self._states, options=options)  # fmt: skip
            simulated = observables(result, self._places)
        return Evaluation(
            at=at,
            variables=variables,
            facies=self.facies.at(self.rock.facies(variables.detach())),
            simulated=simulated,
        )


def _require_facies(rock: Parameterisation, facies: WellFacies) -> None:
    """InputError where facies are observed that no parameter has: they would be compared with 0 whatever the latent."""
    if not facies.cells:
        return
    with torch.no_grad():
        variables = rock.variables(torch.zeros(rock.n_latent, dtype=torch.float64))
    # They are linear in the variables, and so those of ones are 0 where there are none.
    has_any = rock.facies(torch.ones_like(variables))
    if has_any is None:
        raise InputError("facies: none of the parameters has any; leave it out, or match a generator's images")
    if outside := [cell for cell, value in zip(facies.cells, facies.at(has_any).tolist(), strict=True) if not value]:
        more = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise InputError(
            f"facies: no parameter has any in cell {outside[0]}{more}; leave it out, or match images there"
        )
