"""Volumes in files of NumPy."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, decoding


def read_npy(path: Path, voxels_max: int) -> np.ndarray:
    """The voxels of an npy file."""
    with decoding(path, "an npy file"):
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](file)
            data_bytes = path.stat().st_size - file.tell()
        check_declared(path, shape, dtype, voxels_max)
        if data_bytes != math.prod(shape) * dtype.itemsize:
            raise VolumeError(
                f"{path}: truncated, {data_bytes} bytes of data where {shape} of {dtype} needs "
                f"{math.prod(shape) * dtype.itemsize}; {AGAIN}"
            )
        return np.asarray(np.load(path, allow_pickle=False))
