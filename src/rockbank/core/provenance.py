"""Where a result comes from: the git commit, the code's digest and the DVC md5 of its data."""

from __future__ import annotations

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# What `dvc repro` itself writes while it runs says nothing of the code.
WRITTEN = (":!dvc.lock", ":!reports")
PACKAGE = Path(__file__).parents[1]


def git_commit(root: Path = Path()) -> str | None:
    """The commit checked out in `root`, with "-dirty" where tracked files differ; None outside git."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


# Once a process: what has been imported stays what it was, whatever becomes of its file.
@cache
def code_sha256(parts: tuple[str, ...], root: Path = PACKAGE) -> str:
    """SHA-256 of modules, by their names and all that stands in them.

    Args:
        parts: files and folders of the package.
        root: the package.
    """
    files = {file for part in parts for file in [root / part, *(root / part).rglob("*.py")] if file.suffix == ".py"}
    digest = hashlib.sha256()
    for file in sorted(files):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root)} {len(content)} ".encode() + content)
    return digest.hexdigest()


def data_md5(path: str, root: Path = Path()) -> str | None:
    """The md5 by which DVC knows `path`: from its .dvc file, or from dvc.lock; None where DVC does not track it."""
    pointer = root / f"{path}.dvc"
    if pointer.is_file():
        return _md5_of(path, _load(pointer).get("outs", []))
    lock = root / "dvc.lock"
    if lock.is_file():
        for stage in _load(lock).get("stages", {}).values():
            if md5 := _md5_of(path, stage.get("outs", [])):
                return md5
    return None


def _md5_of(path: str, outs: list[dict[str, Any]]) -> str | None:
    return next((str(out["md5"]) for out in outs if out.get("path") == path and "md5" in out), None)


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
