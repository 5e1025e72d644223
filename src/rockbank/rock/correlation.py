"""Two-point correlation S2 of a phase: by axis, radially; and distances between its curves."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import fft

from rockbank.core.errors import InputError


def directional_correlation(pore: Bool[np.ndarray, "*dims"]) -> Float[np.ndarray, "axes r"]:
    """Two-point probability of the phase along each axis, at r = 0 .. min(dims) // 2."""
    return np.asarray(_directional_curves(pore[None])[0])


def two_point_correlation(pore: Bool[np.ndarray, "*dims"]) -> Float[np.ndarray, " r"]:
    """Directionally averaged two-point probability S2 of the pore phase.

        S2(r) = P(x in pore and x + r e_i in pore),   averaged over the axes i

    S2(0) = phi, and S2(r) -> phi^2 as r grows (Torquato 2002, sec. 2.1).

    Returns:
        S2 at r = 0 .. min(dims) // 2 voxels; times the voxel size it is in metres.
    """
    return np.asarray(directional_correlation(pore).mean(axis=0))


def radial_correlation(pore: Bool[np.ndarray, "*dims"]) -> Float[np.ndarray, " r"]:
    """Two-point probability of the phase averaged over all directions.

    Every pair of pixels whose distance rounds to r counts alike; S2(0) = phi.

    Returns:
        S2 at r = 0 .. min(dims) // 2 voxels.
    """
    ring, tries = _rings(pore.shape)
    hits = _pair_counts(pore, _half_of_lags(pore.shape))
    hits[1:] *= 2
    return np.asarray(np.bincount(ring, hits.ravel())[: len(tries)] / tries)


def two_point_curves(
    pores: Bool[np.ndarray, "n h w"], average: str = "axes", batch: int = 256
) -> Float[np.ndarray, "n r"]:
    """S2 of many samples at r = 0 .. min(h, w) // 2 pixels.

    Args:
        average: "axes" as two_point_correlation, or "radial" as radial_correlation (1.7 times slower).
        batch: samples transformed at once, which bounds the memory.
    """
    if average not in ("axes", "radial"):
        raise InputError(f"average: got {average!r}; use 'axes' or 'radial'")
    if average == "radial":
        return np.stack([radial_correlation(pore) for pore in pores])
    parts = [_directional_curves(pores[start : start + batch]).mean(axis=1) for start in range(0, len(pores), batch)]
    return np.concatenate(parts)


def s2_distance(real: Float[np.ndarray, "n r"], generated: Float[np.ndarray, "m r"]) -> float:
    """Root mean square over the lags of the difference between the mean curves of two sets."""
    difference = real.mean(axis=0) - generated.mean(axis=0)
    return float(np.sqrt(np.mean(difference**2)))


def s2_spread(curves: Float[np.ndarray, "n r"]) -> float:
    """Root mean square over the lags of the standard deviation between samples: the width of their band."""
    return float(np.sqrt(np.mean(curves.var(axis=0))))


def _pair_counts(pore: Bool[np.ndarray, "*dims"], lags: Sequence[Int[np.ndarray, " l"]]) -> Float[np.ndarray, "*lags"]:
    """#{x : x and x + r in pore} at the lags r that `lags` names for each axis."""
    reach = [int(np.abs(each).max()) for each in lags]
    # Padding by the farthest lag requested is enough: what wraps around lands beyond it.
    padded = [fft.next_fast_len(size + far, real=True) for size, far in zip(pore.shape, reach, strict=True)]
    spectrum = fft.rfft(pore.astype(_float_type(pore.size)), padded[-1], axis=-1)
    for axis, length in enumerate(padded[:-1]):
        spectrum = fft.fft(spectrum, length, axis=axis)
    counts = spectrum.real**2 + spectrum.imag**2
    for axis, length in enumerate(padded[:-1]):
        counts = fft.ifft(counts, axis=axis).take(lags[axis] % length, axis=axis)
    counts = fft.irfft(counts, padded[-1], axis=-1).take(lags[-1] % padded[-1], axis=-1)
    return np.asarray(np.rint(counts), dtype=float)


def _pairs_possible(dims: Sequence[int], lags: Sequence[Int[np.ndarray, " l"]]) -> Float[np.ndarray, "*lags"]:
    """#{x : x and x + r in the image} at each lag r: the overlap of the image with itself."""
    overlap = np.ones(())
    for size, each in zip(dims, lags, strict=True):
        overlap = np.multiply.outer(overlap, size - np.abs(each).astype(float))
    return overlap


def _half_of_lags(dims: Sequence[int]) -> list[Int[np.ndarray, " l"]]:
    """Lags of radial_correlation: S2(-r) = S2(r), so those forward along the first axis say it all."""
    r_max = min(dims) // 2
    return [np.arange(r_max + 1)] + [np.arange(-r_max, r_max + 1)] * (len(dims) - 1)


@lru_cache(maxsize=8)
def _rings(dims: tuple[int, ...]) -> tuple[Int[np.ndarray, " lags"], Float[np.ndarray, " r"]]:
    """The rounded length of each of _half_of_lags, and how many pairs each length has."""
    lags = _half_of_lags(dims)
    axes = np.meshgrid(*lags, indexing="ij", sparse=True)
    ring = np.rint(np.sqrt(sum(axis**2 for axis in axes))).astype(np.intp).ravel()
    tries = _pairs_possible(dims, lags)
    tries[1:] *= 2
    return ring, np.bincount(ring, tries.ravel())[: min(dims) // 2 + 1]


def _directional_curves(pores: Bool[np.ndarray, "n ..."]) -> Float[np.ndarray, "n axes r"]:
    """S2 along each axis: one-dimensional transforms, summed over the lines before the one way back."""
    n, *dims = pores.shape
    r_max = min(dims) // 2
    values = pores.astype(_float_type(int(np.prod(dims))))
    curves = np.empty((n, len(dims), r_max + 1))
    for i_axis, size in enumerate(dims):
        lines = np.moveaxis(values, 1 + i_axis, -1)
        length = fft.next_fast_len(size + r_max, real=True)
        spectrum = fft.rfft(lines, length)
        power = (spectrum.real**2 + spectrum.imag**2).reshape(n, -1, length // 2 + 1).sum(axis=1)
        counts = np.rint(fft.irfft(power, length)[:, : r_max + 1])
        curves[:, i_axis] = counts / ((size - np.arange(r_max + 1.0)) * (np.prod(dims) / size))
    return curves


def _float_type(n_pixels: int) -> type[np.floating[Any]]:
    # Counts are whole numbers, so rounding takes away the transform's whole error. Single precision errs
    # by less than 0.02 counts on 256 x 256 pixels, all of the phase, and takes half the time.
    return np.float32 if n_pixels <= 256 * 256 else np.float64
