"""The options of every command that reads scans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Paths = Annotated[list[Path], typer.Argument(help="files, or a folder of slices, which is one volume")]
VoxelSize = Annotated[float | None, typer.Option(help="metres, such as 60e-9; not needed where the files say it")]
Dataset = Annotated[
    str | None, typer.Option(help="which of several in a file: a data set, or a DICOM series by its UID")
]
NoData = Annotated[float | None, typer.Option(help="value of voxels that are no data, such as -9999")]
Mask = Annotated[
    str | None,
    typer.Option(help="where the rock is: 'cylinder' (inscribed in each slice), or a file with 0 elsewhere"),
]
AllowGaps = Annotated[bool, typer.Option("--allow-gaps", help="take a folder of slices with missing numbers as it is")]
