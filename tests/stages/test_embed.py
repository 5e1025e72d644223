"""Real crops are embedded once: the scores are the same numbers, and features of something else are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rockbank.core.paths import ProjectPaths
from rockbank.metrics.score import score
from rockbank.params import ScoreParams
from rockbank.rock.crops import CropSet, load_crops, save_crops
from rockbank.rock.segmentation import Segmentation
from rockbank.stages.embed import embed, extractors, load_embedded

PARAMS = ScoreParams(
    extractor="efficientnet-lite0",
    second_extractor="efficientnet-lite2",
    inception_weights=None,
    n_paper=4,
    n_large=12,
    n_progress=4,
    seed=3,
)


@pytest.fixture
def paths(tmp_path: Path) -> ProjectPaths:
    """A small crop set, embedded."""
    paths = ProjectPaths(artifacts=tmp_path, data=tmp_path / "data")
    write_crops(paths, seed=0)
    embed("shale", PARAMS, paths)
    return paths


def write_crops(paths: ProjectPaths, seed: int) -> None:
    crops = np.random.default_rng(seed).integers(0, 256, (30, 1, 32, 32), dtype=np.uint8)
    table = pd.DataFrame({"split": ["train"] * 20 + ["test"] * 10})
    segmentation = Segmentation(smoothing=1.0, threshold=0.5, phase="below")
    crop_set = CropSet(family="shale", crops=crops, table=table, voxel_size=60e-9, segmentation=segmentation)
    save_crops(paths.crops("shale"), crop_set)


def test_scores_by_features_that_were_kept_as_float16_are_those_by_features_made_on_the_spot(
    paths: ProjectPaths,
) -> None:
    (first, second), crop_set = extractors(PARAMS), load_crops(paths.crops("shale"))
    generated = np.random.default_rng(1).random((11, 1, 32, 32), dtype=np.float32)

    def scores(**given: object) -> dict[str, object]:
        return score(
            train=crop_set.train,
            test=crop_set.test,
            generated=generated,
            segmentation=crop_set.segmentation,
            extractor=first,
            second=second,
            n_paper=PARAMS.n_paper,
            n_large=PARAMS.n_large,
            seed=PARAMS.seed,
            progress=False,
            **given,  # type: ignore[arg-type]
        )

    kept = load_embedded("shale", PARAMS, paths)
    assert second is not None
    sizes = {name: {each: len(values) for each, values in sets.items()} for name, sets in kept.items()}
    assert sizes == {each.name: {"training": 12, "test": 10} for each in (first, second)}
    here, there = numbers(scores()), numbers(scores(real_features=kept))
    assert there == pytest.approx(here, rel=1e-3, abs=1e-5)
    assert there != here, "nothing of what was kept is used"


def numbers(scores: object) -> dict[str, float]:
    """Every number of nested scores, by its path."""
    return {str(name): value for name, value in pd.json_normalize(scores).iloc[0].items() if isinstance(value, float)}


def test_features_of_other_crops_choices_or_extractors_are_refused(paths: ProjectPaths) -> None:
    with pytest.raises(ValueError, match=r"differ: \['extractors'\]; run 'dvc repro embed@shale'"):
        load_embedded("shale", replace(PARAMS, second_extractor=None), paths)
    with pytest.raises(ValueError, match=r"differ: \['seed'\]"):
        load_embedded("shale", replace(PARAMS, seed=4), paths)
    (paths.embedded("shale") / "features" / "efficientnet-lite2-imagenet" / "test.npy").unlink()
    with pytest.raises(ValueError, match=r"lite2-imagenet/test.npy'\] not there; run 'dvc repro embed@shale'"):
        load_embedded("shale", PARAMS, paths)
    write_crops(paths, seed=1)
    with pytest.raises(ValueError, match=r"differ: \['crops_sha256'\]"):
        load_embedded("shale", PARAMS, paths)
    shutil.rmtree(paths.embedded("shale"))
    with pytest.raises(ValueError, match=r"embedded.json: no such file; run 'dvc repro embed@shale'"):
        load_embedded("shale", PARAMS, paths)
