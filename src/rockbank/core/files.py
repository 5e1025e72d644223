"""Files that are whole or not there, and their fingerprints."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rockbank.core.errors import InputError


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
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` only when the block succeeds."""
    beside = path.with_name(f".part-{path.name}")
    with parents_of(path):
        try:
            yield beside
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder`; it takes the place of `folder` only when the block succeeds."""
    beside = folder.with_name(f".part-{folder.name}")
    shutil.rmtree(beside, ignore_errors=True)
    with parents_of(folder):
        beside.mkdir()
        try:
            yield beside
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(beside, folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def require_writable(path: Path) -> None:
    """InputError where no file could be written to `path`; its folder need not be there yet."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a file")
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir():
        raise InputError(f"{path}: cannot be written, {folder} is a file; give another folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: cannot be written, {folder} is not yours to write to; give another folder")


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
