"""The MLflow store of runs and registered generators: where it is, and what its failures mean."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import mlflow
import requests
from alembic.util import CommandError
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from rockbank.core.errors import UserError
from rockbank.params import PARAMS

# In the project's folder.
DEFAULT = Path("mlflow.db")
# Of the check that a tracking server answers, made before the first request.
_ANSWER_SECONDS = 5.0
# MLflow's own seven tries at growing intervals take four minutes where the server is down; these take 3 s.
for _name, _value in (("MAX_RETRIES", "2"), ("BACKOFF_FACTOR", "1")):
    os.environ.setdefault(f"MLFLOW_HTTP_REQUEST_{_name}", _value)
# What the store answers about what it was asked, rather than that it cannot.
_ANSWERS = (
    "RESOURCE_DOES_NOT_EXIST", "RESOURCE_ALREADY_EXISTS", "INVALID_PARAMETER_VALUE", "INVALID_STATE", "NOT_FOUND",
)  # fmt: skip
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_SCHEMA = re.compile(r"found version (\w+), but expected (\w+)")
_MENDED_BY = (
    ("database is locked", "another program keeps it locked; end that one, or wait"),
    (
        "file is not a database|disk image is malformed",
        "it is no sqlite database, or damaged; restore it, or move it away and run 'rockbank register'",
    ),
    ("unable to open database file", "it cannot be opened; check that its folder is there and may be written"),
    ("readonly database", "it may not be written; check its permissions"),
    ("disk is full", "the disk is full; free some room"),
    (
        "timed out|NameResolution|Max retries exceeded|[Cc]onnection",
        "it does not answer; start the tracking server, or correct MLFLOW_TRACKING_URI",
    ),
)


class RegistryError(UserError, RuntimeError):
    """The registry does not have what was asked for, or could not be reached."""


class StoreError(RegistryError):
    """The store cannot be read or written; the text is one line of store, cause and remedy."""


@contextmanager
def answering() -> Iterator[None]:
    """Every failure of the store within the block is a StoreError; what the store answers goes through.

    Raises:
        StoreError: also before the block, where there is no store and this is no place for a new one.
    """
    _require_place()
    mlflow.set_tracking_uri(_address())
    try:
        _require_server(mlflow.get_tracking_uri())
        yield
    except (SQLAlchemyError, CommandError, requests.RequestException) as error:
        raise StoreError(_explain(error)) from error
    except MlflowException as error:
        if error.error_code in _ANSWERS:
            raise
        raise StoreError(_explain(error)) from error


def client() -> mlflow.MlflowClient:
    """MLflow's client, each of whose methods fails as `answering` says."""
    with answering():
        return cast(mlflow.MlflowClient, _Answering(mlflow.MlflowClient()))


class _Answering:
    def __init__(self, of: mlflow.MlflowClient) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._of, name)

        @wraps(method)
        def call(*arguments: Any, **keywords: Any) -> Any:
            with answering():
                return method(*arguments, **keywords)

        return call


def is_absent() -> bool:
    """Whether the store is a file of the project that is not there yet, which the first write makes.

    Raises:
        StoreError: where the working folder is no project, or where a store that was named is not there.
    """
    _require_place()
    path = _file()
    if path is None or path.exists():
        return False
    if path != DEFAULT.absolute():
        raise StoreError(f"{path}: the store is not there; correct MLFLOW_TRACKING_URI")
    return True


def folder() -> Path | None:
    """Where the store's file lies; None where the store is a server."""
    path = _file()
    return None if path is None else path.parent


def _address() -> str:
    """Of the store that is named, else of the project's.

    MLflow's own default is the same file by a quoted address, as whose folder it makes a stray one. Where that would
    have to be quoted it is relative.
    """
    if mlflow.is_tracking_uri_set():
        return str(mlflow.get_tracking_uri())
    path = DEFAULT.absolute()
    return f"sqlite:///{DEFAULT if re.search('[%?]', str(path)) else path}"


def _file() -> Path | None:
    """The sqlite file of the tracking store; None where it is another kind of store."""
    try:
        url = make_url(_address())
    except ArgumentError:
        return None
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    return Path(url.database).absolute()


def _require_place() -> None:
    """Nothing is made where nobody wants it: a new store belongs in a project, or where its folder is there."""
    path = _file()
    if path is None:
        return
    escaped = _ESCAPED.search(str(path))
    if escaped is not None:
        raise StoreError(f"{path}: MLflow takes the '{escaped[0]}' in it for another character; rename the folder")
    if path.exists():
        return
    if path != DEFAULT.absolute():
        if not path.parent.is_dir():
            raise StoreError(f"{path}: the store is not there, nor is its folder; correct MLFLOW_TRACKING_URI")
    elif not PARAMS.is_file():
        raise StoreError(
            f"{Path.cwd()}: no project, it has neither {DEFAULT} nor {PARAMS}; run the command in the project's "
            "folder, or set MLFLOW_TRACKING_URI"
        )


@cache
def _require_server(uri: str) -> None:
    """A server that is down, or takes connections and says nothing, is known before anything waits for it."""
    if urlsplit(uri).scheme in ("http", "https"):
        requests.get(f"{uri.rstrip('/')}/health", timeout=_ANSWER_SECONDS)


def _explain(error: Exception) -> str:
    """Store, cause and remedy in one line."""
    said = str(error)
    schema = _SCHEMA.search(said)
    if schema is not None or isinstance(error, CommandError):
        versions = f"{schema[1]}, where MLflow {mlflow.__version__} has {schema[2]}" if schema else said
        mended = (
            f"its schema is of another version of MLflow ({versions}); back it up and run 'mlflow db upgrade', "
            "or use the MLflow that made it"
        )
    else:
        first = said.strip().splitlines()[0] if said.strip() else type(error).__name__
        mended = next((mended for words, mended in _MENDED_BY if re.search(words, said)), f"it failed: {first}")
    return f"{_shown(_address())}: {mended}"


def _shown(uri: str) -> str:
    """An address without the password in it."""
    return re.sub(r"//[^/@]*@", "//", uri)
