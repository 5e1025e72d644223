"""Commands of the flow simulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from rockbank.core.files import require_apart
from rockbank.core.terminal import print_rows, report_user_errors, stdout


def simulate(
    case: Annotated[Path, typer.Argument(help="a case file, such as cases/deepflow.yaml, or an Eclipse deck")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="NetCDF; else CASE.nc, here")] = None,
    picture: Annotated[Path | None, typer.Option(help="PNG of rates, pressures and maps")] = None,
    deck: Annotated[Path | None, typer.Option(help="write the case as an Eclipse deck too, NAME.DATA")] = None,
    summary: Annotated[
        bool, typer.Option("--summary", help="write an Eclipse summary beside the NetCDF, its name in capitals")
    ] = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="write EGRID, INIT and UNRST beside it too, which ResInsight opens")
    ] = False,
    method: Annotated[str | None, typer.Option(help="auto, sequential or newton; else the case's")] = None,
    tolerance: Annotated[float | None, typer.Option(help="of the sequential method; else the case's")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read and check the case, and write nothing")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="how each report step converged")] = False,
) -> None:
    """Simulate the flow of oil and water in a case."""
    from rockbank.flow.eclipse.summary_writer import summary_path
    from rockbank.workflows import simulate as step

    results = output or Path(f"{case.stem}.nc")
    outputs = step.Outputs(
        results=results,
        picture=picture,
        deck=deck,
        summary=summary_path(results) if summary else None,
        restart=restart,
    )
    loaded = step.load(case, method=method, tolerance=tolerance)
    outputs.check(loaded)
    _print_notes(loaded.notes)
    if dry_run:
        print_rows(step.about_case(loaded))
        return
    # Typer would end a Ctrl-C without a word.
    with report_user_errors():
        done = step.run(loaded, outputs)
    if verbose:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1))
        for column in ("step", "day", "method", "iterations", "cut into", "residual", "note"):
            table.add_column(column)
        for row in step.about_steps(done):
            table.add_row(*row)
        stdout.print(table)
    print_rows(step.about_case(loaded) | step.about_run(done))
    for path in done.written:
        stdout.print(f"wrote {path}")
    if done.stopped:
        stdout.print(f"note: {done.stopped}; the files have those alone")
        raise typer.Exit(130)


def observe(
    case: Annotated[Path, typer.Argument(help="a case file, such as cases/deepflow.yaml, or an Eclipse deck")],
    output: Annotated[Path, typer.Option("--output", "-o", help="CSV")] = Path("observations.csv"),
    observed: Annotated[
        str | None,
        typer.Option(help="such as 'INJ:bhp PROD:water_rate,oil_rate'; else injectors' pressures, producers' rates"),
    ] = None,
    sigma_bhp: Annotated[str | None, typer.Option(help="standard deviation of pressures, such as '2 bar'")] = None,
    sigma_rate: Annotated[str | None, typer.Option(help="standard deviation of rates, such as '9 m3/day'")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the noise; the same seed gives the same")] = 7,
    tolerance: Annotated[float | None, typer.Option(help="of the sequential method; else the case's")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="the observations that the case file names")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="read and check the case, and write nothing")] = False,
) -> None:
    """Make noisy observations of a case, to match against: its own rock is their truth."""
    from rockbank.workflows import observe as step
    from rockbank.workflows.simulate import about_case, load

    loaded = load(case, tolerance=tolerance)
    plan = step.Plan(
        observed=step.read_observed(observed, loaded),
        sigma=step.read_sigma(sigma_bhp, sigma_rate),
        seed=seed,
        output=output,
    )
    if not replace:
        require_apart([output], loaded.files, "give another name, or --replace")
    _print_notes(loaded.notes)
    print_rows(about_case(loaded) | step.about_plan(loaded, plan))
    if dry_run:
        return
    # Typer would end a Ctrl-C without a word.
    with report_user_errors():
        step.run(loaded, plan)
    stdout.print(f"wrote {output}")


def _print_notes(notes: Sequence[str]) -> None:
    """What the case's file asks that the simulator does otherwise."""
    for note in notes:
        stdout.print(f"note: {note}", markup=False)
