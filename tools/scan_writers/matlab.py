"""MATLAB's arrays, of version 5 by its description and of version 7.3 by h5py."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  before netCDF4, behind whose HDF5 its Blosc fails
import numpy as np

MX_CLASS = dict(
    zip(("float64", "float32", "int8", "uint8", "int16", "uint16", "int32", "uint32"), range(6, 14), strict=True)
)


MI_TYPE = {"int8": 1, "uint8": 2, "int16": 3, "uint16": 4, "int32": 5, "uint32": 6, "float32": 7, "float64": 9}


MI_MATRIX, MI_COMPRESSED = 14, 15


def element(order: str, kind: int, values: bytes) -> bytes:
    return struct.pack(f"{order}II", kind, len(values)) + values + bytes(-len(values) % 8)


def write_mat5(path: Path, voxels: np.ndarray, stored: str | None = None, is_compressed: bool = False) -> None:
    """By "MAT-File Format", level 5: a header of 128 bytes, and a matrix of flags, dimensions, name and values.

    Args:
        path: of the file.
        voxels: whose type is the array's class.
        stored: the type of the values in the file; MATLAB takes the smallest that holds them.
        is_compressed: as version 7 does.
    """
    order = "<" if voxels.dtype.byteorder in "<=|" else ">"
    name, stored = voxels.dtype.name, stored or voxels.dtype.name
    matrix = (
        element(order, 6, struct.pack(f"{order}II", MX_CLASS[name], 0))
        + element(order, 5, struct.pack(f"{order}{voxels.ndim}i", *voxels.shape))
        + element(order, 1, b"grey")
        + element(order, MI_TYPE[stored], voxels.astype(np.dtype(stored).newbyteorder(order)).tobytes(order="F"))
    )
    matrix = element(order, MI_MATRIX, matrix)
    if is_compressed:
        packed = zlib.compress(matrix)
        matrix = struct.pack(f"{order}II", MI_COMPRESSED, len(packed)) + packed
    header = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI")
    path.write_bytes(header + matrix)


def write_mat73(path: Path, voxels: np.ndarray, name: str = "grey", kind: str = "", **how: object) -> None:
    """HDF5 behind 512 bytes, of which the first are MATLAB's header; axes are listed the other way round."""
    kinds = {"float32": "single", "float64": "double"}
    with h5py.File(path, "w", userblock_size=512) as file:
        data = file.create_dataset(name, data=voxels.T, **how)
        data.attrs["MATLAB_class"] = np.bytes_(kind or kinds.get(voxels.dtype.name, voxels.dtype.name))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
