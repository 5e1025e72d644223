"""The pages of the Python API, one for each package, and what has no docstring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("src/rockbank", "serving")
_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def pages(root: Path) -> dict[str, str]:
    """The text of each package's page, by its place in the site."""
    return {f"reference/python/{name}.md": _page(name, modules) for name, modules in packages(root).items()}


def title(place: str) -> str:
    """What the navigation calls a page."""
    return place.rpartition("/")[2].removesuffix(".md")


def packages(root: Path) -> dict[str, list[str]]:
    """The packages, each with the modules that lie in it."""
    found: dict[str, list[str]] = {}
    for path in _files(root):
        name = _name(root, path)
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found.setdefault(package, [])
        if path.name not in ("__init__.py", "__main__.py"):
            found[package].append(name)
    return {package: modules for package, modules in sorted(found.items()) if modules}


def undocumented(root: Path) -> Iterator[str]:
    """Every public module, class, function and method without a docstring."""
    for path in _files(root):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        yield from _undocumented(tree, _name(root, path))


def _undocumented(node: _Documented, name: str) -> Iterator[str]:
    if ast.get_docstring(node) is None:
        yield name
    if isinstance(node, ast.Module | ast.ClassDef):
        for each in node.body:
            if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith(
                "_"
            ):
                yield from _undocumented(each, f"{name}.{each.name}")


def _page(package: str, modules: list[str]) -> str:
    entries = "\n".join(f"::: {name}\n" for name in modules)
    return f"# {package}\n\n{entries}"


def _files(root: Path) -> Iterator[Path]:
    for package in PACKAGES:
        yield from sorted((root / package).rglob("*.py"))


def _name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(part for part in parts if part not in ("src", "__init__"))
