"""The text of an Eclipse deck: keywords, their records and items, each with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.flow.units import DECK_UNITS, METRIC, DeckUnits

SECTIONS = ("RUNSPEC", "GRID", "EDIT", "PROPS", "REGIONS", "SOLUTION", "SUMMARY", "SCHEDULE")
_ITEM = re.compile(r"""'[^']*'|"[^"]*"|/|[^\s,/'"]+|['"]""")
_REPEATED = re.compile(r"(\d+)\*(.*)")
_NAME = re.compile(r"[A-Z][A-Z0-9_+-]{0,7}")
_DEEPEST = 20
_LONGEST_NAME = 8
# Mnemonics of the summary by their first letter: of the field (no data), of wells, groups and regions (one record),
# of connections and blocks (records up to an empty one).
_SUMMARY = {"F": 0, "W": 1, "G": 1, "R": 1, "A": 1, "C": None, "B": None}


class DeckError(InputError):
    """A deck that cannot be read; says file, line and keyword."""


@dataclass(frozen=True)
class Place:
    """Where something stands."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Record:
    """Items up to a slash; None is a default. Items are counted from 1, as Eclipse's manual does.

    Attributes:
        keyword: to which it belongs.
        place: of its first item.
        items: as they stand, without quotes; repeats expanded.
        units: of the deck.
    """

    keyword: str
    place: Place
    items: Sequence[str | None]
    units: DeckUnits = METRIC

    def text(self, i: int, default: str | None = None) -> str:
        """Item i; its default where it is not given."""
        got = self.items[i - 1] if i <= len(self.items) else None
        if got is None:
            got = default
        if got is None:
            raise self.error(f"item {i} has no default; give it")
        return got

    def number(self, i: int, dimension: str = "fraction", default: float | None = None) -> float:
        """Item i in SI; `default` is in SI too."""
        if not self.has(i) and default is not None:
            return default
        text = self.text(i)
        try:
            return float(text.upper().replace("D", "E")) * self.units.scale(dimension)
        except ValueError:
            raise self.error(f"item {i}: expected a number, got '{text}'") from None

    def whole(self, i: int, default: int | None = None) -> int:
        """Item i as a whole number."""
        text = self.text(i, None if default is None else str(default))
        try:
            return int(text)
        except ValueError:
            raise self.error(f"item {i}: expected a whole number, got '{text}'") from None

    def numbers(self) -> list[float]:
        """All items, none of them a default, in the deck's units."""
        try:
            return [float(item) for item in self.items]  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return [Record(self.keyword, self.place, (item,)).number(1) for item in self.items]

    def has(self, i: int) -> bool:
        """Whether item i is given."""
        return i <= len(self.items) and self.items[i - 1] is not None

    def refuse(self, items: Sequence[int], why: str) -> None:
        """DeckError where any of these items is given."""
        for i in items:
            if self.has(i):
                raise self.error(f"item {i}: got '{self.items[i - 1]}'; {why}")

    def error(self, why: str) -> DeckError:
        """The error to raise."""
        return DeckError(f"{self.place}: {self.keyword}: {why}")


@dataclass(frozen=True)
class Keyword:
    """A keyword with its records."""

    name: str
    place: Place
    section: str
    records: list[Record] = field(default_factory=list)

    @property
    def record(self) -> Record:
        """The only record."""
        return self.records[0]

    def error(self, why: str) -> DeckError:
        """The error to raise."""
        return DeckError(f"{self.place}: {self.name}: {why}")


def deck_name(name: str) -> str:
    """A well's name; InputError where Eclipse could not hold it."""
    if not 0 < len(name) <= _LONGEST_NAME or not name.isascii() or set(name) & set("'\"/* "):
        raise InputError(f"well '{name}': Eclipse takes names of up to {_LONGEST_NAME} characters, without blanks, "
                         "quotes, slashes and stars; rename it")  # fmt: skip
    return name


def read_keywords(path: Path, n_records: Mapping[str, int | None]) -> Iterator[Keyword]:
    """The keywords of a deck up to END, those of included files at their place.

    Args:
        path: of the deck.
        n_records: how many records each known keyword has; None is as many as come before an empty one.

    Raises:
        DeckError: naming file and line, for a keyword that is not known and for text that is not a deck's.
    """
    lines = _Lines(path)
    section = ""
    units = METRIC
    for place, text in lines:
        name, *rest = text.split()
        name = name.upper()
        if not _NAME.fullmatch(name):
            raise DeckError(f"{place}: expected a keyword, got '{text}'; is a '/' missing or one too many above?")
        if any(each != "/" for each in rest):
            raise DeckError(f"{place}: {name}: got '{' '.join(rest)}' on the keyword's line; put it on the next")
        if name == "END":
            return
        if name == "INCLUDE":
            lines.include(place)
            continue
        if name in SECTIONS:
            section = name
        if name == "TITLE":
            there, title = lines.take("TITLE", place)
            yield Keyword(name, place, section, [Record(name, there, (title,))])
            continue
        if name in n_records:
            n = n_records[name]
        elif section == "SUMMARY" and name[0] in _SUMMARY:
            n = _SUMMARY[name[0]]
        else:
            raise DeckError(f"{place}: keyword {name} is not supported{f' in section {section}' if section else ''}; "
                            "take it out if the run does not need it")  # fmt: skip
        yield Keyword(name, place, section, list(_records(name, place, n, lines, units)))
        units = DECK_UNITS.get(name, units)


def _records(name: str, place: Place, n: int | None, lines: _Lines, units: DeckUnits) -> Iterator[Record]:
    count = 0
    while n is None or count < n:
        items: list[str | None] = []
        there, closed = place, False
        while not closed:
            at, text = lines.take(name, place)
            there = there if items else at
            closed = _add_items(items, text, name, at)
        if n is None and not items:
            return
        yield Record(name, there, items, units)
        count += 1


def _add_items(items: list[str | None], text: str, name: str, place: Place) -> bool:
    """Add the items of one line; whether a slash ended the record. What follows the slash is a comment."""
    for token in _ITEM.findall(text):
        if token == "/":
            return True
        if token in ("'", '"'):
            raise DeckError(f"{place}: {name}: a quote is not closed: {text}")
        if token[0] in "'\"":
            items.append(token[1:-1])
        elif match := _REPEATED.fullmatch(token):
            items.extend([match[2] or None] * int(match[1]))
        else:
            items.append(token)
    return False


class _Lines:
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
        """Go on with the file that the next line names, relative to the deck's folder; then come back."""
        _, text = self.take("INCLUDE", place)
        quoted = re.match(r"""'([^']*)'|"([^"]*)\"""", text)
        name = (quoted[1] or quoted[2]) if quoted else text.split()[0].removesuffix("/")
        if len(self._open) > _DEEPEST:
            raise DeckError(
                f"{place}: INCLUDE: '{name}' is the {_DEEPEST}th within each other; does a file include itself?"
            )
        self._open.append(_numbered(self._root / name, f"{place}: INCLUDE: {self._root / name}"))


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
