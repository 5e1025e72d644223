"""Pages of a TIFF, held against what their tags declare: tifffile fills what is missing with zeros, without a word."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
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
LZW_END = 257
LZW_TAIL_BYTES = 4  # the last code, and up to a byte behind it that makes its strip even
# Codecs that round values of more than 16 bits.
ROUNDING = {COMPRESSION.JPEG2000, COMPRESSION.JPEGXR, COMPRESSION.JPEGXR_NDPI}


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
    if page.compression in ROUNDING and page.bitspersample > 16:
        name = COMPRESSION(page.compression).name
        raise VolumeError(f"{path}: {name} of {page.bitspersample} bits, which rounds values; save it with LZW or zlib")


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
        if page.compression == COMPRESSION.NONE and count not in _lengths(page, i):
            raise VolumeError(
                f"{path}: strip {i} of page {page.index} has {count} bytes where {page.shape} of {page.bitspersample} "
                f"bits needs {_lengths(page, i)[0]}; {AGAIN}"
            )


def check_ends(path: Path, page: tifffile.TiffPage) -> None:
    """Raise VolumeError where a strip or tile of LZW has no end: cut within its last code it unpacks to a wrong value.

    Source: TIFF 6.0, section 13; the code of the end is 257, in 9 to 12 bits.
    """
    if page.compression != COMPRESSION.LZW:
        return
    file = page.parent.filehandle
    for i, (offset, count) in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
        n = min(count, LZW_TAIL_BYTES)
        file.seek(offset + count - n)
        bits = int.from_bytes(file.read(n), "big")
        n_filling = max(0, (bits & -bits).bit_length() - 1)  # 257 is odd: what is behind its last bit fills bytes up
        if not any((bits >> n_filling) % 2**width == LZW_END for width in range(9, 13)):
            raise VolumeError(f"{path}: strip {i} of page {page.index} has no end, as LZW demands; {AGAIN}")


def check_lengths(path: Path, page: tifffile.TiffPage) -> None:
    """Raise VolumeError where the first or last strip or tile decompresses to another length than the tags declare.

    Shorter ones are errors of tifffile too; of longer ones, as wrong tags make them, it takes the beginning.
    """
    if page.compression not in LOSSLESS or page.compression == COMPRESSION.NONE:
        return
    file = page.parent.filehandle
    for i in {0, len(page.dataoffsets) - 1}:
        file.seek(page.dataoffsets[i])
        n = len(tifffile.TIFF.DECOMPRESSORS[page.compression](file.read(page.databytecounts[i])))
        if n not in _lengths(page, i):
            raise VolumeError(
                f"{path}: strip {i} of page {page.index} unpacks to {n} bytes where {page.shape} of "
                f"{page.bitspersample} bits needs {_lengths(page, i)[0]}; {AGAIN}"
            )


def check_disjoint(path: Path, tiff: tifffile.TiffFile, data: Sequence[tuple[int, int]]) -> None:
    """Raise VolumeError where data lie over each other, or over the directories of the file.

    Args:
        path: of the file.
        tiff: it.
        data: offsets of their beginnings and ends.
    """
    form = tiff.tiff
    parts = [(0, form.offsetsize + 4, False)]
    for page in tiff.pages:
        assert isinstance(page, tifffile.TiffPage)
        n_bytes = form.tagnosize + len(page.tags) * form.tagsize + form.offsetsize
        parts.append((page.offset, page.offset + n_bytes, False))
        parts += [(tag.valueoffset, tag.valueoffset + tag.valuebytecount, False) for tag in page.tags]
    parts += [(*part, True) for part in data]
    reached = {False: 0, True: 0}
    for start, end, is_data in sorted(parts):
        if start < (max(reached.values()) if is_data else reached[True]):
            raise VolumeError(f"{path}: what starts at byte {start} lies over other data; {AGAIN}")
        reached[is_data] = max(reached[is_data], end)


def _lengths(page: tifffile.TiffPage, i: int) -> tuple[int, int]:
    """Bytes of a strip or tile, unpacked; the last strip may also be as long as the others."""
    whole = math.prod(page.chunks[:-1]) * _row_bytes(page, page.chunks[-1])
    if page.is_tiled:
        return whole, whole
    n_strips = math.ceil(page.imagelength / page.rowsperstrip)
    rows = min(page.rowsperstrip, page.imagelength - i % n_strips * page.rowsperstrip)
    return rows * _row_bytes(page, page.imagewidth), whole


def _tag(page: tifffile.TiffPage, tiled: int, strips: int) -> tuple[int, ...]:
    """The tag as it is in the file: tifffile cuts superfluous values off."""
    value = page.tags.valueof(tiled)
    return tuple(value if value is not None else page.tags.valueof(strips, ()))


def _row_bytes(page: tifffile.TiffPage, columns: int) -> int:
    return (columns * page.bitspersample + 7) // 8
