import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rockbank.rock.correlation import (
    directional_correlation,
    radial_correlation,
    s2_distance,
    s2_spread,
    two_point_correlation,
    two_point_curves,
)
from rockbank.rock.descriptors import connectivity, describe, difference, lineal_path, porosity, specific_surface
from rockbank.rock.segmentation import Segmentation, otsu_threshold, segment, smooth

# Counts are whole numbers and exact, so only the one division rounds.
ROUND_OFF = 1e-12
SCAN = Path(__file__).parents[2].parent / "shared" / "data" / "rocks" / "shale_fibsem" / "shale_for_alignment00.tif"
images = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 11)))
batches = arrays(bool, st.tuples(st.integers(1, 4), st.integers(2, 8), st.integers(2, 8)))


def counted(pore):
    """Pairs in the phase and all pairs at every lag vector, one vector at a time."""
    hits, tries = {}, {}
    for lag in np.ndindex(*[2 * size - 1 for size in pore.shape]):
        r = tuple(i - size + 1 for i, size in zip(lag, pore.shape, strict=True))
        here = pore[tuple(slice(max(0, a), size + min(0, a)) for a, size in zip(r, pore.shape, strict=True))]
        there = pore[tuple(slice(max(0, -a), size + min(0, -a)) for a, size in zip(r, pore.shape, strict=True))]
        hits[r], tries[r] = int((here & there).sum()), here.size
    return hits, tries


def noise(*shape, fraction=0.4, seed=1):
    return np.random.default_rng(seed).random(shape) < fraction


