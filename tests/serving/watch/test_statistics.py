"""The watch on served samples: what a window says of them, and when it calls them changed."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.ndimage import gaussian_filter

from rockbank.generator.card import ModelCard
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.descriptors import describe, porosity, specific_surface
from rockbank.rock.segmentation import Segmentation, segment
from serving.watch.statistics import SampleStatistics

GREY = Segmentation(smoothing=0.0, threshold=0.4, phase="below")
SAND = Segmentation(smoothing=0.0, threshold=0.5, phase="above", channel=2)
WINDOW = 64
NAMES = {"porosity", "specific_surface", "s2_1", "s2_2", "s2_4", "s2_8", "difference"}


def rock(seed: int, n: int, *, size: int = 16, shift: float = 0.0) -> np.ndarray:
    """Blurred noise about 0.5; `shift` makes it brighter, and less porous below the threshold."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal((n, 1, size, size)), (0, 0, 1.5, 1.5))
    return np.clip(0.5 + shift + noise, 0.01, 0.99).astype(np.float32)


def described(images: np.ndarray, segmentation: Segmentation = GREY) -> dict:
    return describe(segment(images, segmentation))


def card(segmentation: Segmentation = GREY) -> ModelCard:
    return ModelCard(
        generator="tiny",
        family="shale",
        network="tiny",
        loss="wgan-gp",
        latent_shape=(4,),
        image_shape=(1, 16, 16),
        value_range=((-1.0, 1.0),),
        voxel_size=60e-9,
        segmentation=segmentation,
        data_md5=None,
        git_commit=None,
        scores={},
        parity=0.0,
        golden={},
        files={},
    )


def test_a_window_says_nothing_before_it_is_full():
    watch = SampleStatistics(described(rock(0, 300)), card(), window=WINDOW)
    assert watch.add(rock(1, WINDOW - 1)) is None
    report = watch.add(rock(2, 1))
    assert report.n == WINDOW
    assert set(report.statistics) == NAMES
    assert watch.add(rock(3, WINDOW - 1)) is None


def test_distances_are_those_of_scipy_between_the_window_and_the_values_of_the_reference():
    held_out, served = rock(0, 300), rock(1, WINDOW, shift=0.02)
    report = SampleStatistics(described(held_out), card(), window=WINDOW).add(served)
    pores, real = segment(served, GREY), segment(held_out, GREY)
    for name, of in (
        ("porosity", porosity),
        ("specific_surface", specific_surface),
        ("s2_4", lambda each: two_point_curves(each)[:, 4]),
    ):
        found = report.statistics[name]
        # Six digits of the values are kept in the reference, and ties among them stay ties.
        assert found.distances.wasserstein == pytest.approx(stats.wasserstein_distance(of(pores), of(real)), rel=1e-4)
        assert found.distances.ks == pytest.approx(stats.ks_2samp(of(pores), of(real)).statistic, abs=1e-12)
        assert found.mean == pytest.approx(of(pores).mean())
        assert found.std == pytest.approx(of(pores).std())


@pytest.mark.slow
def test_a_window_of_the_references_own_distribution_is_within_every_limit():
    reference = described(rock(0, 600))
    for seed in range(1, 7):
        report = SampleStatistics(reference, card(), window=WINDOW, seed=seed).add(rock(seed, WINDOW))
        assert set(report.windows_over().values()) == {0}, (seed, report)


def test_consecutive_windows_of_another_rock_are_counted_and_one_within_begins_again():
    watch = SampleStatistics(described(rock(0, 600)), card(), window=WINDOW)
    counts = [watch.add(rock(seed, WINDOW, shift=0.08)).windows_over()["porosity"] for seed in (1, 2, 3)]
    assert counts == [1, 2, 3]
    assert watch.add(rock(4, WINDOW)).windows_over()["porosity"] == 0
    assert watch.add(rock(5, WINDOW, shift=0.08)).windows_over()["porosity"] == 1


def test_what_an_accepted_generator_is_away_from_the_rock_is_allowed_for_and_a_change_of_it_is_not():
    reference = described(rock(0, 600))
    faulty = SampleStatistics(reference, card(), window=WINDOW, accepted=rock(1, 256, shift=0.05))
    strict = SampleStatistics(reference, card(), window=WINDOW)
    served = rock(2, WINDOW, shift=0.05)
    assert strict.add(served).windows_over()["porosity"] == 1
    assert set(faulty.add(served).windows_over().values()) == {0}
    assert faulty.add(rock(3, WINDOW, shift=0.12)).windows_over()["porosity"] == 1


