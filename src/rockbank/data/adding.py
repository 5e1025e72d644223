"""Scans of the user become volumes of data/: normalised, listed in the manifest, all of them or nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from jaxtyping import UInt8

from rockbank.core.files import sha256
from rockbank.data.grey_scale import Advance, find_grey_scale, scaled_slices
from rockbank.data.joining import join, joining, trial
from rockbank.data.manifest import (
    ALIKE,
    MANIFEST,
    Manifest,
    SegmentationRule,
    VolumeEntry,
    VolumeError,
    load_manifest,
)
from rockbank.data.masks import Mask, open_mask
from rockbank.data.preview import Limits, Preview, preview
from rockbank.data.scans.reader import open_scan
from rockbank.data.scans.source import Source
from rockbank.data.stored import open_volumes

# A file beyond this size needs BigTIFF's offsets.
CLASSIC_BYTES = 2**32 - 2**25
# Given what is done and how many slices it has, a block in which the progress is reported.
Progress = Callable[[str, int], AbstractContextManager[Advance]]


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """How scans are read.

    Attributes:
        voxel_size: metres; None takes it from the files.
        dataset: of files that have several.
        nodata: the value of voxels that are none; None takes what the files declare.
        mask: where the rock is: "cylinder" or the path of a file; see `open_mask`.
        allow_gaps: whether numbers may be missing from the names of a folder's slices.
    """

    voxel_size: float | None = None
    dataset: str | None = None
    nodata: float | None = None
    mask: str | None = None
    allow_gaps: bool = False


@dataclass(frozen=True, kw_only=True)
class Addition:
    """A volume that was added.

    Attributes:
        entry: in the manifest.
        warnings: what the data check would say of it all the same.
    """

    entry: VolumeEntry
    warnings: tuple[str, ...]


def add_volumes(
    paths: Sequence[Path],
    folder: Path,
    *,
    options: ScanOptions,
    segmentation: SegmentationRule,
    licence: str,
    source: str,
    limits: Limits | None = None,
    replace: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> list[Addition]:
    """Normalise scans into `folder` as NAME.tif and list them in its manifest: all of them, or nothing.

    Slices are read, converted and written a block at a time.

    Args:
        paths: files, each a volume of its own, or folders of single slices, each one volume (see `open_scan`).
        folder: usually data/; made where absent.
        options: how they are read.
        segmentation: of all of them; a numeric threshold is an intensity after the normalisation.
        licence: of the data.
        source: where the data came from.
        limits: of the data check, which are held against each volume; None checks nothing.
        replace: take the place of the volumes that `folder` lists, rather than join them.
        dry_run: check everything, in a temporary folder, and return what would be added, but leave `folder` as it is.
        progress: of the slices of each scan.

    Returns:
        What was added, in the order of `paths`.

    Raises:
        VolumeError: naming the file and the remedy, for scans that cannot be read and for all that the data check
            would refuse, or where another process adds to `folder`; then nothing was written.
    """
    if not paths:
        raise VolumeError("no paths given; name at least one file or folder of slices")
    read: dict[Path, Path] = {}
    added, refused = [], []
    with trial(folder) if dry_run else joining(folder) as staging:
        listed = load_manifest(folder).volumes if (folder / MANIFEST).exists() else ()
        leaving = {name for entry in listed for name in entry.files} if replace else set()
        existing = () if replace else listed
        names = _names(paths, folder, existing, leaving)
        for path, name in zip(paths, names, strict=True):
            with (
                open_scan(path, dataset=options.dataset, allow_gaps=options.allow_gaps) as scan,
                open_mask(scan, options.mask, options.nodata) as mask,
            ):
                _refuse_twice(scan, read)
                size = _voxel_size(scan, options.voxel_size)
                mask_name = _convert(scan, mask, staging / name, progress or _silent)
            try:
                entry = VolumeEntry(
                    file=name,
                    voxel_size=size,
                    segmentation=segmentation,
                    licence=licence,
                    source=source,
                    sha256=sha256(staging / name),
                    mask=mask_name,
                    mask_sha256=None if mask_name is None else sha256(staging / mask_name),
                )
            except VolumeError as error:
                raise VolumeError(f"{path}: {error}") from error
            warnings: tuple[str, ...] = ()
            if limits is not None:
                found = _preview(staging, entry, limits)
                refused += [f"{path}: {reason}" for reason in found.critical]
                warnings = (*(f"'check' would stop: {reason}" for reason in found.of_set), *found.warnings)
            added.append(Addition(entry=entry, warnings=warnings))
        if refused:
            raise VolumeError("\n".join(refused))
        entries = [each.entry for each in added]
        try:
            manifest = Manifest(volumes=(*existing, *entries))
        except VolumeError as error:
            raise VolumeError(f"{folder / MANIFEST}: {error}") from error
        if not dry_run:
            join(staging, folder, [file for entry in entries for file in entry.files], manifest, leaving)
    return added


def _preview(folder: Path, entry: VolumeEntry, limits: Limits) -> Preview:
    manifest = Manifest(volumes=(entry,))
    with open_volumes(folder, manifest) as volumes:
        return preview(volumes[entry.file], manifest, limits)


def _convert(scan: Source, mask: Mask, target: Path, progress: Progress) -> str | None:
    """Write the volume, and its mask beside it, whose name is returned; None for one that is rock everywhere."""
    n_slices = scan.shape[0]
    with progress(f"reading {scan.path.name}", n_slices) as advance:
        scale = find_grey_scale(scan, mask, advance)
    has_mask = scale.rock_fraction < 1
    beside = target.with_name(f"{target.stem}.mask.tif")
    with ExitStack() as files:
        advance = files.enter_context(progress(f"writing {target.name}", n_slices))
        # Of itself tifffile would make an OME-TIFF of a file called NAME.ome.tif.
        is_big = math.prod(scan.shape) > CLASSIC_BYTES
        volume = files.enter_context(tifffile.TiffWriter(target, bigtiff=is_big, ome=False))
        masked = files.enter_context(tifffile.TiffWriter(beside, ome=False)) if has_mask else None

        def pages() -> Iterator[UInt8[np.ndarray, "rows columns"]]:
            for i, (grey, rock) in enumerate(scaled_slices(scan, mask, scale, advance)):
                if masked is not None and rock is not None and (i == 0 or mask.n_slices is None):
                    _write(masked, rock.astype(np.uint8))
                yield grey

        _write(volume, pages(), shape=scan.shape, dtype=np.dtype(np.uint8))
    return beside.name if has_mask else None


def _write(tiff: tifffile.TiffWriter, pages: Any, **more: Any) -> None:
    tiff.write(pages, compression="zlib", photometric="minisblack", metadata=None, contiguous=False, **more)


@contextmanager
def _silent(what: str, n_slices: int) -> Iterator[Advance]:
    yield lambda n: None


def _refuse_twice(scan: Source, read: dict[Path, Path]) -> None:
    """Raise VolumeError for files that are part of a volume which was read already."""
    for part in {each.resolve() for each in (scan.path, *scan.parts)}:
        if part in read:
            raise VolumeError(f"{scan.path}: the same volume as {read[part]}, which has {part.name}; name one of them")
        read[part] = scan.path


def _names(paths: Sequence[Path], folder: Path, existing: Sequence[VolumeEntry], leaving: set[str]) -> list[str]:
    """The file that each path becomes; what is there already, and not leaving, is never overwritten."""
    taken = {name: f"listed in {folder / MANIFEST}" for entry in existing for name in entry.files}
    names = []
    for path in paths:
        stem = path.resolve().name if path.is_dir() else path.stem
        name, mask_name = f"{stem}.tif", f"{stem}.mask.tif"
        for each in (name, mask_name):
            if each not in taken and each not in leaving and (folder / each).exists():
                taken[each] = f"in {folder}"
            if each in taken:
                raise VolumeError(
                    f"{path}: would become '{each}', which is already {taken[each]}; rename the file first"
                )
            taken[each] = f"the name of {path}"
        names.append(name)
    return names


def _voxel_size(scan: Source, given: float | None) -> float:
    declared = scan.voxel_size
    if given is None and declared is None:
        raise VolumeError(f"{scan.path}: its voxel size is not known; give it in metres, such as --voxel-size 60e-9")
    if given is not None and declared is not None and not math.isclose(given, declared, rel_tol=ALIKE):
        raise VolumeError(
            f"{scan.path}: it declares voxels of {declared:g} m, but {given:g} m was given; correct one of them"
        )
    return float(given if given is not None else declared or 0.0)
