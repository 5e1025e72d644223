"""Slices in PNG files."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY, check_declared
from rockbank.data.scans.source import Source


@contextmanager
def open_png(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A PNG, which is one slice."""
    with path.open("rb") as file:
        head = file.read(26)
    if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise VolumeError(f"{path}: not a PNG, or truncated; {AGAIN}")
    columns, rows, depth, colour = struct.unpack(">IIBB", head[16:26])
    if colour != 0:
        raise VolumeError(f"{path}: colour, transparency or a palette, not grey; {AS_GREY}")
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    check_declared(path, (rows, columns), dtype, voxels_max)

    def read(start: int, stop: int) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image).astype(dtype)[None][start:stop]

    yield Source(path=path, shape=(1, rows, columns), dtype=dtype, read=read)
