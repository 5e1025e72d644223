"""Which version is champion, as numbered entries of which each is written once: a compare-and-set that MLflow lacks.

An alias of MLflow's is overwritten by whoever writes last. A parameter of a run is not: its key is unique in every
store, and a second value is refused. So the entries are parameters of one run, `00001`, `00002` and so on. Who adds
entry n + 1 has compared with entry n; of two at the same moment one is refused by the store. The alias follows the
last entry.
"""

from __future__ import annotations

import json
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import LifecycleStage
from mlflow.entities.model_registry import RegisteredModel

from rockbank.core.errors import UserError
from rockbank.mlops import store
from rockbank.mlops.failures import StoreError

CHAMPION = "champion"
# The experiment with a run for each registered model.
EXPERIMENT = "promotions"
# The run's id, as a tag of an experiment whose name is unique, so that two cannot begin two logs.
_RUN = "log"
# A tag of the registered model, for whoever reads the registry: the versions that were champion, the latest last.
_EARLIER, _MOST_EARLIER = "earlier_champions", 100
# An entry whose writer has not said that the alias follows it may still have that writer, but for no longer.
_LIVES_SECONDS = 3600.0


class Overtaken(UserError, RuntimeError):
    """Another promotion or rollback came first; nothing was changed."""


@dataclass(frozen=True, kw_only=True)
class State:
    """What one entry says.

    Attributes:
        number: of the entry; 0 before the first.
        champion: the version; None where there is none.
        earlier: the versions that were champion before, the latest last.
        by: who wrote it, a random name.
        at: when, seconds since 1970.
    """

    number: int
    champion: str | None
    earlier: tuple[str, ...]
    by: str = ""
    at: float = 0.0


NONE = State(number=0, champion=None, earlier=())


@dataclass(frozen=True)
class _Log:
    """A registered model's log as it was read."""

    run_id: str
    entries: tuple[State, ...]
    unfinished: frozenset[int]

    def __bool__(self) -> bool:
        return bool(self.entries)

    @property
    def last(self) -> State:
        return self.entries[-1]

    def may_be_overwritten_with(self, now: float) -> set[str | None]:
        """The champions that a writer who has not finished may still set the alias to."""
        alive = [entry.number for entry in self.entries
                 if entry.number in self.unfinished and abs(now - entry.at) < _LIVES_SECONDS]  # fmt: skip
        return {entry.champion for entry in self.entries if alive and entry.number >= min(alive)}


def read(name: str) -> State:
    """The present state of a registered model, after finishing what a killed promotion has left.

    An alias that was moved by hand, as in the MLflow UI, becomes an entry.

    Raises:
        StoreError: where the store does not answer.
    """
    while True:
        model = store.client().get_registered_model(name)
        log = _read(model)
        alias = _alias(model)
        if not log:
            earlier = tuple(each for each in str(model.tags.get(_EARLIER, "")).split(",") if each)
            return State(number=0, champion=alias, earlier=earlier)
        last = log.last
        is_unfinished, now = last.number in log.unfinished, time.time()
        if is_unfinished or alias in log.may_be_overwritten_with(now):
            _follow(name)
            if is_unfinished and abs(now - last.at) >= _LIVES_SECONDS:
                _finish(log.run_id, last)
            return last
        if alias == last.champion:
            return last
        with suppress(Overtaken):
            return advance(name, last, alias)


