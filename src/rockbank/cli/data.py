"""Commands of raw scans: `rockbank data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track

from rockbank.cli.scan_options import AllowGaps, Dataset, Mask, NoData, Paths, VoxelSize
from rockbank.core.errors import InputError
from rockbank.core.terminal import progress, stdout

data_app = typer.Typer(no_args_is_help=True, help="The raw scans under data/.")


@data_app.command("add")
def data_add(
    paths: Paths,
    voxel_size: VoxelSize = None,
    smoothing: Annotated[float, typer.Option(help="pixels; sigma of the Gaussian before the threshold")] = 1.5,
    threshold: Annotated[str, typer.Option(help="'otsu', or a grey value in [0, 1]")] = "otsu",
    licence: Annotated[str, typer.Option(help="of the scans, such as CC-BY-4.0")] = "not stated",
    source: Annotated[str, typer.Option(help="where the scans come from")] = "not stated",
    folder: Annotated[Path, typer.Option(help="where the volumes and their manifest lie")] = Path("data"),
    dataset: Dataset = None,
    nodata: NoData = None,
    mask: Mask = None,
    allow_gaps: AllowGaps = False,
    replace: Annotated[bool, typer.Option("--replace", help="take the place of the volumes that lie there")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be added, and write nothing")] = False,
) -> None:
    """Add scans: TIFF, PNG, npy, HDF5, or raw with a JSON side-car; 8, 16 or 32 bits."""
    from rockbank.data.adding import ScanOptions, add_volumes
    from rockbank.data.manifest import SegmentationRule

    entries = add_volumes(
        paths,
        folder,
        options=ScanOptions(voxel_size=voxel_size, dataset=dataset, nodata=nodata, mask=mask, allow_gaps=allow_gaps),
        segmentation=SegmentationRule(smoothing=smoothing, threshold=_threshold(threshold)),
        licence=licence,
        source=source,
        replace=replace,
        dry_run=dry_run,
        progress=progress,
    )
    for entry in entries:
        stdout.print(f"{'would add' if dry_run else 'added'} {folder / entry.file}  {entry.voxel_size:g} m per voxel")
    if not dry_run:
        stdout.print(f"\nNext:\n  dvc add {folder}\n  dvc repro")


def _threshold(text: str) -> float | Literal["otsu"]:
    if text == "otsu":
        return "otsu"
    try:
        return float(text)
    except ValueError:
        raise InputError(f"--threshold: got '{text}'; use 'otsu' or a grey value in [0, 1]") from None


@data_app.command("sample")
def data_sample(
    folder: Annotated[Path, typer.Option(help="where to write it")] = Path("data"),
    seed: Annotated[int, typer.Option(help="of the synthetic rock")] = 20,
) -> None:
    """Make the synthetic Nano-CT shale that the repository's sample data is."""
    from rockbank.data.synthetic.shale import write_sample

    write_sample(folder, seed, track=lambda each: track(each, "drawing slices", console=Console(stderr=True)))
    stdout.print(f"wrote the synthetic shale to {folder}\n\nNext:\n  dvc add {folder}")
