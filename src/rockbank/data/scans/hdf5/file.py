"""Volumes in HDF5 files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import h5py
import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import check_declared, in_three
from rockbank.data.scans.hdf5.links import data_sets, follow
from rockbank.data.scans.hdf5.storage import check_written, declared_nodata, load_filters
from rockbank.data.scans.source import Source


@contextmanager
def open_hdf5(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The data set that is named, or the only one of two or three dimensions, of an HDF5 file."""
    with ExitStack() as opened:
        file = opened.enter_context(h5py.File(path, "r"))
        data = _only(path, file, opened) if dataset is None else _named(path, file, dataset, opened)
        check_declared(path, data.shape, data.dtype, voxels_max)
        check_written(path, data)
        load_filters(path, data)
        native = data.dtype.newbyteorder("=")

        def read(start: int, stop: int) -> np.ndarray:
            block = data[start:stop] if data.ndim == 3 else data[()][None]
            return np.asarray(block).astype(native, copy=False)

        yield Source(path=path, shape=in_three(data.shape), dtype=native, nodata=declared_nodata(data), read=read)


def _named(path: Path, file: h5py.File, name: str, opened: ExitStack) -> h5py.Dataset:
    try:
        found = follow(file, name, opened)
    except VolumeError as error:
        raise VolumeError(f"{path}: no data set '{name}' ({error}); it holds {_names(file, opened)}") from error
    if not isinstance(found, h5py.Dataset):
        raise VolumeError(f"{path}: '{name}' is no data set; it holds {_names(file, opened)}")
    return found


def _only(path: Path, file: h5py.File, opened: ExitStack) -> h5py.Dataset:
    volumes = {each.id: each for each in data_sets(file, opened).values() if each.ndim in (2, 3)}
    if len(volumes) != 1:
        raise VolumeError(
            f"{path}: {len(volumes)} data sets of two or three dimensions; name one of {_names(file, opened)}"
        )
    return next(iter(volumes.values()))


def _names(file: h5py.File, opened: ExitStack) -> list[str]:
    return sorted(data_sets(file, opened))
