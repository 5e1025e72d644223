"""What a file declares, checked before a byte of it is decoded."""

from __future__ import annotations

import logging
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import tifffile
from PIL import Image

from rockbank.data.manifest import ALIKE, VolumeError

KINDS = ("|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<f2", "<f4", "<f8")
SIDE_MIN = 32
# 1290^3, where all of a volume is read into memory.
IN_MEMORY_MAX = 2**31
# A scan has noise, which no codec squeezes 100-fold; a bomb of zeros goes down 1000-fold.
INFLATION_MAX = 100
SMALL_ENOUGH = 2**26
AS_GREY = "save it as grey values in one channel"
AGAIN = "copy or export it again"


def check_declared(
    path: Path, shape: tuple[int, ...], dtype: Any, voxels_max: int, *, stored: int | None = None
) -> None:
    """Refuse what the header declares before a byte of it is decoded; `stored` bytes, where not in this file alone."""
    kind = np.dtype(dtype).newbyteorder("<").str
    if kind not in KINDS:
        raise VolumeError(f"{path}: values of type {dtype}; convert them to integers of 8, 16 or 32 bits, or floats")
    if len(shape) == 3 and shape[-1] in (3, 4):
        raise VolumeError(f"{path}: shape {shape} looks like colour; {AS_GREY}")
    if len(shape) not in (2, 3):
        raise VolumeError(f"{path}: shape {shape} has {len(shape)} dimensions; use (slices, rows, columns)")
    if min(shape) < 1 or min(shape[-2:]) < SIDE_MIN:
        raise VolumeError(f"{path}: shape {shape} is too small; a slice needs at least {SIDE_MIN} x {SIDE_MIN} pixels")
    n_voxels = math.prod(shape)
    if n_voxels > voxels_max:
        raise VolumeError(f"{path}: declares {n_voxels} voxels, more than {voxels_max}; cut it into smaller volumes")
    n_bytes = n_voxels * np.dtype(dtype).itemsize
    stored = path.stat().st_size if stored is None else stored
    if n_bytes > SMALL_ENOUGH and n_bytes > INFLATION_MAX * stored:
        raise VolumeError(f"{path}: {stored} bytes that unpack to {n_bytes}, which no scan does; save it uncompressed")


def in_three(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Slices, rows, columns: an image is one slice."""
    slices, rows, columns = (1, *shape)[-3:]
    return slices, rows, columns


def cubic(path: Path, x: float | None, y: float | None, z: float | None, unit: str = "m") -> float | None:
    """The side of a voxel (m, or in `unit`) of which some lengths are declared, or None.

    Raises:
        VolumeError: where they differ, or where one is no length.
    """
    sizes = {axis: size for axis, size in zip("xyz", (x, y, z), strict=True) if size is not None}
    spelt = ", ".join(f"{axis} {size:g}" for axis, size in sizes.items())
    if not all(math.isfinite(size) and size > 0 for size in sizes.values()):
        raise VolumeError(f"{path}: declares voxels of {spelt} {unit}; correct its metadata")
    if "x" not in sizes:
        return None
    if not all(math.isclose(size, sizes["x"], rel_tol=ALIKE) for size in sizes.values()):
        raise VolumeError(f"{path}: its voxels are no cubes ({spelt} {unit}); resample it")
    return sizes["x"]


def file_beside(path: Path, name: str) -> Path:
    """The file that `path` names as the one with its data, in its own folder.

    Raises:
        VolumeError: where it is absent or elsewhere: no file from outside has others of this machine read.
    """
    beside = path.parent / name
    if not beside.resolve().is_relative_to(path.parent.resolve()):
        raise VolumeError(f"{path}: its data lies in other files, in '{name}' outside the folder; copy that beside it")
    if not beside.is_file():
        raise VolumeError(f"{path}: its data lies in other files, in '{name}', which is absent; copy that beside it")
    return beside


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[None]:
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
        scipy.io.matlab.MatReadError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        Image.DecompressionBombError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        tokenize.TokenError,
        IndexError,
        KeyError,
        TypeError,
        RuntimeError,
        ArithmeticError,
        MemoryError,
        AssertionError,
    ) as error:
        # A broken file makes its library raise any of these; the last line of what they say goes along.
        said = str(error).strip().rpartition("\n")[2]
        raise VolumeError(f"{path}: cannot be read as {kind} ({type(error).__name__}: {said}); {AGAIN}") from error
    finally:
        logger.disabled = was_disabled
