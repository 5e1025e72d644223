"""The volumes of data/, whose slices are read when they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import Bool, Shaped

from rockbank.core.files import sha256
from rockbank.data.manifest import MANIFEST, Manifest, VolumeEntry, VolumeError
from rockbank.data.scans.declared import decoding
from rockbank.data.scans.reader import open_scan


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A grey volume, slice by slice.

    Attributes:
        shape: slices, rows, columns.
        dtype: of the voxels.
        read: the slice of an index.
        rock: where that slice is rock; None for a volume that is rock everywhere.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    read: Callable[[int], Shaped[np.ndarray, "rows columns"]]
    rock: Callable[[int], Bool[np.ndarray, "rows columns"]] | None = None

    @staticmethod
    def of(voxels: Volume | Shaped[np.ndarray, "slices rows columns"]) -> Volume:
        """A volume in memory as one; another is given back."""
        if isinstance(voxels, Volume):
            return voxels
        slices, rows, columns = voxels.shape
        return Volume(shape=(slices, rows, columns), dtype=voxels.dtype, read=voxels.__getitem__)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def size(self) -> int:
        """Voxels, rock or not."""
        return math.prod(self.shape)

    def slices(
        self,
    ) -> Iterator[tuple[Shaped[np.ndarray, "rows columns"], Bool[np.ndarray, "rows columns"] | None]]:
        """Each slice, and where it is rock."""
        return ((self.read(i), None if self.rock is None else self.rock(i)) for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.stack([self.read(i) for i in range(len(self))]).astype(dtype or self.dtype, copy=False)


@contextmanager
def open_volumes(folder: Path, manifest: Manifest) -> Iterator[dict[str, Volume]]:
    """The volumes that the manifest lists, by file name, readable within the block.

    Raises:
        VolumeError: for a file that is absent, broken, not 8 bit or not the one whose hash the manifest has.
    """
    with ExitStack() as files:
        yield {entry.file: _open(folder, entry, files) for entry in manifest.volumes}


def subsample(
    blocks: Iterable[tuple[Shaped[np.ndarray, "*dims"], Bool[np.ndarray, "*dims"] | None]], n_voxels: int, n_most: int
) -> Shaped[np.ndarray, " n"]:
    """Every k-th of all voxels, where k lets at least `n_most` through, or every one; of these the ones of rock.

    k has no factor in common with a side of the volume: with one it would pass over whole columns, or slices.

    Args:
        blocks: all blocks of the volume, and where each is rock.
        n_voxels: of the volume.
        n_most: wanted.
    """
    offset, parts = 0, []
    step = next(step for step in range(max(1, n_voxels // n_most), 0, -1) if math.gcd(step, n_voxels) == 1)
    for voxels, rock in blocks:
        every = slice(-offset % step, None, step)
        part = voxels.reshape(-1)[every]
        parts.append(part.copy() if rock is None else part[rock.reshape(-1)[every]])
        offset += voxels.size
    return np.concatenate(parts)


def _open(folder: Path, entry: VolumeEntry, files: ExitStack) -> Volume:
    path = folder / entry.file
    _check_hash(folder, entry.file, entry.sha256)
    source = files.enter_context(open_scan(path))
    if source.dtype != np.uint8:
        raise VolumeError(f"{path}: {source.dtype}, not uint8; add it with 'rockbank data add', which normalises")
    return Volume(
        shape=source.shape,
        dtype=source.dtype,
        read=lambda i: source.read(i, i + 1)[0],
        rock=None if entry.mask is None else _open_mask(folder, entry, source.shape, files),
    )


def _open_mask(
    folder: Path, entry: VolumeEntry, shape: tuple[int, int, int], files: ExitStack
) -> Callable[[int], Bool[np.ndarray, "rows columns"]]:
    assert entry.mask is not None
    assert entry.mask_sha256 is not None
    path = folder / entry.mask
    _check_hash(folder, entry.mask, entry.mask_sha256)
    # A mask has no noise, so that it is packed more than a scan may be.
    with decoding(path, "a TIFF"):
        tiff = files.enter_context(tifffile.TiffFile(path))
        n_pages = len(tiff.pages)
    if n_pages not in (1, shape[0]) or tiff.pages.first.shape != shape[1:]:
        raise VolumeError(
            f"{path}: {n_pages} slices of {tiff.pages.first.shape}, but '{entry.file}' has {shape[0]} of {shape[1:]}; "
            "add the volume again"
        )
    if n_pages == 1:
        everywhere = tiff.pages.first.asarray() > 0
        return lambda i: everywhere
    return lambda i: tiff.pages[i].asarray() > 0


def _check_hash(folder: Path, name: str, wanted: str) -> None:
    path = folder / name
    if not path.is_file():
        raise VolumeError(f"{path}: listed in {folder / MANIFEST} but absent; run 'dvc pull', or remove the entry")
    found = sha256(path)
    if found != wanted:
        raise VolumeError(
            f"{path}: sha256 is {found}, the manifest has {wanted}; it was changed: run 'dvc checkout', or remove the "
            "entry and add it again"
        )
