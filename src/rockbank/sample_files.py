"""Samples as files: a picture, an array, a stack of pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Float32

from rockbank.crops import to_bytes
from rockbank.files import replacing
from rockbank.pictures import save_grid


def check_suffix(path: Path) -> None:
    """Refuse a file that `write_samples` could not write, before there are samples.

    Raises:
        ValueError: naming the suffixes that there are.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path}: cannot write '{path.suffix}'; use one of {sorted(WRITERS)}")


def write_samples(path: Path, samples: Float32[np.ndarray, "n c h w"], voxel_size: float) -> None:
    """Write samples as a picture (.png), an array (.npy) or a stack of 8-bit pages with their scale (.tif).

    Args:
        path: its suffix says which.
        samples: intensity in [0, 1].
        voxel_size: metres.

    Raises:
        ValueError: for any other suffix.
    """
    check_suffix(path)
    with replacing(path) as beside:
        WRITERS[path.suffix](beside.with_suffix(path.suffix), samples, voxel_size)


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
