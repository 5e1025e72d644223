"""Volumes in MATLAB's mat files: of versions 4 to 7 by scipy, of version 7.3, which is HDF5, by h5py."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import matfile_version

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, IN_MEMORY_MAX, check_declared, in_three
from rockbank.data.scans.hdf5.storage import check_written
from rockbank.data.scans.source import Source, decoded_whole

# MATLAB's classes of numbers, by the types that they are.
CLASSES = {
    **{name: np.dtype(name) for name in ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")},
    "single": np.dtype(np.float32),
    "double": np.dtype(np.float64),
}

# Of version 5: bytes a value of each type, the type of a compressed element, the flag of complex values, and the bytes
# at an array's start that have its flags, dimensions and name.
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
COMPRESSED = 15
COMPLEX = 0x0800
HEAD_BYTES = 512


@contextmanager
def open_matlab(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The array that is named, or the only one, whose indices count slices, rows and columns, in this order.

    Version 7.3 is read by blocks, where each reads every compressed chunk that it touches; others are decoded whole.
    """
    form = _open_hdf5 if h5py.is_hdf5(path) else _open_mat5
    with form(path, dataset, voxels_max) as source:
        yield source


@contextmanager
def _open_mat5(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    listed = scipy.io.whosmat(str(path))
    arrays = {name: (tuple(shape), kind) for name, shape, kind in listed}
    if len(arrays) != len(listed):
        raise VolumeError(f"{path}: arrays of the same name among {[name for name, *_ in listed]}; rename them")
    name = _chosen(path, dataset, arrays)
    shape, kind = arrays[name]
    check_declared(path, shape, CLASSES[kind], min(voxels_max, IN_MEMORY_MAX))

    if matfile_version(str(path))[0] == 1:
        _check_values(path, name, shape)

    def load() -> np.ndarray:
        values = np.asarray(scipy.io.loadmat(str(path), variable_names=[name])[name])
        # MATLAB stores a double that holds small whole numbers as bytes. scipy's own mat_dtype drops imaginary parts.
        if not np.can_cast(values.dtype, CLASSES[kind], "safe"):
            raise VolumeError(
                f"{path}: '{name}' is of class {kind}, but its values are {values.dtype}; save it as real"
            )
        return values.reshape(in_three(values.shape)).astype(CLASSES[kind], copy=False)

    yield Source(path=path, shape=in_three(shape), dtype=CLASSES[kind], read=decoded_whole(load))


def _check_values(path: Path, name: str, shape: tuple[int, ...]) -> None:
    """Hold the values of an array of version 5 against its dimensions.

    scipy looks up their type without a check, and crashes where the file has a type that does not exist.
    """
    with path.open("rb") as file:
        order = "<" if file.read(128)[126:] == b"IM" else ">"
        while tag := file.read(8):
            kind, n_bytes = struct.unpack(f"{order}II", tag)
            start = file.tell()
            head = file.read(min(n_bytes, HEAD_BYTES))
            file.seek(start + n_bytes)
            if kind == COMPRESSED:
                head = zlib.decompressobj().decompress(head, HEAD_BYTES)[8:]
            if _is_checked(path, head, order, name, shape):
                return
    raise VolumeError(f"{path}: the values of '{name}' are not found; {AGAIN}")


def _is_checked(path: Path, head: bytes, order: str, name: str, shape: tuple[int, ...]) -> bool:
    """Whether the array that starts with `head` is the one of that name; its values are then of a type that exists."""
    (flags,) = struct.unpack_from(f"{order}I", head, 8)
    _, _, at = _element(head, order, 16)
    text, n_text, after = _element(head, order, at)
    if head[text : text + n_text].decode("latin-1") != name:
        return False
    kind, n_bytes = struct.unpack_from(f"{order}II", head, after)
    if kind >> 16:
        kind, n_bytes = kind & 0xFFFF, kind >> 16
    if flags & COMPLEX:
        raise VolumeError(f"{path}: '{name}' is complex; save its real part")
    if kind not in SIZES or n_bytes != math.prod(shape) * SIZES[kind]:
        raise VolumeError(f"{path}: {n_bytes} bytes of type {kind} in '{name}', whose dimensions are {shape}; {AGAIN}")
    return True


def _element(head: bytes, order: str, at: int) -> tuple[int, int, int]:
    """Where the data of the element at `at` start, how many bytes they are, and where the next element is."""
    kind, n_bytes = struct.unpack_from(f"{order}II", head, at)
    if kind >> 16:  # of four bytes at most, within the tag
        return at + 4, kind >> 16, at + 8
    return at + 8, n_bytes, at + 8 + n_bytes + -n_bytes % 8


@contextmanager
def _open_hdf5(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    with h5py.File(path, "r") as file:
        # MATLAB counts the first index fastest, HDF5 the last: the axes are listed the other way round.
        arrays = {
            name: (item.shape[::-1], _class(item))
            for name, item in file.items()
            if isinstance(item, h5py.Dataset) and not item.attrs.get("MATLAB_empty", 0)
        }
        chosen = file[_chosen(path, dataset, arrays)]
        shape = chosen.shape[::-1]
        check_declared(path, shape, chosen.dtype, voxels_max)
        check_written(path, chosen)
        native = chosen.dtype.newbyteorder("=")

        def read(start: int, stop: int) -> np.ndarray:
            block = chosen[..., start:stop].T if len(shape) == 3 else chosen[()].T[None]
            return np.ascontiguousarray(block, native)

        yield Source(path=path, shape=in_three(shape), dtype=native, read=read)


def _class(item: h5py.Dataset) -> str:
    name = item.attrs.get("MATLAB_class", b"none")
    return name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)


def _chosen(path: Path, dataset: str | None, arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> str:
    listed = {name: f"{kind} {shape}" for name, (shape, kind) in sorted(arrays.items())}
    if dataset is not None:
        if dataset not in arrays:
            raise VolumeError(f"{path}: no array '{dataset}'; it holds {listed}")
        if arrays[dataset][1] not in CLASSES:
            raise VolumeError(f"{path}: '{dataset}' is of class {arrays[dataset][1]}, not numbers; it holds {listed}")
        return dataset
    # Every number is an array of 1 x 1 to MATLAB, and a list one of 1 x n.
    volumes = [
        name
        for name, (shape, kind) in arrays.items()
        if kind in CLASSES and (len(shape) == 3 or (len(shape) == 2 and min(shape) > 1))
    ]
    if len(volumes) > 1 and sum(len(arrays[name][0]) == 3 for name in volumes) == 1:
        volumes = [name for name in volumes if len(arrays[name][0]) == 3]
    if len(volumes) != 1:
        raise VolumeError(f"{path}: {len(volumes)} arrays of two or three dimensions; name one of {listed}")
    return volumes[0]
