"""Tables in Markdown, and what docstrings say of attributes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from inspect import cleandoc

_ATTRIBUTES = re.compile(r"\nAttributes:\n((?:[ ]{4}.*\n?|\n)+)")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; a cell may not break a row."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(each) for each in line) + " |" for line in lines) + "\n"


def code(text: object) -> str:
    """`text` as code, or nothing where it is empty."""
    return f"`{text}`" if str(text) else ""


def first_paragraph(docstring: str | None) -> str:
    """What a docstring says before its first empty line, in one line."""
    return " ".join(cleandoc(docstring or "").partition("\n\n")[0].split())


def attributes(docstring: str | None) -> dict[str, str]:
    """What the section Attributes of a docstring says, by name."""
    found = _ATTRIBUTES.search("\n" + cleandoc(docstring or "") + "\n")
    about: dict[str, str] = {}
    names: list[str] = []
    for line in found[1].splitlines() if found else ():
        entry = re.fullmatch(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if entry:
            names = entry[1].split(", ")
            about |= dict.fromkeys(names, entry[2].strip())
        elif line.strip():
            about |= {name: f"{about[name]} {line.strip()}" for name in names}
    return about


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")
