"""Where a scan is rock: within the core, and where it has data."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.nodata import fits, is_nodata
from rockbank.data.scans.reader import open_scan
from rockbank.data.scans.source import Source

CYLINDER = "cylinder"
Blocks = Callable[[int, int], Bool[np.ndarray, "slices rows columns"]]


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Where a scan is rock.

    Attributes:
        area: for slices from start to stop; None for everywhere.
        nodata: the value of voxels that are none.
        is_extruded: whether the area is the same in every slice.
    """

    area: Blocks | None = None
    nodata: float | None = None
    is_extruded: bool = True

    @property
    def n_slices(self) -> int | None:
        """1 where all slices have the same, None where they may differ."""
        return 1 if self.is_extruded and self.nodata is None else None

    def of(
        self, voxels: Shaped[np.ndarray, "slices rows columns"], start: int
    ) -> Bool[np.ndarray, "slices rows columns"] | None:
        """Where these slices, from `start` on, are rock; None for everywhere."""
        rock = None if self.area is None else self.area(start, start + len(voxels))
        if self.nodata is None:
            return rock
        has_data = ~is_nodata(voxels, self.nodata)
        return has_data if rock is None else rock & has_data


@contextmanager
def open_mask(source: Source, mask: str | None, nodata: float | None) -> Iterator[Mask]:
    """The mask of a scan, by what the user says of it and what its file declares.

    Args:
        source: the scan.
        mask: "cylinder", which is the circle inscribed in each slice; or the path of a file that is not 0 where the
            rock is, with the slices of the scan or with one for all of them.
        nodata: the value of voxels that are none.

    Raises:
        VolumeError: for a mask of another shape or of more than two values, or where the file declares another nodata
            or its voxels cannot have it.
    """
    if nodata is not None and source.nodata is not None and not np.isclose(nodata, source.nodata, equal_nan=True):
        raise VolumeError(
            f"{source.path}: it declares {source.nodata:g} to be no data, but {nodata:g} was given; correct one of them"
        )
    if nodata is not None and math.isfinite(nodata) and not fits(nodata, source.dtype):
        raise VolumeError(
            f"{source.path}: its voxels are {source.dtype}, of which none is {nodata:g}; give the value that stands "
            "for no data in this file"
        )
    value = source.nodata if nodata is None else nodata
    if mask is None:
        yield Mask(nodata=value)
    elif mask == CYLINDER:
        circle = _circle(*source.shape[1:])
        yield Mask(area=lambda start, stop: np.broadcast_to(circle, (stop - start, *circle.shape)), nodata=value)
    else:
        with open_scan(Path(mask)) as stored:
            if stored.shape[1:] != source.shape[1:] or stored.shape[0] not in (1, source.shape[0]):
                raise VolumeError(
                    f"{mask}: a mask of {stored.shape}, but {source.path} is {source.shape}; give one of its "
                    "shape, or of one slice"
                )
            yield Mask(area=_area(stored), nodata=value, is_extruded=stored.shape[0] == 1)


def _area(stored: Source) -> Blocks:
    seen: set[float] = set()

    def area(start: int, stop: int) -> Bool[np.ndarray, "slices rows columns"]:
        is_one = stored.shape[0] == 1
        values = stored.read(0, 1) if is_one else stored.read(start, stop)
        seen.update(np.unique(values).tolist())
        if len(seen) > 2:
            raise VolumeError(f"{stored.path}: a mask of more than two values, {sorted(seen)[:4]}; keep 0 and another")
        rock = values != 0
        return np.broadcast_to(rock, (stop - start, *rock.shape[1:])) if is_one else rock

    return area


def _circle(n_rows: int, n_columns: int) -> Bool[np.ndarray, "rows columns"]:
    """Pixels whose centres lie in the inscribed circle."""
    rows, columns = np.ogrid[:n_rows, :n_columns]
    distance = np.hypot(rows - (n_rows - 1) / 2, columns - (n_columns - 1) / 2)
    return np.asarray(distance <= min(n_rows, n_columns) / 2)
