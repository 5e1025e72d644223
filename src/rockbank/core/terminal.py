"""Output of commands: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from rockbank.core.errors import UserError, is_of_a_full_disk

# Between two lines of progress where there is no terminal to draw a bar on.
LINE_SECONDS = 10.0
# `stdout` is for results; `terminal`, on standard error, for progress and errors.
stdout = Console(highlight=False, soft_wrap=True)
terminal = Console(stderr=True, highlight=False, soft_wrap=True)
_log = logging.getLogger(__name__)


@contextmanager
def report_user_errors() -> Iterator[None]:
    """Report what the user can mend, a line of standard error each, and exit with status 1; 130 for Ctrl-C.

    After `show_tracebacks` its traceback comes before. Any other error is a bug, and keeps its traceback.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        terminal.print("stopped; nothing is half written, and the same command takes it up again")
        raise SystemExit(130) from interrupt
    except (UserError, OSError) as error:
        _log.debug("where it was raised:", exc_info=error)
        is_full = isinstance(error, OSError) and not isinstance(error, UserError) and is_of_a_full_disk(error)
        remedy = "; free some room, and run the same command again" if is_full else ""
        for line in f"{error}{remedy}".splitlines():
            terminal.print(f"[bold red]error[/] {escape(line)}")
        raise SystemExit(1) from error


def show_tracebacks() -> None:
    """Have `report_user_errors` print the traceback of what it reports."""
    _log.addHandler(logging.StreamHandler())
    _log.setLevel(logging.DEBUG)


class Advance(Protocol):
    """Moves a progress bar on, and says in a few words how things stand."""

    def __call__(self, steps: float = 1, says: str = "") -> None: ...


@contextmanager
def progress(what: str, total: int, done: float = 0) -> Iterator[Advance]:
    """A progress bar on the terminal's standard error, or a line now and then where that is no terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[says]}"),
    )
    with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as bar:
        task = bar.add_task(what, total=total, says="")
        bar.update(task, completed=done)
        line = _Lines(what, total)

        def advance(steps: float = 1, says: str = "") -> None:
            nonlocal done
            done += steps
            # Parts of a whole add up to a hair less than it, of which the bar would show one less.
            bar.update(task, completed=min(round(done, 6), total))
            if says:
                bar.update(task, says=says)
            if not terminal.is_terminal:
                line.write(min(round(done, 6), total), says)

        yield advance
        if not terminal.is_terminal:
            line.write(min(round(done, 6), total), "", is_last=True)


class _Lines:
    """What a bar would say, as a line every LINE_SECONDS."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total, self._says = what, total, ""
        self._start = self._last = time.monotonic()

    def write(self, done: float, says: str, *, is_last: bool = False) -> None:
        self._says = says or self._says
        now = time.monotonic()
        if is_last or now - self._last >= LINE_SECONDS:
            self._last = now
            minutes = (now - self._start) / 60
            terminal.print(f"{self._what}: {done:g} of {self._total}, {minutes:.1f} min  {self._says}".rstrip())


def print_rows(rows: Mapping[str, str]) -> None:
    """A table of names and values on standard output."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    for key, value in rows.items():
        table.add_row(key, value)
    stdout.print(table)
