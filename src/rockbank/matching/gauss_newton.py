"""Levenberg-Marquardt on the latent: a few Jacobians, and secant steps between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import minimize

from rockbank.flow.options import Options
from rockbank.flow.trajectory import NewtonError
from rockbank.matching.objective import Cost, Evaluation, Objective, Parts, Target, Vector
from rockbank.matching.quadratic_model import QuadraticModel
from rockbank.matching.state import Record, State

# A trial step asks for this part of what the model promises at most, and for no less where a Jacobian is fresh.
_MOST, _LEAST = 0.95, 0.1
# Shorter trials ask for so much less: coarsely until one is good, then finely for the best.
_COARSE, _FINE = 2.6, 1.6
# A gain ratio above it is as good as the model, and the next step may ask for twice as much.
_GOOD_GAIN = 0.6
# A bent step is bent once more where it brought what it lacks of the promise down to this part.
_BETTER = 0.5
# Secant steps go on while each takes off this part of the objective; a run costs a tenth of a Jacobian.
_WORTH = 0.08
# A member has come as far as it will when this many Jacobians in a row take off no more than this part: less
# where the observations are met, since elsewhere another start is worth more than the last percents of this one.
_FEW, _LITTLE, _LITTLE_FAR = 2, 0.02, 0.05
# The flow term, by half the number of observations, above which they are not met.
_FAR = 2.0


@dataclass(frozen=True, kw_only=True)
class GaussNewton:
    """Minimises the objective by damped Gauss-Newton steps on

        |r|^2 / 2 + |z - centre|^2 / 2 + max(1, flow / 100) * cross-entropies

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

    After a step, Broyden's update (1965) mends the Jacobian for nothing; it is made anew when that no longer pays.
    Where a member creeps far from the observations, it begins again from another draw of the prior; from the best of
    its ends it goes on at last.

    Attributes:
        max_iterations: Jacobians at most, of all starts together.
        max_secants: steps at most that one Jacobian is mended for.
        max_trials: runs after which no shorter step is tried.
        max_bends: of one step, at most.
        wells_first: flow term from which on the wells' is multiplied.
        far, near: tolerances of the simulator, above and below `far_above` times the noise.
        far_above: of the flow term, in halves of the number of observations.
        stops_at_floor: whether it ends when the observations are met to within their noise.
    """

    max_iterations: int = 40
    max_secants: int = 6
    max_trials: int = 12
    max_bends: int = 3
    wells_first: float = 100.0
    far: float = 1e-3
    near: float = 1e-4
    far_above: float = 10.0
    stops_at_floor: bool = True

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """From a prior draw to the nearest place where the wells' facies are fitted."""
        state = self._fitted(objective, target, self.begin(objective, target, z), z, 0)
        return state if objective.has_flow else state.ended("converged", "the wells and the prior need no simulator")

    def begin(self, objective: Objective, target: Target, z: Vector) -> State:
        """At a latent as it is."""
        record, evaluation = self._record(objective, target, z, Cost())
        return State(records=(record,), memory=self._memory(0), evaluation=evaluation)

    def _fitted(self, objective: Objective, target: Target, state: State, z: Vector, i_start: int) -> State:
        if objective.has_wells:
            z = fit_wells(objective, replace(target, centre=z), z)
        record, evaluation = self._record(objective, target, z, state.last.cost)
        return state.then(record, evaluation, self._memory(i_start))

    def _memory(self, i_start: int) -> dict[str, np.ndarray]:
        return _arrays({"fraction": _MOST, "n_slow": 0, "tolerance": self.far, "i_start": i_start})

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """One Jacobian, and the steps that it serves."""
        began, floor = state.last, 0.5 * len(objective.observations)
        memory = {name: float(value) for name, value in state.memory.items()}
        fraction, tolerance = memory["fraction"], memory["tolerance"]
        at = state.evaluation or objective.evaluate(began.z, Options(tolerance=tolerance))
        linear = objective.linearise(at, target)
        cost = began.cost + Cost(jacobians=1)
        jacobian, gradient = linear.jacobian, linear.wells_gradient
        asked = fraction
        for i_step in range(1 + self.max_secants):
            last = state.last
            emphasis = max(1.0, last.parts.flow / self.wells_first)
            model = QuadraticModel.of(
                objective.residual(at, target), jacobian, gradient, linear.wells_hessian,
                last.z - target.centre, objective.prior_precision, emphasis,
            )  # fmt: skip
            tolerance = self.far if last.parts.flow > self.far_above * floor else self.near
            here = _Here(
                objective=objective, target=target, last=last, model=model, emphasis=emphasis, tolerance=tolerance
            )
            trial, n_runs = self._search(here, asked)
            cost = cost + Cost(forward=n_runs)
            if trial is None:
                break
            asked = max(min(2 * trial.fraction, _MOST) if trial.gain > _GOOD_GAIN else trial.fraction, _LEAST)
            fraction = asked if i_step == 0 else fraction
            then = trial.evaluation
            jacobian = jacobian + np.outer(trial.missed, trial.dz) / (trial.dz @ trial.dz)
            gradient = objective.wells_gradient(then)
            record, at = Record(z=then.z, parts=trial.parts, cost=cost), then
            state = state.then(record, at, _arrays({**memory, "fraction": fraction, "tolerance": tolerance}))
            if trial.saved < _WORTH or self._is_enough(objective, trial.parts):
                break
        return self._judged(objective, target, state, began, cost)

    def _judged(self, objective: Objective, target: Target, state: State, began: Record, cost: Cost) -> State:
        """Whether a Jacobian was the last, of this start or of the member."""
        last, floor, i_start = state.last, 0.5 * len(objective.observations), int(state.memory["i_start"])
        if self._is_enough(objective, last.parts):
            return _best(state).ended("floor", "the observations are met to within their noise")
        if cost.jacobians >= self.max_iterations:
            return _best(state).ended("spent", f"{self.max_iterations} Jacobians")
        # Starts are counted from 0; beyond the last, the best of their ends is where the member goes on.
        is_elsewhere_better = last.parts.flow > _FAR * floor and i_start <= len(target.starts)
        little = _LITTLE_FAR if is_elsewhere_better else _LITTLE
        is_slow = began.parts.total - last.parts.total <= little * began.parts.total
        n_slow = int(state.memory["n_slow"]) + 1 if is_slow else 0
        state = replace(state, memory={**state.memory, **_arrays({"n_slow": n_slow})})
        if n_slow < _FEW and last is not began:
            return state
        # What the last Jacobian's trials cost belongs to what follows, where none of them was an iterate.
        state = replace(state, records=(*state.records[:-1], replace(last, cost=cost)))
        if is_elsewhere_better and i_start < len(target.starts):
            try:
                return self._fitted(objective, target, state, target.starts[i_start], i_start + 1)
            except NewtonError as error:
                return _best(state).ended("stuck", f"start {i_start + 2} cannot be simulated: {error}")
        if is_elsewhere_better:
            best = _best(state)
            return replace(best, memory={**best.memory, **_arrays({"n_slow": 0, "i_start": i_start + 1})})
        if last is began:
            return _best(state).ended("stuck", f"no step from iterate {len(state.records) - 1} lessens the objective")
        return _best(state).ended("converged", f"{_FEW} Jacobians took off less than {little:.0%} each")

    def _is_enough(self, objective: Objective, parts: Parts) -> bool:
        """Whether the observations are met to within their noise, and the wells' facies, which have none."""
        is_met = parts.flow <= 0.5 * len(objective.observations)
        return self.stops_at_floor and is_met and (not objective.has_wells or parts.accuracy == 1)

    def _search(self, here: _Here, fraction: float) -> tuple[_Trial | None, int]:
        """The best of a few damped steps, each shorter than the one before, and how many runs they took."""
        best, n_runs = None, 0
        while n_runs < self.max_trials:
            trial, n = self._bent(here, fraction)
            n_runs += n
            if trial is not None and trial.saved > (0.0 if best is None else best.saved):
                best = trial
                if best.gain > _GOOD_GAIN:
                    break
            elif best is not None:
                break
            fraction /= _COARSE if best is None else _FINE
        return best, n_runs

    def _bent(self, here: _Here, fraction: float) -> tuple[_Trial | None, int]:
        """One damped step, bent to the valley, and how many runs it took; None where it cannot be simulated."""
        objective, model, best, n_runs = here.objective, here.model, None, 0
        before = _emphasised(here.last.parts, here.emphasis)
        damping = model.damping(fraction)
        promised, dz = model.promised(damping), model.step(damping)
        while n_runs <= self.max_bends:
            n_runs += 1
            try:
                then = objective.evaluate(here.last.z + dz, Options(tolerance=here.tolerance))
            except NewtonError:
                break
            parts = objective.parts(then, here.target)
            won = before - _emphasised(parts, here.emphasis)
            if best is not None and promised - won > _BETTER * (promised - best.saved * before):
                break
            missed = objective.residual(then, here.target) - model.residual - model.jacobian @ dz
            best = _Trial(evaluation=then, parts=parts, dz=dz, missed=missed, fraction=fraction, gain=won / promised,
                          saved=won / before)  # fmt: skip
            if best.gain > _GOOD_GAIN:
                break
            dz = model.step(damping, missed)
        return best, n_runs

    def _record(self, objective: Objective, target: Target, z: Vector, before: Cost) -> tuple[Record, Evaluation]:
        evaluation = objective.evaluate(z, Options(tolerance=self.far))
        cost = before + Cost(forward=int(objective.has_flow))
        return Record(z=evaluation.z, parts=objective.parts(evaluation, target), cost=cost), evaluation


