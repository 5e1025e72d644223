"""A store that is one sqlite file: what MLflow would notice late, and what moves with its folder."""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from alembic.script import ScriptDirectory
from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

from rockbank.mlops.failures import StoreError, waiting

# As long as MLflow itself waits for a lock: of many writers at once the last one has to wait for all the others.
LOCK_SECONDS = 20.0
# The folder beside the store in which the files of its runs and generators lie.
_FILES = "mlruns"


def make(path: Path) -> None:
    """A store with nothing in it, whole or not at all; of two processes that make it at once the first one's stays.

    MLflow would migrate the file in many steps, and one that is killed among them leaves a store that no command reads.

    Raises:
        OSError: where it cannot be written.
    """
    engine = create_sqlalchemy_engine("sqlite://")
    _initialize_tables(engine)
    content = engine.raw_connection().driver_connection.serialize()
    engine.dispose()
    beside = path.with_name(f"{path.name}-{os.getpid()}")
    try:
        beside.write_bytes(content)
        with suppress(FileExistsError):
            _put(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _put(beside: Path, path: Path) -> None:
    try:
        os.link(beside, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP):
            raise
        # A file system without links.
        os.replace(beside, path)


def check(path: Path, *, writes: bool) -> None:
    """Read the store's schema, and where it is to be written take its lock for a moment.

    A store that was moved with its folder, and is to be written, has the places of its files corrected: MLflow
    keeps them absolute, and would go on writing into the old folder.

    Raises:
        StoreError: where the schema is another MLflow's.
        sqlite3.Error: where the file is locked, damaged, or may not be read.
    """
    # MLflow fills an empty file at the next write. A read would find nothing in it, as if nothing had ever been there.
    if path.is_file() and path.stat().st_size == 0:
        if not writes:
            raise StoreError(f"{path}: the store is empty; restore it, or run 'rockbank register'")
        return
    # As a URI, for `mode`: without it sqlite makes the file. To read as well, since what a killed process had half
    # written the next one takes back; of a file that is read-only sqlite makes 'ro' by itself.
    address = f"{path.as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        with waiting(f"{path}: another program keeps it locked"):
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        _check_schema(path, found)
        if writes:
            with waiting(f"{path}: another program is writing to it"):
                connection.execute("BEGIN IMMEDIATE")
            _correct_places(path, connection)
            connection.execute("COMMIT")


def _check_schema(path: Path, found: list[tuple[str]]) -> None:
    revision, head, revisions = found[0][0] if found else "none", *_revisions()
    if revision == head:
        return
    is_older = revision in revisions
    remedy = (
        f"copy it, then run 'mlflow db upgrade \"sqlite:///{path}\"'"
        if is_older
        else "install the MLflow that wrote it, or name another store by MLFLOW_TRACKING_URI"
    )
    raise StoreError(
        f"{path}: its schema {revision} is {'older than' if is_older else 'unknown to'} MLflow {mlflow.__version__}, "
        f"which is installed and has {head}; {remedy}"
    )


@cache
def _revisions() -> tuple[str, frozenset[str]]:
    script = ScriptDirectory(str(Path(mlflow.__file__).parent / "store" / "db_migrations"))
    return str(script.get_current_head()), frozenset(each.revision for each in script.walk_revisions())


def files_root(path: Path) -> Path:
    """Where the files of the store's runs and generators lie."""
    return path.parent / _FILES


def find_files(path: Path | None, written: str) -> Path | None:
    """The folder that the store has as `written`, below the store's own folder where that was moved or copied.

    Args:
        path: the store's file; None where it is no file.
        written: as MLflow keeps it, an absolute path or a URI.

    Returns:
        None where `written` is no folder of a file system.

    Raises:
        StoreError: where it lies neither there nor beside the store.
    """
    places = _places(written)
    if not places:
        return None
    here = None if path is None else _beside(path, places[0])
    for place in (here, *places):
        if place is not None and place.is_dir():
            return place
    if path is None:
        raise StoreError(
            f"{places[0]}: not on this machine; the tracking server keeps its files on its own disk: start it with "
            "--artifacts-destination, or run this command there"
        )
    raise StoreError(
        f"{path}: was moved without its files: they are neither in {places[0]}, where they were written, nor in "
        f"{here or files_root(path)}; move the folder {_FILES} to {path.parent}, or register the generator again"
    )


def _places(written: str) -> tuple[Path, ...]:
    """The path that MLflow may mean by what it has written; it reads `%20` in a plain path as a blank, too."""
    parts = urlsplit(written)
    if parts.scheme == "file":
        return (Path(unquote(parts.path)),)
    return () if parts.scheme else (Path(written), Path(unquote(written)))


def _beside(path: Path, place: Path) -> Path | None:
    parts = place.parts
    if _FILES not in parts:
        return None
    i = len(parts) - 1 - parts[::-1].index(_FILES)
    return files_root(path).joinpath(*parts[i + 1 :])


def _correct_places(path: Path, connection: sqlite3.Connection) -> None:
    for experiment, written in connection.execute("SELECT experiment_id, artifact_location FROM experiments"):
        places = _places(str(written))
        here = _beside(path, places[0]) if places else None
        if here is None or here in places or not here.is_dir():
            continue
        now = here.as_uri()
        for table, column in (
            ("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"),
        ):  # fmt: skip
            connection.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                f"WHERE experiment_id = ? AND substr({column}, 1, ?) = ?",  # nosec B608  # of the names above
                (now, len(written) + 1, experiment, len(written), written),
            )
        connection.execute(
            "UPDATE model_versions SET storage_location = ? || substr(storage_location, ?) "
            "WHERE substr(storage_location, 1, ?) = ?",
            (now, len(written) + 1, len(written) + 1, f"{written}/"),
        )
