"""Distances between distributions, and the limits that tell them from chance."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from rockbank.drift import distances as drift
from rockbank.drift.distances import (
    Distances,
    GreyScale,
    as_described,
    calibrate,
    calibrate_by_patches,
    described_values,
    distances,
    least_mean,
    patches,
    phase_statistics,
    quick_distances,
)
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.descriptors import describe, difference, porosity

PERCENTILES = (0.1, 99.9)
LAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.standard_normal(n),
    "skewed": lambda rng, n: rng.gamma(0.5, size=n),
    "two values": lambda rng, n: (rng.random(n) < 0.1).astype(float),
}
samples = st.lists(st.integers(-8, 8).map(lambda k: k / 8), min_size=2, max_size=30).map(np.array)


@settings(max_examples=50, deadline=None)
@given(samples, samples)
def test_quick_distances_are_those_of_scipy_ties_and_all(values: np.ndarray, reference: np.ndarray) -> None:
    quick, slow = quick_distances(values, np.sort(reference)), distances(values, reference)
    # Round-off of sums of at most 60 terms.
    assert quick.wasserstein == pytest.approx(slow.wasserstein, abs=1e-12)
    assert quick.ks == pytest.approx(slow.ks, abs=1e-12)


def test_distances_of_a_shift_are_the_shift_and_the_share_of_values_that_it_parts():
    values = np.arange(100) / 100
    found = distances(values + 0.25, values)
    assert found.wasserstein == pytest.approx(0.25, rel=1e-12)
    assert found.ks == pytest.approx(0.25, abs=0.01 + 1e-12)  # a hundredth is one value


def test_one_distance_over_its_limit_is_enough():
    limits = Distances(wasserstein=1.0, ks=0.5)
    assert not Distances(wasserstein=1.0, ks=0.5).is_over(limits)
    assert Distances(wasserstein=1.1, ks=0.1).is_over(limits)
    assert Distances(wasserstein=0.1, ks=0.6).is_over(limits)


@pytest.mark.parametrize("law", LAWS)
def test_windows_of_the_references_own_distribution_are_hardly_ever_over_the_limits(law: str) -> None:
    rng = np.random.default_rng(1)
    n_over = 0
    for _ in range(4):
        reference = LAWS[law](rng, 1000)
        limits = calibrate(reference, reference, 256, rng)
        n_over += sum(quick_distances(LAWS[law](rng, 256), np.sort(reference)).is_over(limits) for _ in range(100))
    # 0.05 % of windows were over in 10,000: two or more of 400 have a probability of 2 %, five one in a million.
    assert n_over < 5


def test_a_window_half_a_standard_deviation_off_is_over_the_limits():
    rng = np.random.default_rng(1)
    reference = rng.standard_normal(1000)
    limits = calibrate(reference, reference, 256, rng)
    assert all(quick_distances(rng.normal(0.5, 1, 256), np.sort(reference)).is_over(limits) for _ in range(50))


def test_smaller_windows_have_wider_limits():
    reference = np.random.default_rng(0).standard_normal(500)
    wide, narrow = (calibrate(reference, reference, size, np.random.default_rng(1)) for size in (32, 512))
    assert wide.ks > 1.5 * narrow.ks
    assert wide.wasserstein > 1.5 * narrow.wasserstein


def test_limits_allow_for_what_an_accepted_source_is_away():
    rng = np.random.default_rng(0)
    reference, source = rng.standard_normal(500), rng.normal(1.0, 1.0, 500)
    away = distances(source, reference)
    limits = calibrate(source, reference, 128, rng)
    assert limits.wasserstein > away.wasserstein
    assert limits.ks > away.ks


def test_the_same_generator_gives_the_same_limits():
    reference = np.random.default_rng(0).standard_normal(100)
    first, again = (calibrate(reference, reference, 64, np.random.default_rng(5)) for _ in range(2))
    assert first == again


def test_a_limit_of_the_kolmogorov_smirnov_distance_can_be_exceeded():
    # Two distributions are at most 1 apart.
    assert drift.limits([Distances(wasserstein=1.0, ks=0.9)] * 3) == Distances(wasserstein=1.5, ks=0.95)
    assert drift.limits([Distances(wasserstein=1.0, ks=0.5)] * 3) == Distances(wasserstein=1.5, ks=0.75)


def test_the_least_mean_is_below_the_means_of_windows():
    rng = np.random.default_rng(0)
    source = rng.uniform(0.2, 0.4, 500)
    least = least_mean(source, 64, rng)
    assert 0.1 < least < min(rng.choice(source, 64).mean() for _ in range(100))


def test_phase_statistics_are_those_of_morphology_at_lags_that_fit():
    pores = np.random.default_rng(0).random((5, 16, 24)) > 0.6
    found = phase_statistics(pores)
    assert list(found) == ["porosity", "specific_surface", "s2_1", "s2_2", "s2_4", "s2_8"]
    assert (found["porosity"] == porosity(pores)).all()
    assert (found["s2_8"] == two_point_curves(pores)[:, 8]).all()


def test_described_values_are_the_statistics_of_what_was_described():
    pores = np.random.default_rng(0).random((40, 16, 16)) > 0.6
    found = described_values(describe(pores))
    wanted = {**phase_statistics(pores), "difference": difference(pores)}
    assert set(found) == set(wanted)
    for name, values in wanted.items():
        # On both sides six digits are kept, so that equal values tie.
        assert distances(as_described(values), found[name]) == Distances(wasserstein=0.0, ks=0.0)


@pytest.mark.parametrize("old", [{}, {"porosity": {"mean": 0.1}, "two_point": {"mean": [0.1], "std": [0.0]}}])
def test_a_description_without_values_has_none(old: dict) -> None:
    assert described_values(old) == {}


def histogram(grey: np.ndarray) -> np.ndarray:
    return np.bincount(np.round(np.clip(grey, 0, 1) * 255).astype(int), minlength=256)


def test_exposure_and_gain_are_no_difference_of_grey_and_another_shape_is():
    rng = np.random.default_rng(0)
    grey = 0.5 + 0.05 * rng.standard_normal(200_000)
    one, other = (GreyScale.of(histogram(each), PERCENTILES) for each in (grey, 0.1 + 0.7 * grey))
    near = one.distances(other)
    # Half a level of 256, of a range of 0.3 of the scale.
    assert near.wasserstein < 0.5 / 256 / 0.2
    assert near.ks < 0.005
    two_phases = GreyScale.of(histogram(np.where(rng.random(grey.size) < 0.3, grey - 0.2, grey)), PERCENTILES)
    far = one.distances(two_phases)
    assert far.wasserstein > 10 * near.wasserstein
    assert far.ks > 0.25


def test_a_grey_scale_puts_its_percentiles_at_zero_and_one():
    scale = GreyScale.of(histogram(np.random.default_rng(0).random(500_000)), PERCENTILES)
    assert (scale.low, scale.high) == pytest.approx((0.001, 0.999), abs=0.5 / 255)
    assert scale.scaled(np.array([scale.low, scale.high])) == pytest.approx([0.0, 1.0], abs=1e-12)


def test_distances_on_one_scale_are_those_of_scipy():
    rng = np.random.default_rng(2)
    # The ends are held, so that both scales are the same.
    grey = [np.concatenate([rng.beta(a, 3, 20_000), np.zeros(500), np.ones(500)]) for a in (2.0, 2.6)]
    one, other = (GreyScale.of(histogram(each), PERCENTILES) for each in grey)
    found, width = one.distances(other), one.high - one.low
    assert found.wasserstein * width == pytest.approx(stats.wasserstein_distance(*grey), rel=0.01)  # one level
    assert found.ks == pytest.approx(stats.ks_2samp(*grey).statistic, abs=0.02)  # a level on either side


def test_a_patch_is_the_nearest_crops_of_one_volume_and_the_rest_is_around_it():
    rng = np.random.default_rng(0)
    n = 400
    volume = np.array(["a.tif", "b.tif"])[rng.integers(2, size=n)]
    row, column = rng.integers(0, 900, size=(2, n))
    for inside, outside in patches(volume, row, column, 0.2, rng):
        assert len(inside) == 80
        assert sorted([*inside, *outside]) == list(range(n))
        middle = inside[0]
        assert set(volume[inside]) == {volume[middle]}
        reach = np.maximum(abs(row - row[middle]), abs(column - column[middle]))
        assert reach[inside].max() <= reach[outside][volume[outside] == volume[middle]].min()


@pytest.mark.parametrize(("fraction", "n_inside"), [(0.0001, drift.N_PATCH_MIN), (0.9, 100)])
def test_a_patch_is_neither_tiny_nor_more_than_half(fraction: float, n_inside: int) -> None:
    rng = np.random.default_rng(0)
    place = rng.integers(0, 500, size=(2, 200))
    inside, _ = next(iter(patches(np.zeros(200), *place, fraction, rng)))
    assert len(inside) == n_inside


def test_rock_that_varies_from_place_to_place_has_wider_limits_than_its_crops_mixed():
    rng = np.random.default_rng(0)
    row, column = rng.integers(0, 1000, size=(2, 800))
    values = column / 1000 + 0.1 * rng.standard_normal(800)

    def between(inside: np.ndarray, outside: np.ndarray) -> dict[str, Distances]:
        return {"value": quick_distances(values[inside], np.sort(values[outside]))}

    by_place = calibrate_by_patches(between, patches(np.zeros(800), row, column, 0.25, rng))["value"]
    mixed = calibrate(values, values, 200, rng)
    assert by_place.wasserstein > 3 * mixed.wasserstein
