"""Commands of raw scans: `rockbank data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import track

from rockbank.core.errors import InputError
from rockbank.core.terminal import stdout

data_app = typer.Typer(no_args_is_help=True, help="The raw scans under data/.")


@data_app.command("add")
def data_add(
    paths: Annotated[list[Path], typer.Argument(help="files, or a folder of slices, which is one volume")],
    voxel_size: Annotated[float | None, typer.Option(help="metres, such as 60e-9")] = None,
    smoothing: Annotated[float, typer.Option(help="pixels; sigma of the Gaussian before the threshold")] = 1.5,
    threshold: Annotated[str, typer.Option(help="'otsu', or a grey value in [0, 1]")] = "otsu",
    licence: Annotated[str, typer.Option(help="of the scans, such as CC-BY-4.0")] = "not stated",
    source: Annotated[str, typer.Option(help="where the scans come from")] = "not stated",
    folder: Annotated[Path, typer.Option(help="where the volumes and their manifest lie")] = Path("data"),
    dataset: Annotated[str | None, typer.Option(help="which data set of an HDF5 file")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="take the place of the volumes that lie there")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be added, and write nothing")] = False,
) -> None:
    """Add scans: TIFF, PNG, npy, HDF5, or raw with a JSON side-car; 8, 16 or 32 bits."""
    from rockbank.data.manifest import SegmentationRule
    from rockbank.data.volumes import add_volumes

    entries = add_volumes(
        paths,
        folder,
        voxel_size=voxel_size,
        segmentation=SegmentationRule(smoothing=smoothing, threshold=_threshold(threshold)),
        licence=licence,
        source=source,
        dataset=dataset,
        replace=replace,
        dry_run=dry_run,
        track=lambda each: track(each, "reading scans", console=Console(stderr=True)),
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
