"""Volumes in MetaImage files: a text header, and values behind it (mha) or in another file (mhd)."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, IN_MEMORY_MAX, check_declared, file_beside, in_three
from rockbank.data.scans.itk.image import Header, decode, header_lines, read_header, voxel_size
from rockbank.data.scans.source import ReadSlices, Source, decoded_whole

HEADER_BYTES_MAX = 2**16
TRUE = ("true", "1")


@contextmanager
def open_metaimage(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """An mhd or mha file; what is neither compressed nor text is read by blocks."""
    fields, n_header = _fields(path)
    name = fields["elementdatafile"]
    values = path if name == "LOCAL" else file_beside(path, name)
    header = read_header(path, "MetaImageIO")
    is_plain = fields.get("compresseddata", "false").lower() not in TRUE and _is_binary(fields)
    check_declared(values, header.shape, header.dtype, voxels_max if is_plain else min(voxels_max, IN_MEMORY_MAX))
    if fields.get("elementtointensityfunctionslope", "1") != "1" or "elementtointensityfunctionoffset" in fields:
        raise VolumeError(f"{path}: its values are to be rescaled (ElementToIntensityFunctionSlope); write them so")
    n_skipped = int(fields.get("headersize", 0)) + (n_header if values == path else 0)
    shape = in_three(header.shape)
    yield Source(
        path=path,
        shape=shape,
        dtype=header.dtype,
        voxel_size=voxel_size(
            path, header, fields.get("distanceunits"), "mm", "write 'DistanceUnits = um' (or mm) into its header"
        ),
        parts=() if values == path else (path, values),
        read=_reader(values, fields, n_skipped, header, is_plain),
    )


def _reader(values: Path, fields: dict[str, str], n_skipped: int, header: Header, is_plain: bool) -> ReadSlices:
    shape = in_three(header.shape)
    needed, there = math.prod(shape) * header.dtype.itemsize, values.stat().st_size
    if is_plain:
        # A size of -1 says that the values are the file's end, whatever stands before them.
        if there - n_skipped != needed and not (fields.get("headersize") == "-1" and there >= needed):
            raise VolumeError(
                f"{values}: {there - n_skipped} bytes of values where {shape} of {header.dtype} need {needed}; {AGAIN}"
            )
        return lambda start, stop: decode(header, start, stop)
    if not _is_binary(fields):
        return decoded_whole(lambda: decode(header, 0, shape[0]))
    is_big = any(fields.get(key, "").lower() in TRUE for key in ("binarydatabyteordermsb", "elementbyteordermsb"))

    def decompress() -> Shaped[np.ndarray, "slices rows columns"]:
        # Not by ITK, which gives whatever was in memory where this fails.
        decoder = zlib.decompressobj()
        whole = decoder.decompress(values.read_bytes()[n_skipped:], needed + 1)
        if len(whole) != needed or not decoder.eof:
            raise VolumeError(f"{values}: {len(whole)} bytes unpacked where {shape} needs {needed}; {AGAIN}")
        stored = np.frombuffer(whole, header.dtype.newbyteorder(">" if is_big else "<"))
        return stored.reshape(shape).astype(header.dtype, copy=False)

    return decoded_whole(decompress)


def _is_binary(fields: dict[str, str]) -> bool:
    return fields.get("binarydata", "true").lower() in TRUE


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header by keys in lower case, and how many bytes it has."""
    fields: dict[str, str] = {}
    for line, n_bytes in header_lines(path, HEADER_BYTES_MAX):
        key, _, value = line.partition("=")
        if key.strip().lower() in fields:
            raise VolumeError(f"{path}: its header has '{key.strip()}' twice; keep one")
        fields[key.strip().lower()] = value.strip()
        if key.strip().lower() == "elementdatafile":
            return fields, n_bytes
    raise VolumeError(f"{path}: no 'ElementDataFile = ...' in its header; {AGAIN}")
