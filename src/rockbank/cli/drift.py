"""The command `rockbank drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rockbank.cli.scan_options import AllowGaps, Dataset, Mask, NoData, Paths, VoxelSize
from rockbank.core.files import require_apart
from rockbank.core.terminal import print_rows, progress, report_user_errors, stdout


def drift(
    paths: Paths,
    voxel_size: VoxelSize = None,
    model: Annotated[
        str | None, typer.Option(help="compare with what NAME@ALIAS was registered with, not with the training crops")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="the report, HTML")] = Path("drift.html"),
    n: Annotated[int, typer.Option(min=64, max=100_000, help="crops of the new scans")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the crops and of the limits' resampling")] = 7,
    dataset: Dataset = None,
    nodata: NoData = None,
    mask: Mask = None,
    allow_gaps: AllowGaps = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="read and cut the scans, say what would be compared, and write nothing")
    ] = False,
) -> None:
    """Compare new scans with the rock that the generators learnt from, before they are added.

    Takes what 'data add' takes. Exit status: 0 within the limits, 3 over one, 1 where nothing could be compared.
    """
    from rockbank.data.adding import ScanOptions
    from rockbank.drift import compare as step
    from rockbank.drift.scans import DriftRequest, about, load, retrain_commands

    options = ScanOptions(voxel_size=voxel_size, dataset=dataset, nodata=nodata, mask=mask, allow_gaps=allow_gaps)
    require_apart([output], [*paths, *([] if mask is None else [Path(mask)])])
    request = DriftRequest(paths=tuple(paths), options=options, model=model, n=n, seed=seed)
    # Typer would end a Ctrl-C without a word.
    with report_user_errors():
        plan = load(request, progress=progress)
        print_rows(about(plan))
        if dry_run:
            return
        found = step.run(plan)
        from rockbank.drift.report import write_report

        write_report(output, found)
    table = Table("statistic", "new", "reference", "Wasserstein", "KS", box=SIMPLE_HEAD, padding=(0, 1))
    for name, each in found.compared.items():
        table.add_row(
            step.STATISTICS[name],
            f"{each.new:.3g}",
            f"{each.reference:.3g}",
            _against(each.distances.wasserstein, each.limits.wasserstein),
            _against(each.distances.ks, each.limits.ks),
        )
    stdout.print(table)
    stdout.print(f"{step.words(found)}\nwrote {output}")
    if found.over:
        commands = "\n".join(f"  {each}" for each in retrain_commands(plan))
        stdout.print(f"\nTo train on them as well (with --replace after 'add', on them alone):\n{commands}")
        raise typer.Exit(step.DRIFTED)


def _against(distance: float, limit: float) -> str:
    text = f"{distance:.3g} {'>' if distance > limit else '≤'} {limit:.3g}"
    return f"[bold red]{text}[/]" if distance > limit else text
