"""Sections of a YAML or JSON file as frozen dataclasses: every key known, every value of its type, or an InputError.

What is wrong is collected, so that one error names all of it, a line each: file, section and key, the value got, and
what is known or wanted there. A section checks its own combinations in `__post_init__`.

Not pydantic, which the service alone installs. It takes any ValueError that a check raises for the user's, a wrong
shape in our own code too; here only an InputError is the user's to mend, and all else keeps its traceback. Its messages
do not name the known keys, and all that a section's check finds is one error of the section. Keys that are there twice
and aliases that grow are YAML's, and would be refused here as well.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Hashable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml

from rockbank.core.errors import InputError


class _SafeLoader(yaml.SafeLoader):
    """Builds plain values alone, as its base; refuses a key that is there twice, of which YAML would keep the last.

    Aliases that would grow beyond measure, or stand within what they name, are refused before anything is built.
    """

    def get_single_node(self) -> yaml.Node | None:
        """The document, whose values can be counted."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _n_values(node, {}) > _n_nodes(node) + _MOST_REPEATED:
            raise InputError(f"its aliases repeat more than {_MOST_REPEATED} values; write out what is meant")
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """The mapping of a node."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                if key.value in lines:
                    raise InputError(f"key '{key.value}' is in line {lines[key.value]} and in line {line}; keep one")
                lines[key.value] = line
        return super().construct_mapping(node, deep)


# What aliases may repeat, in values: a few lines of them say a list of 10^9.
_MOST_REPEATED = 1_000_000

Kind = TypeVar("Kind")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Given(Generic[Kind]):
    """A section, and which of its keys the file has: a value that says the default is not the same as none."""

    section: Kind
    keys: frozenset[str]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [each for pair in node.value for each in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _n_nodes(node: yaml.Node) -> int:
    seen, waiting = {id(node)}, [node]
    while waiting:
        new = [each for each in _children(waiting.pop()) if id(each) not in seen]
        seen |= {id(each) for each in new}
        waiting += new
    return len(seen)


def _n_values(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node is once its aliases are written out."""
    if id(node) not in known:
        known[id(node)] = None
        known[id(node)] = 1 + sum(_n_values(each, known) for each in _children(node))
    n = known[id(node)]
    if n is None:
        raise InputError("an alias stands within what it names; write out what is meant")
    return n


def load_sections(path: Path, kind: type[Kind], remedy: str) -> Kind:
    """The file `path` as the dataclass `kind`.

    A field of the dataclass is a key of its section; without a default it has to be there. A field annotated
    `Annotated[..., read]` is what the callable `read` makes of it.

    Args:
        path: of the file.
        kind: of the whole.
        remedy: what to do where there is no such file.

    Raises:
        InputError: for a missing file, and for unknown or missing keys, wrong types and impossible combinations, with
            file, section and key of each.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; {remedy}")
    try:
        raw = _SafeLoader(path.read_text(encoding="utf-8")).get_single_data()
    # RecursionError: a thousand lists in each other.
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{path}: not YAML: {error}") from error
    # Beside ours: a number of thousands of digits, a date that is none.
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        return typing.cast(Kind, convert(raw, kind, ""))
    except InputError as error:
        raise InputError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error


def convert(raw: Any, kind: Any, where: str) -> Any:
    """`raw` from YAML as the annotated type `kind`.

    Raises:
        InputError: with a line for each value that does not fit, which starts with its key, within `where`.
    """
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _named(where, typing.get_args(kind)[1], raw)
    if origin is Given:
        return Given(convert(raw, typing.get_args(kind)[0], where), frozenset(raw))
    if is_dataclass(kind) and isinstance(kind, type):
        return _convert_section(raw, kind, where)
    if origin is dict:
        expect(isinstance(raw, Mapping), where, raw, "a mapping")
        value_kind = typing.get_args(kind)[1]
        return _each({str(key): (value, value_kind, f"{where}.{key}") for key, value in raw.items()})
    if origin is tuple:
        expect(isinstance(raw, list), where, raw, "a list")
        kinds = typing.get_args(kind)
        if kinds[-1] is Ellipsis:
            kinds = (kinds[0],) * len(raw)
        expect(len(raw) == len(kinds), where, raw, f"a list of {len(kinds)} values")
        each = {
            i: (value, of, f"{where}[{i}]" if is_dataclass(of) else where)
            for i, (value, of) in enumerate(zip(raw, kinds, strict=True))
        }
        return tuple(_each(each).values())
    if origin in (typing.Union, types.UnionType):
        if raw is None:
            return None
        (kind,) = (each for each in typing.get_args(kind) if each is not type(None))
        return convert(raw, kind, where)
    if origin is typing.Literal:
        known = typing.get_args(kind)
        expect(raw in known, where, raw, f"one of {list(known)}")
        return raw
    if kind is float:
        expect(isinstance(raw, int | float) and not isinstance(raw, bool), where, raw, "a number")
        return float(raw)
    if kind is int:
        expect(isinstance(raw, int) and not isinstance(raw, bool), where, raw, "a whole number")
        return raw
    if kind is Any:
        return raw
    if kind is Path:
        expect(isinstance(raw, str), where, raw, "a path")
        return Path(raw)
    expect(isinstance(raw, kind), where, raw, "true or false" if kind is bool else "text")
    return raw


def expect(holds: bool, where: str, got: Any, wanted: str) -> None:
    """An InputError that starts with the key `where`, unless the condition holds."""
    if not holds:
        shown = repr(got)
        raise InputError(f"{where}: expected {wanted}, got {shown if len(shown) <= 200 else f'{shown[:200]}..'}")


def _each(values: Mapping[Key, tuple[Any, Any, str]]) -> dict[Key, Any]:
    """`convert` of each, or one InputError with the lines of all that do not fit."""
    found, problems = {}, []
    for key, arguments in values.items():
        try:
            found[key] = convert(*arguments)
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    return found


def _convert_section(raw: Any, kind: type, where: str) -> Any:
    expect(isinstance(raw, Mapping), where or "the file", raw, "a mapping")
    hints = typing.get_type_hints(kind, include_extras=True)
    required = {field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(kind)}
    within = f" in section '{where}'" if where else ""
    problems = [f"unknown key '{key}'{within}; known are {list(required)}" for key in raw if key not in required]
    problems += [f"missing key '{key}'{within}" for key, needed in required.items() if needed and key not in raw]
    known = {key: (raw[key], hints[key], f"{where}.{key}".lstrip(".")) for key in required if key in raw}
    try:
        values = _each(known)
    except InputError as error:
        problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    try:
        return kind(**values)
    except InputError as error:
        said = [line if line.startswith(f"{where}:") else f"{where}.{line}".lstrip(".")
                for line in str(error).splitlines()]  # fmt: skip
        raise InputError("\n".join(said)) from error


def _named(where: str, read: Callable[[Any], Any], raw: Any) -> Any:
    try:
        return read(raw)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
