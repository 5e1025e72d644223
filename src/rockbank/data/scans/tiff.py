"""Volumes in TIFF files, of one page or of many."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY, check_declared, in_three
from rockbank.data.scans.source import Source


@contextmanager
def open_tiff(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A TIFF, whose pages are slices."""
    with tifffile.TiffFile(path) as tiff:
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
        three = in_three(shape)

        def read(start: int, stop: int) -> np.ndarray:
            return np.asarray(series.asarray()).reshape(three)[start:stop]

        yield Source(path=path, shape=three, dtype=page.dtype.newbyteorder("="), read=read)


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
