"""The commands `rockbank export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rockbank.cli.serve import needs_the_service
from rockbank.core.terminal import report_user_errors, stdout

export_app = typer.Typer(no_args_is_help=True, help="Write registered generators for other servers.")


@export_app.callback()
def export() -> None:
    """Write registered generators for other servers."""


@export_app.command()
def triton(
    folder: Annotated[Path, typer.Argument(help="of the model repository, a new one", metavar="DIR")],
    models: Annotated[
        str, typer.Option(help="NAME@ALIAS or NAME/VERSION, separated by commas")
    ] = "shale@champion,channels@champion",
) -> None:
    """Write a model repository for Triton: each verified graph, and its configuration as the service tells it."""
    with report_user_errors():
        with needs_the_service():
            from serving.base.settings import load_settings
            from serving.triton_repository import write_repository
        references = [each.strip() for each in models.split(",") if each.strip()]
        for line in write_repository(folder, references, load_settings()):
            stdout.print(f"wrote {line}", soft_wrap=True)
