"""The main job on PostgreSQL, S3 and a tracking server, and what happens there when all come at once."""

import json
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest

from rockbank.cli.main import main
from rockbank.matching.methods.state import State
from rockbank.matching.methods.workers import advance
from rockbank.mlops import champion_log, promotion, registry, tracking
from rockbank.mlops.failures import StoreError
from rockbank.stages.register import register
from rockbank.workflows.match_log import LOGGED, logging
from tests.integration.backends import BUCKET, PYTHON, Backends, FaultyProxy
from tests.matching.tiny import make_run, write_case
from tests.mlops import writer
from tests.mlops.test_registry import LIMITS
from tests.mlops.writers import at_once
from tests.pulled import write_pulled
from tests.tiny_generators import write_generator
from tests.workflows.mlflow_runs import children

Make = Callable[..., Path]
PARAMS = Path(__file__).parents[2] / "params.yaml"
N_MEMBERS = 100
pytestmark = pytest.mark.slow


def _rockbank(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["rockbank", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_the_main_job_runs_on_postgresql_and_s3(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copyfile(PARAMS, work / "params.yaml")
    write_generator(work / "generator")
    write_pulled("shale-texture", work / "generator")
    register("shale", ["shale-texture"])
    _rockbank(monkeypatch, "promote", "shale")
    _rockbank(monkeypatch, "sample", "shale@champion", "--n", "1", "--seed", "7", "-o", "grid.png")
    assert (work / "grid.png").stat().st_size > 0
    assert registry.resolve("shale@champion").run_id is not None
    assert not (work / "mlflow.db").exists()
    assert not (work / "mlruns").exists()


def test_a_match_logs_its_members_on_the_server(work: Path) -> None:
    run = make_run(work / "match", write_case(work), method="adam", iterations=1, members=2)
    for i in range(2):
        advance(run, i, lambda _: None, lambda: False)
    with logging(run) as log:
        for i in range(2):
            log.member(i, State.load(run.checkpoint(i)))
    parent = json.loads((run.folder / LOGGED).read_text())["run_id"]
    assert set(children(parent)) == {"0", "1"}


def test_a_hundred_members_that_log_at_once_lose_no_record(work: Path) -> None:
    with tracking.start("ensemble", "parent", {}) as parent:

        def log(i: int) -> str:
            child = parent.child(f"member {i}")
            child.log_series({step: {"misfit": float(1000 * i + step)} for step in range(5)})
            child.end()
            return child.run_id

        with ThreadPoolExecutor(N_MEMBERS) as members:
            made = list(members.map(log, range(N_MEMBERS)))
    client = mlflow.MlflowClient()
    assert len(set(made)) == N_MEMBERS
    for i, run_id in enumerate(made):
        found = client.get_metric_history(run_id, "misfit")
        assert sorted(each.value for each in found) == [1000 * i + step for step in range(5)]


def test_runs_that_train_on_the_same_new_data_may_say_so_at_once(work: Path) -> None:
    made = at_once(writer.log_data, 4, "shale")
    used = [mlflow.MlflowClient().get_run(run_id).inputs.dataset_inputs for run_id in made]
    assert [len(of_run) for of_run in used] == [writer.N_RECORDS] * 4


def test_of_promotions_at_once_one_wins(work: Path, generator_folder: Make) -> None:
    for kid in (0.4, 0.3, 0.2, 0.1):
        registry.push("race", generator_folder(kid=kid))
    (winner,) = [each for each in at_once(writer.advance, 4, "race") if each]
    assert registry.resolve("race@champion").version == winner
    assert champion_log.read("race").number == 1


def test_a_server_that_fails_for_a_while_loses_nothing(
    proxy: FaultyProxy, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.failing = 2
    registry.push("faults", generator_folder(kid=0.2))
    registry.push("faults", generator_folder(kid=0.1))
    # Written, and the answer lost: what is tried again finds its own entry.
    proxy.is_write_only, proxy.lost = True, 1
    promotion.promote("faults", LIMITS, "1")
    assert registry.resolve("faults@champion").version == "1"
    proxy.is_write_only, proxy.failing = False, 1000
    with pytest.raises(StoreError, match="it fails with status 500; look at its log"):
        promotion.promote("faults", LIMITS, "2")
    proxy.failing = 0
    assert registry.resolve("faults@champion").version == "1"
    assert promotion.promote("faults", LIMITS, "2")[0].version == "2"
    assert len(registry.versions("faults")) == 2


def test_a_slow_server_is_waited_for_and_named(
    proxy: FaultyProxy, generator_folder: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    registry.push("slow", generator_folder())
    monkeypatch.setattr("rockbank.mlops.failures.PATIENCE_SECONDS", 0.1)
    proxy.delay = 0.2
    assert promotion.promote("slow", LIMITS, "1")[0].version == "1"
    assert f"still waiting for {proxy.address}: get registered model" in caplog.text


def test_what_dvc_pushes_to_s3_it_pulls_again(servers: Backends, tmp_path: Path) -> None:
    command = [PYTHON, str(Path(__file__).with_name("dvc_remote.py")), BUCKET, servers.s3]
    done = subprocess.run(
        command, cwd=tmp_path, env=servers.s3_environment() | {"DVC_NO_ANALYTICS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
