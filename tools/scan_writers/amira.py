"""Lattices of Amira and Avizo, by the reference."""

from __future__ import annotations

import zlib
from itertools import groupby
from pathlib import Path

import numpy as np

TYPES = {"uint8": "byte", "int16": "short", "uint16": "ushort", "int32": "int", "float32": "float", "float64": "double"}


CODINGS = ("ASCII", "BINARY", "BINARY-LITTLE-ENDIAN", "HxZip", "HxByteRLE")


def run_lengths(values: bytes) -> bytes:
    """HxByteRLE: runs of one byte are written once, behind their count; others as they are, behind 128 + theirs."""
    coded = b""
    for byte, run in groupby(values):
        n = len(list(run))
        coded += bytes([127, byte]) * (n // 127)
        coded += bytes([n % 127, byte]) if n % 127 > 1 else bytes([129, byte]) * (n % 127)
    return coded


def write(
    path: Path, voxels: np.ndarray, coding: str = "BINARY-LITTLE-ENDIAN", program: str = "AmiraMesh", **about
) -> None:
    """A header as Amira's reference describes it, and one lattice of values."""
    words = coding if coding.startswith(("ASCII", "BINARY")) else "BINARY-LITTLE-ENDIAN"
    values = voxels.astype(voxels.dtype.newbyteorder(">" if words == "BINARY" else "<")).tobytes()
    if coding == "ASCII":
        values = "\n".join(map(str, voxels.ravel().tolist())).encode()
    elif coding == "HxZip":
        values = zlib.compress(values)
    elif coding == "HxByteRLE":
        values = run_lengths(values)
    how = f"({coding},{len(values)})" if coding.startswith("Hx") else ""
    columns, rows, *slices = reversed(voxels.shape)
    lengths = about.get("lengths", " ".join(map(str, (columns, rows, *slices))))
    box = about.get("box", f"BoundingBox 0 {(columns - 1) * 2} 0 {(rows - 1) * 2} 0 {(*slices, 1)[0] * 2 - 2},")
    header = (
        f"# {program} {words} 2.1\n\n# made by hand\n\ndefine Lattice {lengths}\n\nParameters {{\n"
        f'    {about.get("unit", "")}\n    Content "{lengths} {TYPES[voxels.dtype.name]}, uniform coordinates",\n'
        f'    {box}\n    CoordType "{about.get("coordinates", "uniform")}"\n}}\n\n'
        f"Lattice {{ {about.get('kind', TYPES[voxels.dtype.name])} Data }} @1{how}\n\n# Data section follows\n@1\n"
    )
    path.write_bytes(header.encode("utf-8") + values + b"\n")
