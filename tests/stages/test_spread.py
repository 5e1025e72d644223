"""Stages whose parts are tasks of an executor make the files of the plain stages, bit for bit."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import tifffile
import torch
import yaml
from scipy.ndimage import gaussian_filter

from rockbank.core.errors import InputError
from rockbank.core.files import sha256
from rockbank.core.paths import PIPELINE
from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.manifest import SegmentationRule
from rockbank.executors import on_slurm
from rockbank.executors.interface import Outcome, Task, WorkerLost
from rockbank.params import Params, load_params
from rockbank.stages import spread
from rockbank.stages.data import prepare
from rockbank.stages.embed import embed
from rockbank.stages.export import export
from rockbank.stages.score import score
from rockbank.stages.train import train
from tests.executors.ray_processes import ray_tasks
from tests.warm import Process, commands, environment

pytestmark = pytest.mark.slow
# What `rockbank` is when it is installed.
# What a shell runs in the background ignores Ctrl-C, and so would this.
COMMAND = """
import signal
from rockbank.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
ROOT = Path(__file__).parents[2]
TINY = {
    "family": "shale", "network": "table1", "latent": [8], "loss": "wgan-gp", "optimiser": "adam", "penalty": 10.0,
    "energy": 0.0, "shares_batch": False, "batch": 4, "turns": False, "n_steps": 8, "critic_width": 4,
    "spectral_steps": 0, "ema": 0.9, "bf16": False, "evaluate_every": 4, "seed": 1, "anneal_from": 1.0, "clip": 0.0,
    "n_critic": 1, "rate_generator": 1e-3, "rate_critic": 1e-3, "dropout": 0.2,
}  # fmt: skip
# The third's network is none.
GENERATORS = {"one": TINY, "two": TINY | {"seed": 2}, "broken": TINY | {"network": "table9"}}
LONG = TINY | {"n_steps": 60}
# What a stage says of the moment and the machine is in others.
FILES = (
    "artifacts/data/*/*",
    "artifacts/embed/*/*.json",
    "artifacts/embed/*/features/*/*",
    "artifacts/train/*/generator.json",
    "artifacts/train/*/weights.safetensors",
    "artifacts/score/*/*.csv",
    "artifacts/score/*/reference.json",
    "artifacts/export/*/*",
    "reports/scores/*",
    "reports/metrics/*",
)


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256(path) for each in FILES for path in folder.glob(each)}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A project with a scan, parameters, and an empty store of runs."""
    folder = tmp_path_factory.mktemp("project")
    said = yaml.safe_load((ROOT / "params.yaml").read_text())
    said["prepare"] |= {"size": 32, "n_train": 60, "n_validation": 8, "n_test": 40, "split": "strips"}
    said["generators"], said["challengers"] = GENERATORS | {"long": LONG}, {}
    said["score"] |= {"second_extractor": None, "n_paper": 4, "n_large": 40, "n_progress": 8}
    (folder / "params.yaml").write_text(yaml.safe_dump(said))
    noise = np.random.default_rng(0).standard_normal((6, 128, 400))
    rock = gaussian_filter(noise, (0, 2, 2))
    tifffile.imwrite(folder / "scan.tif", np.uint8(np.clip(128 + 60 * rock / rock.std(), 0, 255)))
    add_volumes(
        [folder / "scan.tif"],
        folder / "data",
        options=ScanOptions(voxel_size=60e-9),
        segmentation=SegmentationRule(smoothing=1.0, threshold="otsu"),
        licence="none",
        source="noise",
    )
    shutil.copyfile(empty_store, folder / "mlflow.db")
    return folder


def copy_of(project: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """A copy of the project, in which this process works from now on, and its parameters."""
    shutil.copytree(project, folder)
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    uri = f"sqlite:///{folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    return load_params()


@pytest.fixture(scope="module")
def plain(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project after the plain stages."""
    folder, n_threads = tmp_path_factory.mktemp("plain") / "project", torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        params = copy_of(project, folder, patch)
        prepare(params.prepare)
        embed("shale", params.score)
        for name in ("one", "two"):
            train(name, params.generator(name), params.score)
            score(name, params.score)
            export(name)
    torch.set_num_threads(n_threads)
    yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def long_weights(project: Path, plain: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Of a training that nothing stopped, long enough to be."""
    folder, n_threads = tmp_path_factory.mktemp("long") / "project", torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        params = copy_of(project, folder, patch)
        shutil.copytree(plain / PIPELINE.data, PIPELINE.data)
        train("long", params.generator("long"), params.score)
    torch.set_num_threads(n_threads)
    return (folder / PIPELINE.train("long") / "weights.safetensors").read_bytes()


def runs() -> list[Any]:
    """Those of the store at hand."""
    client = mlflow.MlflowClient()
    return list(client.search_runs([client.get_experiment_by_name("shale").experiment_id]))


@pytest.mark.parametrize(("name", "workers"), [("local", 1), ("ray", 2), ("slurm", 2)])
def test_stages_by_an_executor_make_the_files_of_the_plain_stages_and_a_generator_that_fails_holds_up_no_other(
    name: str,
    workers: int,
    project: Path,
    plain: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.1)
    if name == "slurm":
        monkeypatch.setattr(sys, "executable", str(commands() / "python"))
    if name != "local":
        request.getfixturevalue(f"{name}_cluster")
    monkeypatch.setattr(spread, "N_SLICES", 2)
    monkeypatch.setattr(spread, "N_CROPS", 32)
    params = copy_of(project, tmp_path / "project", monkeypatch)
    with spread.project_executor(name, workers, params) as executor:
        spread.spread_prepare(executor, params)
        spread.spread_embed(executor, ["shale"], params)
        with pytest.raises(spread.GeneratorsFailed) as failed:
            spread.spread_generators(executor, spread.GENERATOR_STAGES, ["one", "broken", "two"])
    assert str(failed.value).startswith("broken: train failed: ")
    assert "table9" in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1
    made, wanted = files(tmp_path / "project"), files(plain)
    assert len(wanted) > 20
    assert made == wanted
    assert not (tmp_path / "project" / spread.EXECUTOR_FOLDER).exists()


def test_a_training_whose_worker_is_killed_goes_on_from_its_checkpoint_elsewhere(
    ray_cluster: Any,
    project: Path,
    plain: Path,
    long_weights: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = copy_of(project, tmp_path / "killed", monkeypatch)
    shutil.copytree(plain / PIPELINE.data, PIPELINE.data)
    killed: list[int] = []

    def kill() -> None:
        while not list(Path(".checkpoints").glob("long-*/training.safetensors")):
            time.sleep(0.01)
        for pid in ray_tasks():
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with spread.project_executor("ray", 1, params) as executor:
        spread.spread_generators(executor, ["train"], ["long"])
    killer.join()
    assert killed
    (run,) = runs()
    steps = [metric.step for metric in mlflow.MlflowClient().get_metric_history(run.info.run_id, "critic_loss")]
    assert sorted(steps) == list(range(1, LONG["n_steps"] + 1))
    assert (PIPELINE.train("long") / "weights.safetensors").read_bytes() == long_weights


def test_ctrl_c_ends_a_training_at_once_and_the_same_command_goes_on_to_the_same_bits(
    project: Path, plain: Path, long_weights: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of(project, tmp_path / "stopped", monkeypatch)
    shutil.copytree(plain / PIPELINE.data, PIPELINE.data)
    command = ["-c", COMMAND, "stage", "train", "long", "--workers", "1"]
    process = Process(command, Path.cwd(), environment())
    while not list(Path(".checkpoints").glob("long-*/training.safetensors")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped; nothing is half written, and the same command takes it up again" in said
    assert "Traceback" not in said
    assert not PIPELINE.train("long").exists()
    again = Process(command, Path.cwd(), environment())
    assert again.communicate(timeout=120)[0].endswith("train@long\n")
    assert again.returncode == 0
    assert (PIPELINE.train("long") / "weights.safetensors").read_bytes() == long_weights
    (run,) = runs()
    assert run.info.status == "FINISHED"


class Stopped:
    """A worker that is told to stop at once, in a stage that would go on."""

    def __init__(self) -> None:
        self.context, self.asked = self, []

    def report(self, message: Any) -> None:
        raise AssertionError(message)

    def is_stopped(self) -> bool:
        return bool(self.asked)

    def run(self, stage: str, generator: str) -> None:
        self.asked.append((stage, generator))
        for _ in range(3000):
            time.sleep(0.01)
        raise AssertionError("it was not stopped")


# A script ignores SIGINT in what it begins in the background.
@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_a_stage_ends_when_its_executor_is_stopped(handler: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_POLL_SECONDS", 0.05)
    stopped = Stopped()
    before = signal.signal(signal.SIGINT, handler)
    try:
        assert spread._run(stopped, ("train", "one")) == "stopped; the same command goes on with it"
        assert signal.getsignal(signal.SIGINT) == handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.asked == [("train", "one")]


class Losing:
    """An executor that does no task, and loses those of some keys."""

    def __init__(self, *lost: str) -> None:
        self.lost, self.submitted = lost, []

    def submit(self, tasks: Sequence[Task]) -> None:
        self.submitted += [task.key for task in tasks]

    def results(self, on_message: Callable[[Any], None]) -> Iterator[Outcome]:
        n_given = 0
        while n_given < len(self.submitted):
            key = self.submitted[n_given]
            n_given += 1
            yield Outcome(key=key, lost=WorkerLost("its worker died 4 times") if key in self.lost else None)

    def cancel(self) -> None:
        raise AssertionError


def test_a_generator_whose_workers_die_time_and_again_has_failed_and_the_others_are_done() -> None:
    losing = Losing("train-two", "export-three")
    with pytest.raises(spread.GeneratorsFailed) as failed:
        spread.spread_generators(losing, spread.GENERATOR_STAGES, ["one", "two", "three"])
    assert str(failed.value).splitlines() == [
        "two: train failed: WorkerLost: its worker died 4 times",
        "three: export failed: WorkerLost: its worker died 4 times",
    ]
    assert losing.submitted == [
        "train-one", "train-two", "train-three", "score-one", "score-three", "export-one", "export-three",
    ]  # fmt: skip


def test_crops_of_a_lost_task_are_not_made_up(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    params = copy_of(project, tmp_path / "project", monkeypatch)
    with pytest.raises(WorkerLost, match="died 4 times"):
        spread.spread_prepare(Losing("slices-0"), params)
    assert not PIPELINE.crops("shale").exists()


def test_two_commands_do_not_work_on_one_project(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = copy_of(project, tmp_path / "project", monkeypatch)
    with (
        spread.project_executor("local", 1, params),
        pytest.raises(InputError, match="another 'rockbank stage' works on this project"),
        spread.project_executor("local", 1, params),
    ):
        pass
    with spread.project_executor("local", 1, params):
        pass
