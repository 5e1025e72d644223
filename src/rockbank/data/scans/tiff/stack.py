"""How many slices a TIFF declares, by whatever describes it, and whether its pages have them."""

from __future__ import annotations

import math
from pathlib import Path

import tifffile

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY


def outer_shape(path: Path, tiff: tifffile.TiffFile) -> tuple[int, ...]:
    """The lengths of the axes over the rows, as pages and descriptions agree on them; none for one image.

    Raises:
        VolumeError: where pages are not alike or of several channels, or where a description says another number than
            the pages have.
    """
    page, n_pages = tiff.pages.first, len(tiff.pages)
    mode = (tiff.imagej_metadata or {}).get("mode")
    # Programs that write for ImageJ call slices channels; what ImageJ shows in colour has them.
    if mode in ("composite", "color"):
        raise VolumeError(f"{path}: channels in the mode '{mode}' of ImageJ, not grey; {AS_GREY}")
    declared = _by_description(tiff)
    for says, n in declared.items():
        if n_pages > 1 and n != n_pages:
            raise VolumeError(f"{path}: {says} says {n} images, but {n_pages} pages are there; {AGAIN}")
        if n_pages == 1 and n > 1:
            _check_stack(path, page, n, says)
    kinds = len(tiff.series)
    if kinds != 1:
        raise VolumeError(f"{path}: its pages are not alike ({kinds} kinds); keep only those of the scan")
    series = tiff.series[0]
    n_series = math.prod(series.shape) // math.prod(page.shape)
    n = max(declared.values(), default=n_pages)
    if n_series != n:
        raise VolumeError(f"{path}: its metadata ({series.kind}) say {n_series} images, but {n} are there; {AGAIN}")
    return tuple(length for length in series.shape[:-2] if length != 1)


def is_contiguous_stack(tiff: tifffile.TiffFile, n: int) -> bool:
    """Whether the slices follow each other behind a single page, as ImageJ writes those beyond 4 GB."""
    return len(tiff.pages) == 1 and n > tiff.pages.first.imagedepth


def _by_description(tiff: tifffile.TiffFile) -> dict[str, int]:
    """Who says how many images are there."""
    declared: dict[str, int] = {}
    about = tiff.imagej_metadata or {}
    if "images" in about:
        declared["ImageJ's 'images'"] = int(about["images"])
    axes = [int(about[key]) for key in ("slices", "frames", "channels") if key in about]
    if axes:
        declared["ImageJ's 'slices', 'frames' and 'channels'"] = math.prod(axes)
    shaped = tiff.shaped_metadata
    if shaped and len(shaped) == 1 and "shape" in shaped[0]:
        declared["its description"] = math.prod(shaped[0]["shape"]) // math.prod(tiff.pages.first.shape)
    return declared


def _check_stack(path: Path, page: tifffile.TiffPage, n: int, says: str) -> None:
    if not page.is_contiguous or page.imagedepth > 1:
        raise VolumeError(f"{path}: {says} says {n} images, but one page is there, which is compressed; {AGAIN}")
    there = (path.stat().st_size - page.dataoffsets[0]) / page.nbytes
    if there < n:
        raise VolumeError(f"{path}: truncated, {says} says {n} images, but the data of {int(there)} are there; {AGAIN}")
