"""The objective of a small case: its parts by their definitions, its derivatives, and what changes nothing."""

import math
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from rockbank.matching.problem.cost import COST, Cost
from rockbank.matching.problem.objective import Objective
from rockbank.matching.problem.observations import Observations
from rockbank.testing.small import small_objective
from tests.matching.tiny import make_run, write_case

TINY = {"shape": (6, 4), "n_latent": 3, "days": (40, 80), "n_facies": 2}
# Far below what is compared, so that differences are not the iteration's.
TIGHT = 1e-11
TERMS = {"flow": {"wells": False}, "wells": {"flow": False}, "all": {}}
SCALINGS = ("posterior", "published")
# Where the wells' facies are neither all right nor all wrong.
Z, PRIOR_MEAN, ALONG = np.array([0.4, -0.9, 0.7]), np.array([0.2, 0.1, -0.3]), np.array([0.6, -0.5, 0.8])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(objective):
    """A target with a prior mean and observations of its own, as randomised maximum likelihood has."""
    return drawn_about(objective, PRIOR_MEAN)


def drawn_about(objective, prior_mean):
    of = objective.observations
    return objective.target(prior_mean=prior_mean, observed=of.value + 0.7 * of.sigma)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("terms", TERMS)
def test_the_taylor_remainder_is_of_second_order(terms, scaling):
    objective, _ = small_objective(**TINY, **TERMS[terms], scaling=scaling)
    target = drawn(objective)

    def total(z):
        return objective.at(z, target, TIGHT).parts.total

    slope = objective.at(Z, target, TIGHT).gradient @ ALONG
    left = [abs(total(Z + h * ALONG) - total(Z) - h * slope) for h in (0.04, 0.02, 0.01)]
    rates = [math.log2(coarse / fine) for coarse, fine in pairwise(left)]
    assert min(rates) > 1.9


@pytest.mark.parametrize("seed", range(4))
def test_the_taylor_remainder_through_a_network_is_of_second_order(tmp_path, seed):
    """Over steps so short that they seldom cross a kink of its ReLUs, and none on these ways."""
    objective = make_run(tmp_path / "run", write_case(tmp_path)).objective
    z, along = np.random.default_rng(seed).standard_normal((2, objective.n_latent))
    target = drawn_about(objective, along)

    def total(at):
        return objective.at(at, target, TIGHT).parts.total

    slope = objective.at(z, target, TIGHT).gradient @ along
    left = [abs(total(z + h * along) - total(z) - h * slope) for h in (4e-4, 2e-4, 1e-4)]
    assert min(math.log2(coarse / fine) for coarse, fine in pairwise(left)) > 1.9


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("terms", TERMS)
def test_linearisation_and_adjoint_give_the_same_gradient(terms, scaling):
    objective, _ = small_objective(**TINY, **TERMS[terms], scaling=scaling)
    target = drawn(objective)
    point = objective.at(Z, target, TIGHT)
    linear = point.linearise()
    prior = objective.prior_precision * (Z - target.prior_mean)
    of_linear = linear.jacobian.T @ linear.residual + linear.wells_gradient + prior
    gradient = point.gradient
    # The generator's Jacobian is in float32.
    assert of_linear == pytest.approx(gradient, abs=1e-4 * np.abs(gradient).max())
    assert 0.5 * linear.residual @ linear.residual == pytest.approx(point.parts.flow, rel=1e-12)


def test_jacobian_is_the_residuals_differences():
    objective, _ = small_objective(**TINY)
    target, h = drawn(objective), 1e-4
    jacobian = objective.at(Z, target, TIGHT).linearise().jacobian
    ahead, behind = (objective.at(Z + s * h * ALONG, target, TIGHT).residual for s in (1, -1))
    # O(h^2) of the differences, and the float32 of the generator's Jacobian.
    assert jacobian @ ALONG == pytest.approx((ahead - behind) / (2 * h), abs=1e-4 * np.abs(jacobian @ ALONG).max())


def test_reduced_jacobian_is_the_whole_one_seen_in_its_directions():
    objective, _ = small_objective(**TINY)
    point = objective.at(Z, drawn(objective), TIGHT)
    whole = point.linearise()
    basis = np.linalg.svd(np.random.default_rng(0).normal(size=(len(whole.residual), 1)), full_matrices=False)[0]
    reduced = point.linearise(basis)
    span, _ = np.linalg.qr(np.column_stack([whole.residual, basis]))
    assert len(whole.residual) > span.shape[1]
    assert reduced.jacobian == pytest.approx(span @ span.T @ whole.jacobian, abs=1e-8 * np.abs(whole.jacobian).max())
    assert reduced.jacobian.T @ reduced.residual == pytest.approx(whole.jacobian.T @ whole.residual, rel=1e-8)


def test_parts_are_those_of_the_posterior():
    objective, _ = small_objective(**TINY)
    target = drawn(objective)
    point = objective.at(Z, target, TIGHT)
    parts, of, at = point.parts, objective.observations, point.evaluation
    simulated, p = at.simulated.detach().numpy(), at.facies.numpy()
    f = objective.facies.is_sand.numpy()
    assert parts.flow == pytest.approx(0.5 * np.sum(((simulated - target.observed) / of.sigma) ** 2), rel=1e-12)
    assert parts.wells == pytest.approx(-np.sum(f * np.log(p) + (1 - f) * np.log(1 - p)), rel=1e-12)
    assert parts.prior == pytest.approx(0.5 * np.sum((Z - PRIOR_MEAN) ** 2), rel=1e-12)
    assert parts.total == parts.flow + parts.wells + parts.prior
    assert parts.accuracy == np.mean((p > 0.5) == f)
    assert 0 < parts.accuracy < 1


