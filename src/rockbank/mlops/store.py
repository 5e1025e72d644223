"""The door to the MLflow store: where it is, MLflow's client for it, and every failure of it as a StoreError."""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote, urlsplit

import mlflow
import sqlalchemy
from mlflow.entities import Experiment, LifecycleStage
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from rockbank.mlops import sqlite
from rockbank.mlops.failures import FAILURES, StoreError, explained, file_of, is_answer, is_overtaken, name_of, waiting
from rockbank.params import PARAMS

# Schema migrations and "validating candidate" lines are MLflow's own business, not the reader's of a terminal; and a
# failing store is reported once, by whoever catches its StoreError.
for _chatty, _level in (("mlflow", logging.WARNING), ("alembic", logging.WARNING), ("mlflow.store", logging.CRITICAL)):
    logging.getLogger(_chatty).setLevel(_level)

_log = logging.getLogger(__name__)
STORE = Path("mlflow.db")
# MLflow's own seven tries at growing intervals take four minutes where a server is down; these take 3 s. A run that is
# to outlive a longer break of its server gets more by the same variable.
_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_RETRIES, _N_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2"
for _name, _value in ((_RETRIES, _N_RETRIES), ("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")):
    os.environ.setdefault(_name, _value)
# Until a server that takes connections and says nothing is given up, and for how long an answer of it holds.
ANSWER_SECONDS, _TRUST_SECONDS = 15, 30.0


@contextmanager
def answering(*, writes: bool, what: str = "an answer") -> Iterator[None]:
    """Check the store, and raise every failure of it within the block as a StoreError; its answers go through.

    A server that takes long is named, with what is waited for.

    Args:
        writes: whether the block writes to it, which may make a new one.
        what: is requested of it.

    Raises:
        StoreError: also before the block, where there is no store and this is no place for a new one.
    """
    uri = _settle()
    # What takes time of a file is its lock, which `sqlite` tells of.
    says = nullcontext() if file_of(uri) is not None else waiting(f"{name_of(uri)}: {what}")
    try:
        with says:
            _require(uri, writes=writes)
            if (other := mlflow.get_registry_uri()) != uri:
                _require(other, writes=writes)
            yield
    except FAILURES as error:
        if is_answer(error):
            raise
        raise explained(error, uri) from error


def client() -> mlflow.MlflowClient:
    """MLflow's client, each of whose calls fails as `answering` says."""
    _settle()
    return cast(mlflow.MlflowClient, _Answering())


