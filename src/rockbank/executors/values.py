"""Values as files that hold data alone: reading one runs no code, whoever wrote it."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

_TREE = "tree"
_PACKAGE = "rockbank."


def write_value(path: Path, value: Any) -> None:
    """Write numbers, texts, None, arrays, tuples, lists, dicts by text, dataclasses of ours, and exceptions.

    Raises:
        TypeError: a value of another type.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = json.dumps(_tree(value, arrays))
    with path.open("wb") as file:
        np.savez(file, **{_TREE: np.array(tree)}, **arrays)  # type: ignore[arg-type]


def read_value(path: Path) -> Any:
    """What `write_value` wrote; dataclasses are those of modules that are imported already.

    Raises:
        ValueError: the file holds something else.
    """
    with np.load(path, allow_pickle=False) as file:
        return _value(json.loads(file[_TREE].item()), lambda name: file[name])


def _tree(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    def all_of(values: Any) -> list[Any]:
        return [_tree(each, arrays) for each in values]

    if isinstance(value, np.ndarray | np.generic):
        name = f"array_{len(arrays)}"
        arrays[name] = np.asarray(value)
        return {"array": name, "is_scalar": isinstance(value, np.generic)}
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Exception):
        return {"error": _name(value), "said": str(value)}
    if is_dataclass(value) and not isinstance(value, type):
        names = [each.name for each in fields(value)]
        return {"object": _name(value), "names": names, "values": all_of(getattr(value, name) for name in names)}
    if type(value) in (tuple, list):
        return {type(value).__name__: all_of(value)}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {"names": list(value), "values": all_of(value.values())}
    raise TypeError(
        f"{type(value).__name__}: no value that a file can hold; give arrays, numbers, texts or dataclasses"
    )


def _value(tree: Any, array: Callable[[str], np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree

    def all_of(key: str) -> Iterator[Any]:
        return (_value(each, array) for each in tree[key])

    if "array" in tree:
        found = array(tree["array"])
        return found[()] if tree["is_scalar"] else found
    if "error" in tree:
        kind = _found(tree["error"])
        is_ours = isinstance(kind, type) and issubclass(kind, Exception)
        return kind(tree["said"]) if is_ours else RuntimeError(f"{tree['error']}: {tree['said']}")
    if "tuple" in tree:
        return tuple(all_of("tuple"))
    if "list" in tree:
        return list(all_of("list"))
    items = dict(zip(tree["names"], all_of("values"), strict=True))
    if "object" not in tree:
        return items
    kind = _found(tree["object"])
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise ValueError(f"'{tree['object']}': no dataclass of ours that is known here")
    return kind(**items)


def _name(value: object) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _found(name: str) -> Any:
    """The class of that name in a module of ours or of the built-in exceptions; None where there is none."""
    module, _, of_class = name.partition(":")
    if module == "builtins":
        return getattr(builtins, of_class, None)
    return getattr(sys.modules.get(module), of_class, None) if module.startswith(_PACKAGE) else None
