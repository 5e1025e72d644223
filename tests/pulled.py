"""What `dvc pull` brings of a generator, of a tiny one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from rockbank.core.files import read_json, write_json
from rockbank.core.paths import HISTORY, TRAINING_PICTURE, ProjectPaths
from rockbank.generator.card import VERDICT, WEIGHTS
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.training_about import TrainingAbout
from rockbank.stages.training_run import samples_file

PATHS = ProjectPaths()
STEPS, BEGAN = [1, 2, 3], 1_700_000_000.0
TIMES = [BEGAN + 0.5, BEGAN + 1.25, BEGAN + 60.0]
KIDS = [float("nan"), 0.5, 0.25]


def write_pulled(name: str, folder: Path) -> None:
    """Training, scores, pictures, export and verdict of a family's generator, from the folder of an exported one."""
    train = PATHS.train(name)
    train.mkdir(parents=True)
    shutil.copyfile(folder / WEIGHTS, train / WEIGHTS)
    Blueprint(generator=name, family="shale", network="tiny", loss="wgan-gp", latent=(2,), image=(1, 32, 32)).save(
        train
    )
    about = {"params": {"batch": 4}, "git_commit": "abc", "data_md5": "0" * 32, "best_step": 3}
    TrainingAbout(**about, description="as it was written").save(train)
    losses = {"step": STEPS, "time": TIMES, "generator_loss": [3.0, 2.0, 1.0], "kid": KIDS}
    pd.DataFrame(losses).to_csv(train / HISTORY, index=False)
    for step in STEPS[1:]:
        path = samples_file(train, step)
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 8), step, np.uint8)).save(path)
    (train / TRAINING_PICTURE).write_bytes(b"picture")
    PATHS.score(name).mkdir(parents=True)
    (PATHS.score(name) / "s2.png").write_bytes(b"picture")
    shutil.copytree(folder, PATHS.export(name))
    scores = {**read_json(folder / "card.json")["scores"], "real_against_real": {"large": {"kid": 0.0, "fid": 1.0}}}
    scores["real_against_real"]["s2_distance"] = 0.0
    write_json(PATHS.scores(name), scores)
    judged = read_json(folder / VERDICT)
    verdict = {**judged, "generator": name, "family": "shale", "metrics": {"kid": scores["large"]["kid"]}}
    write_json(PATHS.verdict("shale", name), verdict)
