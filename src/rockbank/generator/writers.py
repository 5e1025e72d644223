"""Samples as files: a picture, an array, a stack of pages."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float32
from PIL import Image

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.generator.tiff import Layout
from rockbank.plot.grids import save_grid
from rockbank.rock.crops import to_bytes

# Pixels of a picture, which is in memory as a whole; an array or a TIFF is not.
PICTURE_MAX = 2**26


def check_suffix(path: Path) -> None:
    """Refuse a file that `write_samples` could not write, before there are samples.

    Raises:
        InputError: naming the suffixes that there are.
    """
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: cannot write '{path.suffix}'; use one of {sorted(WRITERS)}")


def write_samples(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    """Write samples as a picture (.png), an array (.npy) or a stack of 8-bit pages with their scale (.tif).

    Args:
        path: its suffix says which.
        samples: intensity in [0, 1].
        voxel_size: metres.

    Raises:
        InputError: for any other suffix.
    """
    check_suffix(path)
    with replacing(path) as beside:
        WRITERS[path.suffix](beside.with_suffix(path.suffix), samples, voxel_size)


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
    with replacing(path) as beside, beside.open("wb") as file:
        if path.suffix == ".png":
            pixels = np.concatenate([to_bytes(band) for band in bands])
            Image.fromarray(pixels).save(file, format="PNG")
            return
        layout = Layout(n, height, width, voxel_size)
        is_array = path.suffix == ".npy"
        head = array_header((n, 1, height, width)) if is_array else layout.head()
        os.posix_fallocate(file.fileno(), 0, len(head) + 4 * n * height * width if is_array else layout.size)
        file.write(head)
        for band in bands:
            file.write(np.ascontiguousarray(band if is_array else to_bytes(band)).data)
        if not is_array:
            file.writelines(layout.tail())


def array_header(shape: tuple[int, ...]) -> bytes:
    """What numpy writes before the values of a float32 array of this shape."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _write_picture(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    save_grid(path, samples)


def _write_array(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    np.save(path, samples, allow_pickle=False)


def _write_stack(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    per_centimetre = 0.01 / voxel_size
    pages = to_bytes(samples).reshape(-1, *samples.shape[2:])
    tifffile.imwrite(
        path,
        pages,
        photometric="minisblack",
        resolution=(per_centimetre, per_centimetre),
        resolutionunit="CENTIMETER",
        imagej=True,
        metadata={"spacing": voxel_size * 1e6, "unit": "um"},
    )


WRITERS = {".png": _write_picture, ".npy": _write_array, ".tif": _write_stack}