def test_published_flow_term_is_the_time_mean_of_the_real_observations():
    """J = sum_n dt_n / (4 T) sum (r / sigma)^2, and the prior's by the length of z."""
    objective, _ = small_objective(**TINY, scaling="published")
    at, of = objective.evaluate(Z, TIGHT), objective.observations
    parts = objective.point(at, objective.target()).parts
    share = np.where(of.time < 41 * 86400, 40, 80) / (4 * 120)
    J = np.sum(share * ((at.simulated.detach().numpy() - of.value) / of.sigma) ** 2)
    assert (parts.flow, parts.time_mean) == pytest.approx((J, J), rel=1e-12)
    assert parts.prior == pytest.approx(0.5 * np.sum(Z**2) / 3, rel=1e-12)
    drawn_to = objective.point(at, drawn(objective)).parts
    assert drawn_to.time_mean == parts.time_mean
    assert drawn_to.flow != pytest.approx(parts.flow, rel=1e-3)


def test_without_observations_the_wells_and_the_prior_are_left():
    whole, _ = small_objective(**TINY)
    none = Observations(time=np.zeros(0), well=(), quantity=(), value=np.zeros(0), sigma=np.zeros(0))
    objective = Objective(whole.rock, whole.case, none, whole.facies)
    point, of_whole = (each.at(Z, each.target(prior_mean=PRIOR_MEAN), TIGHT) for each in (objective, whole))
    parts = point.parts
    assert (parts.flow, parts.wells, parts.prior) == (0, of_whole.parts.wells, of_whole.parts.prior)
    assert not objective.has_flow
    linear = point.linearise()
    assert linear.jacobian.shape == (0, 3)
    assert point.gradient == pytest.approx(linear.wells_gradient + Z - PRIOR_MEAN, rel=1e-4)


def test_without_any_data_the_prior_is_left():
    objective, _ = small_objective(**TINY, flow=False, wells=False)
    point = objective.at(Z, objective.target(prior_mean=PRIOR_MEAN), TIGHT)
    assert point.parts.total == pytest.approx(0.5 * np.sum((Z - PRIOR_MEAN) ** 2), rel=1e-12)
    assert np.array_equal(point.gradient, Z - PRIOR_MEAN)


def test_order_of_the_observations_changes_nothing():
    objective, _ = small_objective(**TINY)
    of, order = objective.observations, np.random.default_rng(0).permutation(len(objective.observations))
    shuffled = Observations(
        time=of.time[order],
        well=tuple(of.well[i] for i in order),
        quantity=tuple(of.quantity[i] for i in order),
        value=of.value[order],
        sigma=of.sigma[order],
    )
    other = Objective(objective.rock, objective.case, shuffled, objective.facies)
    for one in (objective, other):
        assert one.at(Z, one.target(), TIGHT).parts == objective.at(Z, objective.target(), TIGHT).parts
    gradients = [one.at(Z, one.target(), TIGHT).gradient for one in (objective, other)]
    assert np.array_equal(*gradients)


def test_wells_hessian_is_that_of_the_cross_entropies_but_for_the_generators_curvature():
    """Of a map p(z) that is linear it is the Hessian: J^T diag(1 / p (1 - p)) J is the expected curvature."""
    objective, _ = small_objective(**TINY, flow=False)
    linear = objective.at(Z, objective.target(), TIGHT).linearise()
    z = torch.as_tensor(Z)
    of_p = torch.func.jacfwd(lambda at: objective.facies.at(objective.rock(at).facies))(z).numpy()
    p = objective.facies.at(objective.rock(z).facies).numpy()
    expected = of_p.T @ np.diag(1 / (p * (1 - p))) @ of_p
    assert linear.wells_hessian == pytest.approx(expected, abs=1e-4 * np.abs(expected).max())
    assert np.linalg.eigvalsh(linear.wells_hessian).min() > -1e-12


def test_certain_facies_that_are_wrong_cost_much_but_not_without_end():
    objective, _ = small_objective(**TINY, flow=False)
    sure = replace(objective.evaluate(Z, TIGHT), facies=1.0 - objective.facies.is_sand.double())
    wells = objective.point(sure, objective.target()).parts.wells
    assert wells == pytest.approx(-len(objective.facies.cells) * math.log(1e-14), rel=1e-2)


def test_generator_of_another_grid_is_refused():
    objective, _ = small_objective(**TINY)
    other, _ = small_objective(**TINY | {"shape": (5, 4)})
    with pytest.raises(ValueError, match=r"grid: got \(6, 4\) cells, the generator makes sections of \(5, 4\)"):
        Objective(other.rock, objective.case, objective.observations, objective.facies)


def test_costs_add_up():
    one, other = (
        Cost(forward=2, gradients=1, reduced=4),
        Cost(forward=1, jacobians=3, generator_evaluations=7, reduced=1),
    )
    both = one + other
    assert both == Cost(forward=3, gradients=1, jacobians=3, generator_evaluations=7, reduced=5)
    assert both.n_jacobians == 8
    assert both.runs == pytest.approx(sum(COST[name] * n for name, n in asdict(both).items()))


def test_a_point_computes_its_residual_and_gradient_once():
    objective, _ = small_objective(**TINY)
    point = objective.at(Z, drawn(objective), TIGHT)
    assert point.residual is point.residual
    assert point.gradient is point.gradient
    assert point.linearise().residual is point.residual
