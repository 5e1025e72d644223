"""The command `rockbank drift`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from rockbank.core.terminal import print_rows, report_user_errors, stdout


def drift(
    paths: Annotated[list[Path], typer.Argument(help="files, or a folder of slices, which is one volume")],
    voxel_size: Annotated[float | None, typer.Option(help="metres, such as 60e-9")] = None,
    model: Annotated[
        str | None, typer.Option(help="compare with what NAME@ALIAS was registered with, not with the training crops")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="the report, HTML")] = Path("drift.html"),
    n: Annotated[int, typer.Option(min=64, max=100_000, help="crops of the new scans")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="of the crops and of the limits' resampling")] = 7,
    dataset: Annotated[str | None, typer.Option(help="which data set of an HDF5 file")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="read and cut the scans, say what would be compared, and write nothing")
    ] = False,
) -> None:
    """Compare new scans with the rock that the generators learnt from, before they are added.

    Takes what 'data add' takes. Exit status: 0 within the limits, 3 over one, 1 where nothing could be compared.
    """
    from rockbank.drift import compare as step
    from rockbank.drift.scans import DriftRequest, about, load, retrain_commands

    request = DriftRequest(paths=tuple(paths), voxel_size=voxel_size, dataset=dataset, model=model, n=n, seed=seed)
    # Typer would end a Ctrl-C without a word.
    with report_user_errors():
        plan = load(
            request,
            track=lambda each: track(each, "reading scans", console=Console(stderr=True)),
        )
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
