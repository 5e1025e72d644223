"""Gauss-Newton: exact where all is linear, its ends, and a twin whose data it finds again."""

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.gauss_newton.method import GaussNewton
from rockbank.matching.methods.gauss_newton.restarts import fit_wells
from rockbank.matching.methods.gauss_newton.trust_region import TrustRegion
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.state import State
from rockbank.matching.problem.cost import Cost
from rockbank.testing.small import small_objective
from tests.matching.linear_gaussian import N_LATENT, LinearGaussian, finished

TINY = {"shape": (8, 4), "n_latent": 4, "days": (40, 80, 80), "n_facies": 2}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_optimum_of_a_linear_problem_is_found():
    objective = LinearGaussian()
    state = finished(GaussNewton(seeks_fit=False), objective, objective.target(), np.array([3.0, -2.0, 2.0]))
    assert state.status == "converged"
    best = objective.parts(objective.evaluate(objective.mean), objective.target()).total
    # It ends where two Jacobians take off less than 2 %.
    assert best <= state.last.parts.total < 1.02 * best


def test_randomised_maximum_likelihood_samples_the_linear_gaussian_posterior():
    """Exactly: optima of perturbed observations about draws of the prior (Oliver, He and Reynolds 1996)."""
    objective, method, rng, n = LinearGaussian(), GaussNewton(seeks_fit=False), np.random.default_rng(0), 300
    of, found = objective.observations, []
    for _ in range(n):
        z = rng.standard_normal(N_LATENT)
        target = objective.target(prior_mean=z, observed=of.value + of.sigma * rng.standard_normal(len(of)))
        found.append(finished(method, objective, target, z).last.z)
    sd = np.sqrt(np.diag(objective.covariance))
    off = (np.array(found) - objective.mean) / sd
    # Four standard errors, and what ending near the optimum leaves.
    assert np.abs(off.mean(axis=0)).max() < 4 / np.sqrt(n) + 0.05
    expected = objective.covariance / np.outer(sd, sd)
    assert np.abs(np.cov(off.T) - expected).max() < 4 * np.sqrt(2 / n) + 0.05


def test_sample_whose_observations_show_nothing_of_the_rock_stays_at_its_prior_mean():
    objective, z = LinearGaussian(), np.array([1.0, -1.0, 0.5])
    objective.matrix = 0.0 * objective.matrix
    state = finished(GaussNewton(seeks_fit=False), objective, objective.target(prior_mean=z), z)
    assert state.status == "stuck"
    np.testing.assert_array_equal(state.last.z, z)


class Curved(LinearGaussian, ABC):
    """The first number of the latent is shown as a function of it."""

    @abstractmethod
    def shown(self, first):
        """That function, and its slope."""

    def evaluate(self, z, tolerance=1e-4, **_):
        at = super().evaluate(z, tolerance)
        return replace(at, simulated=torch.as_tensor(self.matrix @ np.array([self.shown(z[0])[0], *z[1:]])))

    def linearise(self, at, target, basis=None):
        linear = super().linearise(at, target)
        return replace(linear, jacobian=linear.jacobian * np.array([self.shown(at.z[0])[1], 1.0, 1.0]))


class Valley(Curved):
    """Beyond a ridge that no run crosses, the first number of the latent hardly shows: a valley that leads nowhere."""

    def __init__(self, error=NewtonError):
        super().__init__(fails=lambda z: -1.0 < z[0] < 0.1, error=error)

    def shown(self, first):
        return (first, 1.0) if first > 0 else (-3.0 + 0.01 * first, 0.01)