def advance(name: str, before: State, champion: str | None, earlier: tuple[str, ...] | None = None) -> State:
    """Add the entry after `before`, and let the alias follow.

    Args:
        name: the registered model.
        before: the state that the new one was weighed against.
        champion: its version.
        earlier: the versions that were champion; None for those of `before` and its champion.

    Raises:
        Overtaken: where another has added the entry; nothing is changed then.
        StoreError: where the store does not answer.
    """
    if earlier is None:
        earlier = (*before.earlier, *([] if before.champion is None else [before.champion]))
    entry = State(number=before.number + 1, champion=champion, earlier=earlier[-_MOST_EARLIER:],
                  by=uuid.uuid4().hex, at=time.time())  # fmt: skip
    run_id = _run_of(store.client().get_registered_model(name)) or _make_run(name)
    value = {"champion": champion, "earlier": entry.earlier, "by": entry.by, "at": entry.at}
    failure: Exception | None = None
    try:
        store.client().log_param(run_id, _key(entry), json.dumps(value))
    except (mlflow.MlflowException, StoreError) as error:
        # Refused, or done and the answer lost: the log tells.
        failure = error
    log = _read(store.client().get_registered_model(name))
    if failure is not None and len(log.entries) <= before.number:
        raise failure
    if log.entries[before.number].by != entry.by:
        raise Overtaken(
            f"'{name}': another promotion or rollback came first, its champion is version {log.last.champion} now; "
            "nothing was changed: run the command again to compare with that one"
        )
    _follow(name)
    _finish(run_id, entry)
    return entry


def _follow(name: str) -> None:
    """Set the alias to the last entry's champion, until there is none after it: a slow writer ends the same way."""
    client = store.client()
    last = _read(client.get_registered_model(name)).last
    while True:
        model = client.get_registered_model(name)
        earlier = ",".join(last.earlier)
        if model.tags.get(_EARLIER, "") != earlier:
            client.set_registered_model_tag(name, _EARLIER, earlier)
        if _alias(model) != last.champion:
            if last.champion is None:
                client.delete_registered_model_alias(name, CHAMPION)
            else:
                promoted = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(last.at))
                client.set_model_version_tag(name, last.champion, "promoted", promoted)
                client.set_registered_model_alias(name, CHAMPION, last.champion)
        now = _read(model)
        if now.last.number == last.number:
            return
        last = now.last


def _finish(run_id: str, entry: State) -> None:
    """Say that the alias follows, and that this writer sets it no more."""
    store.client().log_param(run_id, f"{_key(entry)}.done", "")


def _alias(model: RegisteredModel) -> str | None:
    version = model.aliases.get(CHAMPION)
    return None if version is None else str(version)


def _key(entry: State) -> str:
    return f"{entry.number:05d}"


def _read(model: RegisteredModel) -> _Log:
    run_id = _run_of(model)
    if run_id is None:
        return _Log("", (), frozenset())
    run = store.client().get_run(run_id)
    if run.info.lifecycle_stage == LifecycleStage.DELETED:
        # As somebody deleted it in the MLflow UI, where it would take no entry of any promotion to come.
        store.client().restore_run(run_id)
    params: dict[str, str] = run.data.params
    entries: list[State] = []
    while (value := params.get(f"{len(entries) + 1:05d}")) is not None:
        raw: dict[str, Any] = json.loads(value)
        entries.append(State(number=len(entries) + 1, **{**raw, "earlier": tuple(raw["earlier"])}))
    unfinished = frozenset(each.number for each in entries if f"{_key(each)}.done" not in params)
    return _Log(run_id, tuple(entries), unfinished)


def _run_of(model: RegisteredModel) -> str | None:
    found = store.client().get_experiment_by_name(_claim(model))
    return None if found is None else str(found.tags[_RUN])


def _make_run(name: str) -> str:
    client = store.client()
    model = client.get_registered_model(name)
    run_id = str(client.create_run(store.experiment(EXPERIMENT).experiment_id, run_name=name).info.run_id)
    client.set_terminated(run_id)
    try:
        client.create_experiment(_claim(model), tags={_RUN: run_id})
    except mlflow.MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        client.delete_run(run_id)
    return _run_of(model) or run_id


def _claim(model: RegisteredModel) -> str:
    # A model that was deleted and made again under its name begins another log.
    return f"{EXPERIMENT}/{model.name}/{model.creation_timestamp}"
