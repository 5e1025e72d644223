"""Scans in foreign files, read with suspicion: headers first, then what they declare is checked, then decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.amira import open_amira
from rockbank.data.scans.declared import IN_MEMORY_MAX
from rockbank.data.scans.folder import open_folder
from rockbank.data.scans.hdf5.file import open_hdf5
from rockbank.data.scans.itk.dicom import is_dicom, open_dicom
from rockbank.data.scans.itk.metaimage import open_metaimage
from rockbank.data.scans.itk.nrrd import open_nrrd
from rockbank.data.scans.matlab import open_matlab
from rockbank.data.scans.netcdf import open_netcdf
from rockbank.data.scans.nodata import FillSearch
from rockbank.data.scans.npy import open_npy
from rockbank.data.scans.png import open_png
from rockbank.data.scans.raw import open_raw
from rockbank.data.scans.source import Format, Source, opened
from rockbank.data.scans.tiff.file import open_tiff
from rockbank.data.scans.xradia import open_xradia
from rockbank.data.scans.zarr import is_zarr, open_zarr

TIFF = Format(kind="a TIFF", open=open_tiff)
HDF5 = Format(kind="an HDF5 file", open=open_hdf5, has_datasets=True, needs="scans")
METAIMAGE = Format(kind="a MetaImage", open=open_metaimage, needs="scans")
NRRD = Format(kind="an NRRD file", open=open_nrrd, needs="scans")
DICOM = Format(kind="a DICOM series", open=open_dicom, has_datasets=True, needs="scans")
NETCDF = Format(kind="a NetCDF file", open=open_netcdf, has_datasets=True)
XRADIA = Format(kind="an Xradia file", open=open_xradia, needs="scans")
ZARR = Format(kind="a Zarr store", open=open_zarr, has_datasets=True, needs="scans")
FORMATS = {
    ".tif": TIFF,
    ".tiff": TIFF,
    ".png": Format(kind="a PNG", open=open_png),
    ".npy": Format(kind="an npy file", open=open_npy),
    ".h5": HDF5,
    ".hdf5": HDF5,
    ".raw": Format(kind="a raw file", open=open_raw),
    ".mhd": METAIMAGE,
    ".mha": METAIMAGE,
    ".nrrd": NRRD,
    ".nhdr": NRRD,
    ".dcm": DICOM,
    ".nc": NETCDF,
    ".mat": Format(kind="a MATLAB file", open=open_matlab, has_datasets=True),
    ".am": Format(kind="an Amira file", open=open_amira, has_datasets=True),
    ".txm": XRADIA,
    ".txrm": XRADIA,
    ".zip": ZARR,
}
# 4096^3, beyond any scanner.
VOXELS_MAX = 2**36


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A grey volume as its file gave it.

    Attributes:
        voxels: slices, rows, columns; integers of 8, 16 or 32 bits, or floats.
        voxel_size: metres, where the file says it, else None.
    """

    voxels: Shaped[np.ndarray, "slices rows columns"]
    voxel_size: float | None


@contextmanager
def open_scan(
    path: Path, *, dataset: str | None = None, voxels_max: int = VOXELS_MAX, allow_gaps: bool = False
) -> Iterator[Source]:
    """Open a volume, of which nothing but the header is read: a file of a format in FORMATS, or a folder of slices.

    Args:
        path: the file; for `NAME.raw` a side-car `NAME.json` with shape, dtype and, where they are known, byte_order
            ("little" or "big") and voxel_size (m); or a folder whose files are the slices, in the order of the numbers
            in their names; or a Zarr store, or the folder of a DICOM series or of Mango's blocks.
        dataset: which data set, variable, array or series, where a file or folder has several.
        voxels_max: a file that declares more is not decoded.
        allow_gaps: whether numbers may be missing from the names of a folder's slices.

    Raises:
        VolumeError: for a file that is absent, unreadable, colour, too small, too large, or of a wrong type or number
            of dimensions, naming the file and the remedy.
    """
    form = _folder_format(path) if path.is_dir() else FORMATS.get(path.suffix.lower())
    if path.is_dir() and form is None:
        open_file = partial(open_scan, dataset=dataset)
        with open_folder(path, voxels_max, open_file, FORMATS, allow_gaps=allow_gaps) as source:
            yield source
        return
    if not path.exists():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    if form is None:
        raise VolumeError(f"{path}: unknown suffix '{path.suffix}'; known are {list(FORMATS)}, convert it to one")
    if dataset is not None and not form.has_datasets:
        raise VolumeError(f"{path}: {form.kind} has no data sets to name, got '{dataset}'; leave the data set out")
    with opened(form, path, dataset, voxels_max) as source:
        yield source


def _folder_format(path: Path) -> Format | None:
    """The format of a folder that is more than the slices in it: None for a folder of slices."""
    if is_zarr(path):
        return ZARR
    files = [each for each in path.iterdir() if each.is_file() and not each.name.startswith(".")]
    if any(is_dicom(each) for each in files):
        return DICOM
    return NETCDF if any(each.suffix.lower() == ".nc" for each in files) else None


def read_scan(path: Path, *, dataset: str | None = None, voxels_max: int = IN_MEMORY_MAX) -> Scan:
    """The whole of a volume, with arguments and errors of `open_scan`; values that are no data are errors as well."""
    with open_scan(path, dataset=dataset, voxels_max=voxels_max) as source:
        voxels = source.read(0, source.shape[0])
        search = FillSearch(path, source.dtype)
        search.add(voxels, None, 0)
        search.refuse()
        return Scan(voxels=voxels, voxel_size=source.voxel_size)


def read_volume(
    path: Path, *, dataset: str | None = None, voxels_max: int = IN_MEMORY_MAX
) -> Shaped[np.ndarray, "slices rows columns"]:
    """The voxels of `read_scan`; a two-dimensional image is a volume of one slice."""
    return read_scan(path, dataset=dataset, voxels_max=voxels_max).voxels
