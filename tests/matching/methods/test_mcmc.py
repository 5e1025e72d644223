"""Markov chains: exact on a posterior that is known, and bit by bit the same after a kill."""

import math

import numpy as np
import pytest

from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.mcmc import Chain, Gaussian
from rockbank.matching.methods.state import State
from rockbank.testing.mixing import effective_sample_size, r_hat
from tests.matching.linear_gaussian import N_LATENT, LinearGaussian, finished

START = np.array([2.0, -2.0, 1.0])
MEAN, PRECISION = LinearGaussian().mean, np.linalg.inv(LinearGaussian().covariance)


def wrong(z):
    """A surrogate objective that is not the objective: another mean, another width, another shape."""
    off = z - MEAN - 0.2
    return float(0.35 * off @ PRECISION @ off + 0.1 * np.sum(np.abs(z)))


REFERENCE = Gaussian(mean=np.array([0.5, 0.0, 1.0]), factor=np.array([[0.5, 0, 0], [0.2, 0.6, 0], [0.0, -0.3, 1.2]]))
KINDS = {
    "pcn": Chain(max_iterations=1400, burn_in=200, thinning=3),
    "mala": Chain(max_iterations=1400, burn_in=200, thinning=2, is_guided=True),
    "pcn of a reference": Chain(max_iterations=1400, burn_in=200, thinning=3, reference=REFERENCE),
    "mala of a reference": Chain(max_iterations=1400, burn_in=200, thinning=2, is_guided=True, reference=REFERENCE),
    "pcn through a surrogate": Chain(max_iterations=1400, burn_in=200, thinning=2, surrogate=wrong, n_inner=3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_chain_samples_the_linear_gaussian_posterior(kind):
    objective, method = LinearGaussian(), KINDS[kind]
    starts = [START, -START]
    samples = np.array([method.samples(finished(method, objective, objective.target(), z)) for z in starts])
    sd = np.sqrt(np.diag(objective.covariance))
    for i in range(N_LATENT):
        x = (samples[..., i] - objective.mean[i]) / sd[i]
        assert r_hat(x) < 1.03
        # Four Monte Carlo standard errors, each of the effective size of what is averaged.
        assert abs(x.mean()) < 4 / np.sqrt(effective_sample_size(x))
        assert abs((x**2).mean() - 1) < 4 * np.sqrt(2 / effective_sample_size(x**2))
        for j in range(i):
            y = (samples[..., j] - objective.mean[j]) / sd[j]
            expected = objective.covariance[i, j] / (sd[i] * sd[j])
            assert abs((x * y).mean() - expected) < 4 * np.sqrt(2 / effective_sample_size(x * y))


def test_pcn_without_data_takes_every_step_and_samples_the_prior():
    """Whatever the step: that is what the method is for."""
    objective, method = LinearGaussian(n_observed=0), Chain(max_iterations=1500, burn_in=100, thinning=1)
    state = finished(method, objective, objective.target(), START)
    assert method.acceptance(state) == 1
    samples = method.samples(state)
    for x in samples.T:
        assert abs(x.mean()) < 4 / np.sqrt(effective_sample_size(x[None]))


@pytest.mark.parametrize("kind", ["pcn", "mala of a reference"])
def test_chain_that_was_killed_goes_on_bit_by_bit(tmp_path, kind):
    objective, method = LinearGaussian(), KINDS[kind]
    whole = method.start(objective, objective.target(), START)
    whole.save(tmp_path / "chain.npz")
    again = State.load(tmp_path / "chain.npz")
    for _ in range(20):
        whole = method.step(objective, objective.target(), whole)
        again = method.step(objective, objective.target(), again)
        again.save(tmp_path / "chain.npz")
        again = State.load(tmp_path / "chain.npz")
    assert np.array_equal([record.z for record in whole.records], [record.z for record in again.records])
    assert all(np.array_equal(whole.memory[name], again.memory[name]) for name in whole.memory)


def test_step_is_learned_in_the_burn_in_and_then_kept():
    objective, method = LinearGaussian(), Chain(max_iterations=30, burn_in=10, thinning=2)
    state, seen = method.start(objective, objective.target(), START), []
    while state.status == "running":
        state = method.step(objective, objective.target(), state)
        seen.append(float(state.memory["log_delta"]))
    assert len(set(seen[:10])) == 10
    assert set(seen[9:]) == {seen[9]}
    assert len(method.samples(state)) == 20


def test_acceptance_comes_near_its_aim():
    for kind, aim in (("pcn", 0.3), ("mala", 0.574)):
        objective, method = LinearGaussian(), KINDS[kind]
        assert method.acceptance(finished(method, objective, objective.target(), START)) == pytest.approx(aim, abs=0.1)


def test_another_seed_and_another_start_draw_differently():
    objective, steps = LinearGaussian(), {}
    for name, seed, z in (("a", 0, START), ("b", 1, START), ("c", 0, -START)):
        method = Chain(max_iterations=5, burn_in=0, thinning=1, seed=seed)
        steps[name] = np.diff(method.samples(finished(method, objective, objective.target(), z)), axis=0)
    assert not np.allclose(steps["a"], steps["b"])
    assert not np.allclose(steps["a"], steps["c"])


@pytest.mark.parametrize("error", MEMBER_ERRORS)
def test_a_latent_that_the_simulator_fails_on_is_never_sampled(error):
    objective = LinearGaussian(fails=lambda z: z[0] < 0, error=error)
    method = Chain(max_iterations=300, burn_in=0, thinning=1)
    state = finished(method, objective, objective.target(), START)
    assert method.samples(state)[:, 0].min() >= 0
    assert state.memory["n_failed"] > 0


def test_cost_counts_runs_and_gradients():
    objective = LinearGaussian()
    for is_guided in (False, True):
        method = Chain(max_iterations=4, burn_in=1, thinning=3, is_guided=is_guided)
        cost = finished(method, objective, objective.target(), START).last.cost
        assert (cost.forward, cost.gradients) == (13, 13 * is_guided)


def test_guided_through_a_surrogate_is_refused():
    with pytest.raises(ValueError, match="surrogate: it has no gradient"):
        Chain(is_guided=True, surrogate=wrong)


def autoregressive(rho, *, n_chains=4, n=20000, seed=0):
    """Chains x_k = rho x_(k-1) + noise, stationary; their tau is (1 + rho) / (1 - rho)."""
    rng = np.random.default_rng(seed)
    x = np.empty((n_chains, n))
    x[:, 0] = rng.normal(size=n_chains)
    for k in range(1, n):
        x[:, k] = rho * x[:, k - 1] + math.sqrt(1 - rho**2) * rng.normal(size=n_chains)
    return x


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9, -0.5])
def test_effective_sample_size_of_an_autoregressive_chain_is_the_closed_form(rho):
    x = autoregressive(rho)
    # Of 80 000 samples the estimate of tau varies by a few per cent.
    assert effective_sample_size(x) == pytest.approx(x.size * (1 - rho) / (1 + rho), rel=0.12)


@pytest.mark.parametrize("change", [lambda x: x + np.arange(4)[:, None], lambda x: x * (1 + np.arange(4)[:, None])])
def test_r_hat_tells_chains_of_other_places_and_of_other_widths(change):
    assert r_hat(autoregressive(0.5)) == pytest.approx(1, abs=0.005)
    assert r_hat(change(autoregressive(0.5))) > 1.1
