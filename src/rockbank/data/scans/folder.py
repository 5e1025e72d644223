"""Volumes in folders whose files are their slices."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.nodata import is_same
from rockbank.data.scans.numbering import in_order
from rockbank.data.scans.source import Source


class OpenFile(Protocol):
    """Opens one file, of whatever format."""

    def __call__(self, path: Path, *, voxels_max: int) -> AbstractContextManager[Source]: ...


@contextmanager
def open_folder(
    path: Path, voxels_max: int, open_file: OpenFile, suffixes: Collection[str], *, allow_gaps: bool
) -> Iterator[Source]:
    """A folder of single slices, in the order of the numbers in their names (see `in_order`)."""
    files = [each for each in path.iterdir() if each.suffix.lower() in suffixes and not each.name.startswith(".")]
    if not files:
        raise VolumeError(f"{path}: holds no slices; known suffixes are {list(suffixes)}")
    with open_file(min(files), voxels_max=voxels_max) as source:
        if set(files) == set(source.parts):
            yield replace(source, path=path)
            return
    files = in_order(path, files, allow_gaps=allow_gaps)
    each_max = max(1, voxels_max // len(files))
    headers = []
    for file in files:
        with open_file(file, voxels_max=each_max) as source:
            headers.append(source)
            _check_alike(source, headers[0])

    def read(start: int, stop: int) -> np.ndarray:
        slices = []
        for file in files[start:stop]:
            with open_file(file, voxels_max=each_max) as source:
                slices.append(source.read(0, 1))
        return np.concatenate(slices)

    yield replace(headers[0], path=path, shape=(len(files), *headers[0].shape[1:]), read=read)


def _check_alike(source: Source, first: Source) -> None:
    if source.shape[0] != 1:
        raise VolumeError(
            f"{source.path}: has {source.shape[0]} slices, in a folder of single ones; add the file itself"
        )
    if (source.shape, source.dtype) != (first.shape, first.dtype):
        raise VolumeError(
            f"{source.path}: {source.shape[1:]} of {source.dtype}, but {first.path.name} is {first.shape[1:]} of "
            f"{first.dtype}; the slices of one volume are alike: crop them, or move it elsewhere"
        )
    for key in ("voxel_size", "nodata"):
        if not is_same(getattr(source, key), getattr(first, key)):
            raise VolumeError(
                f"{source.path}: its {key} is {getattr(source, key)}, but that of {first.path.name} is "
                f"{getattr(first, key)}; correct one of them"
            )
