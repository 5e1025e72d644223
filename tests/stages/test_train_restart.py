"""What a training that was stopped goes on from, and what it begins anew."""

from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import yaml

from rockbank.core.paths import CHECKPOINTS, ProjectPaths
from rockbank.core.provenance import PACKAGE
from rockbank.params import GeneratorParams, ScoreParams
from rockbank.rock.crops import CropSet, save_crops
from rockbank.rock.segmentation import Segmentation
from rockbank.stages.train import CODE, train

PATHS = ProjectPaths()
PARAMS = GeneratorParams(
    family="shale", network="table1", latent=(8,), loss="dcgan", optimiser="adam", rate_generator=1e-3,
    rate_critic=1e-3, anneal_from=1.0, clip=0.0, penalty=0.0, energy=0.0, n_critic=1, shares_batch=False,
    batch=4, turns=False, n_steps=4, spectral_steps=0, critic_width=4, dropout=0.0, ema=0.9, bf16=False,
    evaluate_every=1, seed=1,
)  # fmt: skip
SCORE = ScoreParams(
    extractor="efficientnet-lite0", second_extractor=None, inception_weights=None, n_paper=4, n_large=8, n_progress=8,
    seed=0,
)  # fmt: skip
Stop = Callable[[int], None]


@pytest.fixture
def stop_at(store: Path, monkeypatch: pytest.MonkeyPatch) -> Stop:
    """Has the evaluation of so many trainings' steps raise KeyboardInterrupt; 0 has none of them."""
    segmentation = Segmentation(smoothing=1.0, threshold=0.5, phase="below")
    table = pd.DataFrame({"split": ["train"] * 8 + ["validation"] * 8})
    crops = np.random.default_rng(0).integers(0, 256, (16, 1, 16, 16), dtype=np.uint8)
    crop_set = CropSet(family="shale", crops=crops, table=table, voxel_size=60e-9, segmentation=segmentation)
    save_crops(PATHS.crops("shale"), crop_set)
    left = 0

    def stop(n: int) -> None:
        nonlocal left
        left = n

    def evaluate(samples: np.ndarray) -> Mapping[str, float]:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return {"kid": float(samples.std())}

    # Of what is measured nothing hangs on it here, and EfficientNet takes seconds to load.
    monkeypatch.setattr("rockbank.stages.train.make_extractor", lambda *arguments: None)
    monkeypatch.setattr("rockbank.stages.train.progress_evaluator", lambda *arguments: evaluate)
    monkeypatch.setattr("rockbank.stages.train.save_training", lambda *arguments, **keywords: None)
    return stop


def runs() -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient()
    return list(client.search_runs([client.get_experiment_by_name("shale").experiment_id]))


def test_a_training_that_was_stopped_goes_on_in_its_run_with_every_grid_of_samples(stop_at: Stop) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        train("tiny", PARAMS, SCORE)
    # As a kill between the checkpoint and the log of its step leaves it.
    (grid,) = CHECKPOINTS.glob("tiny-*/samples/step-000002.png")
    grid.unlink()
    stop_at(0)
    train("tiny", PARAMS, SCORE)
    assert len(runs()) == 1
    assert [path.stem for path in sorted((PATHS.train("tiny") / "samples").iterdir())] == [
        f"step-{step:06d}" for step in range(1, 5)
    ]
    assert not list(CHECKPOINTS.glob("tiny-*"))


def test_a_training_whose_code_has_changed_begins_anew_and_says_so(
    stop_at: Stop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        train("tiny", PARAMS, SCORE)
    for module in ("rockbank.stages.train", "rockbank.gan.training"):
        monkeypatch.setattr(f"{module}.code_sha256", lambda parts: "0" * 64)
    stop_at(0)
    capsys.readouterr()
    train("tiny", PARAMS, SCORE)
    said = capsys.readouterr().err
    assert "tiny: the code has changed since the checkpoint of step 2; the training begins anew" in said
    assert len(runs()) == 2
    assert not list(CHECKPOINTS.glob("tiny-*"))


def test_the_code_of_a_training_is_what_dvc_makes_its_weights_of() -> None:
    root = PACKAGE.parents[1]
    deps = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]["train"]["do"]["deps"]
    modules = [each.removeprefix("src/rockbank/") for each in deps if each.startswith("src/")]
    # These log, and free memory.
    others = ("mlops/", "stages/", "core/heap.py")
    missing = [
        each
        for each in modules
        if not each.startswith(others) and not any(Path(each).is_relative_to(of) for of in CODE)
    ]
    assert missing == []
