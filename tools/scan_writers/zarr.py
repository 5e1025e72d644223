"""Zarr and OME-Zarr, by their specifications."""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

CHUNKS = (2, 32, 48)


def chunks_of(voxels: np.ndarray, chunks: tuple[int, ...]) -> Mapping[tuple[int, ...], np.ndarray]:
    """Chunks by their place in the grid; those at the ends are filled up with zeros."""
    counts = [-(-n // side) for n, side in zip(voxels.shape, chunks, strict=True)]
    padded = np.zeros([n * side for n, side in zip(counts, chunks, strict=True)], voxels.dtype)
    padded[tuple(slice(0, n) for n in voxels.shape)] = voxels
    return {
        at: padded[tuple(slice(i * side, (i + 1) * side) for i, side in zip(at, chunks, strict=True))]
        for at in product(*map(range, counts))
    }


def write_v2(path: Path, voxels: np.ndarray, is_compressed: bool = True, chunks: tuple[int, ...] = CHUNKS) -> None:
    """By the specification of version 2, without the library: .zarray and a file a chunk."""
    path.mkdir(parents=True)
    about = {
        "zarr_format": 2,
        "shape": voxels.shape,
        "chunks": chunks,
        "dtype": voxels.dtype.str,
        "compressor": {"id": "zlib", "level": 1} if is_compressed else None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
    }
    (path / ".zarray").write_text(json.dumps(about))
    for at, chunk in chunks_of(voxels, chunks).items():
        values = chunk.tobytes()
        (path / ".".join(map(str, at))).write_bytes(zlib.compress(values) if is_compressed else values)


def write_v3(path: Path, voxels: np.ndarray, is_compressed: bool = True, chunks: tuple[int, ...] = CHUNKS) -> None:
    """By the specification of version 3: zarr.json and a file a chunk, in folders."""
    path.mkdir(parents=True)
    order = "big" if voxels.dtype.byteorder == ">" else "little"
    about = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": voxels.shape,
        "data_type": voxels.dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [
            {"name": "bytes", "configuration": {"endian": order}},
            *([{"name": "gzip", "configuration": {"level": 1}}] if is_compressed else []),
        ],
        "attributes": {},
    }
    (path / "zarr.json").write_text(json.dumps(about))
    for at, chunk in chunks_of(voxels, chunks).items():
        file = path.joinpath("c", *map(str, at))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(chunk.tobytes()) if is_compressed else chunk.tobytes())


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as file:
        for each in sorted(folder.rglob("*")):
            if each.is_file():
                file.write(each, each.relative_to(folder))
    return folder.with_suffix(".zip")


def write_ome(path: Path, voxels: np.ndarray, version: str, axes: str = "zyx", **about: Any) -> None:
    """OME-Zarr 0.4 in version 2, 0.5 in version 3, with a second level of half the resolution."""
    write, scale = (write_v2 if version == "0.4" else write_v3), about.pop("scale", [0.5] * voxels.ndim)
    write(path / "0", voxels, chunks=voxels.shape)
    write(path / "1", voxels[..., ::2, ::2], chunks=voxels[..., ::2, ::2].shape)
    kinds = {"t": "time", "c": "channel"}
    image = {
        "axes": [
            {"name": each, "type": kinds.get(each, "space"), **({} if each in kinds else about.get("unit", {}))}
            for each in axes
        ],
        "datasets": [
            {
                "path": str(level),
                "coordinateTransformations": [{"type": "scale", "scale": (np.array(scale) * 2**level).tolist()}],
            }
            for level in range(2)
        ],
        **({"version": "0.4"} if version == "0.4" else {}),
    }
    if version == "0.4":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    else:
        attributes = {"ome": {"version": "0.5", "multiscales": [image]}}
        (path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}))
