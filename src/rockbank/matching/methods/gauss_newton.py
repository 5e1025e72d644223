"""Levenberg-Marquardt on the latent: a few Jacobians, and secant steps between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.stats import chi2

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.damped_step import GOOD_GAIN, Search
from rockbank.matching.methods.quadratic_model import QuadraticModel
from rockbank.matching.methods.state import NOTHING_OBSERVED, SPENT, Record, State
from rockbank.matching.problem.objective import Cost, Evaluation, Objective, Parts, Target, Vector

# A trial step asks for this part of what the model promises at most, and for no less where a Jacobian is fresh.
_MOST, _LEAST = 0.95, 0.1
# Directions of the residuals that a Jacobian is made of where another was made before.
_RANK = 24
# Secant steps go on while each takes off this part of the objective; a run costs a tenth of a Jacobian.
_WORTH = 0.08
# A start has come as far as it will when this many Jacobians in a row take off no more than this part: less
# where the observations are met, since elsewhere another start is worth more than the last percents of this one.
_FEW, _LITTLE, _LITTLE_FAR = 2, 0.02, 0.05
# The flow term, by the noise floor, above which the observations are not met.
_FAR = 2.0
# Of the wells' facies, the part that is right at a good end.
_RIGHT = 0.98
# A good end is no farther from 0 than all but this part of the prior's draws.
_RARE = 1e-6


@dataclass(frozen=True, kw_only=True)
class GaussNewton:
    """Minimises the objective by damped Gauss-Newton steps on

        |r|^2 / 2 + |z - centre|^2 / 2 + max(1, flow / (1.8 noise_floor)) * cross-entropies

    The wells' and the prior's terms are fitted first, without the simulator; while the flow term is large, the
    wells' is multiplied so that they stay fitted. A step solves (H + lam I) dz = -g, with the damping lam for which
    the quadratic model promises a given part of the most that it can; that part follows the gain ratio
    (Levenberg 1944; Moré 1978).

    The valley is narrow and bent: in DeepFlow's case the Jacobian's first singular value, of bottom-hole pressures,
    is some hundred times its sixth, and a straight step along the others climbs the wall that the first one makes. So
    a step that gains too little is bent: taken again from where it began, with what the model missed of the residuals
    at its end, for the price of a run (a second-order correction, as Fletcher 1982; Transtrum and Sethna's geodesic
    acceleration, 2012). Where straight steps creep, it takes off several times as much at some places, and no more at
    others.

    After a step, Broyden's update (1965) mends the Jacobian for nothing; it is made anew when that no longer pays. Its
    singular values fall so fast that what the one before showed of the residuals' directions is nearly all that the
    next one has to be made of: in DeepFlow's case a step of the reduced one promises 0.96 of the full one's or more,
    after a dozen in a row. Where a step takes off little, the next Jacobian is whole.
    Where a member creeps far from the observations, it begins again from another draw of the prior; from the best of
    its ends it goes on at last. So does one that seeks a fit where it comes to rest with wells' facies that are wrong,
    or farther from 0 than draws of the prior lie; a sample has a right to both.

    Attributes:
        max_iterations: Jacobians at most, of all starts together.
        max_secants: steps at most that one Jacobian is mended for.
        max_trials: runs after which no shorter step is tried.
        max_vain: of them, as long as none was good, where the Jacobian is mended; a fresh one gets all.
        max_bends: of one step, at most.
        wells_first: flow term, by the noise floor, from which on the wells' is multiplied.
        far, near: tolerances of the simulator, above and below `far_above`.
        far_above: of the flow term, by the noise floor.
        seeks_fit: whether it ends when the observations are met to within their noise and the wells' facies are right;
            else at its optimum, as randomised maximum likelihood must.
    """

    max_iterations: int = 40
    max_secants: int = 6
    max_trials: int = 12
    max_vain: int = 4
    max_bends: int = 3
    wells_first: float = 1.8
    far: float = 1e-3
    near: float = 1e-4
    far_above: float = 10.0
    seeks_fit: bool = True

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """From a prior draw to the nearest place where the wells' facies are fitted.

        Without the flow's term that is the end: the nearest to each member's own draw, not the one that is the
        nearest to 0, at which all would meet.

        Raises:
            NewtonError: the draw cannot be simulated, or none of the starts whose wells are fitted.
        """
        state = self.begin(objective, target, z)
        if objective.has_wells:
            state = self._begun(objective, target, state, 0)
        if int(state.memory["i_start"]) > len(target.starts):
            raise NewtonError(f"none of the {1 + len(target.starts)} starts can be simulated")
        if objective.has_flow:
            return state
        if objective.has_wells:
            right = state.last.parts.accuracy
            return state.ended("converged", f"{right:.1%} of the wells' facies are right, near the member's draw")
        return state.ended("converged", NOTHING_OBSERVED)

    def begin(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a latent as it is."""
        record, evaluation = self._record(objective, target, z, Cost())
        return State(records=(record,), memory=self._memory(0), evaluation=evaluation)

    def _begun(self, objective: Objective, target: Target, state: State, i: int) -> State:
        """At the first start from the i-th on that can be simulated, its wells fitted; the member's draw is the 0th.

        Where there is none, where it was, past the last start.
        """
        starts = (state.records[0].z, *target.starts)
        cost = state.last.cost
        for i_start, z in list(enumerate(starts))[i:]:
            if objective.has_wells:
                # Where the flow counts, its steps go on with the fit; a rougher one takes them more Jacobians.
                part = 1e-4 if objective.has_flow else 1e-5
                z, n_passes = fit_wells(objective, replace(target, centre=z), z, part)
                cost = cost + Cost(passes=n_passes)
            try:
                record, evaluation = self._record(objective, target, z, cost)
            except NewtonError:
                cost = cost + Cost(forward=1)
                continue
            return state.then(record, evaluation, self._memory(i_start))
        memory = {**state.memory, **_arrays({"n_slow": 0, "i_start": len(starts)}), "basis": np.zeros((0, 0))}
        return replace(_costing(state, cost), memory=memory)

    def _memory(self, i_start: int) -> dict[str, np.ndarray]:
        numbers = {"fraction": _MOST, "n_slow": 0, "tolerance": self.far, "i_start": i_start}
        return {**_arrays(numbers), "basis": np.zeros((0, 0))}

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One Jacobian, and the steps that it serves."""
        began, floor = state.last, objective.noise_floor
        fraction, tolerance = (float(state.memory[name]) for name in ("fraction", "tolerance"))
        at = state.evaluation or objective.evaluate(began.z, tolerance)
        basis = None if int(state.memory["n_slow"]) else state.memory["basis"]
        is_whole = basis is None or not 0 < basis.shape[1] < len(objective.observations) - 1
        linear = objective.linearise(at, target, None if is_whole else basis)
        cost = began.cost + (Cost(jacobians=1) if is_whole else Cost(reduced=1))
        jacobian, gradient = linear.jacobian, linear.wells_gradient
        memory = {**state.memory, "basis": directions(jacobian)}
        asked = fraction
        for i_step in range(1 + self.max_secants):
            last = state.last
            emphasis = max(1.0, last.parts.flow / (self.wells_first * floor))
            model = QuadraticModel.of(
                objective.residual(at, target), jacobian, gradient, linear.wells_hessian,
                last.z - target.centre, objective.prior_precision, emphasis,
            )  # fmt: skip
            tolerance = self.far if last.parts.flow > self.far_above * floor else self.near
            search = Search(
                objective=objective, target=target, last=last, model=model, emphasis=emphasis, tolerance=tolerance,
                max_trials=self.max_trials, max_bends=self.max_bends,
            )  # fmt: skip
            trial, n_runs = search.best(asked, self.max_vain if i_step else self.max_trials)
            cost = cost + Cost(forward=n_runs)
            if trial is None:
                state = _costing(state, cost)
                break
            asked = max(min(2 * trial.fraction, _MOST) if trial.gain > GOOD_GAIN else trial.fraction, _LEAST)
            fraction = asked if i_step == 0 else fraction
            then = trial.evaluation
            jacobian = jacobian + np.outer(trial.missed, trial.dz) / (trial.dz @ trial.dz)
            gradient, cost = objective.wells_gradient(then), cost + Cost(passes=int(objective.has_wells))
            record, at = Record(z=then.z, parts=trial.parts, cost=cost), then
            memory |= _arrays({"fraction": fraction, "tolerance": tolerance})
            state = state.then(record, at, memory)
            if trial.saved < _WORTH or self._is_enough(objective, record):
                break
        return self._judged(objective, target, state, began)

    def _judged(self, objective: Objective, target: Target, state: State, began: Record) -> State:
        """Whether a Jacobian was the last, of this start or of the member."""
        last, i_start, n_starts = state.last, int(state.memory["i_start"]), 1 + len(target.starts)
        if self._is_enough(objective, last):
            return state.ended("floor", "the observations are met to within their noise")
        if last.cost.n_jacobians >= self.max_iterations:
            return self._best(objective, state).ended(SPENT, f"{self.max_iterations} Jacobians")
        # Beyond the last start, the best of their ends is where the member goes on.
        is_far = _is_far(objective, last.parts) and i_start < n_starts
        is_odd = self._is_odd(objective, last) and i_start < n_starts
        little = _LITTLE_FAR if is_far else _LITTLE
        is_slow = began.parts.total - last.parts.total <= little * began.parts.total
        n_slow = int(state.memory["n_slow"]) + 1 if is_slow else 0
        state = replace(state, memory={**state.memory, **_arrays({"n_slow": n_slow})})
        # From where a reduced Jacobian found no step, a whole one may.
        has_moved, was_reduced = last.z is not began.z, last.cost.reduced > began.cost.reduced
        if n_slow < _FEW and (has_moved or was_reduced):
            return state
        if is_far or is_odd:
            begun = self._begun(objective, target, state, i_start + 1)
            if int(begun.memory["i_start"]) < n_starts:
                return begun
            best = self._best(objective, begun)
            # One that is not the last of the iterates is simulated again.
            return _costing(best, best.last.cost + Cost(forward=int(best is not begun)))
        best = self._best(objective, state)
        if not has_moved:
            return best.ended("stuck", f"no step from iterate {len(state.records) - 1} lessens the objective")
        return best.ended("converged", f"{_FEW} Jacobians took off less than {little:.0%} each")

    def _is_odd(self, objective: Objective, at: Record) -> bool:
        """No fit to end with: wrong at the wells, or where no draw of the prior lies."""
        is_wrong = objective.has_wells and at.parts.accuracy < _RIGHT
        return self.seeks_fit and (is_wrong or _is_astray(at.z))

    def _best(self, objective: Objective, state: State) -> State:
        """The state, come back to the best of its iterates where it began more than once.

        That is the one of least objective; of a fit, of those that are neither far from the observations nor odd, where
        there are any.
        """

        def rank(record: Record) -> tuple[bool, float]:
            is_bad = _is_far(objective, record.parts) or self._is_odd(objective, record)
            return self.seeks_fit and is_bad, record.parts.total

        best = min(state.records, key=rank)
        if best is state.last or not int(state.memory["i_start"]):
            return state
        return replace(state, records=(*state.records, replace(best, cost=state.last.cost)), evaluation=None)

    def _is_enough(self, objective: Objective, at: Record) -> bool:
        """Whether the observations are met to within their noise, and the facies, which have none, where draws lie."""
        is_met = at.parts.flow <= objective.noise_floor and (not objective.has_wells or at.parts.accuracy == 1)
        return self.seeks_fit and is_met and not _is_astray(at.z)

    def _record(self, objective: Objective, target: Target, z: Vector, before: Cost) -> tuple[Record, Evaluation]:
        evaluation = objective.evaluate(z, self.far)
        cost = before + Cost(forward=int(objective.has_flow))
        return Record(z=evaluation.z, parts=objective.parts(evaluation, target), cost=cost), evaluation


def fit_wells(objective: Objective, target: Target, z: Vector, part: float) -> tuple[Vector, int]:
    """Towards the nearest minimum of the wells' and the prior's terms, by L-BFGS, and how many passes it took.

    It ends where a step takes off no more than that `part` of them.
    """
    wells = objective.without_flow()

    def value(at: Vector) -> tuple[float, Vector]:
        evaluation = wells.evaluate(at)
        return wells.parts(evaluation, target).total, wells.gradient(evaluation, target)

    found = minimize(value, z, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": part, "maxcor": 25})
    return np.asarray(found.x), int(found.nfev)


def directions(jacobian: Float[np.ndarray, "n_obs n"]) -> Float[np.ndarray, "n_obs k"]:
    """Of the residuals, those that a Jacobian shows most of."""
    return np.asarray(np.linalg.svd(jacobian, full_matrices=False)[0][:, :_RANK])


def _is_far(objective: Objective, parts: Parts) -> bool:
    """From the observations."""
    return parts.flow > _FAR * objective.noise_floor


def _is_astray(z: Vector) -> bool:
    """Where draws of the prior do not lie."""
    return bool(chi2.sf(z @ z, z.size) < _RARE)


def _costing(state: State, cost: Cost) -> State:
    """The same, after runs that led nowhere: what they cost is the iterate's where they began."""
    return replace(state, records=(*state.records[:-1], replace(state.last, cost=cost)))


def _arrays(memory: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {name: np.array(float(value)) for name, value in memory.items()}
