"""Volumes in TIFF files, of one page or of many."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY, check_declared, decoding


def read_tiff(path: Path, voxels_max: int) -> np.ndarray:
    """The voxels of a TIFF, whose pages are slices."""
    with decoding(path, "a TIFF"), tifffile.TiffFile(path) as tiff:
        if len(tiff.series) != 1:
            raise VolumeError(
                f"{path}: its pages are not alike ({len(tiff.series)} kinds); keep only those of the scan"
            )
        series = tiff.series[0]
        page = series.keyframe
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise VolumeError(f"{path}: its zero is white; save it with zero as black")
        if page.photometric != tifffile.PHOTOMETRIC.MINISBLACK or page.samplesperpixel != 1:
            raise VolumeError(f"{path}: {tifffile.PHOTOMETRIC(page.photometric).name.lower()}, not grey; {AS_GREY}")
        if page.dtype is None:
            raise VolumeError(f"{path}: unknown sample format; save it with 8, 16 or 32 bits")
        shape = tuple(length for length in series.shape[:-2] if length != 1) + series.shape[-2:]
        check_declared(path, shape, page.dtype, voxels_max)
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
            raise VolumeError(f"{path}: truncated, its data end after {path.stat().st_size} bytes; {AGAIN}")
    form, file = tiff.tiff, tiff.filehandle
    start = tiff.pages[-1].offset
    file.seek(start)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(start + form.tagnosize + n_tags * form.tagsize)
    if file.read(form.offsetsize) != bytes(form.offsetsize):
        raise VolumeError(f"{path}: truncated after {len(tiff.pages)} pages; {AGAIN}")


def _decode_pages(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    pages = []
    with Image.open(path) as image:
        for i_page in range(math.prod(shape[:-2])):
            image.seek(i_page)
            pages.append(np.asarray(image))
    return np.stack(pages).reshape(shape)
