"""A run holds what was logged, goes on after a kill, and is no other's under `mlflow run`."""

import os
from pathlib import Path

import mlflow
import numpy as np
import pytest

from rockbank.mlops import tracking


def test_a_run_holds_parameters_metrics_pictures_and_data(store: Path) -> None:
    with tracking.start("shale", "shale-dcgan", {"batch": 32}) as run:
        run.log(1, {"kid": 0.5, "broken": float("nan")})
        run.log(2, {"kid": 0.25})
        run.picture("samples", np.zeros((8, 8), np.uint8), step=2)
        run.tag({"git_commit": "abc", "left_out": None})
        run.data("shale crops", Path("artifacts/data/shale"), "0123456789abcdef0123456789abcdef.dir")
    client = mlflow.MlflowClient()
    seen = client.get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.params == {"batch": "32"}
    assert [metric.value for metric in client.get_metric_history(run.run_id, "kid")] == [0.5, 0.25]
    assert "broken" not in seen.data.metrics
    assert seen.data.tags["git_commit"] == "abc"
    assert "left_out" not in seen.data.tags
    (data,) = seen.inputs.dataset_inputs
    assert data.dataset.digest == "0123456789abcdef0123456789abcdef.dir"
    assert any("samples" in file.path for file in client.list_artifacts(run.run_id, "images"))


def test_a_killed_run_goes_on(store: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.start("shale", "a", {}) as run:
        run.log(1, {"kid": 1.0})
        raise KeyboardInterrupt
    with tracking.start("shale", "a", {}, resume=run.run_id) as again:
        again.log(2, {"kid": 0.5})
    assert again.run_id == run.run_id
    assert len(mlflow.MlflowClient().get_metric_history(run.run_id, "kid")) == 2


def test_a_nested_run_holds_a_series_in_few_requests(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rockbank.mlops.tracking._N_METRICS", 7)
    with tracking.start("history matching", "a", {}, note="Of {family}.") as parent:
        child = parent.child("member 0")
        child.log_series({step: {"flow": 2.0 * step, "wells": float("nan"), "prior": 1.0} for step in range(10)})
        child.end(failed=True)
    client = mlflow.MlflowClient()
    seen = client.get_run(child.run_id)
    assert (seen.info.status, seen.info.run_name) == ("FAILED", "member 0")
    assert seen.data.tags["mlflow.parentRunId"] == parent.run_id
    history = sorted(client.get_metric_history(child.run_id, "flow"), key=lambda each: each.step)
    assert [(each.step, each.value) for each in history] == [(step, 2.0 * step) for step in range(10)]
    assert "wells" not in seen.data.metrics
    assert child.last_step("flow") == 9
    experiment = client.get_experiment(seen.info.experiment_id)
    assert experiment.tags["mlflow.note.content"] == "Of history matching."


def test_a_run_that_the_store_does_not_know_starts_anew(store: Path) -> None:
    with tracking.start("shale", "a", {}, resume="0" * 32) as run:
        pass
    assert run.run_id != "0" * 32


def test_a_run_that_was_deleted_starts_anew(store: Path) -> None:
    with pytest.raises(KeyboardInterrupt), tracking.start("shale", "a", {"batch": 32}) as run:
        raise KeyboardInterrupt
    mlflow.MlflowClient().delete_run(run.run_id)
    assert tracking.existing(run.run_id) is None
    with tracking.start("shale", "a", {"batch": 32}, resume=run.run_id) as again:
        again.log(1, {"kid": 0.5})
    assert again.run_id != run.run_id
    assert mlflow.MlflowClient().get_run(again.run_id).data.params == {"batch": "32"}


def test_under_mlflow_run_it_is_a_child_of_the_run_that_mlflow_made(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = mlflow.MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", parent)
    with tracking.start("shale", "a", {}) as run:
        pass
    assert run.run_id != parent
    assert mlflow.MlflowClient().get_run(run.run_id).data.tags["mlflow.parentRunId"] == parent
    assert "MLFLOW_RUN_ID" not in os.environ


def test_what_stands_above_a_description_takes_the_place_of_what_stood_there(store: Path) -> None:
    with tracking.start("shale", "a", {}) as run:
        run.describe("how it was trained")
    for scores in ("KID 0.5", "KID 0.25"):
        run.describe_above(scores)
    text = mlflow.MlflowClient().get_run(run.run_id).data.tags["mlflow.note.content"]
    assert text.startswith("KID 0.25")
    assert text.endswith("how it was trained")
    assert "KID 0.5" not in text


def test_an_experiment_tells_how_to_compare_until_a_person_says_something_else(store: Path) -> None:
    with tracking.start("shale", "a", {}):
        pass
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("shale")
    assert experiment is not None
    assert f"{tracking.FINAL}kid" in experiment.tags["mlflow.note.content"]
    client.set_experiment_tag(experiment.experiment_id, "mlflow.note.content", "mine")
    with tracking.start("shale", "b", {}):
        pass
    assert client.get_experiment(experiment.experiment_id).tags["mlflow.note.content"] == "mine"


def test_the_first_runs_of_a_family_have_colours_of_their_own(store: Path) -> None:
    colours = []
    for name in "abc":
        with tracking.start("shale", name, {}) as run:
            pass
        colours.append(mlflow.MlflowClient().get_run(run.run_id).data.tags["mlflow.runColor"])
    assert len(set(colours)) == 3


def test_an_experiment_that_was_deleted_takes_the_next_run(store: Path) -> None:
    with tracking.start("shale", "a", {}) as before:
        pass
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("shale")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    with tracking.start("shale", "b", {}) as after:
        pass
    found = {run.info.run_id for run in client.search_runs([experiment.experiment_id])}
    assert found == {before.run_id, after.run_id}
