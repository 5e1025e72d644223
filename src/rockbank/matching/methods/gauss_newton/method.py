"""Levenberg-Marquardt on the latent: a few Jacobians, and secant steps between them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.gauss_newton.damped_step import Descent
from rockbank.matching.methods.gauss_newton.quadratic_model import QuadraticModel
from rockbank.matching.methods.gauss_newton.restarts import Restarts, with_cost
from rockbank.matching.methods.gauss_newton.search_state import SearchState
from rockbank.matching.methods.gauss_newton.stopping import StoppingRule
from rockbank.matching.methods.gauss_newton.trust_region import TrustRegion
from rockbank.matching.methods.state import NOTHING_OBSERVED, Record, State
from rockbank.matching.methods.status import CONVERGED, MAX_ITERATIONS_REACHED, NOISE_LEVEL_REACHED, STUCK
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.point import Parts, Target, Vector

# Directions of the residuals that a Jacobian is made of where another was made before.
_RANK = 24
# Secant steps go on while each takes off this part of the objective; a run costs a tenth of a Jacobian.
_WORTH = 0.08


@dataclass(frozen=True, kw_only=True)
class GaussNewton:
    """Minimises the objective by damped Gauss-Newton steps on

        |r|^2 / 2 + |z - prior_mean|^2 / 2 + max(1, flow / (1.8 noise_floor)) * cross-entropies

    The wells' and the prior's terms are fitted first, without the simulator; while the flow term is large, the
    wells' is multiplied so that they stay fitted. A step solves (H + lam I) dz = -g, with the damping lam for which
    the quadratic model predicts a given part of the most that it can; that part follows the gain ratio
    (Levenberg 1944; Moré 1978).

    The valley is narrow and curved: in DeepFlow's case the Jacobian's first singular value, of bottom-hole pressures,
    is some hundred times its sixth, and a straight step along the others climbs the wall that the first one makes. So
    a step that gains too little has a second-order correction: it is taken again from where it began, with what the
    model missed of the residuals at its end, for the price of a run (Fletcher 1982; Transtrum and Sethna's geodesic
    acceleration, 2012). Where straight steps creep, it takes off several times as much at some places, and no more at
    others.

    After a step, Broyden's update (1965) mends the Jacobian for nothing; it is made anew when that no longer pays. Its
    singular values fall so fast that what the one before showed of the residuals' directions is nearly all that the
    next one has to be made of: in DeepFlow's case a step of the reduced one predicts 0.96 of the full one's reduction
    or more, after a dozen in a row. Where a step takes off little, the next Jacobian is whole.
    Where a member creeps far from the observations, it restarts from another draw of the prior; from the best of its
    ends it goes on at last. So does one that seeks a fit where it comes to rest with wells' facies that are wrong, or
    farther from 0 than draws of the prior lie; a sample has a right to both.

    Attributes:
        max_iterations: Jacobians at most, of all starts together.
        seeks_fit: see StoppingRule.
        max_secants: steps at most that one Jacobian is mended for.
        trust_region: how much of the model's most a step asks for.
        wells_first: flow term, by the noise floor, from which on the wells' is multiplied.
        far, near: tolerances of the simulator, above and below `far_above`.
        far_above: of the flow term, by the noise floor.
    """

    max_iterations: int = 40
    seeks_fit: bool = True
    max_secants: int = 6
    trust_region: TrustRegion = field(default_factory=TrustRegion)
    wells_first: float = 1.8
    far: float = 1e-3
    near: float = 1e-4
    far_above: float = 10.0

    @property
    def iteration_cost(self) -> Cost:
        """As in DeepFlow's case in the mean."""
        return Cost(forward=6, reduced=1)

    @property
    def stopping(self) -> StoppingRule:
        """When a member, or one of its starts, ends."""
        return StoppingRule(max_iterations=self.max_iterations, seeks_fit=self.seeks_fit)

    @property
    def restarts(self) -> Restarts:
        """From where a member starts."""
        return Restarts(rule=self.stopping, fraction=self.trust_region.most, tolerance=self.far)

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """From a prior draw to the nearest place where the wells' facies are fitted.

        Without the flow's term that is the end: the nearest to each member's own draw, not the one that is the
        nearest to 0, at which all would meet.

        Raises:
            NewtonError: the draw cannot be simulated, or none of the starts whose wells are fitted.
        """
        state = self.restarts.first(objective, target, z)
        if objective.has_wells:
            state = self.restarts.start(objective, target, state, 0)
        if SearchState.of(state).i_start > len(target.starts):
            raise NewtonError(f"none of the {1 + len(target.starts)} starts can be simulated")
        if objective.has_flow:
            return state
        if objective.has_wells:
            right = state.last.parts.accuracy
            return state.ended(CONVERGED, f"{right:.1%} of the wells' facies are right, near the member's draw")
        return state.ended(CONVERGED, NOTHING_OBSERVED)

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One Jacobian, and the steps that it serves."""
        began, search = state.last, SearchState.of(state)
        point = state.point or objective.at(began.z, target, search.tolerance)
        basis = None if search.n_slow else search.basis
        is_whole = basis is None or not 0 < basis.shape[1] < len(objective.observations) - 1
        linear = point.linearise(None if is_whole else basis)
        cost = began.cost + (Cost(jacobians=1) if is_whole else Cost(reduced=1))
        jacobian, wells_gradient = linear.jacobian, linear.wells_gradient
        search, fraction = replace(search, basis=directions(jacobian)), search.fraction
        for i_secant in range(1 + self.max_secants):
            last, is_fresh = state.last, i_secant == 0
            emphasis = max(1.0, last.parts.flow / (self.wells_first * objective.noise_floor))
            model = QuadraticModel.of(
                point.residual, jacobian, wells_gradient, linear.wells_hessian,
                last.z - target.prior_mean, objective.prior_precision, emphasis,
            )  # fmt: skip
            tolerance = self._tolerance(objective, last.parts)
            descent = Descent(
                objective=objective, target=target, last=last, model=model, emphasis=emphasis, tolerance=tolerance,
                max_corrections=self.trust_region.max_corrections,
            )  # fmt: skip
            trial, n_runs = self.trust_region.search(descent, fraction, is_fresh=is_fresh)
            cost = cost + Cost(forward=n_runs)
            if trial is None:
                state = with_cost(state, cost)
                break
            fraction = self.trust_region.next_fraction(trial)
            # The next Jacobian asks for what became of its own first step.
            search = replace(search, fraction=fraction if is_fresh else search.fraction, tolerance=tolerance)
            point = trial.point
            jacobian = jacobian + np.outer(trial.model_error, trial.dz) / (trial.dz @ trial.dz)
            wells_gradient = point.wells_gradient
            cost = cost + Cost(generator_evaluations=int(objective.has_wells))
            state = state.then(Record(z=point.z, parts=point.parts, cost=cost), point, search.arrays())
            if trial.reduction < _WORTH or self.stopping.has_reached_noise_level(objective, state.last):
                break
        return self._judged(objective, target, state, began)

    def _tolerance(self, objective: Objective, parts: Parts) -> float:
        return self.far if parts.flow > self.far_above * objective.noise_floor else self.near

    def _judged(self, objective: Objective, target: Target, state: State, began: Record) -> State:
        """Whether a Jacobian was the last, of this start or of the member."""
        rule, restarts, search, last = self.stopping, self.restarts, SearchState.of(state), state.last
        n_starts = 1 + len(target.starts)
        if rule.has_reached_noise_level(objective, last):
            return state.ended(NOISE_LEVEL_REACHED, "the observations are met to within their noise")
        if rule.has_reached_limit(last):
            return restarts.best(objective, state).ended(MAX_ITERATIONS_REACHED, f"{self.max_iterations} Jacobians")
        # Beyond the last start, the best of their ends is where the member goes on.
        is_far = rule.is_far(objective, last.parts) and search.i_start < n_starts
        is_rejected = rule.is_rejected(objective, last) and search.i_start < n_starts
        little = rule.slow_below(is_far=is_far)
        is_slow = began.parts.total - last.parts.total <= little * began.parts.total
        search = replace(search, n_slow=search.n_slow + 1 if is_slow else 0)
        state = replace(state, memory=search.arrays())
        # From where a reduced Jacobian found no step, a whole one may.
        has_moved, was_reduced = last.z is not began.z, last.cost.reduced > began.cost.reduced
        if search.n_slow < rule.max_slow and (has_moved or was_reduced):
            return state
        if is_far or is_rejected:
            started = restarts.start(objective, target, state, search.i_start + 1)
            if SearchState.of(started).i_start < n_starts:
                return started
            best = restarts.best(objective, started)
            # One that is not the last of the iterates is simulated again.
            return with_cost(best, best.last.cost + Cost(forward=int(best is not started)))
        best = restarts.best(objective, state)
        if not has_moved:
            return best.ended(STUCK, f"no step from iterate {len(state.records) - 1} lessens the objective")
        return best.ended(CONVERGED, f"{rule.max_slow} Jacobians took off less than {little:.0%} each")


def directions(jacobian: Float[np.ndarray, "n_obs n"]) -> Float[np.ndarray, "n_obs k"]:
    """Of the residuals, those that a Jacobian shows most of."""
    return np.asarray(np.linalg.svd(jacobian, full_matrices=False)[0][:, :_RANK])
