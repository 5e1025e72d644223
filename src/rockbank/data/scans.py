"""Scans in foreign files, read with suspicion: headers first, then what they declare is checked, then decoded."""

from __future__ import annotations

import json
import logging
import math
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from jaxtyping import Shaped
from PIL import Image

from rockbank.data.manifest import VolumeError

SUFFIXES = (".tif", ".tiff", ".png", ".npy", ".h5", ".hdf5", ".raw")
KINDS = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<f8")
SIDE_MIN = 32
# 2^31 voxels are 1290^3; more than that is cut before it is added, as everything here is done in memory.
VOXELS_MAX = 2**31
# A scan has noise, which no codec squeezes 100-fold; a bomb of zeros goes down 1000-fold.
INFLATION_MAX = 100
SMALL_ENOUGH = 2**26


@dataclass(frozen=True, kw_only=True)
class Scan:
    """A grey volume as its file gave it.

    Attributes:
        voxels: slices, rows, columns; integers of 8, 16 or 32 bits, or floats.
        voxel_size: metres, where the file says it, else None.
    """

    voxels: Shaped[np.ndarray, "slices rows columns"]
    voxel_size: float | None


def read_scan(path: Path, *, dataset: str | None = None, voxels_max: int = VOXELS_MAX) -> Scan:
    """Read a volume from a TIFF (single or multi-page), PNG, npy, HDF5 or raw file, or from a folder of slices.

    Args:
        path: the file; for `NAME.raw` a side-car `NAME.json` with shape, dtype and, where they are known, byte_order
            ("little" or "big") and voxel_size (m); or a folder whose files are the slices, in the order of their
            names with numbers read as numbers.
        dataset: which data set of an HDF5 file; not needed where it holds only one of two or three dimensions.
        voxels_max: a file that declares more is not decoded.

    Raises:
        VolumeError: for a file that is absent, unreadable, colour, too small, too large, of a wrong type or number
            of dimensions, or that holds NaN, naming the file and the remedy.
    """
    if path.is_dir():
        return _read_folder(path, voxels_max)
    if not path.is_file():
        raise VolumeError(f"{path}: no such file or folder; check the path")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise VolumeError(f"{path}: unknown suffix '{path.suffix}'; known are {list(SUFFIXES)}, convert it to one")
    voxel_size = None
    if suffix in (".tif", ".tiff"):
        voxels = _read_tiff(path, voxels_max)
    elif suffix == ".png":
        voxels = _read_png(path, voxels_max)
    elif suffix == ".npy":
        voxels = _read_npy(path, voxels_max)
    elif suffix == ".raw":
        voxels, voxel_size = _read_raw(path, voxels_max)
    else:
        voxels = _read_hdf5(path, dataset, voxels_max)
    _refuse_nan(path, voxels)
    return Scan(voxels=voxels.reshape((-1, *voxels.shape[-2:])), voxel_size=voxel_size)


def read_volume(
    path: Path, *, dataset: str | None = None, voxels_max: int = VOXELS_MAX
) -> Shaped[np.ndarray, "slices rows columns"]:
    """The voxels of `read_scan`; a two-dimensional image is a volume of one slice."""
    return read_scan(path, dataset=dataset, voxels_max=voxels_max).voxels


