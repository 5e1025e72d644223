"""Volumes in Amira's and Avizo's am files: a text header, and the values of lattices behind it."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, AS_GREY, IN_MEMORY_MAX, check_declared, cubic, in_three
from rockbank.data.scans.source import Source, decoded_whole, slices_at
from rockbank.data.scans.units import metres

HEADER_BYTES_MAX = 2**24
FIRST_LINE = re.compile(rb"#\s*(?:AmiraMesh|Avizo)\s+(?:3D\s+)?(ASCII|BINARY-LITTLE-ENDIAN|BINARY)\s+[\d.]+\s")
DEFINE = re.compile(r"^\s*define\s+(\w+)\s+([\d ]+?)\s*$", re.MULTILINE)
DATA = re.compile(
    r"^\s*(\w+)\s*\{\s*(\w+)(?:\[(\d+)\])?\s+(\w+)\s*\}\s*=?\s*@(\d+)(?:\((\w+)(?:,(\d+))?\))?", re.MULTILINE
)
TYPES = {"byte": "u1", "short": "i2", "ushort": "u2", "int32": "i4", "int": "i4", "float": "f4", "double": "f8"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """Values of the data section, by the header's line.

    Attributes:
        name: as Data.
        of: the lattice that they lie on.
        shape: of that, slices first.
        n_values: at a point.
        dtype: with the file's byte order.
        coding: HxByteRLE, HxZip or none.
        n_coded: bytes, where they are coded.
    """

    name: str
    of: str
    shape: tuple[int, ...]
    n_values: int
    dtype: np.dtype
    coding: str | None
    n_coded: int

    @property
    def n_bytes(self) -> int:
        """Bytes in the file, unless they are text."""
        return self.n_coded if self.coding else math.prod(self.shape) * self.n_values * self.dtype.itemsize


@contextmanager
def open_amira(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The values of a uniform lattice; plain binary ones are read by blocks, text and coded ones whole."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES_MAX)
    first = FIRST_LINE.match(head)
    end = re.search(rb"^@1[ \t]*\r?\n", head, re.MULTILINE)
    if first is None or end is None:
        raise VolumeError(f"{path}: no header of Amira or Avizo, or no values behind it; {AGAIN}")
    coding = first[1].decode()
    header = re.sub(r"#.*", "", _text(head[: end.start()]))
    blocks = _blocks(path, header, "<" if coding == "BINARY-LITTLE-ENDIAN" else ">")
    chosen = _chosen(path, blocks, dataset)
    is_plain = coding != "ASCII" and chosen.coding is None
    check_declared(path, chosen.shape, chosen.dtype, voxels_max if is_plain else min(voxels_max, IN_MEMORY_MAX))
    shape, native = in_three(chosen.shape), chosen.dtype.newbyteorder("=")
    if coding == "ASCII":
        read = decoded_whole(lambda: _from_text(path, blocks, chosen).reshape(shape))
    else:
        offset = _offset(path, blocks, chosen)
        read = slices_at(path, offset, shape, chosen.dtype)
        if chosen.coding is not None:
            read = decoded_whole(lambda: _decoded(path, offset, chosen).reshape(shape).astype(native, copy=False))
    yield Source(path=path, shape=shape, dtype=native, voxel_size=_voxel_size(path, header, chosen), read=read)


def _text(header: bytes) -> str:
    try:
        return header.decode("utf-8")
    except UnicodeDecodeError:
        return header.decode("latin-1")


def _blocks(path: Path, header: str, order: str) -> dict[int, Block]:
    """What the header says of each block of values, by its number."""
    shapes = {name: tuple(reversed([int(n) for n in lengths.split()])) for name, lengths in DEFINE.findall(header)}
    blocks: dict[int, Block] = {}
    for of, kind, n_values, name, number, coding, n_coded in DATA.findall(header):
        if kind not in TYPES or of not in shapes or coding not in ("", "HxByteRLE", "HxZip") or int(number) in blocks:
            raise VolumeError(
                f"{path}: block @{number} of '{kind} {name}' on '{of}' {coding} is not known, or there twice; "
                "export it as one lattice"
            )
        blocks[int(number)] = Block(
            name=name,
            of=of,
            shape=shapes[of],
            n_values=int(n_values or 1),
            dtype=np.dtype(order + TYPES[kind]),
            coding=coding or None,
            n_coded=int(n_coded or 0),
        )
    if sorted(blocks) != list(range(1, len(blocks) + 1)):
        raise VolumeError(f"{path}: its header describes the blocks {sorted(blocks)}; {AGAIN}")
    return blocks


def _chosen(path: Path, blocks: dict[int, Block], dataset: str | None) -> Block:
    listed = {each.name: each.shape for each in blocks.values()}
    found = [
        each for each in blocks.values() if (len(each.shape) in (2, 3) if dataset is None else each.name == dataset)
    ]
    if len(found) != 1:
        raise VolumeError(f"{path}: {len(found)} lattices{f' of {dataset}' if dataset else ''}; name one of {listed}")
    if found[0].n_values != 1:
        raise VolumeError(f"{path}: '{found[0].name}' has {found[0].n_values} values a voxel; {AS_GREY}")
    return found[0]


def _offset(path: Path, blocks: dict[int, Block], chosen: Block) -> int:
    """Where the block's values start; they end where the next block does, or the file."""
    found = 0
    with path.open("rb") as file:
        at = _start(path, file, 0, 1, HEADER_BYTES_MAX)
        for number, block in sorted(blocks.items()):
            if block is chosen:
                found = at
            at += block.n_bytes
            if at > path.stat().st_size:
                raise VolumeError(
                    f"{path}: truncated, {path.stat().st_size} bytes where block @{number} of {block.shape} ends at "
                    f"{at}; {AGAIN}"
                )
            if number + 1 in blocks:
                at = _start(path, file, at, number + 1, 64)
        file.seek(at)
        if file.read(64).strip():
            raise VolumeError(f"{path}: values behind the {at} bytes that its header describes; {AGAIN}")
    return found


