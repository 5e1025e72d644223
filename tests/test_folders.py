"""A folder holds so few modules that one finds any of them by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAX_MODULES = 15


def crowded(root: Path) -> dict[str, int]:
    """The folders of `root` with more modules than one takes in at a look, `__init__` aside."""
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    modules = {folder: {path.name for path in folder.glob("*.py")} - {"__init__.py"} for folder in folders}
    return {str(folder): len(of) for folder, of in modules.items() if len(of) > MAX_MODULES}


@pytest.mark.parametrize("root", ["src", "serving", "pipelines", "tools", "benchmarks", "tests"])
def test_no_folder_has_more_modules_than_one_takes_in_at_a_look(root: str) -> None:
    assert (ROOT / root).is_dir()
    assert crowded(ROOT / root) == {}


def test_a_crowded_folder_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    folder.mkdir()
    for name in ("__init__", *(f"module_{i}" for i in range(MAX_MODULES))):
        (folder / f"{name}.py").touch()
    assert crowded(tmp_path) == {}
    (folder / "one_more.py").touch()
    assert crowded(tmp_path) == {str(folder): MAX_MODULES + 1}