@dataclass(frozen=True, kw_only=True, eq=False)
class _Here:
    """Where a step begins, and how it is judged.

    Attributes:
        last: the iterate.
        emphasis: by which the wells' term is multiplied.
        tolerance: of the simulator.
    """

    objective: Objective
    target: Target
    last: Record
    model: QuadraticModel
    emphasis: float
    tolerance: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Trial:
    """A step.

    Attributes:
        missed: residuals, less what the model said of them.
        fraction: of the model's promise that was asked for.
        gain: what was won, of what the model promised of this step.
        saved: what was won, of the objective before.
    """

    evaluation: Evaluation
    parts: Parts
    dz: Vector
    missed: Vector
    fraction: float
    gain: float
    saved: float


def fit_wells(objective: Objective, target: Target, z: Vector) -> Vector:
    """The nearest minimum of the wells' and the prior's terms, by L-BFGS; no simulation."""
    wells = objective.without_flow()

    def value(at: Vector) -> tuple[float, Vector]:
        evaluation = wells.evaluate(at, Options())
        return wells.parts(evaluation, target).total, wells.gradient(evaluation, target)

    found = minimize(value, z, jac=True, method="L-BFGS-B", options={"maxiter": 500, "ftol": 1e-5})
    return np.asarray(found.x)


def _emphasised(parts: Parts, emphasis: float) -> float:
    return parts.flow + parts.prior + emphasis * parts.wells


def _best(state: State) -> State:
    """The state, come back to the best of its iterates where it began more than once."""
    best = min(state.records, key=lambda record: record.parts.total)
    if best is state.last or not int(state.memory["i_start"]):
        return state
    return replace(state, records=(*state.records, replace(best, cost=state.last.cost)), evaluation=None)


def _arrays(memory: Mapping[str, float]) -> dict[str, np.ndarray]:
    return {name: np.array(float(value)) for name, value in memory.items()}