@settings(max_examples=40, deadline=None)
@given(images)
def test_directional_and_axis_averages_are_what_counting_pairs_gives(pore):
    hits, tries = counted(pore)
    lags = range(min(pore.shape) // 2 + 1)
    wanted = np.array([[hits[r, 0] / tries[r, 0] for r in lags], [hits[0, r] / tries[0, r] for r in lags]])
    np.testing.assert_allclose(directional_correlation(pore), wanted, rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(two_point_correlation(pore), wanted.mean(axis=0), rtol=0, atol=ROUND_OFF)


@settings(max_examples=40, deadline=None)
@given(images)
def test_the_radial_average_is_what_counting_pairs_gives(pore):
    hits, tries = counted(pore)
    for r, found in enumerate(radial_correlation(pore)):
        ring = [lag for lag in hits if round(float(np.hypot(*lag))) == r]
        wanted = sum(hits[lag] for lag in ring) / sum(tries[lag] for lag in ring)
        assert found == pytest.approx(wanted, abs=ROUND_OFF)


def test_three_dimensions_are_counted_the_same_way():
    pore = noise(5, 6, 4)
    hits, tries = counted(pore)
    axes = [[(r, 0, 0), (0, r, 0), (0, 0, r)] for r in range(3)]
    wanted = [np.mean([hits[lag] / tries[lag] for lag in lags]) for lags in axes]
    np.testing.assert_allclose(two_point_correlation(pore), wanted, rtol=0, atol=ROUND_OFF)
    ring = [lag for lag in hits if round(float(np.linalg.norm(lag))) == 2]
    assert radial_correlation(pore)[2] == pytest.approx(
        sum(hits[lag] for lag in ring) / sum(tries[lag] for lag in ring), abs=ROUND_OFF
    )


@pytest.mark.parametrize("size", [256, 300], ids=["single precision", "double precision"])
def test_counts_of_a_large_image_are_exact(size):
    everywhere = np.ones((size, size), dtype=bool)
    assert np.all(radial_correlation(everywhere) == 1.0)
    assert np.all(two_point_correlation(everywhere) == 1.0)
    pore = noise(size, size)
    r = size // 2
    assert directional_correlation(pore)[0, r] == (pore[r:] & pore[:-r]).mean()


def test_the_void_between_overlapping_discs_has_its_closed_form():
    # The image samples the continuous field at points, so only chance parts the mean from the closed form
    # exp(-rho * area of the union of two discs a distance r apart) (Torquato 2002, eq. 5.22).
    rng, radius, density, size, n = np.random.default_rng(5), 6.0, 0.008, 64, 400
    void = np.stack([boolean_void(rng, radius, density, size) for _ in range(n)])
    curves = two_point_curves(void)
    r = np.minimum(np.arange(curves.shape[1]), 2 * radius)
    shared = 2 * radius**2 * np.arccos(r / (2 * radius)) - r / 2 * np.sqrt(4 * radius**2 - r**2)
    wanted = np.exp(-density * (2 * np.pi * radius**2 - shared))
    error = curves.std(axis=0) / np.sqrt(n)
    assert np.all(np.abs(curves.mean(axis=0) - wanted) < 4 * error)
    assert error.max() < 0.01


def boolean_void(rng, radius, density, size):
    x = np.arange(size)
    window = size + 2 * radius
    centres = rng.uniform(-radius, size + radius, (rng.poisson(density * window**2), 2))
    inside = [(x[:, None] - a) ** 2 + (x[None] - b) ** 2 <= radius**2 for a, b in centres]
    return ~np.any(inside, axis=0) if inside else np.ones((size, size), dtype=bool)


@settings(max_examples=25, deadline=None)
@given(batches)
def test_a_batch_gives_what_each_sample_gives_alone(pores):
    np.testing.assert_array_equal(two_point_curves(pores, batch=2), [two_point_correlation(p) for p in pores])
    np.testing.assert_array_equal(two_point_curves(pores, "radial"), [radial_correlation(p) for p in pores])
    for statistic in (porosity, specific_surface, connectivity, lineal_path):
        np.testing.assert_allclose(
            statistic(pores), np.concatenate([statistic(p[None]) for p in pores]), rtol=0, atol=ROUND_OFF
        )


@settings(max_examples=25, deadline=None)
@given(batches)
def test_flips_and_the_swap_of_axes_change_no_statistic(pores):
    for statistic in (two_point_curves, lineal_path, specific_surface, connectivity):
        for other in (pores[:, ::-1], pores[:, :, ::-1], pores.transpose(0, 2, 1)):
            np.testing.assert_allclose(statistic(other), statistic(pores), rtol=0, atol=ROUND_OFF)


@settings(max_examples=25, deadline=None)
@given(batches)
def test_every_curve_starts_at_the_porosity_and_a_path_is_rarer_than_its_ends(pores):
    s2, path = two_point_curves(pores), lineal_path(pores)
    np.testing.assert_allclose(s2[:, 0], porosity(pores), rtol=0, atol=ROUND_OFF)
    np.testing.assert_allclose(path[:, 0], porosity(pores), rtol=0, atol=ROUND_OFF)
    assert np.all(path <= s2 + ROUND_OFF)
    np.testing.assert_allclose(path[:, 1], s2[:, 1], rtol=0, atol=ROUND_OFF)


def test_the_lineal_path_counts_runs():
    pore = noise(9, 12, fraction=0.7)
    rows = [pore[:, i : i + 4].all(axis=1) for i in range(9)]
    columns = [pore[i : i + 4].all(axis=0) for i in range(6)]
    assert lineal_path(pore[None])[0, 3] == pytest.approx((np.mean(rows) + np.mean(columns)) / 2, abs=ROUND_OFF)


def test_the_specific_surface_of_a_square_is_its_perimeter_over_the_area():
    pore = np.zeros((1, 40, 40), dtype=bool)
    pore[0, 10:20, 15:25] = True
    # Each axis has 40 * 39 neighbours for 40 * 40 pixels.
    assert specific_surface(pore)[0] == pytest.approx(4 * 10 / (40 * 39), rel=ROUND_OFF)
    assert specific_surface(~pore)[0] == specific_surface(pore)[0]


def test_the_specific_surface_is_the_slope_of_s2_at_zero():
    pore = np.zeros((1, 30, 30), dtype=bool)
    pore[0, 2:-2, 2:-2] = noise(26, 26)
    slope = (porosity(pore)[0] - directional_correlation(pore[0])[:, 1]).sum()
    # Equal but for the edge, which has one pair fewer than pixels.
    assert specific_surface(pore)[0] == pytest.approx(2 * slope, rel=2 / 29)


def test_connectivity_is_one_for_one_cluster_and_one_over_m_for_m_equal_ones():
    pores = np.zeros((4, 10, 10), dtype=bool)
    pores[1, 2:5, 2:9] = True
    pores[2, 1:3, 1:3] = pores[2, 5:7, 5:7] = True
    pores[3, 0, 0] = pores[3, 1, 1] = pores[3, 2, 2] = pores[3, 3, 3] = True  # corners do not connect
    np.testing.assert_allclose(connectivity(pores), [0.0, 1.0, 0.5, 0.25], rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("seed", range(5))
def test_otsu_is_that_of_skimage(seed):
    filters = pytest.importorskip("skimage.filters", reason="scikit-image comes with the extra 'bench'")
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(0.3, 0.05, 3000), rng.normal(0.6, 0.1, 5000)]).astype(np.float32)
    # Both take a bin's centre; skimage adds up in the values' own single precision.
    assert otsu_threshold(values) == pytest.approx(float(filters.threshold_otsu(values)), abs=1e-6)


def test_otsu_of_a_constant_is_the_constant_and_of_nan_an_error():
    assert otsu_threshold(np.full(10, 0.25)) == 0.25
    with pytest.raises(ValueError, match="finite"):
        otsu_threshold(np.array([0.1, np.nan]))
    with pytest.raises(ValueError, match="got 0"):
        otsu_threshold(np.array([]))


def test_the_phase_is_the_named_side_of_the_threshold():
    intensity = np.array([0.2, 0.5, 0.8], dtype=np.float32).reshape(1, 1, 1, 3)
    below = segment(intensity, Segmentation(smoothing=0.0, threshold=0.5, phase="below"))
    above = segment(intensity, Segmentation(smoothing=0.0, threshold=0.5, phase="above"))
    assert below.tolist() == [[[True, True, False]]]
    np.testing.assert_array_equal(above, ~below)


def test_only_the_named_channel_is_segmented():
    intensity = np.zeros((2, 3, 4, 5), dtype=np.float32)
    intensity[:, 2] = 1.0
    assert segment(intensity, Segmentation(smoothing=0.0, threshold=0.5, phase="above", channel=2)).all()
    assert not segment(intensity, Segmentation(smoothing=0.0, threshold=0.5, phase="above")).any()
    with pytest.raises(ValueError, match="no channel 3"):
        segment(intensity, Segmentation(smoothing=0.0, threshold=0.5, phase="above", channel=3))


def test_smoothing_mixes_neither_samples_nor_channels():
    intensity = np.zeros((3, 1, 8, 8), dtype=np.float32)
    intensity[1] = 1.0
    smoothed = smooth(intensity, 2.0)
    np.testing.assert_allclose(smoothed, intensity, atol=1e-6)  # single precision


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"smoothing": -1.0}, "smoothing"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": float("nan")}, "threshold"),
        ({"phase": "pore"}, "phase"),
        ({"channel": -1}, "channel"),
    ],
)
def test_an_impossible_segmentation_is_an_error_that_names_it(wrong, named):
    with pytest.raises(ValueError, match=named):
        Segmentation(**{"smoothing": 1.0, "threshold": 0.4, "phase": "below", **wrong})


