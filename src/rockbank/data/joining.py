"""Files that join a data folder all together; of a process that was killed as they did, the next one does the rest."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from rockbank.core.files import read_json, write_json
from rockbank.data.manifest import MANIFEST, Manifest, save_manifest

# In the folder beside, once all that is to join is whole there.
_NOTE = ".joining.json"


def join(staging: Path, folder: Path, files: Sequence[str], manifest: Manifest, leaving: Collection[str]) -> None:
    """Move files from `staging` into `folder`, with the manifest that lists them; those that are leaving go last."""
    save_manifest(staging, manifest)
    write_json(staging / _NOTE, {"joining": [*files, MANIFEST], "leaving": sorted(set(leaving).difference(files))})
    finish(staging, folder)


def finish(staging: Path, folder: Path) -> None:
    """Do the rest of a `join` that was killed; nothing where there was none."""
    if not (staging / _NOTE).is_file():
        return
    note = read_json(staging / _NOTE)
    for file in note["joining"]:
        if (staging / file).exists():
            os.replace(staging / file, folder / file)
    for file in note["leaving"]:
        (folder / file).unlink(missing_ok=True)
    (staging / _NOTE).unlink()
