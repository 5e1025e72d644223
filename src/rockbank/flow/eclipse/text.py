"""The text of an Eclipse deck: keywords, their records and items, each with its file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.lines import DeckError, EndlessDeckError, Lines, Place
from rockbank.flow.eclipse.record import Items, Record
from rockbank.flow.units import DECK_UNITS, METRIC

SECTIONS = ("RUNSPEC", "GRID", "EDIT", "PROPS", "REGIONS", "SOLUTION", "SUMMARY", "SCHEDULE")
# A slash where a keyword should be, which other simulators pass over too.
SLASH = "/"
# What is reported, and of which regions.
_REPORTS = ("RPT", "FIP")
# Of a grid's cells and of a record: more is a slip.
MOST_NUMBERS = 100_000_000
_ITEM = re.compile(r"""(?:\d+\*)?(?:'[^']*'|"[^"]*")|/|[^\s,/'"]+|['"]""")
_REPEATED = re.compile(r"(\d+)\*(.*)")
# Of longer ones Eclipse takes the first eight characters.
_NAME = re.compile(r"[A-Z][A-Z0-9_+-]{0,7}|[A-Z]{9,16}")
_LONGEST_NAME, _LONGEST_COUNT = 8, 9
_UNKNOWN = -1
_ENDS_EARLY = "the deck ends before its '/'"
# Of these what follows is skipped, up to the last; SKIP300 is for another simulator than Eclipse 100.
_SKIP, _ENDSKIP = ("SKIP", "SKIP100"), "ENDSKIP"
# Keywords of a later time, if ever.
_ACTION, _ENDACTIO = "ACTION", "ENDACTIO"


@dataclass(frozen=True)
class Keyword:
    """A keyword with its records.

    Attributes:
        name: in capitals.
        place: of its line.
        section: in which it stands.
        records: its own.
        is_known: whether it could be read; what follows one that is not known is passed over.
    """

    name: str
    place: Place
    section: str
    records: list[Record] = field(default_factory=list)
    is_known: bool = True

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


def read_keywords(
    lines: Lines,
    n_records: Mapping[str, int | None],
    refuse: Callable[[DeckError], None],
    known: Collection[str] = (),
) -> Iterator[Keyword]:
    """The keywords of a deck up to END, those of included files at their place; a slash that ends nothing is SLASH.

    Of the section SUMMARY only its own keyword comes: what it requests changes no run.

    Args:
        lines: of the deck.
        n_records: how many records each known keyword has; None is as many as come before an empty one.
        refuse: takes the errors of a keyword or a line, after which the reading goes on.
        known: further keywords, of which it is not known how many records they have.

    Raises:
        DeckError: naming file and line, where the deck ends within a keyword, or a file cannot be read.
    """
    yield from _Reader(lines, n_records, refuse, known).keywords()


class _Reader:
    def __init__(
        self,
        lines: Lines,
        n_records: Mapping[str, int | None],
        refuse: Callable[[DeckError], None],
        known: Collection[str],
    ) -> None:
        self._lines = lines
        self._n_records, self._known = n_records, known
        self._refuse = refuse
        self._section = ""
        self._units = METRIC

    def keywords(self) -> Iterator[Keyword]:
        is_lost = False
        for place, text in self._lines:
            if text.startswith(SLASH):
                if self._section != "SUMMARY":
                    yield Keyword(SLASH, place, self._section)
                continue
            word, rest = text.split()[0].upper(), " ".join(text.split()[1:])
            name = word[:_LONGEST_NAME] if word.isalpha() else word
            if name == "END":
                return
            if self._section == "SUMMARY" and name not in (*SECTIONS, "INCLUDE", *_SKIP, "ENDINC", _ENDSKIP):
                continue
            if not _NAME.fullmatch(name):
                # Lines that follow one that is no keyword have the same cause.
                if not is_lost:
                    self._refuse(DeckError(f"{place}: expected a keyword, got '{text[:80]}'; is a '/' missing or one "
                                           "too many above?"))  # fmt: skip
                is_lost = True
                continue
            is_lost = False
            try:
                if not self._directs(name, place, rest):
                    yield self._keyword(name, place, rest)
            except DeckError as error:
                if isinstance(error, EndlessDeckError) or str(error).endswith(_ENDS_EARLY):
                    raise
                self._refuse(error)

    def _directs(self, name: str, place: Place, rest: str) -> bool:
        """Whether the keyword says what to read next, which is done."""
        if name == "INCLUDE":
            if rest:
                self._lines.put_back(place, rest)
            self._lines.include(place)
        elif name == "ENDINC":
            self._lines.end_file()
        elif name in _SKIP:
            self._skip(name, place, _ENDSKIP)
        else:
            return False
        return True

    def _skip(self, name: str, place: Place, end: str) -> None:
        while self._lines.take(name, place)[1].split()[0].upper() != end:
            pass

    def _keyword(self, name: str, place: Place, rest: str) -> Keyword:
        if name in SECTIONS:
            self._section = name
        if name == "TITLE":
            return Keyword(name, place, self._section, [Record(name, place, Items([(1, self._title(place))]))])
        n = self._count(name)
        if n == _UNKNOWN:
            if name.startswith(_ACTION):
                self._skip(name, place, _ENDACTIO)
            else:
                self._pass_over()
            return Keyword(name, place, self._section, is_known=False)
        is_decoration = n == 0 or not re.search(r"[A-Za-z0-9'\"]", rest)
        if rest and not rest.startswith(SLASH) and not is_decoration:
            self._lines.put_back(place, rest)
            self._pass_over()
            raise DeckError(f"{place}: {name}: got '{rest}' on the keyword's line; put it on the next")
        # A slash on the keyword's own line ends its first record, or its list of records.
        is_ended = bool(rest.startswith(SLASH) and n != 0)
        ended = [Record(name, place, Items(), self._units)] if is_ended and n else []
        records = [] if is_ended and n is None else self._records(name, place, n and n - len(ended))
        keyword = Keyword(name, place, self._section, [*ended, *records])
        if name == "PATHS":
            for record in keyword.records:
                self._lines.name_path(record.text(1), record.text(2))
        self._units = DECK_UNITS.get(name, self._units)
        return keyword

    def _count(self, name: str) -> int | None:
        if name in self._n_records:
            return self._n_records[name]
        return 1 if name.startswith(_REPORTS) else _UNKNOWN

    def _title(self, place: Place) -> str:
        """The next line, or nothing where that is empty and a keyword follows."""
        was_blank = self._lines.is_blank_next()
        there, title = self._lines.take("TITLE", place)
        if was_blank and self._count(title.split()[0].upper()) != _UNKNOWN and " " not in title:
            self._lines.put_back(there, title)
            return ""
        return title.removesuffix(SLASH).strip()

    def _pass_over(self) -> None:
        """Go on behind the records of a keyword of which it is not known how many it has: to what looks like another.

        A word that stands alone is a keyword where it is a known one, or where the line above has ended a record.
        """
        is_between = False
        for place, text in self._lines:
            word = text.split()[0].upper()
            is_alone = word == text.upper() or not re.search(r"[A-Za-z0-9'\"/]", text[len(word) :])
            is_word = bool(_NAME.fullmatch(word)) and (is_alone or word in SECTIONS)
            is_known = self._count(word) != _UNKNOWN or word in self._known or word in (*_SKIP, "INCLUDE", "END")
            if is_word and (is_between or is_known):
                self._lines.put_back(place, text)
                return
            is_between = SLASH in text

    def _records(self, name: str, place: Place, n: int | None) -> list[Record]:
        """As many records, or those before an empty one; the first fault in them is raised behind the last."""
        records: list[Record] = []
        fault = None
        while n is None or len(records) < n:
            items, there, is_closed = Items(), place, False
            while not is_closed:
                at, text = self._take(name, place)
                there = there if len(items) else at
                try:
                    is_closed = _add_items(items, text, name, at)
                except DeckError as error:
                    fault, is_closed = fault or error, text.rstrip().endswith(SLASH)
            if n is None and not len(items):
                break
            records.append(Record(name, there, items, self._units))
        if fault is not None:
            raise fault
        return records

    def _take(self, name: str, place: Place) -> tuple[Place, str]:
        at, text = self._lines.take(name, place)
        word = text.split()[0].upper()
        if word in _SKIP or word == _ENDSKIP or word == "INCLUDE":
            if word != _ENDSKIP:
                self._directs(word, at, text[len(word) :].strip())
            return self._take(name, place)
        if word in SECTIONS and text.upper() == word:
            self._lines.put_back(at, text)
            raise DeckError(f"{place}: {name}: no '/' ends it before {word} in line {at.line}; put one there")
        return at, text


def _add_items(items: Items, text: str, name: str, place: Place) -> bool:
    """Add the items of one line; whether a slash ended the record. What follows the slash is a comment."""
    for token in _ITEM.findall(text):
        if token == "/":
            return True
        if token in ("'", '"'):
            raise DeckError(f"{place}: {name}: a quote is not closed: {text[:80]}")
        if token[0] in "'\"":
            items.add(1, token[1:-1])
        elif match := _REPEATED.fullmatch(token):
            count = match[1].lstrip("0")
            if not count or len(count) > _LONGEST_COUNT or len(items) + int(count) > MOST_NUMBERS:
                raise DeckError(f"{place}: {name}: got {token[:80]}; repeat once or more, a record holds "
                                f"{MOST_NUMBERS} items at most")  # fmt: skip
            items.add(int(count), match[2].strip("'\"") or None)
        elif token == "*":
            items.add(1, None)
        else:
            items.add(1, token)
    return False
