"""A match that takes seconds: a table1 generator of 16 x 16 pixels with weights of a seed, and its case."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from rockbank.core.files import sha256, whole_files, write_json
from rockbank.flow.casefile.file import load_case
from rockbank.flow.equations.options import Options
from rockbank.flow.simulate import simulate
from rockbank.gan.networks import build_generator, find_network
from rockbank.gan.weights import save_weights
from rockbank.generator.card import CARD, VERDICT, WEIGHTS, ModelCard, fingerprints
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.io.csv import write_observations
from rockbank.matching.io.fingerprint import fingerprints as inputs_of
from rockbank.matching.problem.geology import Geology, RockGenerator
from rockbank.matching.problem.observations import Observations
from rockbank.matching.run import GENERATOR, Run
from rockbank.matching.settings import Settings
from rockbank.mlops import registry
from tests.tiny_generators import IMAGE, LATENT, write_generator

GEOLOGY = {"porosity": None, "least_permeability": 1e-14, "least_porosity": 0.2}
DAY = 86400.0
CASE = """
title: A tiny match
grid: {shape: [16, 16], spacing: [10, 10, 10]}
rock: {permeability: {file: k.npy}, porosity: 0.2}
fluid:
  water: {viscosity: 1 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 1, j: 0..15}, axis: y}
  PROD: {kind: producer, cells: {i: 14, j: 0..15}, axis: y}
schedule:
  unit: day
  steps: [5, 20 x 4]
  controls: {INJ: {rate: 60 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar}
matching:
  observations: {file: observations.csv}
  facies: {cells: {i: [1, 14], j: 0..15}}
  truth: true
  forecast: [40 x 2]
  generator: tiny@candidate
  method: rml
  members: 3
  seed: 3
"""


def write_tiny_generator(folder: Path) -> Path:
    """A gated folder with a generator whose images vary with their latents."""
    generator = build_generator("table1", LATENT, IMAGE, torch.Generator().manual_seed(0))
    return _gated(folder, _varied(generator), network="table1")


def write_tiny_bodies(folder: Path) -> Path:
    """The same of the network of bodies, of which there are four."""
    latent, image = (5 * 4 + 2 * 16,), (3, 16, 16)
    weights = build_generator("bodies", latent, image, torch.Generator()).state_dict()
    of_images = find_network("bodies").value_range
    return _gated(folder, weights, network="bodies", latent_shape=latent, image_shape=image, value_range=of_images)


def _gated(folder: Path, weights: Mapping[str, Tensor], **card: Any) -> Path:
    """A folder that passed the gate, with these weights and what the card says of them."""
    write_generator(folder)
    save_weights(weights, folder / WEIGHTS)
    replace(ModelCard.load(folder), files=fingerprints(folder), **card).save(folder)
    write_json(folder / VERDICT, {"passed": True, "reasons": [], "card_sha256": sha256(folder / CARD)})
    return folder


def _varied(generator: nn.Module) -> dict[str, Tensor]:
    """Its weights, the convolutions' as large as trained ones, so that images are not flat."""
    return {name: 8 * of if of.ndim == 4 else of for name, of in generator.state_dict().items()}


def tiny_rock() -> RockGenerator:
    """The rock generator of such a folder."""
    generator = build_generator("table1", LATENT, IMAGE, torch.Generator().manual_seed(0))
    generator.load_state_dict(_varied(generator))
    return RockGenerator(generator, LATENT, ((-1.0, 1.0),), Geology(**GEOLOGY))  # type: ignore[arg-type]


def write_case(folder: Path, **keys: object) -> Path:
    """case.yaml with its truth and observations; `keys` are those of section `matching`, None leaves one out."""
    section = tiny_rock()(torch.tensor([0.5, -1.0, 0.3, 1.2], dtype=torch.float64))
    np.save(folder / "k.npy", section.permeability.numpy())
    text = yaml.safe_load(CASE)
    text["matching"]["geology"] = GEOLOGY
    text["matching"] = {key: value for key, value in (text["matching"] | keys).items() if value is not None}
    path = folder / "case.yaml"
    path.write_text(yaml.safe_dump(text | {"matching": None}))
    case = load_case(path)
    result = simulate(
        case.rock, case.fluid, case.wells, case.schedule, initial=case.initial, options=Options(tolerance=1e-8)
    )
    rng = np.random.default_rng(0)
    columns = [("INJ", "bhp", result.bhp[:, 0], 2e5), ("PROD", "oil_rate", result.oil_rate[:, 1], 2 / DAY)]
    n = len(result.time)
    sigma = np.repeat([sigma for *_, sigma in columns], n)
    value = np.concatenate([curve.numpy() for *_, curve, _ in columns]) + sigma * rng.standard_normal(len(sigma))
    observations = Observations(
        time=np.tile(result.time, len(columns)),
        well=tuple(np.repeat([well for well, *_ in columns], n)),
        quantity=tuple(np.repeat([quantity for _, quantity, *_ in columns], n)),
        value=value,
        sigma=sigma,
    )
    write_observations(folder / "observations.csv", observations)
    path.write_text(yaml.safe_dump(text))
    return path


def make_run(folder: Path, case: Path, write: Callable[[Path], Path] = write_tiny_generator, **settings: Any) -> Run:
    """A run in a new folder, with a tiny generator and three members of method rml unless the settings say others."""
    write(folder / GENERATOR)
    asked: dict[str, Any] = {"method": "rml", "members": 3, "seed": 3, "generator": "tiny/1"} | settings
    asked |= {"inputs": inputs_of(load_match_case(case)), "generator_sha256": sha256(folder / GENERATOR / CARD)}
    return Run.create(folder, Settings(case=os.path.relpath(case, folder), case_sha256=sha256(case), **asked))


def register(folder: Path) -> None:
    """The tiny generator as tiny@candidate in the store at hand."""
    entry = registry.push("tiny", write_tiny_generator(folder))
    registry.set_alias("tiny", registry.CANDIDATE, entry.version)


def checkpoints(folder: Path) -> list[bytes]:
    """The members' states in a run's folder, in their order."""
    return [path.read_bytes() for path in whole_files(folder / "members", "*.npz")]
