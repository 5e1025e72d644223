"""Raw volumes: add a user's own to data/, and read them back."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Shaped, UInt8

from rockbank.core.files import sha256
from rockbank.data.manifest import (
    MANIFEST,
    Manifest,
    SegmentationRule,
    VolumeEntry,
    VolumeError,
    load_manifest,
    save_manifest,
)
from rockbank.data.scans.declared import ALIKE
from rockbank.data.scans.reader import Scan, read_scan, read_volume

__all__ = ["add_volumes", "load_manifest", "normalise", "read_volume", "read_volumes"]
# The ends of the grey scale: hot pixels and dead ones lie outside.
PERCENTILES = (0.1, 99.9)
# Percentiles and Otsu's histogram are settled to 1e-3 long before so many values.
SUBSAMPLE = 2**22
Track = Callable[[Sequence[Path]], Iterable[Path]]


def add_volumes(
    paths: Sequence[Path],
    folder: Path,
    *,
    voxel_size: float | None,
    segmentation: SegmentationRule,
    licence: str,
    source: str,
    dataset: str | None = None,
    replace: bool = False,
    dry_run: bool = False,
    track: Track = iter,
) -> list[VolumeEntry]:
    """Normalise scans into `folder` as NAME.tif and list them in its manifest: all of them, or nothing.

    Args:
        paths: files, each a volume of its own, or folders of single slices, each one volume (see `read_scan`).
        folder: usually data/; made where absent.
        voxel_size: metres; None takes it from the side-cars of raw files.
        segmentation: of all of them; a numeric threshold is an intensity after the normalisation.
        licence: of the data.
        source: where the data came from.
        dataset: of HDF5 files.
        replace: take the place of the volumes that `folder` lists, rather than join them.
        dry_run: check everything and return the entries, but leave `folder` as it is.
        track: wraps the loop over paths, for a progress bar.

    Returns:
        The new entries, in the order of `paths`.

    Raises:
        VolumeError: naming the file and the remedy; then nothing was written.
    """
    if not paths:
        raise VolumeError("no paths given; name at least one file or folder of slices")
    listed = load_manifest(folder).volumes if (folder / MANIFEST).exists() else ()
    leaving = {entry.file for entry in listed} if replace else set()
    existing = () if replace else listed
    names = _names(paths, folder, existing, leaving)
    staging = folder / ".adding"
    with _scratch(staging):
        entries = []
        for path, name in zip(track(paths), names, strict=True):
            scan = read_scan(path, dataset=dataset)
            target = staging / name
            tifffile.imwrite(
                target, normalise(scan.voxels, path), compression="zlib", photometric="minisblack", metadata=None
            )
            size = _voxel_size(path, scan, voxel_size)
            try:
                entry = VolumeEntry(
                    file=name,
                    voxel_size=size,
                    segmentation=segmentation,
                    licence=licence,
                    source=source,
                    sha256=sha256(target),
                )
            except VolumeError as error:
                raise VolumeError(f"{path}: {error}") from error
            entries.append(entry)
        try:
            manifest = Manifest(volumes=(*existing, *entries))
        except VolumeError as error:
            raise VolumeError(f"{folder / MANIFEST}: {error}") from error
        if not dry_run:
            # The manifest goes last: a volume that it does not list is nobody's data yet.
            for entry in entries:
                os.replace(staging / entry.file, folder / entry.file)
            save_manifest(folder, manifest)
            for name in leaving.difference(names):
                (folder / name).unlink(missing_ok=True)
    return entries


def read_volumes(folder: Path, manifest: Manifest) -> dict[str, UInt8[np.ndarray, "slices rows columns"]]:
    """The volumes that the manifest lists, by file name.

    Raises:
        VolumeError: for a file that is absent, broken, not 8 bit or not the one whose hash the manifest has.
    """
    volumes = {}
    for entry in manifest.volumes:
        path = folder / entry.file
        if not path.is_file():
            raise VolumeError(f"{path}: listed in {folder / MANIFEST} but absent; run 'dvc pull', or remove the entry")
        found = sha256(path)
        if found != entry.sha256:
            raise VolumeError(
                f"{path}: sha256 is {found}, the manifest has {entry.sha256}; it was changed: run 'dvc checkout', or "
                "remove the entry and add it again"
            )
        voxels = read_volume(path)
        if voxels.dtype != np.uint8:
            raise VolumeError(f"{path}: {voxels.dtype}, not uint8; add it with 'rockbank data add', which normalises")
        volumes[entry.file] = voxels
    return volumes


def normalise(
    voxels: Shaped[np.ndarray, "slices rows columns"], path: Path
) -> UInt8[np.ndarray, "slices rows columns"]:
    """Grey values as 8 bits, the 0.1 and 99.9 percentiles at 0 and 255 and what lies outside clipped.

    Raises:
        VolumeError: naming `path`, where all grey values are equal.
    """
    sample = voxels.ravel()[:: max(1, voxels.size // SUBSAMPLE)].astype(np.float64)
    low, high = (float(value) for value in np.percentile(sample, PERCENTILES))
    if low == high:
        # A mask whose phase is rarer than the percentiles still has two values.
        low, high = float(voxels.min()), float(voxels.max())
    if low == high:
        raise VolumeError(f"{path}: every voxel is {low:g}; a scan has grey values, check what was exported")
    out = np.empty(voxels.shape, np.uint8)
    for i_slice, each in enumerate(voxels):
        scaled = (each.astype(np.float64) - low) / (high - low)
        out[i_slice] = np.round(np.clip(scaled, 0.0, 1.0) * 255.0)
    return out


def _names(paths: Sequence[Path], folder: Path, existing: Sequence[VolumeEntry], leaving: set[str]) -> list[str]:
    """The file that each path becomes; what is there already, and not leaving, is never overwritten."""
    taken = {entry.file: f"listed in {folder / MANIFEST}" for entry in existing}
    names = []
    for path in paths:
        stem = path.resolve().name if path.is_dir() else path.stem
        name = f"{stem}.tif"
        if name not in taken and name not in leaving and (folder / name).exists():
            taken[name] = f"in {folder}"
        if name in taken:
            raise VolumeError(f"{path}: would become '{name}', which is already {taken[name]}; rename the file first")
        taken[name] = f"the name of {path}"
        names.append(name)
    return names


def _voxel_size(path: Path, scan: Scan, given: float | None) -> float:
    if given is None and scan.voxel_size is None:
        raise VolumeError(f"{path}: its voxel size is not known; give it in metres, such as --voxel-size 60e-9")
    if given is not None and scan.voxel_size is not None and not math.isclose(given, scan.voxel_size, rel_tol=ALIKE):
        raise VolumeError(
            f"{path}: it declares voxels of {scan.voxel_size:g} m, but {given:g} m was given; correct one of them"
        )
    return float(given if given is not None else scan.voxel_size or 0.0)


@contextmanager
def _scratch(staging: Path) -> Iterator[None]:
    """An empty folder inside the data folder; both are gone afterwards unless the data folder got something."""
    folder = staging.parent
    made = not folder.exists()
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made and not any(folder.iterdir()):
            folder.rmdir()
