"""What a scan looks like and what the data check would say of it, before it is added."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path

from rockbank.core.files import require_apart
from rockbank.data.adding import Progress, ScanOptions, add_volumes
from rockbank.data.cutting import resolve_whole
from rockbank.data.description import describe
from rockbank.data.manifest import SegmentationRule, load_manifest
from rockbank.data.preview import Limits, Preview, preview
from rockbank.data.stored import open_volumes
from rockbank.plot.scan import save_scan


def show_scan(
    path: Path,
    output: Path,
    *,
    options: ScanOptions,
    segmentation: SegmentationRule,
    limits: Limits,
    progress: Progress | None = None,
) -> Preview:
    """Draw a scan as it would be added, and hold it against the limits.

    Args:
        path: of the scan.
        output: the picture, a PNG.
        options: how it is read.
        segmentation: of its pores.
        limits: of the data check.
        progress: of its slices.

    Raises:
        VolumeError: for a scan that cannot be read.
        InputError: where the picture would replace a part of it.
    """
    require_apart([output], [path, Path(options.mask or path)])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "data"
        add_volumes(
            [path],
            folder,
            options=options,
            segmentation=segmentation,
            licence="not stated",
            source="not stated",
            progress=progress,
        )
        manifest = load_manifest(folder)
        with open_volumes(folder, manifest) as volumes:
            (volume,) = volumes.values()
            found = preview(volume, manifest, limits)
            described = describe(volume, resolve_whole(volume, segmentation), found.crops)
    slices, rows, columns = volume.shape
    save_scan(
        output,
        **asdict(described),
        voxel_size=manifest.voxel_size,
        title=f"{path.name}: {slices} x {rows} x {columns} voxels of {manifest.voxel_size:g} m",
        verdict=words(found),
    )
    return found


def words(found: Preview) -> list[str]:
    """What the check would say, a line each."""
    verdict = "'check' would take it" if found.passed else "'check' would refuse it:"
    return [verdict, *found.critical, *found.of_set, *(f"warning: {each}" for each in found.warnings)]