def test_smoothing_brings_the_porosity_of_a_noisy_scan_down():
    tifffile = pytest.importorskip("tifffile")
    if not SCAN.is_file():
        pytest.skip(f"no {SCAN.name}: the real scans are not in ../shared")
    intensity = tifffile.imread(SCAN).astype(np.float32)[None, None] / 255
    raw = (intensity <= otsu_threshold(intensity)).mean()
    threshold = otsu_threshold(smooth(intensity[:, 0], 2.0))
    pores = segment(intensity, Segmentation(smoothing=2.0, threshold=threshold, phase="below"))
    assert raw > 0.4  # half the noise
    assert 0.02 < pores.mean() < 0.2
    assert connectivity(pores)[0] > 0.0


def test_the_distance_of_curves_is_the_rms_over_the_lags():
    curves = two_point_curves(noise(20, 16, 16))
    assert s2_distance(curves, curves) == 0.0
    assert s2_distance(curves, curves + 0.25) == pytest.approx(0.25, rel=ROUND_OFF)
    assert s2_distance(curves[:10], curves[10:]) == pytest.approx(s2_distance(curves[10:], curves[:10]), rel=ROUND_OFF)
    assert s2_spread(np.array([[0.0, 0.0], [2.0, 2.0]])) == 1.0


def test_an_unknown_average_is_an_error():
    with pytest.raises(ValueError, match="'axes' or 'radial'"):
        two_point_curves(noise(2, 8, 8), "mean")


def test_a_description_is_json_with_every_statistic():
    pores = noise(6, 16, 24)
    found = json.loads(json.dumps(describe(pores), allow_nan=False))
    assert found["n"] == 6
    assert found["porosity"]["mean"] == pytest.approx(pores.mean(), rel=ROUND_OFF)
    assert found["two_point"]["lags"] == list(range(9))
    assert len(found["lineal_path"]["std"]) == 9
    assert list(found["connectivity"]["quantiles"]) == ["0.05", "0.25", "0.5", "0.75", "0.95"]
    assert found["porosity"]["values"] == pytest.approx(np.sort(porosity(pores)), rel=1e-5)  # six digits are kept
    assert list(found["two_point"]["values"]) == ["1", "2", "4", "8"]
    assert found["two_point"]["values"]["4"] == pytest.approx(np.sort(two_point_curves(pores)[:, 4]), rel=1e-5)


def test_samples_that_are_all_one_do_not_differ():
    one = np.random.default_rng(1).random((1, 8, 8)) > 0.5
    assert (difference(np.repeat(one, 4, axis=0)) == 0).all()


def test_a_sample_differs_from_the_next_in_the_pixels_counted():
    pores = np.zeros((3, 2, 2), dtype=bool)
    pores[1, 0, 0] = pores[2] = True
    assert difference(pores).tolist() == [0.25, 0.75, 1.0]


def test_a_description_of_samples_without_the_phase_is_still_numbers():
    found = describe(np.zeros((3, 8, 8), dtype=bool))
    json.dumps(found, allow_nan=False)
    assert found["connectivity"]["mean"] == 0.0
