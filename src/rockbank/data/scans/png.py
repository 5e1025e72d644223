"""Slices in PNG files."""

from __future__ import annotations

import struct
import zlib
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
        head = file.read(29)
    if len(head) < 29 or head[:8] != b"\x89PNG\r\n\x1a\n":
        raise VolumeError(f"{path}: not a PNG, or truncated; {AGAIN}")
    columns, rows, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", head[16:29])
    if colour != 0:
        raise VolumeError(f"{path}: colour, transparency or a palette, not grey; {AS_GREY}")
    dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
    check_declared(path, (rows, columns), dtype, voxels_max)
    if not interlace:
        _check_length(path, rows * (1 + (columns * depth + 7) // 8))

    def read(start: int, stop: int) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image).astype(dtype)[None][start:stop]

    yield Source(path=path, shape=(1, rows, columns), dtype=dtype, read=read)


def _check_length(path: Path, needed: int) -> None:
    """Raise VolumeError where the pixels unpack to another length: Pillow takes as many as the header declares."""
    unpacker = zlib.decompressobj()
    n = 0
    for kind, body in _chunks(path.read_bytes()):
        if kind == b"IDAT":
            n += len(unpacker.decompress(body))
    if n != needed:
        raise VolumeError(f"{path}: its pixels are {n} bytes where its header needs {needed}; {AGAIN}")


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += 12 + length
