"""Volumes of bare values, with a JSON file beside that describes them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import check_declared, in_three
from rockbank.data.scans.source import Source, slices_at

ORDERS: dict[str, Literal["<", ">"]] = {"little": "<", "big": ">"}
EXAMPLE = '{"shape": [slices, rows, columns], "dtype": "uint16", "byte_order": "little", "voxel_size": 6e-8}'


@dataclass(frozen=True, kw_only=True)
class SideCar:
    """What a side-car may say.

    Attributes:
        shape: slices, rows, columns; or rows, columns.
        dtype: with its byte order.
        voxel_size: metres.
        offset: bytes of a header before the values.
        nodata: the value that is no data.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    voxel_size: float | None
    offset: int
    nodata: float | None


KEYS = ("shape", "dtype", "byte_order", "voxel_size", "offset", "nodata")


@contextmanager
def open_raw(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A raw file, by its JSON side-car."""
    side_car = path.with_suffix(".json")
    if not side_car.is_file():
        raise VolumeError(f"{path}: its side-car {side_car.name} is absent; write {EXAMPLE} into it")
    try:
        raw = json.loads(side_car.read_text(encoding="utf-8"), object_pairs_hook=_once)
        about = _understand(raw)
    except (ValueError, KeyError, TypeError) as error:
        raise VolumeError(
            f"{side_car}: cannot be understood ({type(error).__name__}: {error}); write {EXAMPLE} into it"
        ) from error
    check_declared(path, about.shape, about.dtype, voxels_max)
    needed = about.offset + math.prod(about.shape) * about.dtype.itemsize
    if path.stat().st_size != needed:
        header = f" behind a header of {about.offset}" if about.offset else ""
        raise VolumeError(
            f"{path}: {path.stat().st_size} bytes where {about.shape} of {about.dtype.name}{header} needs {needed}; "
            f"correct {side_car.name}, of which 'offset' is the length of a header"
        )
    yield Source(
        path=path,
        shape=in_three(about.shape),
        dtype=about.dtype.newbyteorder("="),
        voxel_size=about.voxel_size,
        nodata=about.nodata,
        read=slices_at(path, about.offset, in_three(about.shape), about.dtype),
    )


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"keys given twice: {twice}")
    return dict(pairs)


def _understand(raw: Any) -> SideCar:
    """What a side-car says; ValueError, KeyError or TypeError where that is unclear."""
    if not isinstance(raw, Mapping):
        raise TypeError(f"{type(raw).__name__} where an object is wanted")
    unknown = sorted(set(raw) - set(KEYS))
    if unknown:
        raise ValueError(f"unknown keys {unknown}; known are {list(KEYS)}")
    if not all(isinstance(length, int) and not isinstance(length, bool) for length in raw["shape"]):
        raise TypeError(f"shape {raw['shape']} is not of integers")
    return SideCar(
        shape=tuple(raw["shape"]),
        dtype=_dtype(raw["dtype"], raw.get("byte_order")),
        voxel_size=None if raw.get("voxel_size") is None else _positive("voxel_size", raw["voxel_size"]),
        offset=_offset(raw.get("offset", 0)),
        nodata=None if raw.get("nodata") is None else float(raw["nodata"]),
    )


def _dtype(spelt: Any, order: Any) -> np.dtype:
    """The type with its byte order, which stands in it ('>u2'), in byte_order, or in both alike; else little."""
    if not isinstance(spelt, str):
        raise TypeError(f"dtype {spelt!r} is no text")
    dtype = np.dtype(spelt)
    own = {"<": "little", ">": "big"}.get(spelt[0])
    if order is not None and order not in ORDERS:
        raise ValueError(f"byte_order {order!r}; use one of {list(ORDERS)}")
    if own and order and own != order and dtype.itemsize > 1:
        raise ValueError(f"dtype {spelt!r} has another byte order than byte_order {order!r}; leave one of them out")
    return dtype.newbyteorder(ORDERS[order or own or "little"])


def _positive(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{key} {value!r}; use metres, such as 6e-8")
    return float(value)


def _offset(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"offset {value!r}; use the number of bytes before the values")
    return value
