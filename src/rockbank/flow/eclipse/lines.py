"""The lines of an Eclipse deck and of the files that it includes, without comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rockbank.core.errors import InputError

_DEEPEST = 20
# Files of a deck, and bytes of a file: more is a slip that would take for ever or fill the memory.
_MOST_FILES, _MOST_BYTES = 2000, 2**31
_PART_BYTES = 2**22
# A path, which has slashes of its own, and the slash that ends it.
_INCLUDED = re.compile(
    r"""(?P<q>['"])(?P<quoted>.*?)(?P=q)\s*(?P<end>/.*)?|(?P<plain>\S+?)(?:\s+(?P<after>/.*)|(?P<at>/)(?:\s.*)?)?"""
)
_ALIAS = re.compile(r"\$(\w+)")
_END_OF_LINE = re.compile(r"\r\n|\n|\r")


class DeckError(InputError):
    """A deck that cannot be read; says file, line and keyword."""


class EndlessDeckError(DeckError):
    """A deck whose includes do not end."""


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
        self._aliases: dict[str, str] = {}
        self._open: list[tuple[Path, Iterator[tuple[Place, str]]]] = []
        # Those that were opened, in their order.
        self.files: list[Path] = []
        self._enter(path, str(path))

    def __iter__(self) -> Iterator[tuple[Place, str]]:
        return self

    def __next__(self) -> tuple[Place, str]:
        while self._open:
            for place, text in self._open[-1][1]:
                if text:
                    return place, text
            self._open.pop()
        raise StopIteration

    def put_back(self, place: Place, text: str) -> None:
        """Give a line once more."""
        if not self._open:
            self._open.append((place.file, iter(())))
        path, rest = self._open[-1]
        self._open[-1] = path, chain([(place, text)], rest)

    def take(self, name: str, place: Place) -> tuple[Place, str]:
        """The next line, which keyword `name` needs."""
        for at, text in self:
            return at, text
        raise DeckError(f"{place}: {name}: the deck ends before its '/'")

    def is_blank_next(self) -> bool:
        """Whether the next line of the same file is empty; it is then gone."""
        if self._open and (following := next(self._open[-1][1], None)) is not None:
            if following[1]:
                self.put_back(*following)
            return not following[1]
        return False

    def name_path(self, alias: str, path: str) -> None:
        """An alias of PATHS, for which $ALIAS stands in the paths of INCLUDE."""
        self._aliases[alias] = path

    def end_file(self) -> None:
        """ENDINC: what follows in this file does not count."""
        self._open[-1] = self._open[-1][0], iter(())

    def include(self, place: Place) -> None:
        """Go on with the file that the next line names, relative to the deck's folder; then come back.

        Its slash may stand on that line, or on the next.
        """
        _, text = self.take("INCLUDE", place)
        match = _INCLUDED.fullmatch(text)
        if match is None:
            raise DeckError(f"{place}: INCLUDE: expected a path and '/', got '{text}'; quote a path with blanks")
        name = _ALIAS.sub(lambda of: self._aliases.get(of[1], of[0]), match["quoted"] or match["plain"])
        if not (match["end"] or match["after"] or match["at"]):
            self._drop_slash()
        self._enter(self._root / name.replace("\\", "/"), f"{place}: INCLUDE: {self._root / name}")

    def _enter(self, path: Path, where: str) -> None:
        try:
            real = path.resolve()
            if real.exists() and not real.is_file():
                raise DeckError(f"{where}: is a folder or a device; name a file")
            if any(real == other for other, _ in self._open):
                raise EndlessDeckError(f"{where}: is included within itself; take that out")
            self.files.append(real)
            if len(self._open) > _DEEPEST or len(self.files) > _MOST_FILES:
                raise EndlessDeckError(f"{where}: is the {len(self.files)}th file, {len(self._open)} of them within "
                                       f"each other; at most {_MOST_FILES} and {_DEEPEST} are read")  # fmt: skip
            self._open.append((real, _numbered(path, _text(real))))
        except (OSError, ValueError, RuntimeError) as error:
            if isinstance(error, DeckError):
                raise
            reason = getattr(error, "strerror", None) or error
            raise DeckError(f"{where}: cannot be read ({reason}); correct the path") from error

    def _drop_slash(self) -> None:
        """Take the next line of the same file if it is a slash."""
        for place, text in self._open[-1][1]:
            if text and not text.startswith("/"):
                self.put_back(place, text)
            if text:
                return


def _text(path: Path) -> str:
    raw = bytearray()
    with path.open("rb") as file:
        # By and by: a single read would set aside room for the most that there may be.
        while part := file.read(_PART_BYTES):
            raw += part
            if len(raw) > _MOST_BYTES:
                raise OSError(0, f"it has more than {_MOST_BYTES} bytes")
    return raw.decode("utf-8-sig", errors="replace")


def _numbered(path: Path, text: str) -> Iterator[tuple[Place, str]]:
    for number, line in enumerate(_END_OF_LINE.split(text), start=1):
        yield Place(path, number), _without_comment(line).strip()


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
