"""The page of params.yaml, of its dataclasses and of the comments beside its keys."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import yaml

from rockbank.params import PARAMS, Params
from tools.reference.tables import code, first_paragraph, table

_LINE = re.compile(r"^(\s*)([\w-]+):[^#\n]*?(?:#\s*(.*))?$")
_NAMED = {float: "number", int: "whole number", bool: "true or false", str: "text", Path: "path", type(None): "null"}


def page(root: Path) -> str:
    """Every section with its keys, their values in the repository and what is said of them there."""
    text = (root / PARAMS).read_text(encoding="utf-8")
    values, comments = yaml.safe_load(text), comments_of(text)
    hints = get_type_hints(Params)
    parts = [
        "# params.yaml\n",
        "Every number of the pipeline, with the values of the repository. A section is a dataclass of "
        "`rockbank.params`, the file's only reader: an unknown key, a missing one, a wrong type or an impossible "
        "combination is refused with its name.\n",
    ]
    for section in (each.name for each in fields(Params)):
        kind, value = hints[section], values[section]
        entries = {"value": value}
        if get_origin(kind) is dict:
            kind, entries = get_args(kind)[1], value
        said = comments.get((section,), "")
        parts += [f"## {section}\n", f"{first_paragraph(kind.__doc__)}\n"]
        if said:
            parts.append(f"In the file: {said}\n")
        kinds = get_type_hints(kind)
        rows = [
            [
                code(key.name),
                type_name(kinds[key.name]),
                _comment(comments, section, key.name),
                *(code(_yaml(entry[key.name])) for entry in entries.values()),
            ]
            for key in fields(kind)
        ]
        parts.append(table(["key", "type", "what", *entries], rows))
    return "\n".join(parts)


def comments_of(text: str) -> dict[tuple[str, ...], str]:
    """The comment beside each key of a YAML file, or else above it, by its path."""
    found: dict[tuple[str, ...], str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            above = [*above, line[2:]] if line.startswith("# ") else []
            continue
        path = [each for each in path if each[0] < len(match[1])] + [(len(match[1]), match[2])]
        if said := match[3] or " ".join(above):
            found[tuple(name for _, name in path)] = said.strip()
        above = []
    return found


def type_name(kind: Any) -> str:
    """A type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(type_name(each) for each in parts)
    if origin is tuple and parts[-1] is not Ellipsis:
        return f"list of {len(parts)}: {type_name(parts[0])}"
    if origin is tuple:
        return f"list: {type_name(parts[0])}"
    return _NAMED.get(kind, str(kind))


def _comment(comments: dict[tuple[str, ...], str], section: str, key: str) -> str:
    """The comment of a key; where those of several entries differ, each with the entries that have it."""
    if said := comments.get((section, key)):
        return said
    # A challenger is a generator, whose keys are told of there.
    sections = ("generators",) if section == "challengers" else (section,)
    by_comment: dict[str, list[str]] = {}
    for at, comment in comments.items():
        if len(at) == 3 and at[0] in sections and at[-1] == key:
            by_comment.setdefault(comment, []).append(at[1])
    if len(by_comment) <= 1:
        return next(iter(by_comment), "")
    return "; ".join(f"{', '.join(entries)}: {comment}" for comment, entries in by_comment.items())


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("...").strip()
