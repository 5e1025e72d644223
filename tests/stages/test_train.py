"""A killed training goes on bit for bit, in the same MLflow run; the test crops have no part in it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from rockbank.core.files import sha256
from rockbank.core.paths import ProjectPaths
from rockbank.rock.crops import CropSet, save_crops
from rockbank.rock.segmentation import Segmentation
from tests.warm import Process, environment

pytestmark = pytest.mark.slow
PATHS = ProjectPaths()
STEPS = 40
TRAIN = f"""
from rockbank.params import GeneratorParams, ScoreParams
from rockbank.stages.train import train

train(
    "tiny",
    GeneratorParams(
        family="shale", network="table1", latent=(8,), loss="wgan-gp", optimiser="adam", rate_generator=1e-3,
        rate_critic=1e-3, anneal_from=1.0, clip=0.0, penalty=10.0, energy=0.0, n_critic=1, shares_batch=False,
        batch=4, turns=False, n_steps={STEPS}, spectral_steps=0, critic_width=4, dropout=0.2, ema=0.9,
        bf16=False, evaluate_every=4, seed=1,
    ),
    ScoreParams(
        extractor="efficientnet-lite0", second_extractor=None, inception_weights=None, n_paper=4, n_large=8,
        n_progress=8, seed=0,
    ),
)
"""


def prepared(folder: Path) -> dict[str, str]:
    """The environment of a training in `folder`, whose script is then there."""
    (folder / "training.py").write_text(TRAIN)
    bare = {key: value for key, value in environment().items() if not key.startswith("MLFLOW_")}
    return bare | {"OMP_NUM_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def start(folder: Path) -> Process:
    """A training in a process of its own, in `folder`."""
    return Process(["training.py"], folder, prepared(folder))


def start_ranks(folder: Path, n_ranks: int) -> subprocess.Popen[str]:
    """The same by torchrun, in several."""
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n_ranks}"]
    command = [sys.executable, *several, "training.py"]
    return subprocess.Popen(command, cwd=folder, env=prepared(folder), stderr=subprocess.PIPE, text=True)


def finish(process: Process) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def wait_for_checkpoint(folder: Path, process: Process | subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(".checkpoints/*/training.safetensors")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "no checkpoint in two minutes"
        time.sleep(0.01)


def with_crops(folder: Path, test_seed: int = 1) -> Path:
    """A project's folder with a small crop set in it."""
    folder.mkdir()
    (folder / "params.yaml").touch()
    crops = np.random.default_rng(0).integers(0, 256, (40, 1, 32, 32), dtype=np.uint8)
    crops[32:] = np.random.default_rng(test_seed).integers(0, 256, (8, 1, 32, 32), dtype=np.uint8)
    table = pd.DataFrame({"split": ["train"] * 24 + ["validation"] * 8 + ["test"] * 8})
    segmentation = Segmentation(smoothing=1.0, threshold=0.5, phase="below")
    crop_set = CropSet(family="shale", crops=crops, table=table, voxel_size=60e-9, segmentation=segmentation)
    save_crops(folder / PATHS.crops("shale"), crop_set)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing stopped."""
    folder = with_crops(tmp_path_factory.mktemp("training") / "whole")
    finish(start(folder))
    return folder


def test_a_training_killed_by_sigkill_goes_on_bit_for_bit_in_the_same_run(whole: Path, tmp_path: Path) -> None:
    killed = with_crops(tmp_path / "killed")
    process = start(killed)
    wait_for_checkpoint(killed, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (killed / PATHS.train("tiny")).exists()
    finish(start(killed))

    one, other = (load_file(each / PATHS.train("tiny") / "weights.safetensors") for each in (whole, killed))
    assert one.keys() == other.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name])
    assert not list(killed.glob(".checkpoints/*"))

    client = mlflow.MlflowClient(f"sqlite:///{killed}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("shale").experiment_id])
    folder = killed / PATHS.train("tiny")
    assert run.data.tags["weights_sha256"] == sha256(folder / "weights.safetensors")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "critic_loss")]
    assert sorted(steps) == list(range(1, STEPS + 1))
    history = pd.read_csv(folder / "history.csv")
    assert history["step"].tolist() == list(range(1, STEPS + 1))
    assert history["time"].is_monotonic_increasing
    # Eight of the ten evaluations; a kill between a checkpoint and its grid, as here, costs no grid.
    kept = [int(path.stem.removeprefix("step-")) for path in sorted((folder / "samples").iterdir())]
    assert (kept[0], kept[-1], len(kept)) == (4, STEPS, 8)


def test_a_killed_rank_stops_all_and_one_process_goes_on_in_the_same_run(tmp_path: Path) -> None:
    folder = with_crops(tmp_path / "project")
    process = start_ranks(folder, 2)
    wait_for_checkpoint(folder, process)
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    ranks = [pid for pid in ranks if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"training.py\0")]
    assert len(ranks) == 2
    os.kill(int(ranks[1]), signal.SIGKILL)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not any(os.path.exists(f"/proc/{pid}") for pid in ranks)
    assert not (folder / PATHS.train("tiny")).exists()
    finish(start(folder))
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("shale").experiment_id])
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "critic_loss")]
    assert sorted(set(steps)) == list(range(1, STEPS + 1))
    assert pd.read_csv(folder / PATHS.train("tiny") / "history.csv")["step"].tolist() == list(range(1, STEPS + 1))


def test_the_test_crops_have_no_part_in_a_training(whole: Path, tmp_path: Path) -> None:
    other = with_crops(tmp_path / "other", test_seed=2)
    finish(start(other))
    weights = [(each / PATHS.train("tiny") / "weights.safetensors").read_bytes() for each in (whole, other)]
    assert weights[0] == weights[1]
    histories = [pd.read_csv(each / PATHS.train("tiny") / "history.csv") for each in (whole, other)]
    measured = [each.drop(columns=["time", "images_per_second"]) for each in histories]
    pd.testing.assert_frame_equal(*measured, check_exact=True)
    assert measured[0]["kid"].notna().any()
