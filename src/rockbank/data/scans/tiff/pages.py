"""Pages of a TIFF, held against what their tags declare: tifffile fills what is missing with zeros, without a word."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import tifffile
from tifffile import COMPRESSION, PHOTOMETRIC

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY

# Those that lose nothing, by names that every version of tifffile has.
LOSSLESS = {
    COMPRESSION.NONE,
    COMPRESSION.LZW,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
}


def check_grey(path: Path, page: tifffile.TiffPage) -> None:
    """Raise VolumeError for a page that is no grey picture."""
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        raise VolumeError(f"{path}: its zero is white; save it with zero as black")
    if page.photometric != PHOTOMETRIC.MINISBLACK or page.samplesperpixel != 1:
        is_black = page.photometric == PHOTOMETRIC.MINISBLACK
        kind = f"{page.samplesperpixel} samples a pixel" if is_black else PHOTOMETRIC(page.photometric).name.lower()
        raise VolumeError(f"{path}: {kind}, not grey; {AS_GREY}")
    if page.dtype is None:
        raise VolumeError(f"{path}: unknown sample format; save it with 8, 16 or 32 bits")


def check_alike(path: Path, page: tifffile.TiffPage, first: tifffile.TiffPage) -> None:
    """Raise VolumeError where a page is of another kind than the first one."""
    keys = ("shape", "dtype", "bitspersample", "compression", "predictor", "fillorder", "photometric")
    for key in keys:
        got, wanted = getattr(page, key), getattr(first, key)
        if got != wanted:
            raise VolumeError(
                f"{path}: page {page.index} has {key} {got}, page {first.index} has {wanted}; its pages are not alike, "
                "keep only those of the scan"
            )


def check_chain(path: Path, tiff: tifffile.TiffFile) -> None:
    """Raise VolumeError where the chain of pages breaks off: tifffile reads the pages that are left."""
    form, file = tiff.tiff, tiff.filehandle
    n_pages = len(tiff.pages)
    start = tiff.pages[n_pages - 1].offset
    file.seek(start)
    (n_tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(start + form.tagnosize + n_tags * form.tagsize)
    if file.read(form.offsetsize) != bytes(form.offsetsize):
        raise VolumeError(f"{path}: truncated after {n_pages} pages; {AGAIN}")


def check_whole(path: Path, page: tifffile.TiffPage) -> None:
    """Raise VolumeError where a strip or tile of the page is missing, cut short, or not as long as its shape says."""
    offsets, counts = _tag(page, 324, 273), _tag(page, 325, 279)
    n = math.prod(page.chunked)
    if len(offsets) != n or len(counts) != n:
        raise VolumeError(
            f"{path}: page {page.index} has {len(offsets)} offsets and {len(counts)} lengths where its shape "
            f"{page.shape} needs {n} strips; {AGAIN}"
        )
    size = path.stat().st_size
    for i, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        if offset == 0 or count == 0:
            raise VolumeError(f"{path}: strip {i} of page {page.index} was never written; {AGAIN}")
        if offset + count > size:
            raise VolumeError(f"{path}: truncated, page {page.index} ends beyond its {size} bytes; {AGAIN}")
    if page.compression == COMPRESSION.NONE:
        needed, most = _bytes_between(page)
        if not needed <= sum(counts) <= most:
            raise VolumeError(
                f"{path}: page {page.index} has {sum(counts)} bytes where {page.shape} of {page.bitspersample} bits "
                f"needs {needed}; {AGAIN}"
            )


def check_first_strip(path: Path, page: tifffile.TiffPage) -> None:
    """Raise VolumeError where the first strip or tile decompresses to another length than the tags declare.

    Shorter ones are errors of tifffile too; of longer ones, as wrong tags make them, it takes the beginning.
    """
    if page.compression not in LOSSLESS or page.compression == COMPRESSION.NONE:
        return
    file = page.parent.filehandle
    file.seek(page.dataoffsets[0])
    unpacked = len(tifffile.TIFF.DECOMPRESSORS[page.compression](file.read(page.databytecounts[0])))
    rows = min(page.chunks[-2], page.imagelength) if not page.is_tiled else page.chunks[-2]
    needed = math.prod(page.chunks[:-2]) * rows * _row_bytes(page, page.chunks[-1])
    if unpacked != needed:
        raise VolumeError(
            f"{path}: the first strip of page {page.index} has {unpacked} bytes where {rows} rows of "
            f"{page.chunks[-1]} pixels of {page.bitspersample} bits need {needed}; {AGAIN}"
        )


def _tag(page: tifffile.TiffPage, tiled: int, strips: int) -> tuple[int, ...]:
    """The tag as it is in the file: tifffile cuts superfluous values off."""
    value = page.tags.valueof(tiled)
    return tuple(value if value is not None else page.tags.valueof(strips, ()))


def _row_bytes(page: tifffile.TiffPage, columns: int) -> int:
    return (columns * page.bitspersample + 7) // 8


def _bytes_between(page: tifffile.TiffPage) -> tuple[int, int]:
    """What uncompressed data need; the last strip may be as long as the others."""
    most = math.prod(page.chunked) * math.prod(page.chunks[:-1]) * _row_bytes(page, page.chunks[-1])
    if page.is_tiled:
        return most, most
    return page.imagedepth * page.imagelength * _row_bytes(page, page.imagewidth), most
