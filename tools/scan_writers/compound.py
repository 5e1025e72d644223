"""Compound files, by [MS-CFB] version 3."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

SECTOR, MINI_SECTOR, MINI_CUTOFF = 512, 64, 4096
FREE, END, FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
STORAGE, STREAM, ROOT = 1, 2, 5
N_DIFAT = 109


def write_compound(path: Path, streams: Mapping[str, bytes]) -> None:
    """Streams by name, as "Storage/Stream"."""
    tree: dict[str, list[str]] = {"": []}
    for name in streams:
        storage, _, _ = name.rpartition("/")
        if storage and storage not in tree:
            tree[storage] = []
            tree[""].append(storage)
        tree[storage].append(name)
    names = ["", *(each for each in tree if each), *streams]
    mini = b"".join(_filled(value, MINI_SECTOR) for value in streams.values() if len(value) < MINI_CUTOFF)
    large = {name: value for name, value in streams.items() if len(value) >= MINI_CUTOFF}

    chains: list[int] = []
    sectors: list[bytes] = []

    def place(values: bytes) -> int:
        if not values:
            return END
        start, filled = len(sectors), _filled(values, SECTOR)
        n = len(filled) // SECTOR
        sectors.extend(filled[i * SECTOR : (i + 1) * SECTOR] for i in range(n))
        chains.extend([*range(start + 1, start + n), END])
        return start

    starts = {name: place(value) for name, value in large.items()}
    mini_fat: list[int] = []
    for name, value in streams.items():
        if len(value) < MINI_CUTOFF:
            n = -(-len(value) // MINI_SECTOR)
            starts[name] = len(mini_fat) if n else END
            mini_fat.extend([*range(len(mini_fat) + 1, len(mini_fat) + n), END][:n])
    mini_start = place(mini)
    mini_fat_start = place(
        struct.pack(f"<{len(mini_fat)}I", *mini_fat).ljust(-(-len(mini_fat) // 128) * SECTOR, b"\xff")
    )
    entries = [_entry(names, tree, streams, name, starts, mini_start, len(mini)) for name in names]
    directory = place(b"".join(entries))

    n_fat = 1
    while n_fat * 128 < len(sectors) + n_fat:
        n_fat += 1
    if n_fat > N_DIFAT:
        raise ValueError(f"{len(sectors)} sectors; this writer has at most {N_DIFAT * 128}")
    fat_at = range(len(sectors), len(sectors) + n_fat)
    fat = [*chains, *[FAT] * n_fat]
    fat += [FREE] * (n_fat * 128 - len(fat))
    n_mini_fat = -(-len(mini_fat) // 128)
    header = struct.pack(
        "<8s16s5H6x3I4xI",
        bytes.fromhex("d0cf11e0a1b11ae1"),
        bytes(16),
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        n_fat,
        directory,
        MINI_CUTOFF,
    )
    header += struct.pack("<5I", mini_fat_start, n_mini_fat, END, 0, fat_at[0])
    header += struct.pack(f"<{N_DIFAT - 1}I", *fat_at[1:], *[FREE] * (N_DIFAT - n_fat))
    path.write_bytes(header + b"".join(sectors) + struct.pack(f"<{len(fat)}I", *fat))


def _filled(values: bytes, size: int) -> bytes:
    return values + bytes(-len(values) % size)


def _key(name: str) -> tuple[int, str]:
    own = name.rpartition("/")[2]
    return len(own), own.upper()


def _entry(
    names: list[str],
    tree: Mapping[str, list[str]],
    streams: Mapping[str, bytes],
    name: str,
    starts: Mapping[str, int],
    mini_start: int,
    n_mini: int,
) -> bytes:
    """An entry of the directory; siblings are a balanced tree, ordered by length and then by letters."""
    own = (name.rpartition("/")[2] or "Root Entry").encode("utf-16-le") + b"\0\0"
    left, right = FREE, FREE
    if name:
        parent = name.rpartition("/")[0] if name in streams else ""
        left, right = _siblings(names, sorted(tree[parent], key=_key), name)
    child = _middle(names, sorted(tree[name], key=_key)) if tree.get(name) else FREE
    kind = ROOT if not name else STREAM if name in streams else STORAGE
    start = mini_start if not name else starts.get(name, 0)
    size = n_mini if not name else len(streams.get(name, b""))
    return struct.pack(
        "<64sHBBIII16sI8s8sIQ",
        own,
        len(own),
        kind,
        1,
        left,
        right,
        child,
        bytes(16),
        0,
        bytes(8),
        bytes(8),
        start,
        size,
    )


def _middle(names: list[str], siblings: list[str]) -> int:
    return names.index(siblings[len(siblings) // 2]) if siblings else FREE


def _siblings(names: list[str], siblings: list[str], name: str) -> tuple[int, int]:
    half = len(siblings) // 2
    if siblings[half] == name:
        return _middle(names, siblings[:half]), _middle(names, siblings[half + 1 :])
    return _siblings(names, siblings[:half] if _key(name) < _key(siblings[half]) else siblings[half + 1 :], name)
