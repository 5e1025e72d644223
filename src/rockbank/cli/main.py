"""The command `rockbank`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rockbank.cli.data import data_app
from rockbank.cli.drift import drift
from rockbank.cli.export import export_app
from rockbank.cli.flow import observe, simulate
from rockbank.cli.match import match_app
from rockbank.cli.models import import_, models, promote, register, rollback, show
from rockbank.cli.sample import sample
from rockbank.cli.serve import serve
from rockbank.cli.stage import stage
from rockbank.core.terminal import report_user_errors, show_tracebacks

_SCANS, _GENERATORS, _FLOW = "Scans", "Generators", "Flow"

_VERBOSE = "--verbose"


class _Group(TyperGroup):
    """Takes the option of all commands wherever it stands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments with that option first, but for a command that has one of the same name."""
        command = next((self.commands[each] for each in args if each in self.commands), None)
        if _VERBOSE in args and not (command and any(_VERBOSE in each.opts for each in command.params)):
            args = [_VERBOSE, *(each for each in args if each != _VERBOSE)]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A bank of rock generators: trained from scans, measured, gated, registered, sampled.",
)


@app.callback()
def rockbank(
    verbose: Annotated[bool, typer.Option(_VERBOSE, help="with the traceback of what fails")] = False,
) -> None:
    """Options of all commands."""
    if verbose:
        show_tracebacks()


app.add_typer(data_app, name="data", rich_help_panel=_SCANS)
app.command(rich_help_panel=_SCANS)(drift)
for command in (stage, models, show, register, promote, rollback, sample, serve):
    app.command(rich_help_panel=_GENERATORS)(command)
app.command("import", rich_help_panel=_GENERATORS)(import_)
app.add_typer(export_app, name="export", rich_help_panel=_GENERATORS)
app.command(rich_help_panel=_FLOW)(simulate)
app.command(rich_help_panel=_FLOW)(observe)
app.add_typer(
    match_app,
    name="match",
    help="Match a case's production history in a generator's latent space.",
    rich_help_panel=_FLOW,
)


def main() -> None:
    """Run the command; what the user can mend is one line on standard error, and exit status 1."""
    with report_user_errors():
        app()


if __name__ == "__main__":
    main()
