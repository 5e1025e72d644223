"""Volumes in files of NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, in_three
from rockbank.data.scans.source import Source, slices_at


@contextmanager
def open_npy(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """An npy file."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, is_fortran, dtype = read_header[version](file)
        offset = file.tell()
    check_declared(path, shape, dtype, voxels_max)
    data_bytes = path.stat().st_size - offset
    if data_bytes != math.prod(shape) * dtype.itemsize:
        raise VolumeError(
            f"{path}: truncated, {data_bytes} bytes of data where {shape} of {dtype} needs "
            f"{math.prod(shape) * dtype.itemsize}; {AGAIN}"
        )
    native = dtype.newbyteorder("=")

    def scattered(start: int, stop: int) -> np.ndarray:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        return np.array(mapped[start:stop] if len(shape) == 3 else mapped[None], native)

    # In Fortran's order the values of a slice lie all over the file.
    read = scattered if is_fortran else slices_at(path, offset, in_three(shape), dtype)
    yield Source(path=path, shape=in_three(shape), dtype=native, read=read)
