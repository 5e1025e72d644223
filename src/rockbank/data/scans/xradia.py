"""Volumes in Zeiss Xradia's txm files, compound files whose streams are slices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, cubic
from rockbank.data.scans.source import Source

if TYPE_CHECKING:
    import olefile

# By ImageInfo/DataType; 8 and 9 are longs, whose width depends on the machine that wrote them.
DTYPES = {2: "|i1", 3: "|u1", 4: "<i2", 5: "<u2", 6: "<i4", 7: "<u4", 10: "<f4", 11: "<f8"}


@contextmanager
def open_xradia(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A reconstruction (txm), read by slices; projections (txrm) are no volume, and refused."""
    # Loaded here, as it is of an extra.
    import olefile

    with olefile.OleFileIO(str(path), raise_defects=olefile.DEFECT_INCORRECT) as file:
        n_images = int(_values(path, file, "NoOfImages", "<i4")[0])
        _refuse_projections(path, file, n_images)
        rows, columns = (int(_values(path, file, name, "<i4")[0]) for name in ("ImageHeight", "ImageWidth"))
        kind = int(_values(path, file, "DataType", "<i4")[0])
        if kind not in DTYPES:
            raise VolumeError(f"{path}: values of Xradia's type {kind}; known are {sorted(DTYPES)}, export it as TIFF")
        dtype = np.dtype(DTYPES[kind])
        check_declared(path, (n_images, rows, columns), dtype, voxels_max)
        streams = _streams(path, file, n_images, rows * columns * dtype.itemsize)

        def read(start: int, stop: int) -> np.ndarray:
            values = b"".join(file.openstream(each).read() for each in streams[start:stop])
            return np.frombuffer(values, dtype).reshape((-1, rows, columns)).astype(dtype.newbyteorder("="), copy=False)

        yield Source(
            path=path,
            shape=(n_images, rows, columns),
            dtype=dtype.newbyteorder("="),
            voxel_size=_voxel_size(path, file),
            read=read,
        )


def _values(path: Path, file: olefile.OleFileIO, name: str, dtype: str) -> np.ndarray:
    stream = f"ImageInfo/{name}"
    if not file.exists(stream):
        raise VolumeError(f"{path}: no stream '{stream}'; {AGAIN}")
    values = np.frombuffer(file.openstream(stream).read(), dtype)
    if not len(values):
        raise VolumeError(f"{path}: its stream '{stream}' is empty; {AGAIN}")
    return values


def _refuse_projections(path: Path, file: olefile.OleFileIO, n_images: int) -> None:
    angles = _values(path, file, "Angles", "<f4")[:n_images] if file.exists("ImageInfo/Angles") else np.zeros(1)
    # Slices may keep the angles of what they were reconstructed from.
    if path.suffix.lower() == ".txrm" or (np.ptp(angles) > 0 and not file.exists("ReconSettings")):
        raise VolumeError(
            f"{path}: {n_images} projections at angles of {angles.min():g} to {angles.max():g} degrees, not a volume; "
            "reconstruct it, and add the .txm"
        )


def _streams(path: Path, file: olefile.OleFileIO, n_images: int, n_bytes: int) -> list[str]:
    """The streams of the slices, a hundred in a storage: ImageData1/Image1 to ImageData1/Image100, then ImageData2."""
    names = [f"ImageData{math.ceil(i / 100)}/Image{i}" for i in range(1, n_images + 1)]
    there = {"/".join(each) for each in file.listdir() if re.fullmatch(r"ImageData\d+", each[0])}
    missing = [each for each in names if each not in there]
    if missing:
        raise VolumeError(
            f"{path}: {len(missing)} of {n_images} slices are missing, the first is {missing[0]}; {AGAIN}"
        )
    if len(there) > n_images:
        raise VolumeError(f"{path}: says {n_images} slices, but has {len(there)}; {AGAIN}")
    for each in names:
        if file.get_size(each) != n_bytes:
            raise VolumeError(f"{path}: {file.get_size(each)} bytes in {each} where a slice needs {n_bytes}; {AGAIN}")
    return names


def _voxel_size(path: Path, file: olefile.OleFileIO) -> float | None:
    if not file.exists("ImageInfo/PixelSize"):
        return None
    # The shortest decimal that is this float32: 0.06 micrometres, not 0.0599999986.
    size = float(str(_values(path, file, "PixelSize", "<f4")[0])) * 1e-6
    return cubic(path, size, size, size)