def _start(path: Path, file: BinaryIO, at: int, number: int, within: int) -> int:
    file.seek(at)
    found = re.search(rb"^@%d[ \t]*\r?\n" % number, file.read(within), re.MULTILINE)
    if found is None:
        raise VolumeError(f"{path}: no block @{number} at byte {at}, where its header has one; {AGAIN}")
    return at + found.end()


def _from_text(path: Path, blocks: dict[int, Block], chosen: Block) -> Shaped[np.ndarray, " n"]:
    parts = re.split(rb"^@(\d+)[ \t]*\r?\n", path.read_bytes(), flags=re.MULTILINE)
    texts = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    (number,) = (number for number, block in blocks.items() if block is chosen)
    words = texts[number].split()
    if len(words) != math.prod(chosen.shape):
        raise VolumeError(f"{path}: {len(words)} numbers where {chosen.shape} needs {math.prod(chosen.shape)}; {AGAIN}")
    return np.array(words).astype(chosen.dtype.newbyteorder("="))


def _decoded(path: Path, offset: int, block: Block) -> Shaped[np.ndarray, " n"]:
    with path.open("rb") as file:
        file.seek(offset)
        coded = file.read(block.n_coded)
    needed = math.prod(block.shape) * block.dtype.itemsize
    if block.coding == "HxZip":
        decoder = zlib.decompressobj()
        values = decoder.decompress(coded, needed + 1)
    elif block.dtype.itemsize == 1:
        values = _run_lengths(coded)
    else:
        raise VolumeError(f"{path}: HxByteRLE of {block.dtype}; save it with bytes, or as plain binary")
    if len(values) != needed:
        raise VolumeError(f"{path}: {len(values)} bytes decoded where {block.shape} needs {needed}; {AGAIN}")
    return np.frombuffer(values, block.dtype)


def _run_lengths(coded: bytes) -> bytes:
    """HxByteRLE: a count below 128 and the byte that it repeats, or 128 + n and n bytes as they are."""
    values = bytearray()
    at = 0
    while at < len(coded):
        count = coded[at]
        if count < 128:
            values += coded[at + 1 : at + 2] * count
            at += 2
        else:
            values += coded[at + 1 : at + 1 + count - 128]
            at += 1 + count - 128
    return bytes(values)


def _voxel_size(path: Path, header: str, block: Block) -> float | None:
    """Metres, where the header names a unit of its coordinates; the box is around the centres of voxels."""
    kind = re.search(r"CoordType\s+\"(\w+)\"", header)
    if kind is not None and kind[1] != "uniform":
        raise VolumeError(
            f"{path}: coordinates of type '{kind[1]}', so that voxels differ; resample it to uniform ones"
        )
    box = re.search(r"BoundingBox\s+((?:[-+.\deE]+\s+){5}[-+.\deE]+)", header)
    unit = re.search(r"Units\s*\{[^}]*Coordinates\s+\"([^\"]*)\"", header)
    if box is None:
        return None
    corners = [float(each) for each in box[1].split()]
    x, y, z = (
        (high - low) / (n - 1) if n > 1 else None
        for low, high, n in zip(corners[::2], corners[1::2], reversed(in_three(block.shape)), strict=True)
    )
    side = cubic(path, x, y, z)
    if side is None or unit is None or not unit[1].strip():
        return None
    scale = metres(unit[1])
    if scale is None:
        raise VolumeError(f"{path}: its unit '{unit[1]}' is not known; write um or mm into its Units")
    return side * scale
