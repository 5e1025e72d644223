"""Commands as a person types them."""

from pathlib import Path

from typer.testing import CliRunner

from rockbank.cli.main import app


def said(*arguments: str | Path, status: int = 0) -> str:
    """What the command prints on standard output; an error of its own comes out as it is."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "120"}, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout
