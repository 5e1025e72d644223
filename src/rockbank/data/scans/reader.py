"""Scans in foreign files, read with suspicion: headers first, then what they declare is checked, then decoded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import refuse_nan
from rockbank.data.scans.hdf5 import read_hdf5
from rockbank.data.scans.npy import read_npy
from rockbank.data.scans.png import read_png
from rockbank.data.scans.raw import read_raw
from rockbank.data.scans.tiff import read_tiff

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".h5", ".hdf5", ".raw")
# 2^31 voxels are 1290^3; more than that is cut before it is added, as everything here is done in memory.
VOXELS_MAX = 2**31


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A grey volume as its file gave it.

    Attributes:
        voxels: slices, rows, columns; integers of 8, 16 or 32 bits, or floats.
        voxel_size: metres, where the file says it, else None.
    """

    voxels: Shaped[np.ndarray, "slices rows columns"]
    voxel_size: float | None


def read_scan(path: Path, *, dataset: str | None = None, voxels_max: int = VOXELS_MAX) -> Scan:
    """Read a volume from a TIFF (single or multi-page), PNG, npy, HDF5 or raw file, or from a folder of slices.

    Args:
        path: the file; for `NAME.raw` a side-car `NAME.json` with shape, dtype and, where they are known, byte_order
            ("little" or "big") and voxel_size (m); or a folder whose files are the slices, in the order of their
            names with numbers read as numbers.
        dataset: which data set of an HDF5 file; not needed where it holds only one of two or three dimensions.
        voxels_max: a file that declares more is not decoded.

    Raises:
        VolumeError: for a file that is absent, unreadable, colour, too small, too large, of a wrong type or number
            of dimensions, or that holds NaN, naming the file and the remedy.
    """
    if path.is_dir():
        return _read_folder(path, voxels_max)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise VolumeError(f"{path}: unknown suffix '{path.suffix}'; known are {list(SUFFIXES)}, convert it to one")
    voxel_size = None
    if suffix in (".tif", ".tiff"):
        voxels = read_tiff(path, voxels_max)
    elif suffix == ".png":
        voxels = read_png(path, voxels_max)
    elif suffix == ".npy":
        voxels = read_npy(path, voxels_max)
    elif suffix == ".raw":
        voxels, voxel_size = read_raw(path, voxels_max)
    else:
        voxels = read_hdf5(path, dataset, voxels_max)
    refuse_nan(path, voxels)
    return Scan(voxels=voxels.reshape((-1, *voxels.shape[-2:])), voxel_size=voxel_size)


def read_volume(
    path: Path, *, dataset: str | None = None, voxels_max: int = VOXELS_MAX
) -> Shaped[np.ndarray, "slices rows columns"]:
    """The voxels of `read_scan`; a two-dimensional image is a volume of one slice."""
    return read_scan(path, dataset=dataset, voxels_max=voxels_max).voxels


def _read_folder(path: Path, voxels_max: int) -> Scan:
    files = sorted(
        (each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")),
        key=lambda each: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", each.name)],
    )
    if not files:
        raise VolumeError(f"{path}: holds no slices; known suffixes are {list(SUFFIXES)}")
    slices: list[np.ndarray] = []
    for file in files:
        scan = read_scan(file, voxels_max=max(1, voxels_max // len(files)))
        if len(scan.voxels) != 1:
            raise VolumeError(f"{file}: has {len(scan.voxels)} slices, in a folder of single ones; add the file itself")
        if slices and (scan.voxels.shape[1:], scan.voxels.dtype) != (slices[0].shape, slices[0].dtype):
            raise VolumeError(
                f"{file}: {scan.voxels.shape[1:]} of {scan.voxels.dtype}, but {files[0].name} is {slices[0].shape} of "
                f"{slices[0].dtype}; the slices of one volume are alike: crop them, or move it elsewhere"
            )
        slices.append(scan.voxels[0])
    return Scan(voxels=np.stack(slices), voxel_size=None)
