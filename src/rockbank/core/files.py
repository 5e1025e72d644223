"""Files that are whole or not there, and their fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from rockbank.core.errors import DiskFull, InputError, is_of_a_full_disk

# What is written before it takes the place of another: a file or a folder, and a folder of files that go together.
_PART, _PARTS = ".part-", ".parts-"


@contextmanager
def parents_of(path: Path) -> Iterator[None]:
    """The folders above `path`; those that are made for it go again where the block fails, unless others use them."""
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for folder in made:
                folder.rmdir()
        raise


@contextmanager
def _naming_what_has_no_room(path: Path) -> Iterator[None]:
    try:
        yield
    except DiskFull:
        raise
    except OSError as error:
        if not is_of_a_full_disk(error):
            raise
        said = error.strerror or "the disk is full"
        raise DiskFull(
            f"{_in_the_end(path)}: cannot be written: {said}; free some room, and run the same command again"
        ) from error


def _in_the_end(path: Path) -> Path:
    """Where the file is to lie, be its folder one that takes another's place yet."""
    return Path(*(part.removeprefix(_PART) for part in path.parts if not part.startswith(_PARTS)))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` only when the block succeeds.

    Raises:
        DiskFull: naming `path`, where the block found no room for it.
    """
    beside = path.with_name(f"{_PART}{path.name}")
    with _naming_what_has_no_room(path), parents_of(path):
        try:
            yield beside
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`; it takes the place of `folder` only when the block succeeds.

    Raises:
        DiskFull: naming `folder`, where the block found no room for it.
    """
    with _naming_what_has_no_room(folder), _new_folder(folder.with_name(f"{_PART}{folder.name}")) as beside:
        yield beside
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(beside, folder)


@contextmanager
def replacing_together(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Paths of the same names to write to; they take the places of `paths`, all of them, only when the block succeeds.

    They lie in a hidden folder beside. What of them was not written leaves its path as it was.

    Raises:
        DiskFull: naming the first of `paths`, where the block found no room.
    """
    with ExitStack() as stack:
        stack.enter_context(_naming_what_has_no_room(paths[0]))
        named = {path.parent: path.with_name(f"{_PARTS}{path.name}") for path in paths}
        folders = {parent: stack.enter_context(_new_folder(folder)) for parent, folder in named.items()}
        besides = [folders[path.parent] / path.name for path in paths]
        yield besides
        for path, beside in zip(paths, besides, strict=True):
            if beside.exists():
                os.replace(beside, path)


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """An empty folder while the block runs."""
    shutil.rmtree(folder, ignore_errors=True)
    with parents_of(folder):
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def whole_files(folder: Path, pattern: str) -> list[Path]:
    """The files of `folder` that match, by name, without what is being written or was left by a killed process."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith(_PART))


def require_writable(path: Path) -> None:
    """InputError where no file could be written to `path`; its folder need not be there yet."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{path}: cannot be written, {folder} is a file; give another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written, {folder} is not yours to write to; give another folder")


def require_apart(outputs: Iterable[Path], inputs: Iterable[Path], remedy: str = "give another name") -> None:
    """InputError where one of `outputs` would replace one of `inputs`, or a file in a folder of them."""
    # Path.exists fails at a name that is too long for any file.
    read = [file for path in inputs if os.path.exists(path) for file in (path, *path.rglob("*"))]
    lost = [path for path in outputs if path.exists() and any(path.samefile(each) for each in read)]
    if lost:
        raise InputError("\n".join(f"{path}: is what is read here, and would be replaced; {remedy}" for path in lost))


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON, whole or not at all; a NaN is an error, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The JSON in `path`; InputError names the file where it is absent or not JSON."""
    return parse_json(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """What is in `path`; InputError names the file where it is absent."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; run 'dvc repro' to make it")
    return path.read_bytes()


def parse_json(text: bytes, path: Path) -> Any:
    """The JSON in `text`, which was read from `path`; InputError names the file where it is none."""
    try:
        return json.loads(text.decode("utf-8"))
    # Beside broken JSON: bytes that are no text, a number of thousands of digits, a thousand lists in each other.
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON: {error}; make it again") from error


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
