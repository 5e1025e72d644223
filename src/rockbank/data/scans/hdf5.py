"""Volumes in HDF5 files."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import check_declared, decoding


def read_hdf5(path: Path, name: str | None, voxels_max: int) -> np.ndarray:
    """The voxels of the data set `name`, or of the only one, of an HDF5 file."""
    with decoding(path, "an HDF5 file"), h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}

        def visit(key: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                found[key] = item

        file.visititems(visit)
        if name is not None:
            if name.strip("/") not in found:
                raise VolumeError(f"{path}: no data set '{name}'; it holds {sorted(found)}")
            chosen = found[name.strip("/")]
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
        return np.asarray(chosen[()])
