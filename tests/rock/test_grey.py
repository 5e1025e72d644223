import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from rockbank.rock.grey import (
    ROUNDING,
    frequencies,
    grey_distance,
    grey_histogram,
    power_spectrum,
    radial_spectrum,
    spectrum_distance,
)

ROUND_OFF = 1e-12


def noise(n, h=32, w=48, std=0.2, seed=0):
    return std * np.random.default_rng(seed).standard_normal((n, h, w))


def hann(size):
    return np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2


def test_white_noise_has_its_variance_at_every_frequency():
    n = 2000
    mean = radial_spectrum(noise(n)).mean(axis=0)
    # The mean that is taken off lies under the window's main lobe, which reaches one wave a side.
    assert mean.shape == (16,)
    np.testing.assert_allclose(mean[1:], 0.2**2, rtol=0.03)  # over three standard errors of the ring of two waves
    assert mean[0] < 0.2**2


@pytest.mark.parametrize(("h", "w"), [(32, 48), (31, 33), (16, 16)])
def test_the_power_at_all_frequencies_is_that_of_the_windowed_image(h, w):
    image = noise(3, h, w) + 0.5
    window = np.multiply.outer(hann(h), hann(w))
    mean = (window * image).sum(axis=(1, 2), keepdims=True) / window.sum()
    wanted = (window**2 * (image - mean) ** 2).sum(axis=(1, 2)) / (window**2).sum()
    power = power_spectrum(image)
    twice = np.full(power.shape[2], 2.0)
    twice[0] = 1.0
    if w % 2 == 0:
        twice[-1] = 1.0
    np.testing.assert_allclose((power * twice).sum(axis=(1, 2)) / (h * w), wanted, rtol=ROUND_OFF)


@pytest.mark.parametrize("k", [3, 8, 15])
def test_a_wave_stands_at_its_own_frequency(k):
    x = np.arange(32)
    wave = np.sin(2 * np.pi * k * x / 32)
    for image in (np.tile(wave, (32, 1)), np.tile(wave[:, None], (1, 32))):
        assert frequencies((32, 32))[radial_spectrum(image[None])[0].argmax()] == k / 32


def test_the_spectrum_knows_no_direction_and_no_offset():
    image = ndimage.gaussian_filter(noise(4, 32, 32), (0, 2, 1))
    spectrum = radial_spectrum(image)
    for same in (image.transpose(0, 2, 1), image[:, ::-1], image[:, :, ::-1], image + 0.3):
        np.testing.assert_allclose(radial_spectrum(same), spectrum, rtol=1e-9)  # round-off of the small powers
    np.testing.assert_allclose(radial_spectrum(3 * image), 9 * spectrum, rtol=ROUND_OFF)


def test_batches_change_nothing():
    np.testing.assert_array_equal(power_spectrum(noise(7), batch=3), power_spectrum(noise(7)))


def test_a_smooth_image_has_no_power_at_high_frequencies_though_its_sides_differ():
    ramp = np.linspace(0, 1, 64)[None, None, :] * np.ones((1, 64, 1))
    power = radial_spectrum(ramp)[0]
    assert power[16:].max() < 1e-7 * power[0]


def test_the_distance_of_spectra_is_relative():
    real = radial_spectrum(noise(50))
    # The power of rounding is 3e-5 of this noise's.
    assert spectrum_distance(real, 1.1 * real) == pytest.approx(0.1, rel=1e-4)
    assert spectrum_distance(real, real) == 0


def test_rounding_to_bytes_is_no_distance_even_where_there_is_no_power():
    smooth = 0.5 + ndimage.gaussian_filter(noise(300, std=2.0), (0, 3, 3))
    rounded = np.round(smooth * 255) / 255
    assert radial_spectrum(rounded)[:, -1].mean() == pytest.approx(ROUNDING, rel=0.1)
    assert radial_spectrum(smooth)[:, -1].mean() < ROUNDING / 100
    assert spectrum_distance(radial_spectrum(smooth), radial_spectrum(rounded)) < 1.0


def test_the_histogram_counts_every_pixel_once():
    images = np.array([0.0, 0.5, 1.0, 1.0]).reshape(1, 2, 2)
    histogram = grey_histogram(images)
    assert histogram.sum() == 1
    assert histogram[[0, 128, 255]].tolist() == [0.25, 0.25, 0.5]


def test_rock_that_is_brighter_by_ten_levels_is_ten_levels_away():
    dark = np.random.default_rng(0).integers(0, 200, 1000) / 255
    assert grey_distance(grey_histogram(dark), grey_histogram(dark + 10 / 255)) == pytest.approx(10 / 255)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_distance_of_histograms_is_wasserstein_1(seed):
    rng = np.random.default_rng(seed)
    real, other = rng.dirichlet(np.full(256, 0.1), size=2)
    levels = np.arange(256) / 255
    wanted = stats.wasserstein_distance(levels, levels, real, other)
    assert grey_distance(real, other) == pytest.approx(wanted, rel=1e-9)