def _read_folder(path: Path, voxels_max: int) -> Scan:
    files = sorted(
        (each for each in path.iterdir() if each.suffix.lower() in SUFFIXES and not each.name.startswith(".")),
        key=lambda each: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", each.name)],
    )
    if not files:
        raise VolumeError(f"{path}: holds no slices; known suffixes are {list(SUFFIXES)}")
    slices: list[np.ndarray] = []
    for file in files:
        scan = read_scan(file, voxels_max=max(1, voxels_max // len(files)))
        if len(scan.voxels) != 1:
            raise VolumeError(f"{file}: has {len(scan.voxels)} slices, in a folder of single ones; add the file itself")
        if slices and (scan.voxels.shape[1:], scan.voxels.dtype) != (slices[0].shape, slices[0].dtype):
            raise VolumeError(
                f"{file}: {scan.voxels.shape[1:]} of {scan.voxels.dtype}, but {files[0].name} is {slices[0].shape} of "
                f"{slices[0].dtype}; the slices of one volume are alike: crop them, or move it elsewhere"
            )
        slices.append(scan.voxels[0])
    return Scan(voxels=np.stack(slices), voxel_size=None)


def _read_tiff(path: Path, voxels_max: int) -> np.ndarray:
    with _told(path, "a TIFF"), tifffile.TiffFile(path) as tiff:
        if len(tiff.series) != 1:
            raise VolumeError(
                f"{path}: its pages are not alike ({len(tiff.series)} kinds); keep only those of the scan"
            )
        series = tiff.series[0]
        page = series.keyframe
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise VolumeError(f"{path}: its zero is white; save it with zero as black")
        if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or page.samplesperpixel != 1:
            raise VolumeError(f"{path}: {tifffile.PHOTOMETRIC(page.photometric).name.lower()}, not grey; {_GREY}")
        if page.dtype is None:
            raise VolumeError(f"{path}: unknown sample format; save it with 8, 16 or 32 bits")
        shape = tuple(length for length in series.shape[:-2] if length != 1) + series.shape[-2:]
        _check_declared(path, shape, page.dtype, voxels_max)
        _refuse_truncated(path, tiff)
        # tifffile decodes LZW and the like only with a package of codecs; Pillow brings its own.
        if page.compression not in (tifffile.COMPRESSION.NONE, tifffile.COMPRESSION.ADOBE_DEFLATE):
            return _decode_pages(path, shape)
        return np.asarray(series.asarray()).reshape(shape)


def _refuse_truncated(path: Path, tiff: tifffile.TiffFile) -> None:
    """tifffile reads the pages that are left without a word: every page, and the end of their chain, must be there."""
    for page in tiff.pages:
        ends = (at + count for at, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > path.stat().st_size:
            raise VolumeError(f"{path}: truncated, its data end after {path.stat().st_size} bytes; {_AGAIN}")
    form, file = tiff.tiff, tiff.filehandle
    start = tiff.pages[-1].offset
    file.seek(start)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(start + form.tagnosize + n_tags * form.tagsize)
    if file.read(form.offsetsize) != bytes(form.offsetsize):
        raise VolumeError(f"{path}: truncated after {len(tiff.pages)} pages; {_AGAIN}")


def _decode_pages(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    pages = []
    with Image.open(path) as image:
        for i_page in range(math.prod(shape[:-2])):
            image.seek(i_page)
            pages.append(np.asarray(image))
    return np.stack(pages).reshape(shape)


def _read_png(path: Path, voxels_max: int) -> np.ndarray:
    with _told(path, "a PNG"):
        with path.open("rb") as file:
            head = file.read(26)
        if len(head) < 26 or head[:8] != b"\x89PNG\r\n\x1a\n":
            raise VolumeError(f"{path}: not a PNG, or truncated; {_AGAIN}")
        columns, rows, depth, colour = struct.unpack(">IIBB", head[16:26])
        if colour != 0:
            raise VolumeError(f"{path}: colour, transparency or a palette, not grey; {_GREY}")
        dtype = np.dtype(np.uint16 if depth == 16 else np.uint8)
        _check_declared(path, (rows, columns), dtype, voxels_max)
        with Image.open(path) as image:
            return np.asarray(image).astype(dtype)


def _read_npy(path: Path, voxels_max: int) -> np.ndarray:
    with _told(path, "an npy file"):
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            shape, _, dtype = read_header[version](file)
            data_bytes = path.stat().st_size - file.tell()
        _check_declared(path, shape, dtype, voxels_max)
        if data_bytes != math.prod(shape) * dtype.itemsize:
            raise VolumeError(
                f"{path}: truncated, {data_bytes} bytes of data where {shape} of {dtype} needs "
                f"{math.prod(shape) * dtype.itemsize}; {_AGAIN}"
            )
        return np.asarray(np.load(path, allow_pickle=False))


def _read_hdf5(path: Path, name: str | None, voxels_max: int) -> np.ndarray:
    with _told(path, "an HDF5 file"), h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}

        def visit(key: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                found[key] = item

        file.visititems(visit)
        if name is not None:
            if name.strip("/") not in found:
                raise VolumeError(f"{path}: no data set '{name}'; it holds {sorted(found)}")
            chosen = found[name.strip("/")]
        else:
            volumes = [each for each in found.values() if each.ndim in (2, 3)]
            if len(volumes) != 1:
                raise VolumeError(
                    f"{path}: {len(volumes)} data sets of two or three dimensions; name one of {sorted(found)}"
                )
            chosen = volumes[0]
        if chosen.is_virtual or chosen.external:
            raise VolumeError(f"{path}: '{chosen.name}' lies in other files; copy it into one")
        _check_declared(path, chosen.shape, chosen.dtype, voxels_max)
        return np.asarray(chosen[()])


def _read_raw(path: Path, voxels_max: int) -> tuple[np.ndarray, float | None]:
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
    _check_declared(path, shape, dtype, voxels_max)
    needed = math.prod(shape) * dtype.itemsize
    if path.stat().st_size != needed:
        raise VolumeError(
            f"{path}: {path.stat().st_size} bytes where {shape} of {dtype.name} needs {needed}; correct {side_car.name}"
        )
    return np.fromfile(path, dtype).reshape(shape), voxel_size


_GREY = "save it as grey values in one channel"
_AGAIN = "copy or export it again"


def _check_declared(path: Path, shape: tuple[int, ...], dtype: Any, voxels_max: int) -> None:
    """Refuse what the header declares before a byte of it is decoded."""
    kind = np.dtype(dtype).newbyteorder("<").str
    if kind not in KINDS:
        raise VolumeError(f"{path}: values of type {dtype}; convert them to integers of 8, 16 or 32 bits, or floats")
    if len(shape) == 3 and shape[-1] in (3, 4):
        raise VolumeError(f"{path}: shape {shape} looks like colour; {_GREY}")
    if len(shape) not in (2, 3):
        raise VolumeError(f"{path}: shape {shape} has {len(shape)} dimensions; use (slices, rows, columns)")
    if min(shape) < 1 or min(shape[-2:]) < SIDE_MIN:
        raise VolumeError(f"{path}: shape {shape} is too small; a slice needs at least {SIDE_MIN} x {SIDE_MIN} pixels")
    n_voxels = math.prod(shape)
    if n_voxels > voxels_max:
        raise VolumeError(f"{path}: declares {n_voxels} voxels, more than {voxels_max}; cut it into smaller volumes")
    n_bytes = n_voxels * np.dtype(dtype).itemsize
    if n_bytes > SMALL_ENOUGH and n_bytes > INFLATION_MAX * path.stat().st_size:
        raise VolumeError(
            f"{path}: {path.stat().st_size} bytes that unpack to {n_bytes}, which no scan does; save it uncompressed"
        )


def _refuse_nan(path: Path, voxels: np.ndarray) -> None:
    if voxels.dtype.kind != "f":
        return
    for i_slice, each in enumerate(voxels.reshape((-1, *voxels.shape[-2:]))):
        n_bad = int(np.count_nonzero(~np.isfinite(each)))
        if n_bad:
            raise VolumeError(f"{path}: {n_bad} voxels of slice {i_slice} are NaN or infinite; fill or crop them")


@contextmanager
def _told(path: Path, kind: str) -> Iterator[None]:
    """Every way in which a decoder fails, as one error that names the file; its own chatter is kept silent."""
    logger = logging.getLogger("tifffile")
    was_disabled = logger.disabled
    try:
        logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except VolumeError:
        raise
    except (
        tifffile.TiffFileError,
        Image.DecompressionBombError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        IndexError,
        KeyError,
        TypeError,
        RuntimeError,
        ArithmeticError,
        MemoryError,
        AssertionError,
    ) as error:
        # A broken file makes tifffile, Pillow and h5py fail in any of these ways; what they say goes along.
        raise VolumeError(f"{path}: cannot be read as {kind} ({type(error).__name__}: {error}); {_AGAIN}") from error
    finally:
        logger.disabled = was_disabled
