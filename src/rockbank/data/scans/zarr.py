"""Volumes in Zarr stores, versions 2 and 3, and in OME-Zarr: folders, or zip files of them."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, cubic, in_three
from rockbank.data.scans.source import Source
from rockbank.data.scans.units import metres

if TYPE_CHECKING:
    import zarr

MARKS = ("zarr.json", ".zarray", ".zgroup")
# Of numcodecs, those of numbers. It has others for objects, of which 'pickle' runs what it decodes.
CODECS = (
    "adler32", "astype", "bitround", "blosc", "bz2", "crc32", "crc32c", "delta", "fixedscaleoffset", "fletcher32",
    "gzip", "jenkins_lookup3", "lz4", "lzma", "packbits", "quantize", "shuffle", "zlib", "zstd",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis of OME-Zarr, and a step along it (m) where that is declared."""

    name: str
    kind: str
    step: float | None


def is_zarr(path: Path) -> bool:
    """Whether a folder is a Zarr store."""
    return any((path / each).is_file() for each in MARKS)


@contextmanager
def open_zarr(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The array that is named, the full resolution of an OME-Zarr, or the only array of a store; read by chunks.

    A chunk that was never written is refused, as Zarr would give its fill value for it. Within shards, which Zarr
    opens only whole, it cannot be distinguished from one of fill values.
    """
    # Loaded here, as it is of an extra.
    import zarr
    from zarr.storage import LocalStore, ZipStore

    sizes = _file_sizes(path)
    store = ZipStore(path, read_only=True) if path.is_file() else LocalStore(path, read_only=True)
    with store:
        # Of two descriptions in one folder, one is out of date, and zarr takes the newer version's.
        root = zarr.open(store, mode="r")
        array, axes = _chosen(path, root, dataset)
        _check_codecs(path, array)
        _check_chunks(path, array, sizes)
        order = _order(path, array, axes)
        shape = tuple(array.shape[i] for i in order)
        check_declared(path, shape, array.dtype, voxels_max, stored=sum(sizes.values()))
        native = array.dtype.newbyteorder("=")

        def read(start: int, stop: int) -> np.ndarray:
            index: list[int | slice] = [0] * array.ndim
            for i in order:
                index[i] = slice(None)
            if len(order) == 3:
                index[order[0]] = slice(start, stop)
            kept = sorted(order)
            block = np.transpose(np.asarray(array[tuple(index)]), [kept.index(i) for i in order])
            return block.reshape((stop - start, *shape[-2:])).astype(native, copy=False)

        yield Source(path=path, shape=in_three(shape), dtype=native, voxel_size=_voxel_size(path, axes), read=read)


def _file_sizes(path: Path) -> dict[str, int]:
    if path.is_file():
        with zipfile.ZipFile(path) as file:
            return {each.filename: each.compress_size for each in file.infolist()}
    return {each.relative_to(path).as_posix(): each.stat().st_size for each in path.rglob("*") if each.is_file()}


def _chosen(path: Path, root: zarr.Array[Any] | zarr.Group, dataset: str | None) -> tuple[zarr.Array[Any], list[Axis]]:
    """The array, and its axes where OME-Zarr describes them."""
    if not hasattr(root, "members"):
        if dataset is not None:
            raise VolumeError(f"{path}: one array, without names; leave out '{dataset}'")
        return root, []
    levels = _levels(path, root.attrs)
    if dataset is None and levels:
        dataset = next(iter(levels))
    arrays = {name: item for name, item in root.members(max_depth=None) if not hasattr(item, "members")}
    if dataset is None:
        volumes = [name for name, item in arrays.items() if item.ndim in (2, 3)]
        if len(volumes) != 1:
            listed = {name: item.shape for name, item in sorted(arrays.items())}
            raise VolumeError(f"{path}: {len(volumes)} arrays of two or three dimensions; name one of {listed}")
        dataset = volumes[0]
    if dataset.strip("/") not in arrays:
        raise VolumeError(f"{path}: no array '{dataset}'; it holds {sorted(arrays)}")
    return arrays[dataset.strip("/")], levels.get(dataset.strip("/"), [])


def _levels(path: Path, attributes: Mapping[str, Any]) -> dict[str, list[Axis]]:
    """The axes of each resolution of an OME-Zarr, the full one first."""
    about: Any = attributes.get("ome", attributes)
    images = about.get("multiscales", [])
    if not images:
        return {}
    if len(images) > 1:
        raise VolumeError(f"{path}: {len(images)} images in one OME-Zarr; keep one")
    axes = [each if isinstance(each, dict) else {"name": each} for each in images[0].get("axes", [])]
    levels = {}
    for each in images[0]["datasets"]:
        scale = np.ones(len(axes))
        is_scaled = False
        for transformation in (
            *each.get("coordinateTransformations", []),
            *images[0].get("coordinateTransformations", []),
        ):
            if transformation.get("type") == "scale":
                scale, is_scaled = scale * np.asarray(transformation["scale"], dtype=float), True
        levels[each["path"].strip("/")] = [
            Axis(name=axis["name"], kind=axis.get("type", ""), step=_step(path, axis, size) if is_scaled else None)
            for axis, size in zip(axes, scale, strict=True)
        ]
    return levels


def _step(path: Path, axis: Mapping[str, Any], size: float) -> float | None:
    unit = axis.get("unit")
    if axis.get("type", "space") != "space" or unit is None:
        return None
    scale = metres(unit)
    if scale is None:
        raise VolumeError(f"{path}: unit '{unit}' of axis '{axis['name']}' is not known; write micrometer or the like")
    return float(size) * scale


def _order(path: Path, array: zarr.Array[Any], axes: list[Axis]) -> list[int]:
    """The axes of slices, rows and columns, in this order; others have one step."""
    if not axes:
        return list(range(array.ndim))
    if len(axes) != array.ndim:
        raise VolumeError(f"{path}: '{array.path}' has {array.ndim} axes, but {len(axes)} are described; {AGAIN}")
    names = [each.name for each in axes]
    order = [names.index(name) for name in "zyx" if name in names]
    for i, (name, n) in enumerate(zip(names, array.shape, strict=True)):
        if i not in order and n != 1:
            raise VolumeError(f"{path}: {n} steps along axis '{name}'; keep one of them, as a volume of z, y and x")
    return order


def _voxel_size(path: Path, axes: list[Axis]) -> float | None:
    steps = {each.name: each.step for each in axes}
    return cubic(path, steps.get("x"), steps.get("y"), steps.get("z"))


def _check_codecs(path: Path, array: zarr.Array[Any]) -> None:
    """Version 2 names codecs of numcodecs; version 3 has its own, none of which runs anything."""
    if array.metadata.zarr_format != 2:
        return
    named = [each.codec_id for each in (*(array.metadata.filters or ()), array.metadata.compressor) if each is not None]
    if unknown := sorted(set(named).difference(CODECS)):
        raise VolumeError(f"{path}: its codecs {unknown} are not for numbers; known are {list(CODECS)}")


def _check_chunks(path: Path, array: zarr.Array[Any], sizes: Mapping[str, int]) -> None:
    lengths = array.shards or array.chunks
    grid = [range(math.ceil(n / length)) for n, length in zip(array.shape, lengths, strict=True)]
    prefix = f"{array.path}/" if array.path else ""
    keys = (prefix + array.metadata.encode_chunk_key(each) for each in product(*grid))
    missing = [each for each in keys if each not in sizes]
    if missing:
        raise VolumeError(
            f"{path}: {len(missing)} of {math.prod(map(len, grid))} chunks are missing, the first is {missing[0]}; "
            f"{AGAIN}, with chunks of the fill value {array.fill_value} (write_empty_chunks)"
        )
