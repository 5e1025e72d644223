"""A record of an Eclipse deck: items up to a slash, counted from 1 as the manual does."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import overload

import numpy as np
from jaxtyping import Float

from rockbank.flow.eclipse.lines import DeckError, Place
from rockbank.flow.units import METRIC, DeckUnits

# Names of UDQ: of wells, groups, the field.
_OF_USER = re.compile(r"[WGFwgf][Uu]\w")
# Of the numbers of a record that is no array of cells.
_MOST_ROWS = 1_000_000


class Items(Sequence[str | None]):
    """Items of a record, None for a default; repeats are kept as they stand, so that 1000*1 takes the room of one."""

    def __init__(self, runs: Sequence[tuple[int, str | None]] = ()) -> None:
        self._runs = list(runs)
        self._ends = list(accumulate(count for count, _ in self._runs))

    def add(self, count: int, text: str | None) -> None:
        """Put `count` of an item behind the others."""
        self._runs.append((count, text))
        self._ends.append(len(self) + count)

    @property
    def runs(self) -> Sequence[tuple[int, str | None]]:
        """Each item with how often it comes."""
        return self._runs

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, i: int) -> str | None: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[str | None]: ...
    def __getitem__(self, i: int | slice) -> str | Sequence[str | None] | None:
        if isinstance(i, slice):
            return [self[at] for at in range(*i.indices(len(self)))]
        if not -len(self) <= i < len(self):
            raise IndexError(i)
        return self._runs[bisect_right(self._ends, i % len(self))][1]

    def numbers(self) -> Float[np.ndarray, " n"]:
        """All of them; NaN for what is no number."""
        values = np.array([math.nan if text is None else as_number(text) for _, text in self._runs], dtype=float)
        return np.repeat(values, [count for count, _ in self._runs])


def as_number(text: str) -> float:
    """A number as Fortran writes it; NaN for what is none."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        pass
    try:
        return float(text.upper().replace("D", "E")) if text[-1:].isdigit() or text[-1:] == "." else math.nan
    except ValueError:
        return math.nan


@dataclass(frozen=True)
class Record:
    """Items up to a slash; None is a default. Items are counted from 1, as Eclipse's manual does.

    Attributes:
        keyword: to which it belongs.
        place: of its first item.
        items: as they stand, without quotes.
        units: of the deck.
    """

    keyword: str
    place: Place
    items: Items
    units: DeckUnits = METRIC

    def text(self, i: int, default: str | None = None) -> str:
        """Item i; its default where it is not given."""
        got = self.items[i - 1] if i <= len(self.items) else None
        if got is None:
            got = default
        if got is None:
            raise self.error(f"item {i} has no default; give it")
        return got

    def choice(self, i: int, known: Sequence[str], default: str | None = None) -> str:
        """Item i, one of some words in capitals."""
        got = self.text(i, default).upper()
        if got not in known:
            raise self.error(f"item {i}: got '{got}'; use {', '.join(known[:-1])} or {known[-1]}")
        return got

    def number(self, i: int, dimension: str = "fraction", default: float | None = None) -> float:
        """Item i in SI; `default` is in SI too."""
        if not self.has(i) and default is not None:
            return default
        text = self.text(i)
        value = as_number(text)
        if not math.isfinite(value) and _OF_USER.match(text):
            raise self.error(
                f"item {i}: got '{text}', a quantity of the user's; the schedule does not depend on results"
            )
        if not math.isfinite(value):
            raise self.error(f"item {i}: expected a number, got '{text}'")
        return value * self.units.scale(dimension)

    def whole(self, i: int, default: int | None = None) -> int:
        """Item i as a whole number."""
        text = self.text(i, None if default is None else str(default))
        value = as_number(text)
        if not value.is_integer():
            raise self.error(f"item {i}: expected a whole number, got '{text}'")
        return int(value)

    def numbers(self, n: int | None = None) -> Float[np.ndarray, " n"]:
        """All items, none of them a default, in the deck's units.

        Args:
            n: how many there have to be; None is any number.
        """
        if n is not None and len(self.items) != n:
            raise self.error(f"got {len(self.items)} numbers for {n} cells")
        if n is None and len(self.items) > _MOST_ROWS:
            raise self.error(f"got {len(self.items)} numbers; give {_MOST_ROWS} at most")
        numbers = self.items.numbers()
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if wrong.size:
            self.number(int(wrong[0]) + 1)
        return numbers

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
