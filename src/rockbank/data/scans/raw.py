"""Volumes of bare values, with a JSON file beside that describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import check_declared, in_three
from rockbank.data.scans.source import Source, slices_at


@contextmanager
def open_raw(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A raw file, by its JSON side-car, which has the voxel size (m) where that is known."""
    side_car = path.with_suffix(".json")
    wanted = 'write {"shape": [slices, rows, columns], "dtype": "uint16", "byte_order": "little", "voxel_size": 6e-8}'
    if not side_car.is_file():
        raise VolumeError(f"{path}: its side-car {side_car.name} is absent; {wanted} into it")
    try:
        about = json.loads(side_car.read_text(encoding="utf-8"))
        shape = tuple(int(length) for length in about["shape"])
        order = {"little": "<", "big": ">"}[about.get("byte_order", "little")]
        dtype = np.dtype(about["dtype"]).newbyteorder(order)
        voxel_size = None if about.get("voxel_size") is None else float(about["voxel_size"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VolumeError(f"{side_car}: cannot be understood ({type(error).__name__}: {error}); {wanted}") from error
    check_declared(path, shape, dtype, voxels_max)
    needed = math.prod(shape) * dtype.itemsize
    if path.stat().st_size != needed:
        raise VolumeError(
            f"{path}: {path.stat().st_size} bytes where {shape} of {dtype.name} needs {needed}; correct {side_car.name}"
        )
    yield Source(
        path=path,
        shape=in_three(shape),
        dtype=dtype.newbyteorder("="),
        voxel_size=voxel_size,
        read=slices_at(path, 0, in_three(shape), dtype),
    )
