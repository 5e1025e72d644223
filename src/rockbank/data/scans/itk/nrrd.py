"""Volumes in NRRD files: a text header, and values behind it (nrrd) or in another file (nhdr)."""

from __future__ import annotations

import gzip
import math
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, IN_MEMORY_MAX, check_declared, file_beside, in_three
from rockbank.data.scans.itk.image import Header, decode, header_lines, read_header, voxel_size
from rockbank.data.scans.source import Source, decoded_whole

HEADER_BYTES_MAX = 2**20
ENCODINGS = ("raw", "txt", "text", "ascii", "hex", "gz", "gzip")


@contextmanager
def open_nrrd(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """An nrrd or nhdr file, decoded whole, as ITK reads no part of one."""
    fields, n_header = _fields(path)
    if (encoding := fields.get("encoding", "raw").lower()) not in ENCODINGS:
        raise VolumeError(f"{path}: encoding: {encoding} is not read; write it as raw or gzip")
    name = fields.get("data file", fields.get("datafile"))
    values = path if name is None else file_beside(path, name)
    header = read_header(path, "NrrdImageIO")
    check_declared(values, header.shape, header.dtype, min(voxels_max, IN_MEMORY_MAX))
    _check_length(values, fields, n_header if name is None else 0, header)
    shape = in_three(header.shape)
    yield Source(
        path=path,
        shape=shape,
        dtype=header.dtype,
        voxel_size=_voxel_size(path, fields, header),
        parts=() if values == path else (path, values),
        read=decoded_whole(lambda: decode(header, 0, shape[0])),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields by keys in lower case, and how many bytes it has."""
    fields: dict[str, str] = {}
    n_bytes = 0
    for line, end in header_lines(path, HEADER_BYTES_MAX):
        n_bytes = end
        if not line.strip(" \t\n\r\x0b\f"):
            break
        key, colon, value = line.partition(": ")
        if colon and not key.startswith("#"):
            fields[key.strip().lower()] = value.strip()
    return fields, n_bytes


def _check_length(values: Path, fields: dict[str, str], n_header: int, header: Header) -> None:
    """Values that are too few or too many are refused; gzip's checksum is read here, as ITK does not."""
    encoding, needed = fields.get("encoding", "").lower(), math.prod(header.shape) * header.dtype.itemsize
    if any(fields.get(key, "0") != "0" for key in ("byte skip", "byteskip", "line skip", "lineskip")):
        return  # ITK refuses values that are too few behind what is skipped.
    there = needed
    if encoding == "raw":
        there = values.stat().st_size - n_header
    elif encoding in ("gz", "gzip"):
        with values.open("rb") as file:
            file.seek(n_header)
            with gzip.GzipFile(fileobj=file) as unpacked:
                there = sum(len(part) for part in iter(lambda: unpacked.read(2**20), b""))
    if there != needed:
        raise VolumeError(
            f"{values}: {there} bytes of values where {header.shape} of {header.dtype} need {needed}; {AGAIN}"
        )


def _voxel_size(path: Path, fields: dict[str, str], header: Header) -> float | None:
    remedy = 'write \'space units: "um" "um" "um"\' into its header'
    units = set(shlex.split(fields.get("space units", fields.get("units", ""))))
    if len(units) > 1:
        raise VolumeError(f"{path}: its axes are in units {sorted(units)}; {remedy}")
    unit = next(iter(units - {""}), None)
    # A space of the body is measured in mm by those who write it, ITK among them.
    return voxel_size(path, header, unit, "mm" if "space" in fields else None, remedy)
