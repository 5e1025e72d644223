"""The MLflow run of a training: found by its weights, or made from what travelled with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from rockbank.core.files import read_json, sha256, whole_files
from rockbank.core.paths import HISTORY, TRAINING_PICTURE, ProjectPaths
from rockbank.generator.card import WEIGHTS, headline
from rockbank.mlops import tracking
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.training_about import TrainingAbout

SAMPLES = "samples"
# In the names of the files of samples.
_STEP = "step-"


def samples_file(folder: Path, step: int) -> Path:
    """Where the grid of samples of a step lies, in the folder of a training."""
    return folder / SAMPLES / f"{_STEP}{step:06d}.png"


def find_run(generator: str, paths: ProjectPaths) -> tracking.Run | None:
    """The run whose weights are the generator's; None where the tracking store has none."""
    folder = paths.train(generator)
    return tracking.find_by_weights(Blueprint.load(folder).family, sha256(folder / WEIGHTS))


def find_or_make_run(generator: str, paths: ProjectPaths) -> tracking.Run:
    """The run whose weights are the generator's; where they were pulled, one made of what travelled with them."""
    return find_run(generator, paths) or _make_run(generator, paths)


def log_scores(run: tracking.Run, generator: str, paths: ProjectPaths) -> None:
    """Add scores and pictures to the run; the same scores are added once."""
    path = paths.scores(generator)
    fingerprint = sha256(path)
    if run.tags().get("scores_sha256") == fingerprint:
        return
    scores = read_json(path)
    run.score(headline(scores))
    run.tag({"extractor": scores["extractor"], "n_samples": str(scores["large"]["n"])})
    pictures = [*whole_files(paths.score(generator), "*.png"), paths.train(generator) / TRAINING_PICTURE]
    for picture in sorted(filter(Path.is_file, pictures)):
        run.file(picture)
    run.json("scores.json", scores)
    run.describe_above(_table(scores))
    run.tag({"scores_sha256": fingerprint})


def _make_run(generator: str, paths: ProjectPaths) -> tracking.Run:
    folder = paths.train(generator)
    family, about = Blueprint.load(folder).family, TrainingAbout.load(folder)
    history = pd.read_csv(folder / HISTORY, float_precision="round_trip")
    steps = history.pop("step").tolist()
    times = dict(zip(steps, history.pop("time").tolist(), strict=True))
    rows = ({str(name): float(value) for name, value in row.items()} for _, row in history.iterrows())
    series = dict(zip(steps, rows, strict=True))
    began, ended = min(times.values()), max(times.values())
    with tracking.record_pulled(family, generator, about.params, began=began, ended=ended) as run:
        run.log_series(series, times)
        for path in whole_files(folder / SAMPLES, "*.png"):
            step = int(path.stem.removeprefix(_STEP))
            with Image.open(path) as picture:
                run.picture("samples", np.asarray(picture), step, times[step])
        run.data(f"{family} crops", paths.crops(family), about.data_md5)
        run.tag({"git_commit": about.git_commit, "data_md5": about.data_md5, "best_step": str(about.best_step)})
        run.describe(about.description)
        run.has_weights(sha256(folder / WEIGHTS))
    return run


def _table(scores: dict[str, Any]) -> str:
    """The headline scores as markdown, beside those of training crops in the generator's place."""
    n, against_real = scores["large"]["n"], scores["real_against_real"]
    real = {**against_real["large"], **against_real, "diversity": 1.0, "memorisation": 1.0}
    meaning = {
        "diversity": "as varied as the rock: 1",
        "memorisation": "a copy of the training crops: 0, as far from them as rock never seen: 1",
    }
    rows = [
        f"| {name} | {value:.4g} | {real[name]:.4g} | {meaning.get(name, 'the less the better')} |"
        for name, value in headline(scores).items()
    ]
    kid, distance = scores["large"]["kid"], scores["s2_distance"]
    return f"""**KID {kid:.3g}, S2 distance {distance:.3g}** of {n} samples against {n} held-out crops, the less
the better; training crops in their place have {real["kid"]:.3g} and {real["s2_distance"]:.3g}.

| | generated | real | |
|---|---:|---:|---|
{chr(10).join(rows)}

Extractor of FID and KID: {scores["extractor"]}; scores of different ones are not comparable.
Pictures of both: *Artifacts*."""