@pytest.mark.parametrize("error", MEMBER_ERRORS)
def test_member_in_a_valley_that_leads_nowhere_restarts_and_its_best_end_counts(error):
    objective, z = Valley(error), np.array([-2.0, 0.0, 0.0])
    alone = finished(GaussNewton(), objective, objective.target(), z)
    floor = 0.5 * len(objective.observations)
    assert alone.last.parts.flow > 2 * floor
    for others in ([np.array([1.0, 0.0, 0.0])], [np.array([-3.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])]):
        state = finished(GaussNewton(), objective, replace(objective.target(), starts=others), z)
        assert state.last.parts.flow < 2 * floor
        assert [record.cost.forward for record in state.records] == sorted(r.cost.forward for r in state.records)
    failing = replace(objective.target(), starts=[np.array([-3.0, 5.0, 0.0])])
    state = finished(GaussNewton(), objective, failing, z)
    assert state.last.parts.total == min(record.parts.total for record in state.records)


@pytest.mark.parametrize("error", MEMBER_ERRORS)
def test_a_start_that_is_impossible_is_passed_over(error):
    objective, z = Valley(error), np.array([-2.0, 0.0, 0.0])
    target = replace(objective.target(), starts=[np.array([0.0, 0.0, 0.0]), np.array([1.0, 0.0, 0.0])])
    state = finished(GaussNewton(), objective, target, z)
    assert state.last.parts.flow < len(objective.observations)


def test_member_whose_starts_are_used_up_goes_on_from_the_best_of_their_ends():
    objective, z = Valley(), np.array([-2.0, 0.0, 0.0])
    target = replace(objective.target(), starts=[np.array([-3.0, 5.0, 0.0])])
    member, best = GaussNewton(), []
    state = member.start(objective, target, z)
    while state.status == "running":
        if int(state.memory["i_start"]) == 2 and not best:
            best.append(state)
        state = member.step(objective, target, state)
    assert best[0].last.parts.total == min(record.parts.total for record in best[0].records)
    assert state.last.parts.total < best[0].last.parts.total
    assert state.last.cost.n_jacobians > best[0].last.cost.n_jacobians


class Mirrored(Curved):
    """Two places show the same; the wells' facies are right at one of them."""

    has_wells = True

    def shown(self, first):
        return abs(first), np.sign(first)

    def parts(self, at, target):
        is_right = at.z[0] > 0
        return replace(super().parts(at, target), wells=0.0 if is_right else 0.1, accuracy=1.0 if is_right else 0.5)


def test_member_that_comes_to_rest_with_wrong_facies_restarts():
    """And keeps the right ones, though it ends at the noise, where the objective is not yet at its least."""
    objective, z = Mirrored(), np.array([-2.0, 0.0, 0.0])
    alone = finished(GaussNewton(), objective, objective.target(), z)
    assert alone.status == "converged"
    assert alone.last.parts.flow <= 2 * objective.noise_floor
    state = finished(GaussNewton(), objective, replace(objective.target(), starts=[np.array([2.0, 0.0, 0.0])]), z)
    assert (alone.last.parts.accuracy, state.last.parts.accuracy) == (0.5, 1.0)
    assert alone.last.parts.total < state.last.parts.total
    assert state.last.parts.flow <= 2 * objective.noise_floor
    # A sample has a right to wrong facies.
    target = replace(objective.target(), starts=[np.array([2.0, 0.0, 0.0])])
    sample = finished(GaussNewton(seeks_fit=False), objective, target, z)
    assert (int(sample.memory["i_start"]), sample.last.parts.accuracy) == (0, 0.5)


class Folded(Curved):
    """8 - z shows the same as z, and lies where no draw does."""

    def shown(self, first):
        return 4 - abs(first - 4), np.sign(4 - first)


def test_member_that_comes_to_rest_where_no_draw_lies_restarts():
    objective, z = Folded(), np.array([8.0, 0.0, 0.0])
    target = replace(objective.target(), starts=[np.array([1.0, 0.0, 0.0])])
    alone = finished(GaussNewton(), objective, objective.target(), z)
    assert alone.last.parts.flow <= 2 * objective.noise_floor
    assert alone.last.z[0] > 4
    state = finished(GaussNewton(), objective, target, z)
    assert state.last.z[0] < 4
    assert state.last.parts.flow <= 2 * objective.noise_floor
    sample = finished(GaussNewton(seeks_fit=False), objective, target, z)
    assert (int(sample.memory["i_start"]), sample.last.z[0] > 4) == (0, True)


