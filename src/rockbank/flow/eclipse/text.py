"""The text of an Eclipse deck: keywords, their records and items, each with its file and line."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.lines import DeckError, Lines, Place
from rockbank.flow.units import DECK_UNITS, METRIC, DeckUnits

SECTIONS = ("RUNSPEC", "GRID", "EDIT", "PROPS", "REGIONS", "SOLUTION", "SUMMARY", "SCHEDULE")
# A slash where a keyword should be, which other simulators pass over too.
SLASH = "/"
_REPORT = "RPT"
# Of a grid's cells and of a repeat count: more is a slip that would fill the memory.
MOST_NUMBERS = 100_000_000
_ITEM = re.compile(r"""'[^']*'|"[^"]*"|/|[^\s,/'"]+|['"]""")
_REPEATED = re.compile(r"(\d+)\*(.*)")
_NAME = re.compile(r"[A-Z][A-Z0-9_+-]{0,7}")
_LONGEST_NAME = 8
# Mnemonics of the summary by their first letter: of the field (no data), of wells, groups and regions (one record),
# of connections and blocks (records up to an empty one).
_SUMMARY = {"F": 0, "W": 1, "G": 1, "R": 1, "A": 1, "C": None, "B": None}


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
            value = float(text.upper().replace("D", "E"))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"item {i}: expected a number, got '{text}'")
        return value * self.units.scale(dimension)

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
            numbers = [float(item) for item in self.items]  # type: ignore[arg-type]
        except (TypeError, ValueError):
            numbers = [math.nan]
        if all(map(math.isfinite, numbers)):
            return numbers
        return [self.number(i) for i in range(1, len(self.items) + 1)]

    def has(self, i: int) -> bool:
        """Whether item i is given."""
        return i <= len(self.items) and self.items[i - 1] is not None

    def positive(self, i: int, dimension: str = "fraction") -> float | None:
        """Item i in SI; None where it is not given, or is 0 or less, which is a default too."""
        value = self.number(i, dimension, 0.0)
        return value if value > 0 else None

    def refuse(self, items: Sequence[int], why: str, *, default: float | None = None) -> None:
        """DeckError where any of these items is given.

        Args:
            items: counted from 1.
            why: in words.
            default: the largest number that says the same as no item; None is that every number says more.
        """
        for i in items:
            if self.has(i) and (default is None or self.number(i) > default):
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


def require_deck_names(names: Sequence[str]) -> None:
    """InputError with every name of a well that Eclipse could not hold."""
    wrong = [name for name in names
             if not 0 < len(name) <= _LONGEST_NAME or not name.isascii() or set(name) & set("'\"/* ")]  # fmt: skip
    if wrong:
        raise InputError(f"wells {wrong}: Eclipse takes names of up to {_LONGEST_NAME} characters, without blanks, "
                         "quotes, slashes and stars; rename them, or write neither deck nor summary")  # fmt: skip


def read_keywords(path: Path, n_records: Mapping[str, int | None]) -> Iterator[Keyword]:
    """The keywords of a deck up to END, those of included files at their place; a slash that ends nothing is SLASH.

    Args:
        path: of the deck.
        n_records: how many records each known keyword has; None is as many as come before an empty one.

    Raises:
        DeckError: naming file and line, for a keyword that is not known and for text that is not a deck's.
    """
    lines = Lines(path)
    section = ""
    units = METRIC
    for place, text in lines:
        if text.startswith(SLASH):
            yield Keyword(SLASH, place, section)
            continue
        name, rest = text.split()[0].upper(), " ".join(text.split()[1:])
        if not _NAME.fullmatch(name):
            raise DeckError(f"{place}: expected a keyword, got '{text}'; is a '/' missing or one too many above?")
        if rest and not rest.startswith(SLASH):
            raise DeckError(f"{place}: {name}: got '{rest}' on the keyword's line; put it on the next")
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
        elif name.startswith(_REPORT):
            n = 1
        elif section == "SUMMARY" and name[0] in _SUMMARY:
            n = _SUMMARY[name[0]]
        else:
            raise DeckError(f"{place}: keyword {name} is not supported{f' in section {section}' if section else ''}; "
                            "take it out if the run does not need it")  # fmt: skip
        # A slash on the keyword's own line ends its first record, or its list of records.
        ended = [Record(name, place, (), units)] if rest and n else []
        records = [] if rest and n is None else _records(name, place, n and n - len(ended), lines, units)
        yield Keyword(name, place, section, [*ended, *records])
        units = DECK_UNITS.get(name, units)


def _records(name: str, place: Place, n: int | None, lines: Lines, units: DeckUnits) -> Iterator[Record]:
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
            if int(match[1][:12]) > MOST_NUMBERS:
                raise DeckError(f"{place}: {name}: got {token}; repeat {MOST_NUMBERS} times at most")
            items.extend([match[2] or None] * int(match[1]))
        else:
            items.append(token)
    return False
