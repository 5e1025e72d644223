"""Files that are cut short or changed, which a reader refuses with an error of ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import read_volume


def assert_cut_is_refused(path: Path, file: Path | None = None) -> None:
    """No part of a file is taken for the whole; a last byte may be a line's end, or another that carries no value.

    Args:
        path: what is read.
        file: of it, which is cut; the same if None.
    """
    file = file or path
    whole, voxels = file.read_bytes(), read_volume(path)
    for n_bytes in {0, 1, 40, 300, len(whole) // 3, len(whole) // 2, len(whole) - 200, len(whole) - 1}:
        file.write_bytes(whole[:n_bytes])
        if n_bytes == len(whole) - 1:
            with suppress(VolumeError):
                assert np.array_equal(read_volume(path), voxels)
        else:
            with pytest.raises(VolumeError):
                read_volume(path)
    file.write_bytes(whole)


def assert_changes_are_survived(path: Path, n_header: int, n_changes: int = 60) -> None:
    """A header of which a byte is another gives a volume or an error of ours, never anything else."""
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(n_changes):
        changed = bytearray(whole)
        changed[int(rng.integers(n_header))] = int(rng.choice([0, 1, 0x39, 0x7F, 0x80, 0xFF, rng.integers(256)]))
        path.write_bytes(changed)
        with suppress(VolumeError):
            read_volume(path, voxels_max=2**22)
    path.write_bytes(whole)
