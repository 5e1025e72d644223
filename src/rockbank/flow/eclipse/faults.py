"""What is wrong with a deck: all of it, each fault once, without what only follows from another one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.keywords import REFUSED
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.text import Keyword

# Of what the deck has none where one of these could not be read.
_RADIAL = ("RADIAL", "SPIDER", "INRAD", "DR", "DRV", "DTHETA", "DTHETAV", "GDFILE")
_IN_PLACE_OF = {
    "initial": ("RESTART", "EQUIL", "PRESSURE", "SWAT", "SOIL"),
    **dict.fromkeys(("DX", "DY", "DZ", "TOPS"), _RADIAL),
    "report": ("TSTEP", "DATES"),
    "SOF2": ("SOF3",),
    "SWOF": ("SWOFLET", "SWFN", "SOF2", "SOF3", "SGOF"),
    "PVDO": ("PVTO", "PVCO", "PVCDO"),
}


class Faults:
    """Faults as they are found.

    Args:
        path: of the deck, whose name stands before what has no line.
        on_loss: called with each keyword that could not be read.

    Attributes:
        lost: names of keywords, arrays and files that were given, but could not be read.
    """

    def __init__(self, path: Path, on_loss: Callable[[Keyword], None]) -> None:
        self.lost: set[str] = set()
        self._path = path
        self._on_loss = on_loss
        self._lines: dict[str, None] = {}
        self._unknown: dict[str, Keyword] = {}
        self._n_unknown: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return bool(self._lines or self._unknown)

    @property
    def has_errors(self) -> bool:
        """Whether there are others than unknown keywords."""
        return bool(self._lines)

    @contextmanager
    def caught(self, keyword: Keyword | None = None) -> Iterator[None]:
        """Keeps the error of what is done within, and goes on behind it."""
        try:
            yield
        except InputError as error:
            if keyword is not None:
                self.lose(keyword)
            self.refuse(error)

    def refuse(self, error: InputError) -> None:
        """Keep an error, unless it only says that something is missing which could not be read."""
        text = str(error)
        missing = text.split()[4].strip(";,") if text.startswith("the deck has no ") else ""
        is_consequence = bool(self.lost & {missing, *_IN_PLACE_OF.get(missing, ()), *(("INCLUDE",) if missing else ())})
        if isinstance(error, DeckError):
            self.lost.add(text.removeprefix(f"{self._path}").split(": ")[1] if ": " in text else "")
            self._lines[text] = None
        elif not is_consequence:
            self._lines[f"{self._path}: {text}"] = None

    def lose(self, keyword: Keyword) -> None:
        """Remember that a keyword could not be read."""
        self.lost.add(keyword.name)
        self._on_loss(keyword)

    def unknown(self, keyword: Keyword) -> None:
        """Keep a keyword that is not supported."""
        self._unknown.setdefault(keyword.name, keyword)
        self._n_unknown[keyword.name] += 1
        self.lose(keyword)

    def error(self) -> DeckError:
        """All of them in one."""
        return DeckError("\n".join([*self._unknown_ones(), *self._lines]))

    def _unknown_ones(self) -> Iterator[str]:
        for name, keyword in self._unknown.items():
            more = f" (and {self._n_unknown[name] - 1} more)" if self._n_unknown[name] > 1 else ""
            section = f" in section {keyword.section}" if keyword.section else ""
            why = REFUSED.get(name, "take it out if the run does not need it")
            yield f"{keyword.place}: keyword {name} is not supported{section}{more}; {why}"
