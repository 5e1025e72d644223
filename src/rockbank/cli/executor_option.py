"""The option of every command that spreads its work."""

from __future__ import annotations

from typing import Annotated

import typer

from rockbank.executors.choose import EXECUTORS

Executor = Annotated[
    str,
    typer.Option(
        envvar="ROCKBANK_EXECUTOR",
        help=f"where tasks run, one of {', '.join(EXECUTORS)}: processes here, a Ray cluster, or Slurm's jobs",
    ),
]
