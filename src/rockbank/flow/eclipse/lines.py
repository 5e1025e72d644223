"""The lines of an Eclipse deck and of the files that it includes, without comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rockbank.core.errors import InputError

_DEEPEST = 20
# A path, which has slashes of its own, and the slash that ends it.
_INCLUDED = re.compile(
    r"""(?P<q>['"])(?P<quoted>.*?)(?P=q)\s*(?P<end>/.*)?|(?P<plain>\S+?)(?:\s+(?P<after>/.*)|(?P<at>/)(?:\s.*)?)?"""
)


class DeckError(InputError):
    """A deck that cannot be read; says file, line and keyword."""


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Lines:
    """The lines of a deck and of what it includes, without comments and empty lines."""

    def __init__(self, path: Path) -> None:
        self._root = path.parent
        self._open = [_numbered(path, str(path))]

    def __iter__(self) -> Iterator[tuple[Place, str]]:
        return self

    def __next__(self) -> tuple[Place, str]:
        while self._open:
            if (line := next(self._open[-1], None)) is not None:
                return line
            self._open.pop()
        raise StopIteration

    def take(self, name: str, place: Place) -> tuple[Place, str]:
        """The next line, which keyword `name` needs."""
        for at, text in self:
            return at, text
        raise DeckError(f"{place}: {name}: the deck ends before its '/'")

    def include(self, place: Place) -> None:
        """Go on with the file that the next line names, relative to the deck's folder; then come back.

        Its slash may stand on that line, or on the next.
        """
        _, text = self.take("INCLUDE", place)
        match = _INCLUDED.fullmatch(text)
        if match is None:
            raise DeckError(f"{place}: INCLUDE: expected a path and '/', got '{text}'; quote a path with blanks")
        name = match["quoted"] or match["plain"]
        if not (match["end"] or match["after"] or match["at"]):
            self._drop_slash()
        if len(self._open) > _DEEPEST:
            raise DeckError(
                f"{place}: INCLUDE: '{name}' is the {_DEEPEST}th within each other; does a file include itself?"
            )
        self._open.append(_numbered(self._root / name, f"{place}: INCLUDE: {self._root / name}"))

    def _drop_slash(self) -> None:
        """Take the next line of the same file if it is a slash."""
        following = next(self._open[-1], None)
        if following is not None and not following[1].startswith("/"):
            self._open[-1] = chain([following], self._open[-1])


def _numbered(path: Path, where: str) -> Iterator[tuple[Place, str]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DeckError(f"{where}: cannot be read ({error.strerror}); correct the path") from error
    for number, line in enumerate(lines, start=1):
        text = _without_comment(line).strip()
        if text:
            yield Place(path, number), text


def _without_comment(line: str) -> str:
    if "--" not in line:
        return line
    quote = ""
    for i, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif line.startswith("--", i):
            return line[:i]
    return line
