"""Bands, coverage and ranks: closed forms, and what holds for draws that are exchangeable."""

import numpy as np
import pytest
from scipy import stats

from rockbank.matching.results.calibration import (
    bands,
    expected_coverage,
    is_held,
    noisy_rank_weights,
    rank_coverage,
    rank_histogram,
    rank_weights,
)

# Draws of every Monte Carlo test; four standard deviations of a part of them are at most 4 sqrt(1 / 4 N).
N = 20000
FOUR_SIGMA = 4 * np.sqrt(0.25 / N)


def test_bands_of_nine_members_are_the_least_the_middle_and_the_greatest() -> None:
    values = np.arange(1.0, 10.0)
    assert bands(np.random.default_rng(0).permutation(values)) == pytest.approx([1, 5, 9], rel=1e-12)


def test_bands_of_a_normal_sample_are_the_normal_quantiles() -> None:
    sample = np.random.default_rng(0).normal(3.0, 2.0, size=(N, 2))
    # The standard deviation of a sample's 10 % quantile is sqrt(p (1 - p) / N) / density: 0.0242 here.
    assert bands(sample) == pytest.approx(np.repeat(stats.norm(3, 2).ppf([[0.1], [0.5], [0.9]]), 2, axis=1), abs=0.1)


@pytest.mark.parametrize("n_members", [2, 5, 9, 12, 19, 50])
def test_bands_hold_another_draw_as_often_as_expected(n_members: int) -> None:
    rng = np.random.default_rng(n_members)
    held = is_held(rng.normal(size=(n_members, N)), rng.normal(size=N))
    # Between order statistics the level is interpolated, which is off by a little for densities that are not flat.
    assert held.mean() == pytest.approx(expected_coverage(n_members), abs=FOUR_SIGMA + 0.01 * (n_members % 10 != 9))


def test_coverage_to_expect_is_four_fifths_but_of_few_members() -> None:
    assert [expected_coverage(n) for n in (9, 30, 1000)] == pytest.approx([0.8] * 3, rel=1e-12)
    assert expected_coverage(3) == pytest.approx(0.5, rel=1e-12)
    assert expected_coverage(1) == 0.0


@pytest.mark.parametrize("n_members", [3, 9, 24])
def test_rank_histogram_is_flat_for_exchangeable_draws(n_members: int) -> None:
    rng = np.random.default_rng(n_members)
    weights = rank_weights(rng.normal(size=(n_members, N)), rng.normal(size=N))
    assert rank_histogram(weights, 10) == pytest.approx(np.full(10, 0.1), abs=4 * np.sqrt(0.09 / N))
    assert rank_coverage(weights) == pytest.approx(0.8, abs=FOUR_SIGMA)


def test_rank_histogram_of_members_spread_too_little_is_a_u() -> None:
    rng = np.random.default_rng(0)
    counts = rank_histogram(rank_weights(0.5 * rng.normal(size=(19, N)), rng.normal(size=N)), 10)
    assert min(counts[0], counts[-1]) > 0.2 > 0.06 > max(counts[4:6])


def test_rank_histogram_keeps_all_mass_whatever_the_bins() -> None:
    weights = rank_weights(np.arange(6.0)[:, None] * np.ones(4), np.array([-1.0, 0.5, 2.5, 9.0]))
    assert weights.argmax(axis=1).tolist() == [0, 1, 3, 6]
    for n_bins in (1, 4, 7, 10):
        assert rank_histogram(weights, n_bins).sum() == pytest.approx(1, rel=1e-12)
    assert rank_histogram(weights, 7) == pytest.approx(np.array([1, 1, 0, 1, 0, 0, 1]) / 4, abs=1e-12)


def test_ties_share_their_ranks() -> None:
    weights = rank_weights(np.array([[0.0], [0.0], [1.0]]), np.array([1e-12]))
    assert weights == pytest.approx(np.array([[1, 1, 1, 0]]) / 3, abs=1e-12)


def test_truth_on_the_bound_is_held_though_round_off_parts_them() -> None:
    values = np.array([1.0, *[0.0] * 8])[:, None]
    assert is_held(values, np.array([-1e-12])).all()
    assert not is_held(values, np.array([-1e-3])).any()


def test_noisy_ranks_of_equal_members_are_binomial() -> None:
    weights = noisy_rank_weights(np.full((7, 1), 2.0), np.array([3.0]), np.array([4.0]))
    assert weights[0] == pytest.approx(stats.binom(7, stats.norm.cdf(0.25)).pmf(range(8)), rel=1e-12)


def test_noisy_ranks_without_noise_are_ranks() -> None:
    rng = np.random.default_rng(0)
    values, observed = rng.normal(size=(8, 50)), rng.normal(size=50)
    noisy = noisy_rank_weights(values, observed, np.full(50, 1e-9))
    assert noisy == pytest.approx(rank_weights(values, observed), abs=1e-12)


def test_noisy_rank_histogram_is_flat_where_plain_ranks_forget_the_noise() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(9, N))
    observed, sigma = rng.normal(size=N) + 1.5 * rng.normal(size=N), np.full(N, 1.5)
    weights = noisy_rank_weights(values, observed, sigma)
    assert rank_histogram(weights, 10) == pytest.approx(np.full(10, 0.1), abs=4 * np.sqrt(0.09 / N))
    assert rank_histogram(rank_weights(values, observed), 10)[[0, -1]].min() > 0.2


def test_order_of_members_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    values, truth, sigma = rng.normal(size=(6, 5)), rng.normal(size=5), np.full(5, 0.3)
    other = values[rng.permutation(6)]
    assert np.array_equal(bands(other), bands(values))
    assert np.array_equal(rank_weights(other, truth), rank_weights(values, truth))
    assert noisy_rank_weights(other, truth, sigma) == pytest.approx(noisy_rank_weights(values, truth, sigma), abs=1e-14)
