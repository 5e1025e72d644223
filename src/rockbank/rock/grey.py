"""Grey values of rock: their histogram and their radial power spectrum."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy import fft

from rockbank.rock.crops import to_bytes

N_LEVELS = 256
# Variance of the error of rounding to 8 bits, which is white: the power below which no image differs from another.
ROUNDING = 1 / (12 * (N_LEVELS - 1) ** 2)


def grey_histogram(images: Float[np.ndarray, "*dims"]) -> Float[np.ndarray, "256"]:
    """Fraction of all pixels at each of 256 grey levels; intensity in [0, 1], rounded to 8 bits."""
    return np.asarray(np.bincount(to_bytes(images).ravel(), minlength=N_LEVELS) / images.size)


def grey_distance(real: Float[np.ndarray, "256"], other: Float[np.ndarray, "256"]) -> float:
    """Wasserstein-1 distance of two histograms in units of the full scale: how far grey values have to move on average.

    W_1 = integral |F - G|, with their cumulative distributions F and G (Vallender 1974)
    """
    return float(np.abs(np.cumsum(real - other)).sum() / (N_LEVELS - 1))


def power_spectrum(images: Float[np.ndarray, "n h w"], batch: int = 256) -> Float[np.ndarray, "n h k"]:
    """Periodograms under a Hann window, whose k-th mean is the variance of white noise at every frequency.

        P(f) = |sum_x w(x) (u(x) - m) exp(-2 pi i f x)|^2 / sum_x w(x)^2,    m = sum w u / sum w

    The window (Welch 1967) keeps the power of edges that do not meet across the image's border out of the high
    frequencies; m takes frequency 0 to 0.

    Args:
        images: one channel, any scale.
        batch: images transformed at once, which bounds the memory.

    Returns:
        P at the frequencies of scipy's rfft2, 1/pixel.
    """
    hann = window(images.shape[1:])
    parts = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch].astype(np.float64)
        mean = (hann * part).sum(axis=(1, 2), keepdims=True) / hann.sum()
        parts.append(np.abs(fft.rfft2(hann * (part - mean))) ** 2)
    return np.asarray(np.concatenate(parts) / (hann**2).sum())


def radial_spectrum(images: Float[np.ndarray, "n h w"]) -> Float[np.ndarray, "n k"]:
    """power_spectrum averaged over rings of frequencies, at the `frequencies` of the images' shape."""
    return np.asarray(power_spectrum(images).reshape(len(images), -1) @ ring_weights(images.shape[1:]))


def frequencies(shape: tuple[int, int]) -> Float[np.ndarray, " k"]:
    """Middles of radial_spectrum's rings: 1, 2, .. min(h, w) // 2 waves on the shorter side, in 1/pixel."""
    return np.arange(1, min(shape) // 2 + 1) / min(shape)


def spectrum_distance(real: Float[np.ndarray, "n k"], other: Float[np.ndarray, "m k"]) -> float:
    """Root mean square over the frequencies of the relative difference between the mean spectra of two sets.

    Relative to the real power and that of rounding to 8 bits: a denoised scan has next to none at high frequencies.
    """
    mean = real.mean(axis=0)
    return float(np.sqrt(np.mean(((other.mean(axis=0) - mean) / (mean + ROUNDING)) ** 2)))


def window(shape: tuple[int, ...]) -> Float[np.ndarray, "h w"]:
    """The Hann window of power_spectrum, symmetric about the image's middle: a periodic one without its zero."""
    sides = [0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size) for size in shape]
    return np.multiply.outer(*sides)


@lru_cache(maxsize=8)
def ring_weights(shape: tuple[int, int]) -> Float[np.ndarray, "hf k"]:
    """What takes power_spectrum at its h x f frequencies to the means over radial_spectrum's rings, by `@`."""
    rows, columns = fft.fftfreq(shape[0])[:, None], fft.rfftfreq(shape[1])[None, :]
    ring = np.rint(np.hypot(rows, columns) * min(shape)).astype(np.intp)
    # How often a frequency of rfft2 stands in the whole transform.
    twice = np.full(columns.shape, 2.0)
    twice[0, 0] = 1.0
    if shape[1] % 2 == 0:
        twice[0, -1] = 1.0
    weights = np.zeros((ring.size, int(ring.max()) + 1))
    weights[np.arange(ring.size), ring.ravel()] = np.broadcast_to(twice, ring.shape).ravel()
    return np.asarray((weights / weights.sum(axis=0))[:, 1 : min(shape) // 2 + 1])
