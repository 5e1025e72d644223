"""What a failure of the MLflow store means to whoever runs a command: the one home of its translation."""

from __future__ import annotations

import logging
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import requests
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from rockbank.core.errors import UserError

# What a store that is down or in the way raises, by whichever layer notices first. ImportError: a driver is missing.
FAILURES = (MlflowException, SQLAlchemyError, sqlite3.Error, CommandError, requests.RequestException, ImportError)
# A store's answer to the request itself, rather than that it cannot answer.
_ANSWERS = ("RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
_CORRECT = "or correct MLFLOW_TRACKING_URI"
# The words of a failure -> its cause and remedy; `{0}` is the first group of the words.
_CAUSES = {
    r"database (?:table )?is locked": "another program keeps it locked; try again when that one has ended",
    r"file is not a database|is encrypted": "it is not a sqlite database; restore it, or move it away and run "
    "'rockbank register'",
    r"disk image is malformed": "it is damaged; restore it, or move it away and run 'rockbank register'",
    r"unable to open database|disk I/O error": "it cannot be opened; check that it is a file, and who may read it "
    "and its folder",
    r"readonly database|Permission denied|Read-only file system": "it may not be written; check the permissions of the "
    "file and of its folder",
    r"disk is full|No space left": "the disk is full; free some room",
    r"Can't locate revision identified by '(\w+)'": f"its schema {{0}} is of a newer MLflow than {mlflow.__version__}, "
    "which is installed; use the one that wrote it",
    r"database schema \(found version (\w+)": f"its schema {{0}} is not the one of MLflow {mlflow.__version__}, which "
    "is installed; copy it, then run 'mlflow db upgrade', or use the MLflow that wrote it",
    r"no such (table|column)": "it is no store of MLflow's, a {0} is missing; name another file",
    r"(?:too many|error code) (5\d\d)": "it fails with status {0}; look at its log, then run the command again: what "
    "was there before is whole",
    r"NameResolution|Name or service not known|getaddrinfo": f"no such host; check the network, {_CORRECT}",
    r"Connection refused": f"nobody listens there; start the tracking server, {_CORRECT}",
    r"[Tt]imed? ?out": f"it does not answer in time; is the tracking server up? Start it again, {_CORRECT}",
    r"Max retries exceeded|Connection(?:Error| aborted| reset)": f"it does not answer; start the tracking server, "
    f"{_CORRECT}",
    r"error code (40[13])|UNAUTHENTICATED|PERMISSION_DENIED": "it refuses who asks; set MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
    r"error code (\d+) != 200|not valid JSON|Expecting value": "it answers, but not as a tracking server of MLflow; "
    "correct MLFLOW_TRACKING_URI",
    r"unsupported URI": "MLflow knows no store of that kind; name a tracking server, or sqlite:///mlflow.db, by "
    "MLFLOW_TRACKING_URI",
    r"No module named '(\w+)": "it needs the Python package '{0}', which is not installed",
}


# Until whoever waits is shown for what.
PATIENCE_SECONDS = 3.0
_log = logging.getLogger(__name__)


class StoreError(UserError, RuntimeError):
    """The store cannot be read or written; the text is one line of store, cause and remedy."""


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Log what is waited for, once, where the block takes longer than a person waits without a word."""
    timer = threading.Timer(PATIENCE_SECONDS, lambda: _log.warning("still waiting for %s", what))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def is_answer(error: Exception) -> bool:
    """Whether the store has answered: what was requested is not there, there already, or no such value."""
    is_unknown_kind = isinstance(error, UnsupportedModelRegistryStoreURIException)
    return isinstance(error, MlflowException) and error.error_code in _ANSWERS and not is_unknown_kind


def is_overtaken(error: Exception) -> bool:
    """Whether another process has added the same row at the same moment, by sqlite's words or PostgreSQL's."""
    return re.search(r"UNIQUE constraint failed|duplicate key value", str(error)) is not None


def explained(error: Exception, uri: str) -> StoreError:
    """The failure of the store at `uri` in one line: which store, why, and what to do."""
    said = "\n".join(str(each) for each in _chain(error))
    for words, cause in _CAUSES.items():
        if (found := re.search(words, said)) is not None:
            return StoreError(f"{name_of(uri)}: {cause.format(*found.groups())}")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return StoreError(f"{name_of(uri)}: the store fails: {first}; 'rockbank --verbose' shows where")


def name_of(uri: str) -> str:
    """The store as a person would name it: a file's path, or an address without the password in it."""
    path = file_of(uri)
    return str(path) if path is not None else re.sub(r"//[^/@]*@", "//", uri)


def file_of(uri: str) -> Path | None:
    """The sqlite file that `uri` names; None for any other store."""
    if not urlsplit(uri).scheme.startswith("sqlite"):
        return None
    try:
        database = make_url(uri).database
    except ArgumentError:
        return None
    if database in (None, "", ":memory:"):
        return None
    # Whoever wrote '%20' by hand may mean just that; ours name the driver, and are quoted.
    as_written = Path(uri.removeprefix("sqlite:///"))
    return (as_written if as_written.exists() else Path(str(database))).absolute()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
