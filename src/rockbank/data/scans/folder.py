"""Volumes in folders whose files are their slices."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.source import Source


class OpenFile(Protocol):
    """Opens one file, of whatever format."""

    def __call__(self, path: Path, *, voxels_max: int) -> AbstractContextManager[Source]: ...


@contextmanager
def open_folder(path: Path, voxels_max: int, open_file: OpenFile, suffixes: Collection[str]) -> Iterator[Source]:
    """A folder of single slices, in the order of their names with numbers read as numbers."""
    files = sorted(
        (each for each in path.iterdir() if each.suffix.lower() in suffixes and not each.name.startswith(".")),
        key=lambda each: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", each.name)],
    )
    if not files:
        raise VolumeError(f"{path}: holds no slices; known suffixes are {list(suffixes)}")
    with open_file(files[0], voxels_max=voxels_max) as first:
        if set(files) == set(first.parts):
            yield replace(first, path=path)
            return
        dtype, (_, rows, columns) = first.dtype, first.shape
    each_max = max(1, voxels_max // len(files))
    for file in files:
        with open_file(file, voxels_max=each_max) as source:
            if source.shape[0] != 1:
                raise VolumeError(
                    f"{file}: has {source.shape[0]} slices, in a folder of single ones; add the file itself"
                )
            if (source.shape[1:], source.dtype) != ((rows, columns), dtype):
                raise VolumeError(
                    f"{file}: {source.shape[1:]} of {source.dtype}, but {files[0].name} is {(rows, columns)} of "
                    f"{dtype}; the slices of one volume are alike: crop them, or move it elsewhere"
                )

    def read(start: int, stop: int) -> np.ndarray:
        slices = []
        for file in files[start:stop]:
            with open_file(file, voxels_max=each_max) as source:
                slices.append(source.read(0, 1))
        return np.concatenate(slices)

    yield Source(path=path, shape=(len(files), rows, columns), dtype=dtype, read=read)
