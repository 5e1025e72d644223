"""Values that are no data: NaN, infinities, a float's extremes, and the negative numbers that stand for nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from rockbank.data.manifest import VolumeError

# No grey value is as large: 3.4e38 and 9.97e36 are usual, and 65504 where a float has 16 bits.
EXTREME = 1e30
EXTREME_HALF = 65504.0
# The usual ones of well logs, grids and NetCDF; they stand for nothing where they stand alone, far below the others.
FILLS = (-99999.0, -32768.0, -32767.0, -9999.0, -9999.99, -9999.25, -999.25, -999.0)
REMEDY = "say --nodata VALUE to leave them out, --mask where the rock is, or fill or crop them"


def is_nodata(voxels: Shaped[np.ndarray, "*dims"], value: float) -> Bool[np.ndarray, "*dims"]:
    """Where voxels have the value that was declared to be no data; an extreme one stands for all of its kind."""
    if np.isnan(value):
        return np.asarray(np.isnan(voxels))
    if abs(value) >= EXTREME:
        return np.asarray(voxels >= EXTREME if value > 0 else voxels <= -EXTREME)
    return np.asarray(voxels == voxels.dtype.type(value)) if fits(value, voxels.dtype) else np.zeros(voxels.shape, bool)


def is_same(value: float | None, other: float | None) -> bool:
    """Whether two files declare the same, NaN too, which is not equal to itself."""
    return value == other or (value is not None and other is not None and np.isnan(value) and np.isnan(other))


@dataclass
class FillSearch:
    """Looks for values that are no data in a volume, block by block; `refuse` raises where there were some.

    Attributes:
        path: of the scan.
        dtype: of its voxels.
    """

    path: Path
    dtype: np.dtype
    _counts: dict[float, int] = field(default_factory=dict)
    _places: dict[float, tuple[int, ...]] = field(default_factory=dict)
    _lowest: float = np.inf

    def add(
        self,
        voxels: Shaped[np.ndarray, "slices rows columns"],
        rock: Bool[np.ndarray, "slices rows columns"] | None,
        start: int,
    ) -> None:
        """Take the slices from `start` on; those that are no rock may have any value."""
        if self.dtype.kind == "u":
            return
        known = voxels if rock is None else np.where(rock, voxels, voxels.dtype.type(0))
        is_suspicious = np.zeros(voxels.shape, bool)
        if self.dtype.kind == "f":
            most = EXTREME_HALF if self.dtype.itemsize == 2 else EXTREME
            is_suspicious = ~(np.abs(known) < most)
            for value in np.unique(known[is_suspicious]):
                self._note(float(value), np.isnan(known) if np.isnan(value) else known == value, start)
        # Values above the highest candidate are no concern of the rest.
        if not np.any(is_suspicious) and known.min() > max(FILLS):
            self._lowest = min(self._lowest, float(known.min()))
            return
        for value in FILLS:
            if fits(value, self.dtype):
                is_value = known == self.dtype.type(value)
                self._note(value, is_value, start)
                is_suspicious |= is_value
        if not is_suspicious.all():
            self._lowest = min(self._lowest, float(known[~is_suspicious].min()))

    def refuse(self) -> None:
        """Raise VolumeError for what was found, with value, count and place of each."""
        faults = []
        for value, n in self._counts.items():
            if value in FILLS and self._lowest <= value / 2:
                continue
            i_slice, row, column = self._places[value]
            spelt = "NaN" if np.isnan(value) else f"{value:.7g}"
            faults.append(f"{n} voxels are {spelt}, the first at slice {i_slice}, row {row}, column {column}")
        if faults:
            raise VolumeError(f"{self.path}: no grey values: {'; '.join(faults)}; {REMEDY}")

    def _note(self, value: float, is_value: Bool[np.ndarray, "slices rows columns"], start: int) -> None:
        n = int(np.count_nonzero(is_value))
        if n == 0:
            return
        # NaN is not equal to itself, so that it would be a key of its own each time.
        key = next((each for each in self._counts if np.isnan(each)), value) if np.isnan(value) else value
        if key not in self._places:
            i, row, column = (int(each) for each in np.unravel_index(int(is_value.argmax()), is_value.shape))
            self._places[key] = (start + i, row, column)
        self._counts[key] = self._counts.get(key, 0) + n


def fits(value: float, dtype: np.dtype) -> bool:
    """Whether voxels of a type can have the value, a finite one."""
    if dtype.kind == "f":
        return abs(value) <= float(np.finfo(dtype).max)
    limits = np.iinfo(dtype)
    return value == int(value) and limits.min <= value <= limits.max
