"""The grey scale of a scan: 8 bits between two percentiles, found and applied by blocks of slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from rockbank.data.manifest import VolumeError
from rockbank.data.masks import Mask
from rockbank.data.scans.nodata import FillSearch
from rockbank.data.scans.source import Source
from rockbank.data.stored import subsample

# The ends of the grey scale: hot pixels and dead ones lie outside.
PERCENTILES = (0.1, 99.9)
# Percentiles and Otsu's histogram are settled to 1e-3 long before so many values.
SUBSAMPLE = 2**22
# A block of slices in memory, before and while it is converted.
BLOCK_BYTES = 2**25
Advance = Callable[[float], None]
Blocks = Iterator[tuple[int, Shaped[np.ndarray, "slices rows columns"], Bool[np.ndarray, "slices rows columns"] | None]]


@dataclass(frozen=True, kw_only=True)
class GreyScale:
    """The values of a scan that become 0 and 255.

    Attributes:
        low: becomes 0, and what is below as well.
        high: becomes 255, and what is above as well.
        rock_fraction: of the voxels.
    """

    low: float
    high: float
    rock_fraction: float = 1.0

    def apply(self, voxels: Shaped[np.ndarray, "*dims"]) -> UInt8[np.ndarray, "*dims"]:
        """Grey values of 8 bits."""
        dtype = voxels.dtype
        if dtype.kind in "iu" and dtype.itemsize <= 2 and voxels.size > 2 ** (8 * dtype.itemsize):
            # Each of the few values once: a table is several times as fast.
            unsigned = np.dtype(f"u{dtype.itemsize}")
            table = self._scaled(np.arange(2 ** (8 * dtype.itemsize)).astype(unsigned).view(dtype))
            return np.asarray(table[voxels.view(unsigned)])
        return self._scaled(voxels)

    def _scaled(self, voxels: Shaped[np.ndarray, "*dims"]) -> UInt8[np.ndarray, "*dims"]:
        scaled = (voxels.astype(np.float64) - self.low) / (self.high - self.low)
        return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255.0), dtype=np.uint8)


def find_grey_scale(source: Source, mask: Mask, advance: Advance) -> GreyScale:
    """The 0.1 and 99.9 percentiles of the rock.

    Args:
        source: the scan.
        mask: of it.
        advance: is called with how many slices were read.

    Raises:
        VolumeError: for values that are no data, for no rock at all, and where all grey values are equal.
    """
    search = FillSearch(source.path, source.dtype)
    n_voxels, n_rock, lowest, highest = math.prod(source.shape), 0, math.inf, -math.inf

    def searched() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        nonlocal n_rock, lowest, highest
        for start, voxels, rock in _blocks(source, mask):
            search.add(voxels, rock, start)
            known = voxels if rock is None else voxels[rock]
            if known.size:
                n_rock += known.size
                lowest, highest = min(lowest, float(known.min())), max(highest, float(known.max()))
            advance(len(voxels))
            yield voxels, rock

    sample = subsample(searched(), n_voxels, SUBSAMPLE)
    search.refuse()
    if n_rock == 0:
        raise VolumeError(f"{source.path}: its mask leaves no rock; correct the mask or the value of no data")
    low, high = np.percentile(sample.astype(np.float64), PERCENTILES).tolist() if len(sample) else (0.0, 0.0)
    if low == high:
        # A mask whose phase is rarer than the percentiles still has two values.
        low, high = lowest, highest
    if low == high:
        raise VolumeError(f"{source.path}: every voxel is {low:g}; a scan has grey values, check what was exported")
    return GreyScale(low=low, high=high, rock_fraction=n_rock / n_voxels)


def scaled_slices(
    source: Source, mask: Mask, scale: GreyScale, advance: Advance
) -> Iterator[tuple[UInt8[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"] | None]]:
    """Each slice with 8 bits, 0 where there is no rock, and where it is rock."""
    for _, voxels, rock in _blocks(source, mask):
        for i, each in enumerate(voxels):
            grey = scale.apply(each if rock is None else np.where(rock[i], each, each.dtype.type(0)))
            if rock is not None:
                grey[~rock[i]] = 0
            advance(1)
            yield grey, None if rock is None else rock[i]


def _blocks(source: Source, mask: Mask) -> Blocks:
    n = max(1, BLOCK_BYTES // (math.prod(source.shape[1:]) * source.dtype.itemsize))
    for start in range(0, source.shape[0], n):
        voxels = source.read(start, min(start + n, source.shape[0]))
        yield start, voxels, mask.of(voxels, start)
