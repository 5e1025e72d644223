"""The recipe at a coffee break's length by several seeds, its noise fitted and not: python -m tools.seeds SEED ...

Each seed is trained once, and scored before its noise is fitted to the rock's spectrum and after it. The rows go to
docs/validation/seeds.csv, from which `python -m tools.recipe` writes its section; a killed training is taken up again.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, replacing
from rockbank.core.paths import ProjectPaths
from rockbank.core.terminal import report_user_errors
from rockbank.gan.spectrum import fit_spectrum
from rockbank.gan.training import pick_device
from rockbank.gan.weights import load_generator, save_weights
from rockbank.generator.card import WEIGHTS
from rockbank.params import Params, load_params
from rockbank.rock.crops import load_crops
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.score import score
from rockbank.stages.train import train

TABLE = Path("docs/validation/seeds.csv")
RECIPE = "shale-texture"
# Run S of docs/validation/trials.csv.
COFFEE = {"n_steps": 1600, "anneal_from": 0.5, "evaluate_every": 400}
FITTED_STEPS = 80
PATHS = ProjectPaths(artifacts=Path("artifacts/seeds"), reports=Path("artifacts/seeds/reports"))


@dataclass(frozen=True, kw_only=True)
class Row:
    """Scores on test crops of one seed's weights.

    Attributes:
        seed: of the training.
        spectral_steps: of the fit of the noise; 0 is before it.
        kid_second: KID by the second extractor.
        spectrum_inside: part of the frequencies at which the mean spectrum lies inside the band of the rock.
        spectrum_distance: root mean square relative difference of the radial power spectra.
    """

    seed: int
    spectral_steps: int
    fid: float
    kid: float
    kid_second: float
    s2_distance: float
    spectrum_inside: float
    spectrum_distance: float
    diversity: float
    memorisation: float

    @classmethod
    def of(cls, seed: int, spectral_steps: int, scores: dict[str, Any]) -> Row:
        """From the file of scores that the stage `score` writes."""
        free = scores["network_free"]
        return cls(
            seed=seed,
            spectral_steps=spectral_steps,
            fid=scores["large"]["fid"],
            kid=scores["large"]["kid"],
            kid_second=scores["second_extractor"]["kid"],
            s2_distance=scores["s2_distance"],
            spectrum_inside=free["inside_band"]["spectrum"],
            spectrum_distance=free["spectrum_distance"],
            diversity=scores["diversity"],
            memorisation=scores["memorisation"],
        )


def main(seeds: list[int]) -> None:
    """Train and score each of `seeds`; a row is written as soon as it is measured."""
    params = load_params()
    for seed in seeds:
        start = time.process_time()
        trained = _train(seed, params)
        _record(Row.of(seed, 0, _scored(trained, params)))
        between = time.process_time()
        fitted = _fit(seed, trained, params)
        print(f"seed {seed}: {(between - start) / 60:.1f} CPU minutes, then {(time.process_time() - between) / 60:.1f}")
        _record(Row.of(seed, FITTED_STEPS, _scored(fitted, params)))


def _train(seed: int, params: Params) -> str:
    """The name of the seed's generator, trained without the fit of its noise; one that is there is kept."""
    name = f"{RECIPE}-{seed}"
    if not (PATHS.train(name) / WEIGHTS).is_file():
        coffee = replace(params.generators[RECIPE], **COFFEE, spectral_steps=0, seed=seed)
        train(name, coffee, params.score, PATHS)
    return name


def _fit(seed: int, trained: str, params: Params) -> str:
    """The name of the same generator with its noise fitted, as a training with `spectral_steps` ends."""
    name = f"{trained}-fitted"
    recipe = replace(params.generators[RECIPE], spectral_steps=FITTED_STEPS, seed=seed)
    folder, blueprint = PATHS.train(name), Blueprint.load(PATHS.train(trained))
    module = load_generator(
        PATHS.train(trained) / WEIGHTS, network=blueprint.network, latent=blueprint.latent, image=blueprint.image
    )
    crops = load_crops(PATHS.crops(blueprint.family)).train
    save_weights(fit_spectrum(module.state_dict(), crops, recipe, pick_device()), folder / WEIGHTS)
    replace(blueprint, generator=name).save(folder)
    return name


def _scored(name: str, params: Params) -> dict[str, Any]:
    score(name, params.score, PATHS)
    scores: dict[str, Any] = read_json(PATHS.scores(name))
    return scores


def _record(row: Row) -> None:
    """Put the row into the table, in the place of one of the same seed and fit."""
    table = pd.read_csv(TABLE) if TABLE.is_file() else pd.DataFrame()
    if len(table):
        table = table[(table["seed"] != row.seed) | (table["spectral_steps"] != row.spectral_steps)]
    table = pd.concat([table, pd.DataFrame([asdict(row)])]).sort_values(["seed", "spectral_steps"])
    with replacing(TABLE) as beside:
        table.round(6).to_csv(beside, index=False)


def _seeds(arguments: list[str]) -> list[int]:
    wrong = [each for each in arguments if not each.isdecimal()]
    if wrong or not arguments:
        raise InputError(f"SEED ...: got {wrong or 'none'}; name whole numbers, as in python -m tools.seeds 9 10 11")
    return [int(each) for each in arguments]


if __name__ == "__main__":
    with report_user_errors():
        main(_seeds(sys.argv[1:]))
