"""Files that join a data folder all together; of a process that was killed as they did, the next one does the rest."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rockbank.core.files import read_json, write_json
from rockbank.core.locks import locked
from rockbank.data.manifest import MANIFEST, Manifest, VolumeError, save_manifest

# In the data folder: what is to join it; and there the note of what joins and leaves, once all of it is whole.
STAGING = ".adding"
_NOTE = ".joining.json"


@contextmanager
def joining(folder: Path) -> Iterator[Path]:
    """An empty folder inside `folder` for what is to `join` it; no other process adds to `folder` meanwhile.

    Of a join that was interrupted the rest is done before. Both folders are gone afterwards, unless `folder` got
    something, or a join was interrupted.

    Raises:
        VolumeError: another process adds to `folder`.
    """
    staging = folder / STAGING
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder))
        except BlockingIOError as error:
            raise VolumeError(f"{folder}: another process adds scans to it; wait for it, or stop it") from error
        try:
            _finish(staging, folder)
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            yield staging
        finally:
            if not (staging / _NOTE).is_file():
                shutil.rmtree(staging, ignore_errors=True)
            if made and not any(folder.iterdir()):
                folder.rmdir()


@contextmanager
def trial(folder: Path) -> Iterator[Path]:
    """An empty folder elsewhere, for what would join `folder`, which is left as it is.

    Raises:
        VolumeError: a join to `folder` was interrupted, so that its manifest does not say what it will have.
    """
    if (folder / STAGING / _NOTE).is_file():
        raise VolumeError(
            f"{folder}: a 'rockbank data add' was interrupted as its files joined; run one without --dry-run, which "
            "first does the rest of it"
        )
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def join(staging: Path, folder: Path, files: Sequence[str], manifest: Manifest, leaving: Collection[str]) -> None:
    """Move files from `staging` into `folder`, with the manifest that lists them; those that are leaving go last."""
    save_manifest(staging, manifest)
    write_json(staging / _NOTE, {"joining": [*files, MANIFEST], "leaving": sorted(set(leaving).difference(files))})
    _finish(staging, folder)


def _finish(staging: Path, folder: Path) -> None:
    """Do the rest of a `join` that was interrupted; nothing where there was none."""
    if not (staging / _NOTE).is_file():
        return
    note = read_json(staging / _NOTE)
    for file in note["joining"]:
        if (staging / file).exists():
            os.replace(staging / file, folder / file)
    for file in note["leaving"]:
        (folder / file).unlink(missing_ok=True)
    (staging / _NOTE).unlink()
