"""What is wrong with several inputs, in one error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rockbank.core.errors import InputError

# Further lines say nothing new.
_MOST = 20


class Problems:
    """Collects the lines of errors, so that one error has all of them."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """Keeps an InputError of the block; its lines begin with where it is, "" where they say it themselves."""
        try:
            yield
        except InputError as error:
            self.lines += [f"{where}: {line}" if where else line for line in str(error).splitlines()]

    def require_none(self) -> None:
        """InputError with a line for each."""
        if self.lines:
            more = len(self.lines) - _MOST
            raise InputError("\n".join([*self.lines[:_MOST], *([f"and {more} more like these"] if more > 0 else [])]))
