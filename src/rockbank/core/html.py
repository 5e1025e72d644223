"""Reports: one page of HTML that needs nothing else, its pictures inside it."""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; its texts are escaped.

    Attributes:
        title: above it, where there is one.
        name: its anchor, where there is one.
    """

    kind: ClassVar[str]
    title: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Table(Section):
    """Rows of text, the first cell of each its name.

    Attributes:
        rows: cells from left to right.
        head: names of the columns; none leaves them without.
        note: below it.
        style: the style sheet's class, such as "reasons" for long text.
        marked: rows, counted from 0, whose last cell stands out.
    """

    kind = "table"
    rows: Sequence[Sequence[str]]
    head: Sequence[str] = ()
    note: str = ""
    style: str = ""
    marked: Collection[int] = ()


@dataclass(frozen=True, kw_only=True)
class Figure(Section):
    """A picture, and above it what it shows."""

    kind = "figure"
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The picture as a page holds it."""
        return base64.b64encode(self.png).decode()


@dataclass(frozen=True, kw_only=True)
class Advice(Section):
    """What to do: a sentence, and commands to copy."""

    kind = "advice"
    text: str
    commands: str


@dataclass(frozen=True, kw_only=True)
class Facts(Section):
    """Names and what each is; lines of a value stay lines."""

    kind = "facts"
    facts: Mapping[str, str]


def to_html(title: str, headline: str, sections: Iterable[Section], *, warnings: Sequence[str] = ()) -> str:
    """The page: a title, warnings, a paragraph of what came of it, and the sections in their order."""
    template = _TEMPLATES.get_template("report.html")
    return template.render(title=title, headline=headline, sections=list(sections), warnings=warnings)
