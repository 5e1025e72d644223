"""Reconstructions of Xradia's programs."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from tools.scan_writers.compound import write_compound

DATA_TYPES = {"int8": 2, "uint8": 3, "int16": 4, "uint16": 5, "int32": 6, "uint32": 7, "float32": 10, "float64": 11}


def streams_of(voxels: np.ndarray, **about: bytes | None) -> dict[str, bytes]:
    """The streams of a reconstruction; one of None is left out."""
    n, rows, columns = voxels.shape
    info = {
        "NoOfImages": struct.pack("<i", n),
        "ImageHeight": struct.pack("<i", rows),
        "ImageWidth": struct.pack("<i", columns),
        "DataType": struct.pack("<i", DATA_TYPES[voxels.dtype.name]),
        "PixelSize": struct.pack("<f", 0.06),
        "Angles": bytes(4 * n),
        **about,
    }
    images = {f"ImageData{i // 100 + 1}/Image{i + 1}": each.tobytes() for i, each in enumerate(voxels)}
    return {**{f"ImageInfo/{key}": value for key, value in info.items() if value is not None}, **images}


def write(path: Path, voxels: np.ndarray, **about: bytes | None) -> None:
    write_compound(path, streams_of(voxels, **about))
