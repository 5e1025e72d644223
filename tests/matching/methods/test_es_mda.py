"""Ensemble smoother: exact where all is linear, killed and resumed, and with members that fail."""

import numpy as np
import pytest

from rockbank.core.errors import InputError
from rockbank.matching.methods.es_mda import EnsembleError, EsMda, Turn, respond
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED
from rockbank.testing.small import small_objective
from tests.matching.linear_gaussian import N_LATENT, LinearContext, LinearGaussian


def plain_loop(context):
    """What a pool does, one after another."""
    return lambda function, arguments: [function(context, argument) for argument in arguments]


def run(folder, objective=None, *, n_members=40, seed=5, **options):
    folder.mkdir(exist_ok=True)
    context = LinearContext(folder, objective or LinearGaussian())
    return EsMda(**options).run(context, n_members, seed, plain_loop(context))


def latents(states):
    return np.array([state.last.z for state in states if state.status != FAILED])


class Killed(Exception):
    """What SIGKILL would leave: some members have their checkpoint, and some have not."""


def killed_after(context, n_runs):
    """A plain loop that ends with the n-th run."""
    left = iter(range(n_runs))

    def each(function, arguments):
        results = []
        for argument in arguments:
            if next(left, None) is None:
                raise Killed
            results.append(function(context, argument))
        return results

    return each


@pytest.mark.parametrize("is_localised", [False, True])
@pytest.mark.parametrize("alphas", [(1.0,), (4.0, 4.0, 4.0, 4.0), (16.0, 4.0, 2.0, 16 / 3)])
def test_linear_gaussian_posterior_is_that_of_the_ensemble(alphas, is_localised):
    n, method, rng = 3000, EsMda(is_localised=is_localised), np.random.default_rng(1)
    assert sum(1 / alpha for alpha in alphas) == pytest.approx(1, rel=1e-12)
    objective = LinearGaussian()
    z, of = rng.normal(size=(n, N_LATENT)), objective.observations
    for alpha in alphas:
        noise = rng.normal(size=(n, len(of)))
        z = method.assimilate(z, z @ objective.matrix.T, of.value, of.sigma, noise, alpha)
    sd = np.sqrt(np.diag(objective.covariance))
    # Four standard errors, twice: the ensemble's own covariances are 1 / sqrt(n) off too.
    assert np.abs((z.mean(axis=0) - objective.mean) / sd).max() < 8 / np.sqrt(n)
    assert np.abs((np.cov(z.T) - objective.covariance) / np.outer(sd, sd)).max() < 8 / np.sqrt(n)


@pytest.mark.parametrize("max_iterations", [1, 3, 16])
def test_weights_of_the_assimilations_add_up_to_one_and_begin_small(tmp_path, monkeypatch, max_iterations):
    alphas, assimilate = [], EsMda.assimilate

    def recorded(self, *arguments):
        alphas.append(arguments[-1])
        return assimilate(self, *arguments)

    monkeypatch.setattr(EsMda, "assimilate", recorded)
    run(tmp_path, max_iterations=max_iterations)
    assert sum(1 / alpha for alpha in alphas) == pytest.approx(1, rel=1e-12)
    assert len(alphas) <= max_iterations
    assert alphas[0] >= min(max_iterations, 4)


def test_no_assimilation_takes_nearly_all_where_the_members_stay_far(tmp_path, monkeypatch):
    alphas = []
    monkeypatch.setattr(EsMda, "assimilate", lambda self, z, *others: alphas.append(others[-1]) or z + 1e3)
    run(tmp_path, max_iterations=8)
    assert alphas[1:] == pytest.approx([7 / (1 - 1 / alphas[0])] * 7)


def test_the_same_run_gives_the_same_members_and_another_seed_others(tmp_path):
    first, again, other = (latents(run(tmp_path / name, seed=seed)) for name, seed in (("a", 5), ("b", 5), ("c", 6)))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("n_runs", [0, 7, 40, 41, 79, 100])
def test_a_killed_run_that_is_resumed_ends_as_one_that_was_not(tmp_path, n_runs):
    whole = run(tmp_path / "whole")
    assert n_runs < sum(state.last.cost.forward for state in whole)
    context = LinearContext(tmp_path, LinearGaussian())
    with pytest.raises(Killed):
        EsMda().run(context, 40, 5, killed_after(context, n_runs))
    resumed = EsMda().run(context, 40, 5, plain_loop(context))
    for one, other in zip(whole, resumed, strict=True):
        assert np.array_equal([record.z for record in one.records], [record.z for record in other.records])
        assert one.last.parts == other.last.parts
        assert (one.status, one.reason, one.last.cost) == (other.status, other.reason, other.last.cost)


def test_a_run_that_is_done_is_not_simulated_again(tmp_path):
    run(tmp_path)

    def refuses(z):
        raise AssertionError("simulated again")

    again = run(tmp_path, LinearGaussian(fails=refuses))
    assert all(state.status == "converged" for state in again)


def test_a_member_that_fails_is_left_out_with_its_reason_and_the_rest_go_on(tmp_path):
    context = LinearContext(tmp_path, LinearGaussian())
    bad = context.member(3).z
    states = run(tmp_path, LinearGaussian(fails=lambda z: np.array_equal(z, bad)))
    assert [i for i, state in enumerate(states) if state.status == FAILED] == [3]
    assert "does not converge" in states[3].reason
    assert all(state.status == "converged" for i, state in enumerate(states) if i != 3)