class Canyon(LinearGaussian):
    """One observable outweighs all others, and is constant along a curve."""

    def observed_at(self, z):
        return torch.cat([1e4 * (z[:1] - torch.sin(3 * z[1:2])), torch.as_tensor(self.matrix[1:]) @ z])

    def evaluate(self, z, tolerance=1e-4, **_):
        at = super().evaluate(z, tolerance)
        return replace(at, simulated=self.observed_at(at.at))

    def linearise(self, at, target, basis=None):
        of = torch.autograd.functional.jacobian(self.observed_at, at.at).numpy()
        linear = super().linearise(at, target)
        return replace(linear, residual=self.residual(at, target), jacobian=of / self.observations.sigma[:, None])


def test_corrected_steps_follow_a_narrow_curved_valley():
    objective, z = Canyon(), np.array([np.sin(6.0), 2.0, 0.0])
    value = np.array([0.0, *objective.observations.value[1:]])
    objective.observations = replace(objective.observations, value=value)
    won = []
    for n in (3, 0):
        state = finished(
            GaussNewton(seeks_fit=False, trust_region=TrustRegion(max_corrections=n)), objective, objective.target(), z
        )
        won.append(state.records[0].parts.total - state.last.parts.total)
    assert won[0] > 5 * won[1] > 0


def test_twin_gives_back_the_truths_data_within_their_noise():
    objective, truth = small_objective(**TINY)
    z = np.random.default_rng(3).standard_normal(4)
    state = finished(GaussNewton(), objective, objective.target(), z)
    clean = objective.evaluate(truth, 1e-8).simulated.detach().numpy()
    near = objective.evaluate(state.last.z, 1e-8).simulated.detach().numpy()
    scaled = (near - clean) / objective.observations.sigma
    assert state.status in ("noise_level_reached", "converged")
    assert state.records[0].parts.flow > 5 * state.last.parts.flow
    assert np.abs(scaled).max() < 3
    assert np.sqrt(np.mean(scaled**2)) < 1.5


def test_objective_never_rises_without_another_start():
    objective, _ = small_objective(**TINY, wells=False)
    for seed in range(2):
        z = np.random.default_rng(seed).standard_normal(4)
        state = finished(GaussNewton(seeks_fit=False), objective, objective.target(), z)
        totals = [record.parts.total for record in state.records]
        assert len(totals) > 3
        assert np.diff(totals).max() < 0


