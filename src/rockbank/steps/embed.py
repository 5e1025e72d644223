"""Features of the real crops, made once a data set: every generator of the family is scored by them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.crops import load_crops
from rockbank.files import read_json, replacing, sha256, write_json
from rockbank.metrics.features import make_extractor
from rockbank.metrics.score import embed_real
from rockbank.params import ScoreParams
from rockbank.steps.layout import PIPELINE, Layout, terminal

# What scoring waits for. It is the same on every machine, which features are not: their last bits depend on the
# processor, and would have a clone score again every generator that it pulled.
EMBEDDED = "embedded.json"
FILES = {"training": "train.npy", "held-out": "test.npy"}


def embed(family: str, params: ScoreParams, layout: Layout = PIPELINE) -> None:
    """Write the features of the crops that `score` chooses, float32, and what they are features of."""
    crop_set = load_crops(layout.crops(family))
    extractor = make_extractor(params.extractor, params.inception_weights)
    found = embed_real(
        train=crop_set.train,
        holdout=crop_set.holdout,
        extractor=extractor,
        n_large=params.n_large,
        seed=params.seed,
    )
    folder = layout.embedded(family)
    folder.mkdir(parents=True, exist_ok=True)
    # Half written, they must not pass for whole.
    (folder / EMBEDDED).unlink(missing_ok=True)
    for name, values in found.items():
        with replacing(folder / FILES[name]) as beside, beside.open("wb") as file:
            np.save(file, values.numpy(), allow_pickle=False)
    write_json(folder / EMBEDDED, _about(family, params, extractor.name, layout))
    said = ", ".join(f"{len(values)} {name} crops" for name, values in found.items())
    terminal.print(f"{family}: features of {said} by {extractor.name}")


def load_embedded(
    family: str, params: ScoreParams, extractor: str, layout: Layout = PIPELINE
) -> dict[str, Float[Tensor, "n d"]]:
    """The features of a family's crops.

    Raises:
        ValueError: where they are absent, or of other crops, choices or another extractor.
    """
    folder = layout.embedded(family)
    remedy = f"run 'dvc repro embed@{family}'"
    missing = [name for name in (EMBEDDED, *FILES.values()) if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"{folder}: {missing} not there; {remedy}")
    about, wanted = read_json(folder / EMBEDDED), _about(family, params, extractor, layout)
    differing = sorted(key for key in {*about, *wanted} if about.get(key) != wanted.get(key))
    if differing:
        raise ValueError(f"{folder / EMBEDDED}: features of something else, these differ: {differing}; {remedy}")
    return {name: torch.from_numpy(np.load(folder / file, allow_pickle=False)) for name, file in FILES.items()}


def _about(family: str, params: ScoreParams, extractor: str, layout: Layout) -> dict[str, Any]:
    return {
        "extractor": extractor,
        "crops_sha256": sha256(layout.crops(family) / "crops.npy"),
        "n_large": params.n_large,
        "seed": params.seed,
    }
