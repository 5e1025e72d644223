"""Where a result comes from: the git commit and the DVC md5 of its data."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

# What `dvc repro` itself writes while it runs says nothing of the code.
WRITTEN = (":!dvc.lock", ":!reports")


def git_commit(root: Path = Path()) -> str | None:
    """The commit checked out in `root`, with "-dirty" where tracked files differ; None outside git."""
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *WRITTEN)
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit


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
