"""Commands of raw scans: `rockbank data`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track

from rockbank.cli.scan_options import AllowGaps, Dataset, Mask, NoData, Paths, VoxelSize
from rockbank.core.errors import InputError
from rockbank.core.paths import SCANNED
from rockbank.core.terminal import progress, stdout, terminal
from rockbank.params import PARAMS, load_params

if TYPE_CHECKING:
    from rockbank.data.preview import Limits

# Of `data show`, where the check would refuse the scan.
REFUSED = 3
Smoothing = Annotated[float, typer.Option(help="pixels; sigma of the Gaussian before the threshold")]
Threshold = Annotated[str, typer.Option(help="'otsu', or a grey value in [0, 1]")]
data_app = typer.Typer(no_args_is_help=True, help="The raw scans under data/.")


@data_app.command("add")
def data_add(
    paths: Paths,
    voxel_size: VoxelSize = None,
    smoothing: Smoothing = 1.5,
    threshold: Threshold = "otsu",
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
    """Add scans of 8, 16 or 32 bits: TIFF, raw with a side-car, HDF5, DICOM, Zarr, and others of the guide to them."""
    from rockbank.data.adding import ScanOptions, add_volumes
    from rockbank.data.manifest import SegmentationRule

    limits = _limits()
    added = add_volumes(
        paths,
        folder,
        options=ScanOptions(voxel_size=voxel_size, dataset=dataset, nodata=nodata, mask=mask, allow_gaps=allow_gaps),
        segmentation=SegmentationRule(smoothing=smoothing, threshold=_threshold(threshold)),
        licence=licence,
        source=source,
        limits=limits,
        replace=replace,
        dry_run=dry_run,
        progress=progress,
    )
    for each in added:
        entry = each.entry
        for warning in each.warnings:
            terminal.print(f"  warning: {entry.file}: {warning}")
        mask = "" if entry.mask is None else f", rock in {entry.mask}"
        what = "would add" if dry_run else "added"
        stdout.print(f"{what} {folder / entry.file}  {entry.voxel_size:g} m per voxel{mask}")
    if limits is None:
        terminal.print(f"no {PARAMS} is here, so that the limits of the data check were not looked at")
    if not dry_run:
        stdout.print(f"\nNext:\n  dvc add {folder}\n  dvc repro")


@data_app.command("show")
def data_show(
    path: Annotated[Path, typer.Argument(help="a file, or a folder of slices")],
    output: Annotated[Path, typer.Option("--output", "-o", help="the picture, PNG")] = Path("scan.png"),
    voxel_size: VoxelSize = None,
    smoothing: Smoothing = 1.5,
    threshold: Threshold = "otsu",
    dataset: Dataset = None,
    nodata: NoData = None,
    mask: Mask = None,
    allow_gaps: AllowGaps = False,
) -> None:
    """Draw a scan and say what the data check would say of it; nothing is added.

    The picture has the middle sections, grey values, S2, and porosity along the axes. Exit status: 0, or 3 where the
    check would refuse the scan.
    """
    from rockbank.data.adding import ScanOptions
    from rockbank.data.manifest import SegmentationRule
    from rockbank.workflows.show_scan import show_scan, words

    limits = _limits()
    if limits is None:
        raise InputError(f"{PARAMS}: no such file; run from the project's root, whose limits are looked at")
    found = show_scan(
        path,
        output,
        options=ScanOptions(voxel_size=voxel_size, dataset=dataset, nodata=nodata, mask=mask, allow_gaps=allow_gaps),
        segmentation=SegmentationRule(smoothing=smoothing, threshold=_threshold(threshold)),
        limits=limits,
        progress=progress,
    )
    stdout.print("\n".join(words(found)))
    stdout.print(f"wrote {output}")
    if not found.passed:
        raise typer.Exit(REFUSED)


def _limits() -> Limits | None:
    """Those of the project that the command is run in."""
    from rockbank.data.preview import Limits

    if not PARAMS.is_file():
        return None
    params = load_params()
    return Limits(prepare=params.prepare, check=params.check_of(SCANNED))


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
    replace: Annotated[bool, typer.Option("--replace", help="take the place of other volumes that lie there")] = False,
) -> None:
    """Make the synthetic Nano-CT shale that the repository's sample data is."""
    from rockbank.data.synthetic.shale import write_sample

    def tracked(slices: Iterable[int]) -> Iterable[int]:
        return track(slices, "drawing slices", console=Console(stderr=True))

    write_sample(folder, seed, tracked, replace=replace)
    stdout.print(f"wrote the synthetic shale to {folder}\n\nNext:\n  dvc add {folder}")
