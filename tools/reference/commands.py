"""The page of the command line, of typer's application."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from rockbank.cli.main import app
from tools.reference.tables import code, table

# Their default is the machine's.
_OF_THE_MACHINE = ("workers",)


def page(root: Path) -> str:
    """Every command with its arguments and options."""
    parts = ["# Command line\n", "Of `rockbank --help` and of `--help` after each command, which say the same.\n"]
    for path, command in commands():
        context = typer.Context(command, info_name=" ".join(path))
        parts += [
            f"## {' '.join(path)}\n",
            f"```text\n{_usage(command, context)}\n```\n",
            f"{' '.join((command.help or '').split())}\n",
        ]
        rows = [_row(each, context) for each in command.params if each.name != "help"]
        if rows:
            parts.append(table(["option", "default", "what"], rows))
    return "\n".join(parts)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words; one that nobody has to name has the words of its group."""
    yield from _below(typer.main.get_command(app), ("rockbank",))


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        yield from _below(each, path if each.hidden else (*path, name))


def _usage(command: Any, context: typer.Context) -> str:
    usage: str = command.get_usage(context)
    return usage.removeprefix("Usage: ").replace("\n       ", "\n")


def _row(option: Any, context: typer.Context) -> list[str]:
    words, _ = option.get_help_record(context)
    plain = option.default is None or option.required or getattr(option, "is_flag", False)
    default = "" if plain or option.name in _OF_THE_MACHINE else option.default
    return [code(words), code(default), option.help or ""]
