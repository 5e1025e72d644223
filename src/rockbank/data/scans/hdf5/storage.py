"""How a data set of HDF5 is stored: chunks that were never written, filters, and what its fill value is."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN


def check_written(path: Path, data: h5py.Dataset) -> None:
    """Raise VolumeError where HDF5 would give the fill value for chunks that were never written."""
    if data.is_virtual or data.external:
        raise VolumeError(f"{path}: '{data.name}' lies in other files; copy it into one")
    if data.chunks is None:
        if data.id.get_storage_size() == 0:
            raise VolumeError(f"{path}: '{data.name}' was never written; {AGAIN}")
        return
    grid = [math.ceil(length / side) for length, side in zip(data.shape, data.chunks, strict=True)]
    n_stored = data.id.get_num_chunks()
    if n_stored == math.prod(grid):
        return
    stored = {data.id.get_chunk_info(i).chunk_offset for i in range(n_stored)}
    wanted = product(*(range(0, length, side) for length, side in zip(data.shape, data.chunks, strict=True)))
    absent = [at for at in wanted if at not in stored]
    places = ", ".join(str(at) for at in absent[:3])
    raise VolumeError(
        f"{path}: {len(absent)} of the {math.prod(grid)} chunks of '{data.name}' were never written, such as those of "
        f"{data.chunks} voxels at {places}; {AGAIN}"
    )


def load_filters(path: Path, data: h5py.Dataset) -> None:
    """Register the filters that the data set is compressed with.

    Raises:
        ModuleNotFoundError: where the package with the filters is needed and absent.
        VolumeError: for a filter that it does not have either.
    """
    about = data.id.get_create_plist()
    filters = [about.get_filter(i) for i in range(about.get_nfilters())]
    if all(h5py.h5z.filter_avail(code) for code, *_ in filters):
        return
    import hdf5plugin  # noqa: F401  registers its filters

    for code, _, _, name in filters:
        if not h5py.h5z.filter_avail(code):
            raise VolumeError(
                f"{path}: '{data.name}' is compressed by the filter {code} ({name.decode(errors='replace')}), which "
                "is not known; repack it with gzip"
            )


def declared_nodata(data: h5py.Dataset) -> float | None:
    """What the attributes of NetCDF, or else a fill value of its own, declare to be no data."""
    for key in ("_FillValue", "missing_value"):
        if key in data.attrs:
            return _number(data.attrs[key])
    is_own = data.id.get_create_plist().fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED
    # Zero is HDF5's default, which some writers spell out.
    return _number(data.fillvalue) if is_own and _number(data.fillvalue) != 0 else None


def _number(value: Any) -> float | None:
    flat = np.atleast_1d(np.asarray(value))
    return float(flat[0]) if flat.size == 1 and flat.dtype.kind in "fiu" else None