def test_a_member_that_fails_on_the_way_keeps_what_it_had(tmp_path):
    bad = run(tmp_path / "whole")[3].records[1].z
    (tmp_path / "failing").mkdir()
    states = run(tmp_path / "failing", LinearGaussian(fails=lambda z: np.array_equal(z, bad)))
    assert states[3].status == FAILED
    assert len(states[3].records) == 1
    again = run(tmp_path / "failing", LinearGaussian(fails=lambda z: np.array_equal(z, bad)))
    assert np.array_equal(latents(states), latents(again))


def test_too_few_members_left_is_said(tmp_path):
    with pytest.raises(EnsembleError, match="39 of 40 members failed"):
        starts = [LinearContext(tmp_path, LinearGaussian()).member(i).z for i in range(39)]
        run(tmp_path, LinearGaussian(fails=lambda z: any(np.array_equal(z, start) for start in starts)))


def test_bad_settings_are_refused(tmp_path):
    with pytest.raises(ValueError, match="members: got 9"):
        run(tmp_path, n_members=9, is_localised=True)
    with pytest.raises(ValueError, match="members: got 1"):
        run(tmp_path, n_members=1)
    with pytest.raises(ValueError, match="scaling: got 'published'"):
        run(tmp_path, LinearGaussian(precision=0.02))


def test_without_data_the_members_are_draws_of_the_prior(tmp_path):
    objective = LinearGaussian()
    objective.has_flow = False
    states = run(tmp_path, objective)
    context = LinearContext(tmp_path, objective)
    assert np.array_equal(latents(states), [context.member(i).z for i in range(40)])
    assert {state.reason for state in states} == {"no data: a draw of the prior"}


def test_without_terms_nothing_is_simulated(tmp_path):
    objective, _ = small_objective(shape=(6, 4), n_latent=N_LATENT, days=(40, 80), flow=False, wells=False)
    states = run(tmp_path, objective, n_members=5)
    assert np.array_equal(latents(states), [LinearContext(tmp_path, objective).member(i).z for i in range(5)])
    assert {state.last.cost.runs for state in states} == {0.0}


def test_a_rock_that_the_simulator_refuses_is_a_failed_member(tmp_path):
    class Refusing(LinearGaussian):
        def evaluate(self, z, tolerance=1e-4, **_):
            if z[0] > 1.5:
                raise InputError("permeability: got nan")
            return super().evaluate(z, tolerance)

    states = run(tmp_path, Refusing())
    failed = [state for state in states if state.status == "failed"]
    assert 0 < len(failed) < len(states)
    assert {state.reason for state in failed} == {"InputError: permeability: got nan"}


def test_an_observable_that_all_members_share_changes_nothing(tmp_path):
    """Such as no water yet: it has no correlation with anything."""
    method, rng = EsMda(is_localised=True), np.random.default_rng(0)
    z, noise = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    values = z @ rng.normal(size=(3, 4))
    data = (np.array([1.0, 0.0, -1.0, 2.0]), np.ones(4))
    updated = method.assimilate(z, values, *data, noise, 2.0)
    wide = [np.insert(each, 2, 7.0, axis=-1) for each in (values, *data, noise)]
    assert np.array_equal(method.assimilate(z, *wide, 2.0), updated)
    assert np.array_equal(method.assimilate(z, 0 * values, *data, noise, 2.0), z)


def test_order_of_the_members_changes_nothing_but_round_off():
    method, rng = EsMda(is_localised=False), np.random.default_rng(0)
    z, noise = rng.normal(size=(50, 3)), rng.normal(size=(50, 4))
    values, data = z @ rng.normal(size=(3, 4)), (np.array([1.0, 0.0, -1.0, 2.0]), np.ones(4))
    order = rng.permutation(50)
    updated = method.assimilate(z[order], values[order], *data, noise[order], 2.0)
    assert updated == pytest.approx(method.assimilate(z, values, *data, noise, 2.0)[order], abs=1e-12)


def test_localisation_leaves_alone_what_does_not_correlate():
    rng = np.random.default_rng(0)
    z, noise = rng.normal(size=(400, 2)), rng.normal(size=(400, 1))
    values = z[:, :1] + 0.0 * z[:, 1:]
    assert abs(np.corrcoef(z.T)[0, 1]) < 3 / 20
    updated = EsMda(is_localised=True).assimilate(z, values, np.array([2.0]), np.array([0.1]), noise, 1.0)
    assert np.array_equal(updated[:, 1], z[:, 1])
    assert updated[:, 0] == pytest.approx(2.0, abs=0.5)


def test_a_facies_datum_costs_as_much_as_its_cross_entropy_in_the_middle():
    assert 0.5 * (0.5 / EsMda().facies_sigma) ** 2 == pytest.approx(np.log(2), rel=1e-12)


def test_a_member_shows_its_simulated_values_and_its_wells_facies(tmp_path):
    objective, truth = small_objective(shape=(6, 4), n_latent=3, days=(60, 60))
    context = LinearContext(tmp_path, objective)
    context.member = lambda i: type("M", (), {"z": truth, "target": objective.target()})()
    method = EsMda()
    shown = respond(context, Turn(member=0, assimilation=0, z=truth, tolerance=1e-4))
    point = objective.at(truth, objective.target(), 1e-4)
    at = point.evaluation
    assert np.array_equal(shown, np.concatenate([at.simulated.detach().numpy(), at.facies.numpy()]))
    observed, sigma = method._data(objective)
    assert observed.shape == sigma.shape == shown.shape
    assert np.array_equal(observed[-len(objective.facies.cells) :], objective.facies.is_sand.double())
    assert State.load(context.checkpoint(0)).last.parts == point.parts
