"""The page of case files, of the dataclasses that read them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from rockbank.flow.casefile.fields import ArrayFile, FieldOf
from rockbank.flow.casefile.file import CaseFile
from rockbank.flow.casefile.wells import ControlSection
from rockbank.flow.units import UNITS, Quantity
from rockbank.matching.io.case_file import MatchingSection
from tools.reference.params import type_name
from tools.reference.tables import attributes, code, first_paragraph, table

_SEE = re.compile(r"^See (\w+)")


def page(root: Path) -> str:
    """Every section with its keys; units; arrays in files."""
    parts = [
        "# Case file\n",
        "A case is a YAML file. A number is SI, or a text with its unit, such as `300 m3/day`. An unknown key, a "
        "missing one or an impossible combination is refused with file, section and key.\n",
    ]
    for name, section in sections(CaseFile, "The whole file"):
        parts += _section(name, section)
    for name, section in sections(MatchingSection, "matching"):
        parts += _section(name, section)
    parts += [
        "## Units\n",
        table(["dimension", "units"], ([name, ", ".join(map(code, known))] for name, known in UNITS.items())),
    ]
    return "\n".join(parts)


def sections(kind: type, name: str) -> Iterator[tuple[str, type]]:
    """The dataclass and those below it, each with its path in the file."""
    yield name, kind
    prefix = "" if kind is CaseFile else f"{name}."
    for key, hint in get_type_hints(kind, include_extras=True).items():
        for below in _dataclasses(hint):
            yield from sections(below, f"{prefix}{key}")


def _dataclasses(hint: Any) -> Iterator[type]:
    if is_dataclass(hint) and isinstance(hint, type):
        yield hint
    elif get_origin(hint) is Annotated:
        # What a callable reads is told in the cell of its key, but for these.
        if ControlSection in get_args(get_args(hint)[0]):
            yield ControlSection
    else:
        for each in get_args(hint):
            yield from _dataclasses(each)


def _section(name: str, kind: type) -> list[str]:
    see = _SEE.match(first_paragraph(kind.__doc__))
    source = getattr(sys.modules[kind.__module__], see[1]) if see else None
    about = _about(source) | {
        key: said for base in reversed(kind.__mro__) for key, said in attributes(base.__doc__).items()
    }
    said = [first_paragraph(each.__doc__) for each in (source, kind) if each is not None and not (each is kind and see)]
    if see and (rest := first_paragraph(kind.__doc__)[see.end() :].strip(" .;,:")):
        said.append(f"{rest[0].upper()}{rest[1:]}.")
    hints = get_type_hints(kind, include_extras=True)
    prefix = "" if kind is CaseFile else f"{name}."
    rows = [
        [code(key.name), _words(hints[key.name], f"{prefix}{key.name}"), _default(key), about.get(key.name, "")]
        for key in fields(kind)
    ]
    return [f"## {name}\n", *(f"{each}\n" for each in said), table(["key", "value", "default", "what"], rows)]


def _about(source: Any) -> dict[str, str]:
    doc = getattr(source, "__doc__", None)
    return attributes(doc) | attributes((doc or "").replace("\n    Args:\n", "\n    Attributes:\n"))


def _words(hint: Any, at: str) -> str:
    """What a key takes; `at` is its path in the file."""
    if next(_dataclasses(hint), None) is not None or at == "matching":
        kinds = {get_origin(each) for each in (hint, *get_args(hint))}
        several = "a mapping of " if dict in kinds else "a list of " if tuple in kinds else ""
        return f"{several}[{'sections' if several else 'a section'}](#{at.replace('.', '')})"
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _read_by(parts[1])
    if origin is Literal:
        return ", ".join(map(code, parts))
    if origin is dict:
        return f"a mapping of {_words(parts[1], at)}"
    if origin is tuple and parts:
        return f"a list of {_words(parts[0], at)}"
    if type(None) in parts:
        return _words(next(each for each in parts if each is not type(None)), at)
    return "anything" if hint is Any else type_name(hint)


def _read_by(reader: Any) -> str:
    if isinstance(reader, Quantity):
        return reader.dimension
    if isinstance(reader, FieldOf):
        keys = ", ".join(key.name for key in fields(ArrayFile))
        return f"{reader.dimension}: a number, or {{{keys}}}"
    said = first_paragraph(reader.__doc__).removesuffix(".")
    return f"{said[0].lower()}{said[1:]}" if said else "a number, or a list of them"


def _default(key: Field[Any]) -> str:
    if key.default is MISSING and key.default_factory is MISSING:
        return "required"
    default = key.default
    if default is None or default is MISSING or default in ("", ()):
        return ""
    return code(
        f"{default:g}" if isinstance(default, float) else str(default).lower() if isinstance(default, bool) else default
    )