class Counted(LinearGaussian):
    """Counts what is asked of it."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.counts = Counter()

    def evaluate(self, z, tolerance=1e-4, **_):
        self.counts["forward" if self.has_flow else "generator_evaluations"] += 1
        return super().evaluate(z, tolerance)

    def wells_gradient(self, at):
        self.counts["generator_evaluations"] += self.has_wells
        return super().wells_gradient(at)

    def linearise(self, at, target, basis=None):
        before = Counter(self.counts)
        linear = super().linearise(at, target, basis)
        # What it asks for itself is its own.
        self.counts = before + Counter(["jacobians" if basis is None else "reduced"])
        return linear


class CountedValley(Counted, Valley):
    """The same, of a member that restarts, and whose trials often fail."""


class CountedMirrored(Counted, Mirrored):
    """The same, with wells whose facies are fitted first."""


FAR, FARTHER, UNSEEN = np.array([-2.0, 0.0, 0.0]), np.array([-3.0, 5.0, 0.0]), np.array([0.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("kind", "starts", "ends_at"),
    [
        (Counted, [FAR], 0),
        (CountedValley, [FAR, FARTHER, -FAR], 2),
        # The starts are used up, and it goes on from the first or from the last of their ends.
        (CountedValley, [FAR, FARTHER], 2),
        (CountedValley, [FARTHER, FAR], 2),
        (CountedValley, [FAR, FARTHER, UNSEEN], 3),
        (CountedMirrored, [FAR, -FAR], 1),
    ],
)
def test_cost_is_all_that_was_run(kind, starts, ends_at):
    objective = kind()
    state = finished(GaussNewton(), objective, replace(objective.target(), starts=starts[1:]), starts[0])
    assert int(state.memory["i_start"]) == ends_at
    assert state.last.cost == Cost(**objective.counts)


class Misled(Canyon):
    """Its reduced Jacobians lead uphill."""

    def linearise(self, at, target, basis=None):
        linear = super().linearise(at, target)
        return linear if basis is None else replace(linear, jacobian=-linear.jacobian)


def test_where_a_reduced_jacobian_finds_no_step_a_whole_one_is_made():
    objective, z = Misled(), np.array([np.sin(6.0), 2.0, 0.0])
    method, target, failing = GaussNewton(seeks_fit=False), objective.target(), []
    state = method.start(objective, target, z)
    while state.status == "running":
        before, state = state, method.step(objective, target, state)
        if state.last.cost.reduced > before.last.cost.reduced:
            failing.append(state)
            assert state.last.z is before.last.z
    assert state.status == "converged"
    assert state.last.parts.total < failing[0].last.parts.total


def test_start_that_cannot_be_simulated_is_passed_over():
    objective, z = Valley(), np.array([-2.0, 0.0, 0.0])
    starts = [np.array([0.0, 1.0, 0.0]), np.array([1.0, 0.0, 0.0])]
    state = finished(GaussNewton(), objective, replace(objective.target(), starts=starts), z)
    assert state.last.parts.flow < 2 * objective.noise_floor
    with pytest.raises(NewtonError):
        GaussNewton().start(objective, objective.target(), starts[0])


def test_published_scaling_ends_at_its_own_noise():
    """Of which J is a quarter for each curve."""
    objective, _ = small_objective(**TINY, scaling="published", wells=False)
    assert objective.noise_floor == pytest.approx(2 / 4, rel=1e-12)
    state = finished(GaussNewton(), objective, objective.target(), np.random.default_rng(3).standard_normal(4))
    assert state.records[0].parts.flow > 1
    assert state.status == "noise_level_reached"
    assert state.last.parts.flow <= 0.5 < state.records[-2].parts.flow


def in_a_small_case():
    objective, _ = small_objective(**TINY)
    return objective, objective.target(), np.array([1.0, -1.0, 0.5, 1.5])


def across_starts():
    objective = Valley()
    return objective, replace(objective.target(), starts=[np.array([-3.0, 5.0, 0.0])]), np.array([-2.0, 0.0, 0.0])


@pytest.mark.parametrize("where", [in_a_small_case, across_starts])
def test_checkpoint_between_two_jacobians_changes_nothing(tmp_path, where):
    objective, target, z = where()
    method = GaussNewton(seeks_fit=False)
    state = method.start(objective, target, z)
    resumed, path = state, tmp_path / "member.npz"
    while state.status == "running":
        state = method.step(objective, target, state)
        resumed.save(path)
        resumed = method.step(objective, target, State.load(path))
    assert resumed.status == state.status
    assert np.array_equal([one.z for one in state.records], [one.z for one in resumed.records])
    assert [one.cost for one in state.records] == [one.cost for one in resumed.records]


def test_wells_alone_need_no_simulator():
    objective, _ = small_objective(**TINY, flow=False)
    state = finished(GaussNewton(), objective, objective.target(), np.array([2.0, -1.0, 0.5, 1.0]))
    assert state.last.cost.forward == 0
    assert state.last.parts.accuracy == 1
    assert state.reason == "100.0% of the wells' facies are right, near the member's draw"


def test_fit_of_the_wells_is_a_minimum():
    objective, _ = small_objective(**TINY, flow=False)
    target = objective.target(prior_mean=np.array([2.0, -1.0, 0.5, 1.0]))
    end = objective.at(fit_wells(objective, target, target.prior_mean, 1e-5)[0], target)
    start = objective.at(target.prior_mean, target)
    slope = np.abs(end.gradient).max()
    # L-BFGS ends where the objective falls by 1e-5 of itself, near a minimum by the square of the gradient.
    assert slope < 0.03 * np.abs(start.gradient).max()