class _Answering:
    """Looks like MLflow's client. That opens the store as it is made, hence one for each call."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        @wraps(getattr(mlflow.MlflowClient, name))
        def call(*arguments: Any, **keywords: Any) -> Any:
            with answering(writes=not name.startswith(("get_", "search_")), what=name.replace("_", " ")):
                try:
                    return getattr(mlflow.MlflowClient(), name)(*arguments, **keywords)
                except MlflowException as error:
                    # MLflow looks for the row of a tag or of a data set, and adds it where it is missing. Another
                    # process has added it meanwhile; now it is there to be changed or used.
                    if not (name.startswith(("set_", "log_")) and is_overtaken(error)):
                        raise
                    return getattr(mlflow.MlflowClient(), name)(*arguments, **keywords)

        return call


def is_absent() -> bool:
    """Whether the store is the project's own file, and not there yet: the first write makes it.

    Raises:
        StoreError: where the working folder is no project, or a store that was named is not there.
    """
    path = file_of(_settle())
    if path is None or path.exists():
        return False
    _require_place(path)
    if path != STORE.absolute():
        raise StoreError(f"{path}: the store is not there; correct MLFLOW_TRACKING_URI")
    return True


def connect(uri: str | None = None, *, timeout: float | None = None) -> None:
    """Say where the store is, and how long to wait for it.

    Args:
        uri: a tracking server or a database; None leaves MLFLOW_TRACKING_URI, else STORE.
        timeout: seconds for one request, without a second try; None leaves what the environment says.
    """
    if timeout is not None:
        os.environ[_TIMEOUT] = str(math.ceil(timeout))
        os.environ[_RETRIES] = "0"
    if uri is not None:
        mlflow.set_tracking_uri(uri)
    _settle()


def experiment(name: str) -> Experiment:
    """The experiment of that name, made MLflow's current one; a new one keeps its files beside a store that is a file.

    One that was deleted is restored: nothing else could have its name.

    MLflow's own choice is the working folder, as a plain path in which it would read `%20` as a blank.
    """
    with answering(writes=True):
        path = file_of(mlflow.get_tracking_uri())
        found = mlflow.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
            _log.warning("%s: the experiment '%s' was deleted; restored, with its runs", name_of(_settle()), name)
            mlflow.MlflowClient().restore_experiment(found.experiment_id)
        elif path is not None and found is None:
            with suppress(MlflowException):  # Another process has just made it; any other failure comes next again.
                location = f"{sqlite.files_root(path).as_uri()}/{quote(name, safe='')}"
                mlflow.create_experiment(name, artifact_location=location)
        return mlflow.set_experiment(name)


def find_files(written: str) -> Path | None:
    """The folder that the store has as `written`, also after it was moved; None where that is on no file system."""
    return sqlite.find_files(file_of(_settle()), written)


def _settle() -> str:
    """The store's address, after MLflow has been given one that it reads rightly."""
    # Read once: a thread that set again what it read would undo what another has set meanwhile.
    now = mlflow.get_tracking_uri()
    uri = now if mlflow.is_tracking_uri_set() else f"sqlite:///{STORE}"
    path = file_of(uri)
    if path is not None:
        # With a driver named, for of 'sqlite:///' MLflow makes the parent folders without reading '%20' as a blank.
        uri = sqlalchemy.URL.create("sqlite+pysqlite", database=str(path)).render_as_string()
    if uri != now:
        mlflow.set_tracking_uri(uri)
    return uri


def _require(uri: str, *, writes: bool) -> None:
    path = file_of(uri)
    if path is None:
        _require_answer(uri, int(time.monotonic() / _TRUST_SECONDS))
    elif path.exists():
        sqlite.check(path, writes=writes)
    elif writes:
        _require_place(path)
        try:
            sqlite.make(path)
        except OSError as error:
            raise explained(error, uri) from error
    else:
        raise StoreError(f"{path}: the store is not there; 'rockbank register' makes it of what was pulled or trained")


def _require_place(path: Path) -> None:
    """A new store belongs in a project, or where it was named and its folder is."""
    if path != STORE.absolute():
        if not path.parent.is_dir():
            raise StoreError(f"{path}: neither the store nor its folder is there; correct MLFLOW_TRACKING_URI")
        return
    if PARAMS.is_file():
        return
    above = next((each for each in Path.cwd().parents if (each / PARAMS).is_file()), None)
    place = "the project's folder" if above is None else f"{above}, which is one"
    raise StoreError(
        f"{Path.cwd()}: not a project, it has neither {STORE} nor {PARAMS}; run the command in {place}, "
        "or set MLFLOW_TRACKING_URI"
    )


@lru_cache(maxsize=4)
def _require_answer(uri: str, moment: int) -> None:
    """A server that is down or says nothing is noticed before MLflow waits for it; `moment` lets an answer age."""
    scheme = urlsplit(uri).scheme
    if scheme in ("http", "https"):
        is_ours = os.environ[_RETRIES] == _N_RETRIES
        http_request(
            get_default_host_creds(uri), "/health", "GET", raise_on_status=False,
            max_retries=0 if is_ours else None,
            timeout=None if _TIMEOUT in os.environ else ANSWER_SECONDS,
        )  # fmt: skip
    elif scheme.startswith(("postgresql", "mysql")):
        # MLflow would try ten times, for 100 s.
        engine = sqlalchemy.create_engine(uri, connect_args={"connect_timeout": ANSWER_SECONDS})
        engine.connect().close()
        engine.dispose()
    elif scheme in ("", "file"):
        raise StoreError(
            f"{name_of(uri)}: a folder of runs, which MLflow {mlflow.__version__} no longer takes; use "
            "sqlite:///mlflow.db, or a tracking server"
        )
