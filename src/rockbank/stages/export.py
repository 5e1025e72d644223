"""Make of a trained and scored generator the folder that is registered."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
from torch import nn

from rockbank.core.files import read_json, replacing_folder
from rockbank.core.paths import PIPELINE, ProjectPaths, origin
from rockbank.core.terminal import terminal
from rockbank.gan.networks import find_network
from rockbank.gan.onnx_export import export_onnx, parity
from rockbank.gan.weights import load_generator, sample
from rockbank.generator.card import ONNX, REFERENCE, SAMPLES, WEIGHTS, ModelCard, fingerprints
from rockbank.generator.latents import draw_latents
from rockbank.generator.ranges import to_intensity
from rockbank.plot.grids import save_grid
from rockbank.rock.crops import load_crops
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.training_about import TrainingAbout

GOLDEN_SEED = 2019
N_GOLDEN = 64


def export(generator: str, paths: ProjectPaths = PIPELINE) -> ModelCard:
    """Write generator.onnx, weights.safetensors, reference.json, samples.png and the card that answers for them.

    Raises:
        ParityError: where ONNX and torch differ; then nothing is written.
    """
    source = paths.train(generator)
    blueprint = Blueprint.load(source)
    crop_set = load_crops(paths.crops(blueprint.family))
    module = load_generator(source / WEIGHTS, network=blueprint.network, latent=blueprint.latent, image=blueprint.image)
    network, training = find_network(blueprint.network), TrainingAbout.find(source)
    with replacing_folder(paths.export(generator)) as folder:
        export_onnx(module, blueprint.latent, folder / ONNX, network.lattice)
        shutil.copyfile(source / WEIGHTS, folder / WEIGHTS)
        shutil.copyfile(paths.score(generator) / REFERENCE, folder / REFERENCE)
        pictured = sample(module, draw_latents(GOLDEN_SEED, 16, blueprint.latent, lattice=network.lattice))
        save_grid(folder / SAMPLES, to_intensity(pictured, network.value_range))
        card = ModelCard(
            generator=generator,
            family=blueprint.family,
            network=blueprint.network,
            loss=blueprint.loss,
            latent_shape=blueprint.latent,
            image_shape=blueprint.image,
            value_range=network.value_range,
            voxel_size=crop_set.voxel_size,
            segmentation=crop_set.segmentation,
            data_md5=origin(blueprint.family, paths) if training is None else training.data_md5,
            scans=dict(crop_set.scans),
            git_commit=None if training is None else training.git_commit,
            scores=read_json(paths.scores(generator)),
            parity=parity(module, folder / ONNX, blueprint.latent, network.lattice, tolerance=network.tolerance),
            golden=_golden(module, blueprint),
            files=fingerprints(folder),
            lattice=network.lattice,
        )
        card.save(folder)
    terminal.print(f"{generator}: ONNX and torch differ by at most {card.parity:.2g}")
    return card


def _golden(module: nn.Module, blueprint: Blueprint) -> dict[str, Any]:
    """Values spread over the first sample of a seed, in network range: a server's check of what it loaded."""
    lattice = find_network(blueprint.network).lattice
    image = sample(module, draw_latents(GOLDEN_SEED, 1, blueprint.latent, lattice=lattice)).ravel()
    places = np.linspace(0, image.size - 1, N_GOLDEN).astype(int)
    return {"seed": GOLDEN_SEED, "places": places.tolist(), "values": [float(value) for value in image[places]]}
