"""The commands `rockbank match`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from typer.core import TyperCommand, TyperGroup

from rockbank.cli.executor_option import Executor
from rockbank.core.files import whole_files
from rockbank.core.terminal import print_rows, report_user_errors, stdout
from rockbank.executors.choose import LOCAL, check_executor
from rockbank.matching.methods.table import iterations_in_words, methods_in_words


class _MatchGroup(TyperGroup):
    """`rockbank match` is itself a command: what is none of its commands is a case file, or an option of the run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the name of the default command before them where none is named."""
        if not args:
            args = [_MATCH, "--help"]
        elif args[0] not in self.commands:
            args = [_MATCH, *args]
        return super().parse_args(ctx, args)


class _MatchCommand(TyperCommand):
    """That default command, which nobody has to name."""

    def get_usage(self, ctx: Any) -> str:
        """How to call it and its siblings."""
        return "Usage: rockbank match [OPTIONS] [CASE]\n       rockbank match status|resume|report RUN"


_MATCH = "run"
match_app = typer.Typer(cls=_MatchGroup)
RunFolder = Annotated[Path, typer.Argument(help="a run's folder, such as matches/deepflow-rml", metavar="RUN")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="tasks of one thread at a time; else one for each core, of the Ray cluster too"),
]


@match_app.command(_MATCH, hidden=True, cls=_MatchCommand)
def match(
    case: Annotated[Path, typer.Argument(help="a file with a section 'matching'", metavar="CASE")] = Path(
        "cases/deepflow.yaml"
    ),
    generator: Annotated[str | None, typer.Option(help="NAME@ALIAS or NAME/VERSION; else the case's")] = None,
    method: Annotated[
        str | None,
        typer.Option(help=f"one of the following; else the case's. {methods_in_words()}"),
    ] = None,
    members: Annotated[int | None, typer.Option(min=1, help="how many; else the case's")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of all that is random; else the case's")] = None,
    terms: Annotated[str, typer.Option(help="which count beside the prior")] = "flow,wells",
    scaling: Annotated[str, typer.Option(help="posterior, or published as in DeepFlow's code")] = "posterior",
    iterations: Annotated[
        int | None, typer.Option(min=1, help=f"of each member, at most: {iterations_in_words()}")
    ] = None,
    edges: Annotated[
        float | None,
        typer.Option(help="1/cell, that the edges of bodies are softened to; else 4, and 40 softens none"),
    ] = None,
    workers: Workers = None,
    executor: Executor = LOCAL,
    name: Annotated[str | None, typer.Option(help="of the folder in matches/; else made of case and method")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check all, say what would run, and write nothing")
    ] = False,
) -> None:
    """Match a case's production history in a generator's latent space, into a folder of its own in matches/.

    A run that was stopped or killed goes on by 'resume', with the same result; 'status' tells how far its members are.
    """
    from rockbank.workflows import match as step
    from rockbank.workflows.match_request import MatchRequest

    request = MatchRequest(
        generator=generator,
        method=method,
        members=members,
        seed=seed,
        terms=terms,
        scaling=scaling,
        iterations=iterations,
        edges=edges,
        name=name,
    )
    with report_user_errors():
        check_executor(executor, workers)
        if dry_run:
            from rockbank.workflows.match_about import about

            print_rows(about(case, request, workers or os.cpu_count() or 1))
            return
        folder = step.begin(case, request)
        stdout.print(f"run {folder}")
        step.go_on(folder, workers, executor)
    _print_results(folder)


@match_app.command("status")
def match_status(run: RunFolder) -> None:
    """Tell how far the members of a run are."""
    from rockbank.workflows.match_about import status

    with report_user_errors():
        rows, rest = status(run)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("member", "status", "iterations", "objective", "J", "accuracy", "cost"):
        table.add_column(column, no_wrap=column != "status")
    for row in rows:
        table.add_row(*row)
    stdout.print(table)
    print_rows(rest)


@match_app.command("resume")
def match_resume(run: RunFolder, workers: Workers = None, executor: Executor = LOCAL) -> None:
    """Go on with a run that was stopped or killed."""
    from rockbank.workflows import match as step

    with report_user_errors():
        step.go_on(run, workers, executor)
    _print_results(run)


@match_app.command("report")
def match_report(
    run: RunFolder,
    workers: Workers = None,
    executor: Executor = LOCAL,
    compact: Annotated[
        bool, typer.Option("--compact", help="posterior.nc in as little room as the report allows, without the rock")
    ] = False,
) -> None:
    """Write the report of a run's members as they are now; of a run without checkpoints, that of its posterior.nc."""
    from rockbank.workflows import match as step

    with report_user_errors():
        step.report(run, workers, executor, is_compact=compact)
    _print_results(run)


def _print_results(folder: Path) -> None:
    for path in whole_files(folder, "*.*"):
        if path.suffix in (".html", ".nc", ".csv"):
            stdout.print(f"wrote {path}")
