"""The command `rockbank serve`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from rockbank.core.errors import UserError


class ExtraMissing(UserError, RuntimeError):
    """A part of the command needs what is not installed."""


@contextmanager
def needs_the_service() -> Iterator[None]:
    """For imports of the service: ExtraMissing where a library of its extra is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExtraMissing(
            f"'{error.name}' is not installed; the service needs its extra: pip install 'rockbank[serve]'"
        ) from error


def serve(
    host: Annotated[str | None, typer.Option(help="address to listen on; else ROCKBANK_HOST, 127.0.0.1")] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one; else ROCKBANK_PORT, 8000")] = None,
    models: Annotated[
        str | None, typer.Option(help="NAME@ALIAS, separated by commas; else ROCKBANK_MODELS, both champions")
    ] = None,
) -> None:
    """Serve the registered generators over HTTP, and follow the registry; every setting is a ROCKBANK_ variable."""
    with needs_the_service():
        from serving.base.settings import load_settings
        from serving.run import run
    run(load_settings(host=host, port=port, models=models), typer.echo)
