"""A scan between its header and its voxels: what every format's opener gives."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, decoding

# The slices from start up to but without stop, in native byte order.
ReadSlices = Callable[[int, int], Shaped[np.ndarray, "slices rows columns"]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """A volume in a file whose header was read and checked, and whose voxels were not yet.

    Attributes:
        path: of the file, or of the folder.
        shape: slices, rows, columns.
        dtype: of the voxels, in native byte order.
        voxel_size: metres, where the file says it; an opener refuses voxels that are no cubes.
        nodata: the value that the file declares to be no data.
        parts: files that are part of this volume, where it lies in several.
        read: the slices from start up to but without stop.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype
    voxel_size: float | None = None
    nodata: float | None = None
    parts: tuple[Path, ...] = ()
    read: ReadSlices


class Opener(Protocol):
    """Reads and checks the header (see `check_declared`); the file is closed at the block's end."""

    def __call__(self, path: Path, dataset: str | None, voxels_max: int) -> AbstractContextManager[Source]: ...


@dataclass(frozen=True, kw_only=True)
class Format:
    """How files of one suffix are read.

    Attributes:
        kind: what they are, such as "a TIFF", for errors.
        open: of the format's module.
        has_datasets: whether a file holds several, of which one is named.
        needs: the extra that its libraries are in, where that is one.
    """

    kind: str
    open: Opener
    has_datasets: bool = False
    needs: str | None = None


def slices_at(path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype) -> ReadSlices:
    """Reads slices of bare values, one after another from `offset` bytes on; those of `dtype` become native."""
    slice_bytes = math.prod(shape[1:]) * dtype.itemsize

    def read(start: int, stop: int) -> Shaped[np.ndarray, "slices rows columns"]:
        with path.open("rb") as file:
            file.seek(offset + start * slice_bytes)
            values = np.frombuffer(file.read((stop - start) * slice_bytes), dtype)
        return values.reshape((stop - start, *shape[1:])).astype(dtype.newbyteorder("="), copy=False)

    return read


def decoded_whole(decode: Callable[[], Shaped[np.ndarray, "slices rows columns"]]) -> ReadSlices:
    """Reads slices of what cannot be decoded in part: the first read decodes all, and keeps it."""
    whole = cache(decode)
    return lambda start, stop: whole()[start:stop]


@contextmanager
def opened(form: Format, path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The source of a file; every failure of a decoder is a VolumeError, and what it gives is held against the header.

    Raises:
        VolumeError: naming the file and the remedy.
    """
    with _open(form, path, dataset, voxels_max) as source:
        yield replace(source, read=lambda start, stop: _read(source, form.kind, start, stop))


@contextmanager
def _open(form: Format, path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    manager = form.open(path, dataset, voxels_max)
    try:
        with decoding(path, form.kind):
            source = manager.__enter__()
    except ModuleNotFoundError as error:
        if form.needs is None:
            raise
        raise VolumeError(
            f"{path}: {form.kind} needs the package '{error.name}', which is not installed; "
            f"run \"pip install 'rockbank[{form.needs}]'\""
        ) from error
    # Errors of the block are no errors of the decoder, so that it does not see them.
    try:
        yield source
    finally:
        manager.__exit__(None, None, None)


def _read(source: Source, kind: str, start: int, stop: int) -> Shaped[np.ndarray, "slices rows columns"]:
    with decoding(source.path, kind):
        voxels = np.asarray(source.read(start, stop))
    declared = (stop - start, *source.shape[1:])
    if voxels.shape != declared or voxels.dtype != source.dtype:
        raise VolumeError(
            f"{source.path}: its header says {declared} of {source.dtype} for slices {start} to {stop - 1}, decoded "
            f"were {voxels.shape} of {voxels.dtype}; {AGAIN}"
        )
    return voxels
