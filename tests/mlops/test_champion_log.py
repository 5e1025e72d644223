"""Of promotions at the same moment one wins, none undoes another, and a killed one leaves nothing to mend by hand."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest

from rockbank.mlops import champion_log, promotion, registry
from rockbank.mlops.champion_log import Overtaken
from tests.mlops.test_registry import LIMITS
from tests.mlops.writer import advance
from tests.mlops.writers import at_once
from tests.tiny_generators import write_generator

Make = Callable[..., Path]
N_WRITERS = 4


class Killed(BaseException):
    """What ends a writer in the middle, past every handler."""


def four_versions(folder: Path) -> None:
    for kid in (0.4, 0.3, 0.2, 0.1):
        registry.push("shale", write_generator(folder / "generators" / str(kid), kid=kid))


@pytest.fixture
def shale(store: Path, made_once: Callable[..., Path]) -> str:
    """A registered model of four versions, each better than the one before."""
    made_once(four_versions, store)
    return "shale"


def _alias() -> str:
    return registry.resolve("shale@champion").version


def _kill_at(monkeypatch: pytest.MonkeyPatch, method: str, nth: int = 1) -> None:
    """The nth call of MLflow's client's `method` is not made, and ends the writer."""
    real, calls = getattr(mlflow.MlflowClient, method), iter(range(1, 1000))

    def call(*arguments: object, **keywords: object) -> object:
        if next(calls) == nth:
            raise Killed
        return real(*arguments, **keywords)

    call.__name__ = method
    monkeypatch.setattr(mlflow.MlflowClient, method, call)


def test_who_compared_with_a_champion_that_is_none_any_more_is_refused(shale: str) -> None:
    before = champion_log.read(shale)
    promotion.promote(shale, LIMITS, "2")
    with pytest.raises(Overtaken, match=r"its champion is version 2 now; nothing was changed"):
        champion_log.advance(shale, before, "3")
    assert _alias() == "2"
    assert champion_log.read(shale).number == 1


def test_a_rollback_does_not_undo_the_promotion_that_came_first(shale: str) -> None:
    for version in ("1", "2"):
        promotion.promote(shale, LIMITS, version)
    before = champion_log.read(shale)
    promotion.promote(shale, LIMITS, "3")
    with pytest.raises(Overtaken):
        champion_log.advance(shale, before, "1", before.earlier[:-1])
    assert _alias() == "3"
    assert champion_log.read(shale).earlier == ("1", "2")


@pytest.mark.parametrize(
    ("method", "nth", "n_before"),
    [("create_experiment", 1, 0), ("create_experiment", 2, 0), ("log_param", 1, 0), ("set_registered_model_tag", 1, 1),
     ("set_model_version_tag", 1, 0), ("set_registered_model_alias", 1, 0), ("log_param", 2, 0)],
)  # fmt: skip
def test_a_promotion_that_is_killed_anywhere_ends_by_running_it_again(
    shale: str, monkeypatch: pytest.MonkeyPatch, method: str, nth: int, n_before: int
) -> None:
    versions = [str(1 + i) for i in range(n_before + 1)]
    for version in versions[:-1]:
        promotion.promote(shale, LIMITS, version)
    with monkeypatch.context() as patched:
        _kill_at(patched, method, nth)
        with pytest.raises(Killed):
            promotion.promote(shale, LIMITS, versions[-1])
    assert promotion.promote(shale, LIMITS, versions[-1])[0].version == versions[-1]
    assert _alias() == versions[-1]
    assert registry.resolve(f"shale/{versions[-1]}").tags["promoted"]
    promotion.promote(shale, LIMITS, "4")
    assert champion_log.read(shale).earlier == tuple(versions)


def test_a_late_writer_ends_at_the_champion_that_came_after_it(shale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, is_first = mlflow.MlflowClient.set_registered_model_alias, True

    def slow(client: mlflow.MlflowClient, *arguments: Any) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            promotion.promote("shale", LIMITS, "2")
        real(client, *arguments)

    monkeypatch.setattr(mlflow.MlflowClient, "set_registered_model_alias", slow)
    promotion.promote(shale, LIMITS, "1")
    assert _alias() == "2"


def test_an_alias_that_a_killed_writer_set_late_is_set_right(shale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        _kill_at(patched, "set_registered_model_alias")
        with pytest.raises(Killed):
            promotion.promote(shale, LIMITS, "1")
    promotion.promote(shale, LIMITS, "2")
    registry.set_alias("shale", "champion", "1")
    assert promotion.settle(shale).version == "2"  # type: ignore[union-attr]
    assert _alias() == "2"


def test_an_alias_that_was_moved_by_hand_stays_and_can_be_rolled_back(shale: str) -> None:
    promotion.promote(shale, LIMITS, "1")
    registry.set_alias("shale", "champion", "4")
    assert promotion.settle(shale).version == "4"  # type: ignore[union-attr]
    assert promotion.rollback(shale)[0].version == "1"


def test_a_rollback_passes_over_versions_that_were_deleted(shale: str) -> None:
    for version in ("1", "2", "3", "4"):
        promotion.promote(shale, LIMITS, version)
    for version in ("3", "2"):
        mlflow.MlflowClient().delete_model_version(shale, version)
    entry, before, deleted = promotion.rollback(shale)
    assert (entry.version, before and before.version, deleted) == ("1", "4", ("3", "2"))
    assert _alias() == "1"
    assert champion_log.read(shale).earlier == ()
    with pytest.raises(registry.RegistryError, match="no earlier champion to go back to; see"):
        promotion.rollback(shale)


def test_a_champion_that_was_deleted_can_be_rolled_back(shale: str) -> None:
    for version in ("1", "2", "3"):
        promotion.promote(shale, LIMITS, version)
    mlflow.MlflowClient().delete_model_version(shale, "3")
    assert promotion.rollback(shale)[0].version == "2"
    for version in ("2", "1"):
        mlflow.MlflowClient().delete_model_version(shale, version)
    with pytest.raises(registry.RegistryError, match=r"no earlier champion to go back to \(deleted: 2, 1\)"):
        promotion.rollback(shale)


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_log_that_was_deleted_is_restored(shale: str, what: str) -> None:
    promotion.promote(shale, LIMITS, "1")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name(champion_log.EXPERIMENT)
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    if what == "run":
        client.delete_run(run.info.run_id)
    else:
        client.delete_experiment(experiment.experiment_id)
    promotion.promote(shale, LIMITS, "2")
    assert promotion.rollback(shale)[0].version == "1"
    assert champion_log.read(shale).number == 3


def test_a_clock_that_jumps_changes_no_order(shale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for version, hours in (("1", 0), ("2", -48), ("3", 48)):
        monkeypatch.setattr("rockbank.mlops.champion_log.time.time", lambda hours=hours: real() + 3600 * hours)
        promotion.promote(shale, LIMITS, version)
    monkeypatch.undo()
    assert champion_log.read(shale).earlier == ("1", "2")
    assert promotion.rollback(shale)[0].version == "2"


def test_a_write_whose_answer_was_lost_is_known_to_be_done(shale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, is_first = mlflow.MlflowClient.log_param, True

    def lost(client: mlflow.MlflowClient, *arguments: Any) -> None:
        nonlocal is_first
        real(client, *arguments)
        if is_first:
            is_first = False
            raise mlflow.MlflowException("API request failed with timeout")

    lost.__name__ = "log_param"
    monkeypatch.setattr(mlflow.MlflowClient, "log_param", lost)
    promotion.promote(shale, LIMITS, "1")
    assert _alias() == "1"


def test_of_processes_that_promote_at_once_one_wins(shale: str) -> None:
    (winner,) = [each for each in at_once(advance, N_WRITERS, shale) if each]
    assert _alias() == winner
    assert champion_log.read("shale").number == 1
    assert champion_log.read("shale").earlier == ()