def test_one_sample_again_and_again_is_a_collapse_of_the_diversity():
    watch = SampleStatistics(described(rock(0, 600)), card(), window=WINDOW)
    report = watch.add(np.repeat(rock(1, 1), WINDOW, axis=0))
    assert report.diversity_ratio == 0.0
    assert report.windows_over()["diversity"] == 1
    sound = watch.add(rock(2, WINDOW))
    assert sound.diversity_ratio == pytest.approx(1.0, abs=0.1)  # four standard errors of the mean of 64
    assert sound.diversity_least < sound.diversity_ratio
    assert sound.windows_over()["diversity"] == 0


def test_samples_with_nan_are_counted_and_enter_no_statistic():
    served = rock(1, WINDOW)
    broken = np.concatenate([served[:-3], np.full_like(served[:2], np.nan), np.full_like(served[:1], np.inf)])
    report = SampleStatistics(described(rock(0, 300)), card(), window=WINDOW).add(broken)
    assert report.n_nan == 3
    assert report.statistics["porosity"].mean == pytest.approx(porosity(segment(served[:-3], GREY)).mean())


def test_a_window_of_nothing_but_nan_is_reported_all_the_same():
    watch = SampleStatistics(described(rock(0, 300)), card(), window=WINDOW)
    report = watch.add(np.full((WINDOW, 1, 16, 16), np.nan, dtype=np.float32))
    assert report.n_nan == WINDOW
    assert report.statistics == {}
    assert report.diversity_ratio is None
    assert report.saturated_fraction == 0.0


def test_pixels_at_the_ends_of_the_scale_are_saturated():
    served = rock(1, WINDOW)
    served[:, :, :4] = 0.0
    served[:, :, 4:8, :8] = 1.0
    report = SampleStatistics(described(rock(0, 300)), card(), window=WINDOW).add(served)
    assert report.saturated_fraction == pytest.approx(0.25 + 0.125)


def test_a_reference_without_values_is_said_and_compares_nothing():
    watch = SampleStatistics(
        {"n": 9, "porosity": {"mean": 0.1, "std": 0.1}, "two_point": {"lags": [0]}}, card(), window=4
    )
    assert "no values" in watch.problem
    assert "dvc repro" in watch.problem
    broken = rock(1, 4)
    broken[0] = np.nan
    report = watch.add(broken)
    assert (report.n, report.n_nan, report.statistics, report.windows_over()) == (4, 1, {}, {})


def test_a_reference_with_values_has_no_problem():
    assert SampleStatistics(described(rock(0, 64)), card(), window=WINDOW).problem is None


def test_the_cards_channel_is_what_is_watched():
    held_out = np.random.default_rng(0).random((200, 3, 16, 32), dtype=np.float32)
    served = np.random.default_rng(1).random((WINDOW, 3, 16, 32), dtype=np.float32)
    served[:, :2] = 0.0
    report = SampleStatistics(described(held_out, SAND), card(SAND), window=WINDOW).add(served)
    assert report.statistics["porosity"].mean == pytest.approx((served[:, 2] > 0.5).mean())
    assert report.windows_over()["porosity"] == 0


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=12))
def test_how_samples_are_parted_into_calls_changes_no_window(sizes: list[int]):
    """And no NaN is lost where a call fills several windows."""
    images = rock(3, sum(sizes))
    images[::5] = np.nan
    reference = described(rock(0, 100))
    whole, parted = (SampleStatistics(reference, card(), window=16) for _ in range(2))
    one_by_one = [report for i in range(len(images)) if (report := whole.add(images[i : i + 1])) is not None]
    ends = np.cumsum(sizes)
    reports = [
        report
        for end, size in zip(ends, sizes, strict=True)
        if (report := parted.add(images[end - size : end])) is not None
    ]
    assert sum(report.n_nan for report in reports) == sum(report.n_nan for report in one_by_one)
    if reports:
        assert reports[-1].statistics == one_by_one[-1].statistics
        assert reports[-1].windows_over() == one_by_one[-1].windows_over()
