"""Volumes in HDF5 files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import check_declared, in_three
from rockbank.data.scans.source import Source


@contextmanager
def open_hdf5(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The data set that is named, or the only one, of an HDF5 file."""
    with h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}

        def visit(key: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                found[key] = item

        file.visititems(visit)
        if dataset is not None:
            if dataset.strip("/") not in found:
                raise VolumeError(f"{path}: no data set '{dataset}'; it holds {sorted(found)}")
            chosen = found[dataset.strip("/")]
        else:
            volumes = [each for each in found.values() if each.ndim in (2, 3)]
            if len(volumes) != 1:
                raise VolumeError(
                    f"{path}: {len(volumes)} data sets of two or three dimensions; name one of {sorted(found)}"
                )
            chosen = volumes[0]
        if chosen.is_virtual or chosen.external:
            raise VolumeError(f"{path}: '{chosen.name}' lies in other files; copy it into one")
        check_declared(path, chosen.shape, chosen.dtype, voxels_max)
        native = chosen.dtype.newbyteorder("=")

        def read(start: int, stop: int) -> np.ndarray:
            block = chosen[start:stop] if chosen.ndim == 3 else chosen[()][None]
            return np.asarray(block).astype(native, copy=False)

        yield Source(path=path, shape=in_three(chosen.shape), dtype=native, read=read)
