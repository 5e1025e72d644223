"""What the card of an exported generator says of where it comes from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rockbank.core.files import write_json
from rockbank.core.paths import ProjectPaths
from rockbank.gan.networks import build_generator
from rockbank.gan.weights import save_weights
from rockbank.generator.card import CARD, REFERENCE, WEIGHTS
from rockbank.rock.crops import CropSet, save_crops
from rockbank.rock.segmentation import Segmentation
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.export import export
from rockbank.stages.training_about import TrainingAbout

PATHS = ProjectPaths()


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project whose generator has its scores, and no record of a training."""
    monkeypatch.chdir(tmp_path)
    # Tracing a graph takes ten seconds.
    monkeypatch.setattr("rockbank.stages.export.export_onnx", lambda module, latent, path, lattice: path.touch())
    monkeypatch.setattr("rockbank.stages.export.parity", lambda *arguments, tolerance: 0.0)
    segmentation = Segmentation(smoothing=1.0, threshold=0.5, phase="below")
    crops = np.zeros((2, 1, 16, 16), np.uint8)
    table = pd.DataFrame({"split": ["train"] * 2})
    save_crops(
        PATHS.crops("shale"),
        CropSet(family="shale", crops=crops, table=table, voxel_size=60e-9, segmentation=segmentation),
    )
    folder = PATHS.train("tiny")
    save_weights(build_generator("table1", (8,), (1, 16, 16), torch.Generator()).state_dict(), folder / WEIGHTS)
    Blueprint(generator="tiny", family="shale", network="table1", loss="dcgan", latent=(8,), image=(1, 16, 16)).save(
        folder
    )
    write_json(PATHS.score("tiny") / REFERENCE, {})
    write_json(PATHS.scores("tiny"), {})
    return "tiny"


def test_the_card_names_commit_and_data_of_the_training_whatever_there_is_when_it_is_exported(scored: str) -> None:
    TrainingAbout(params={}, git_commit="of the training", data_md5="trained on", best_step=1, description="").save(
        PATHS.train(scored)
    )
    made = export(scored, PATHS)
    assert (made.git_commit, made.data_md5) == ("of the training", "trained on")
    card = (PATHS.export(scored) / CARD).read_bytes()
    export(scored, PATHS)
    assert (PATHS.export(scored) / CARD).read_bytes() == card


def test_the_card_of_weights_that_were_not_trained_here_names_no_commit(scored: str) -> None:
    assert export(scored, PATHS).git_commit is None
