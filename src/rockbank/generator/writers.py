"""Samples as files: a picture, an array, a stack of pages."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.generator.tiff import Layout
from rockbank.plot.grids import save_grid
from rockbank.rock.crops import to_bytes

SUFFIXES = (".npy", ".png", ".tif")
# Pixels of a picture, which is in memory as a whole; an array or a TIFF is not.
PICTURE_MAX = 2**26


def check_suffix(path: Path) -> None:
    """Refuse a file that `write_samples` could not write, before there are samples.

    Raises:
        InputError: naming the suffixes that there are.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: cannot write '{path.suffix}'; use one of {list(SUFFIXES)}")


def check_samples(path: Path, n: int, image: tuple[int, int, int]) -> None:
    """Refuse a file that could not hold `n` samples of this shape, before there are samples.

    Raises:
        InputError: for an unknown suffix, or a picture that is too large.
    """
    check_suffix(path)
    n_channels, height, width = image
    if path.suffix == ".png" and n * n_channels * height * width > PICTURE_MAX:
        raise InputError(
            f"{path}: {n} samples of {width} x {height} pixels; a PNG takes {PICTURE_MAX} pixels at most: "
            "use .tif or .npy, or ask for fewer"
        )


def write_samples(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    """Write samples as a picture (.png), an array (.npy) or a stack of 8-bit pages with their scale (.tif).

    Args:
        path: its suffix says which.
        samples: intensity in [0, 1].
        voxel_size: metres.

    Raises:
        InputError: as `check_samples`.
    """
    n, n_channels, height, width = samples.shape
    write_batches(path, [samples], n=n, image=(n_channels, height, width), voxel_size=voxel_size)


def write_batches(
    path: Path,
    batches: Iterable[Float32[np.ndarray, "b c h w"]],
    *,
    n: int,
    image: tuple[int, int, int],
    voxel_size: float,
) -> None:
    """Write samples as they come: the file of `write_samples`, which but for a picture is never in memory.

    Args:
        path: its suffix says which.
        batches: `n` samples in all; intensity in [0, 1].
        n: how many.
        image: channels, height and width of each.
        voxel_size: metres.

    Raises:
        InputError: as `check_samples`.
        OSError: where the disk is too small for it.
    """
    check_samples(path, n, image)
    if path.suffix == ".png":
        save_grid(path, np.concatenate(list(batches)))
    else:
        _write_blocks(path, batches, (n, *image), voxel_size)


def check_image(path: Path, n: int, height: int, width: int) -> None:
    """Refuse a file that `write_images` could not write, before anything is computed.

    Raises:
        InputError: for an unknown suffix, or a picture that is too large or more than one.
    """
    check_suffix(path)
    if path.suffix == ".png" and (n > 1 or width * height > PICTURE_MAX):
        raise InputError(
            f"{path}: {n} of {width} x {height} pixels; a PNG takes one image of at most {PICTURE_MAX} pixels: "
            "use .tif or .npy"
        )


def write_images(
    path: Path,
    bands: Iterable[Float32[np.ndarray, "rows width"]],
    *,
    n: int,
    height: int,
    width: int,
    voxel_size: float,
) -> None:
    """Write images of any size as they come: a TIFF of 8-bit pages (.tif), an array (.npy) or a picture (.png).

    An array or a TIFF is never in memory; its space on the disk is taken before the first band is computed, and both
    can be mapped into memory afterwards. A TIFF beyond 4 GiB is a BigTIFF.

    Args:
        path: its suffix says which.
        bands: rows from top to bottom, image after image; intensity in [0, 1].
        n: how many images.
        height: of each, pixels.
        width: likewise.
        voxel_size: metres.

    Raises:
        InputError: as `check_image`.
        OSError: where the disk is too small for it.
    """
    check_image(path, n, height, width)
    if path.suffix != ".png":
        _write_blocks(path, bands, (n, 1, height, width), voxel_size)
        return
    with replacing(path) as beside:
        Image.fromarray(np.concatenate([to_bytes(band) for band in bands])).save(beside, format="PNG")


def array_header(shape: tuple[int, ...]) -> bytes:
    """What numpy writes before the values of a float32 array of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write_blocks(
    path: Path, blocks: Iterable[Float32[np.ndarray, "*dims"]], shape: tuple[int, int, int, int], voxel_size: float
) -> None:
    """An array or a TIFF of the values of the blocks, one after another."""
    n, n_channels, height, width = shape
    layout = Layout(n * n_channels, height, width, voxel_size)
    is_array = path.suffix == ".npy"
    head = array_header(shape) if is_array else layout.head()
    size = len(head) + 4 * n * n_channels * height * width if is_array else layout.size
    with replacing(path) as beside, beside.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)
        file.write(head)
        for block in blocks:
            file.write(np.ascontiguousarray(block if is_array else to_bytes(block)).data)
        if not is_array:
            file.writelines(layout.tail())
