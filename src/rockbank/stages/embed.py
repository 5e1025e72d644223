"""Features of the real crops, made once a data set: every generator of the family is scored by them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, replacing, sha256, write_json
from rockbank.core.paths import PIPELINE, ProjectPaths
from rockbank.core.terminal import terminal
from rockbank.metrics.features import Extractor, make_extractor
from rockbank.metrics.score import embed_real
from rockbank.params import ScoreParams
from rockbank.rock.crops import CropSet, load_crops

# What scoring waits for. It is the same on every machine, which features are not: their last bits depend on the
# processor, and would have a clone score again every generator that it pulled.
EMBEDDED = "embedded.json"
FILES = {"training": "train.npy", "test": "test.npy"}
# Of a crop set by an extractor, by the set's name.
RealFeatures = Callable[[CropSet, Extractor, ScoreParams], Mapping[str, Float[Tensor, "n d"]]]


def extractors(params: ScoreParams) -> tuple[Extractor, Extractor | None]:
    """The one that FID and KID are of, and the one that is reported beside it."""
    second = params.second_extractor
    first = make_extractor(params.extractor, params.inception_weights)
    return first, None if second is None else make_extractor(second, params.inception_weights)


def _features_here(crop_set: CropSet, extractor: Extractor, params: ScoreParams) -> dict[str, Float[Tensor, "n d"]]:
    return embed_real(
        train=crop_set.train, test=crop_set.test, extractor=extractor, n_large=params.n_large, seed=params.seed
    )


def embed(
    family: str,
    params: ScoreParams,
    paths: ProjectPaths = PIPELINE,
    features_of: RealFeatures = _features_here,
) -> None:
    """Write the features of the crops that `score` chooses, and what they are features of.

    They are what `features_of` gives, as metrics.score.embed_real does. They are kept as float16, since every clone
    pulls them: KID moves by 1e-7, FID by 1e-4.
    """
    crop_set = load_crops(paths.crops(family))
    folder = paths.embedded(family)
    # Half written, they must not pass for whole.
    (folder / EMBEDDED).unlink(missing_ok=True)
    for extractor in extractors(params):
        if extractor is None:
            continue
        found = features_of(crop_set, extractor, params)
        for name, values in found.items():
            with replacing(_file(folder, extractor.name, name)) as beside, beside.open("wb") as file:
                np.save(file, values.half().numpy(), allow_pickle=False)
        said = ", ".join(f"{len(values)} {name} crops" for name, values in found.items())
        terminal.print(f"{family}: features of {said} by {extractor.name}")
    write_json(folder / EMBEDDED, _about(family, params, paths))


def load_embedded(
    family: str, params: ScoreParams, paths: ProjectPaths = PIPELINE
) -> dict[str, dict[str, Float[Tensor, "n d"]]]:
    """The features of a family's crops, by the extractor's name and the set's.

    Raises:
        InputError: where they are absent, or of other crops, choices or another extractor.
    """
    folder = paths.embedded(family)
    remedy = f"run 'dvc repro embed@{family}'"
    if not (folder / EMBEDDED).is_file():
        raise InputError(f"{folder / EMBEDDED}: no such file; {remedy}")
    about, wanted = read_json(folder / EMBEDDED), _about(family, params, paths)
    differing = sorted(key for key in {*about, *wanted} if about.get(key) != wanted.get(key))
    if differing:
        raise InputError(f"{folder / EMBEDDED}: features of something else, these differ: {differing}; {remedy}")
    feature_files = {name: {each: _file(folder, name, each) for each in FILES} for name in wanted["extractors"]}
    missing = [str(path) for files in feature_files.values() for path in files.values() if not path.is_file()]
    if missing:
        raise InputError(f"{folder}: {missing} not there; {remedy}")
    return {
        name: {each: torch.from_numpy(np.load(path, allow_pickle=False)).float() for each, path in files.items()}
        for name, files in feature_files.items()
    }


def _file(folder: Path, extractor: str, name: str) -> Path:
    return folder / "features" / extractor.partition("/")[0] / FILES[name]


def _about(family: str, params: ScoreParams, paths: ProjectPaths) -> dict[str, Any]:
    return {
        "extractors": [each.name for each in extractors(params) if each is not None],
        "crops_sha256": sha256(paths.crops(family) / "crops.npy"),
        "n_large": params.n_large,
        "seed": params.seed,
    }
