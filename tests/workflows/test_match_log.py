"""What a match tells MLflow, whatever happens meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from rockbank.matching.methods.state import State
from rockbank.matching.methods.workers import advance
from rockbank.matching.problem.cost import COST
from rockbank.matching.run import Run
from rockbank.mlops import tracking
from rockbank.workflows.match_log import EXPERIMENT, logging
from tests.matching.tiny import make_run, write_case
from tests.workflows.mlflow_runs import children


class TestLog:
    """What stands in MLflow, without processes."""

    @pytest.fixture
    def run(self, store: Path) -> Run:
        run = make_run(store / "run", write_case(store), method="adam", iterations=2, members=2)
        for i in range(2):
            advance(run, i, lambda _: None, lambda: False)
        return run

    def test_a_member_is_a_nested_run_with_its_parts_at_each_iteration(self, run: Run) -> None:
        state = State.load(run.checkpoint(0))
        with logging(run) as log:
            log.member(0, state)
            log.member(1, State(records=()).ended("failed", "NewtonError: step 3"))
        client = mlflow.MlflowClient()
        logged = json.loads((run.folder / "mlflow.json").read_text())
        parent = client.get_run(logged["run_id"])
        assert client.get_experiment(parent.info.experiment_id).name == EXPERIMENT
        assert parent.data.params["method"] == "adam"
        assert (parent.data.tags["generator"], parent.data.tags["generator_version"]) == ("tiny", "1")
        nested = children(parent.info.run_id)
        assert set(nested) == {"0", "1"}
        for name in ("flow", "wells", "prior", "total", "time_mean", "accuracy"):
            history = client.get_metric_history(nested["0"].info.run_id, name)
            values = [each.value for each in sorted(history, key=lambda each: each.step)]
            assert values == [getattr(record.parts, name) for record in state.records]
        assert nested["0"].data.metrics["cost"] == pytest.approx(3 + 2 * COST["gradients"])
        assert (nested["0"].info.status, nested["1"].info.status) == ("FINISHED", "FAILED")
        assert nested["1"].data.tags["reason"] == "NewtonError: step 3"

    def test_a_killed_log_goes_on_in_the_same_runs_without_doubles(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("rockbank.mlops.tracking._N_METRICS", 10)
        state = State.load(run.checkpoint(0))
        log_batch, n_batches = mlflow.MlflowClient.log_batch, []

        def log_one_batch(self: mlflow.MlflowClient, run_id: str, metrics: object = (), **rest: object) -> None:
            if metrics:
                n_batches.append(1)
            if len(n_batches) == 2:
                raise KeyboardInterrupt
            log_batch(self, run_id, metrics, **rest)

        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "log_batch", log_one_batch)
            with pytest.raises(KeyboardInterrupt), logging(run) as log:
                log.member(0, state)
        before = json.loads((run.folder / "mlflow.json").read_text())
        for _ in range(2):
            with logging(run) as log:
                log.member(0, state)
        after = json.loads((run.folder / "mlflow.json").read_text())
        assert before["run_id"] == after["run_id"]
        assert before["members"]["0"]["run_id"] == after["members"]["0"]["run_id"]
        assert set(children(after["run_id"])) == {"0"}
        history = mlflow.MlflowClient().get_metric_history(after["members"]["0"]["run_id"], "total")
        assert sorted(each.step for each in history) == [0, 1, 2]

    def test_a_member_whose_run_was_not_noted_before_a_kill_has_no_second_one(self, run: Run) -> None:
        with logging(run):
            pass
        parent = json.loads((run.folder / "mlflow.json").read_text())["run_id"]
        tracking.Run(parent).child("member 0")
        with logging(run) as log:
            log.member(0, State.load(run.checkpoint(0)))
        assert set(children(parent)) == {"0"}

    @pytest.mark.parametrize("what", ["match", "member"])
    def test_a_match_goes_on_in_new_runs_where_they_were_deleted(self, run: Run, what: str) -> None:
        with logging(run) as log:
            log.member(0, State.load(run.checkpoint(0)))
        before = json.loads((run.folder / "mlflow.json").read_text())
        deleted = before["run_id"] if what == "match" else before["members"]["0"]["run_id"]
        mlflow.MlflowClient().delete_run(deleted)
        with logging(run) as log:
            log.member(0, State.load(run.checkpoint(0)))
        after = json.loads((run.folder / "mlflow.json").read_text())
        assert (after["run_id"] != before["run_id"]) == (what == "match")
        assert after["members"]["0"]["run_id"] != before["members"]["0"]["run_id"]
        assert children(after["run_id"])["0"].info.lifecycle_stage == "active"

    def test_a_store_that_fails_is_told_once_and_holds_up_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise mlflow.MlflowException("the database is locked")

        state = State.load(run.checkpoint(0))
        with monkeypatch.context() as patch:
            patch.setattr(mlflow.MlflowClient, "log_batch", refuse)
            with logging(run) as log:
                log.member(0, state)
                log.member(1, state)
        assert capfd.readouterr().err.count("another program keeps it locked") == 1
        with logging(run) as log:
            log.member(0, state)
        assert "0" in children(json.loads((run.folder / "mlflow.json").read_text())["run_id"])

    def test_an_error_of_the_match_is_not_hidden(self, run: Run) -> None:
        with pytest.raises(OSError, match="disk full"), logging(run):
            raise OSError("disk full")
