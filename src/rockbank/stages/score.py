"""Score one generator on test crops, and draw what the scores say."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int

from rockbank.core.files import read_json, replacing, write_json, write_text
from rockbank.core.paths import PIPELINE, SCANNED, ProjectPaths
from rockbank.core.terminal import terminal
from rockbank.gan.networks import find_network
from rockbank.gan.weights import load_generator, sample
from rockbank.generator.card import REFERENCE, WEIGHTS, headline
from rockbank.generator.latents import draw_latents
from rockbank.generator.ranges import to_intensity
from rockbank.metrics.score import score as score_samples
from rockbank.metrics.table2 import table2 as write_table2
from rockbank.params import GeneratorParams, ScoreParams
from rockbank.plot.curves import save_s2
from rockbank.plot.grids import save_real_against_generated
from rockbank.plot.panels import save_statistics
from rockbank.rock.bands import blocks_of
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.crops import CropSet, load_crops
from rockbank.rock.crops import to_intensity as crop_intensity
from rockbank.rock.descriptors import describe
from rockbank.rock.segmentation import segment
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.embed import extractors, load_embedded
from rockbank.stages.training_run import find_run, log_scores

# The paper's Table 2 is of this family; its rows are named by the loss.
TABLE2_FAMILY = "shale"


def score(generator: str, params: ScoreParams, paths: ProjectPaths = PIPELINE) -> None:
    """Write the scores of `generator`, its reference statistics, its S2 curves and its pictures."""
    folder = paths.train(generator)
    blueprint = Blueprint.load(folder)
    crop_set = load_crops(paths.crops(blueprint.family))
    first, second = extractors(params)
    generated = _sample(blueprint, paths, params)
    scores = score_samples(
        train=crop_set.train,
        test=crop_set.test,
        generated=generated,
        segmentation=crop_set.segmentation,
        extractor=first,
        second=second,
        blocks=_blocks(crop_set),
        n_paper=params.n_paper,
        n_large=params.n_large,
        seed=params.seed,
        real_features=load_embedded(blueprint.family, params, paths),
    )
    curves = scores.pop("curves")
    save_statistics(paths.score(generator) / "statistics.png", curves, voxel_size=crop_set.voxel_size, title=generator)
    write_json(paths.scores(generator), scores)
    measured_with = {"extractor": scores["extractor"], "samples": scores["large"]["n"]}
    write_json(paths.metrics(generator), {**measured_with, **headline(scores)})
    _draw(generator, crop_set, generated, paths)
    run = find_run(generator, paths)
    if run is not None:
        log_scores(run, generator, paths)
    said = "  ".join(f"{metric} {value:.4g}" for metric, value in headline(scores).items())
    terminal.print(f"{generator}: {said}  ({scores['extractor']}, {scores['large']['n']} samples)")


def table2(generators: dict[str, GeneratorParams], paths: ProjectPaths = PIPELINE) -> None:
    """Write the paper's Table 2 with a row for each scored generator of the shale."""
    rows = {
        f"{params.loss.upper()} ({name})": read_json(paths.scores(name))
        for name, params in generators.items()
        if params.family == TABLE2_FAMILY
    }
    write_text(paths.reports / "table2.md", write_table2(rows))


def _blocks(crop_set: CropSet) -> dict[str, Int[np.ndarray, " n"]] | None:
    """Of crops that were cut from a scan; synthetic ones are independent of each other."""
    if crop_set.family != SCANNED:
        return None
    table, size = crop_set.table, max(crop_set.crops.shape[2:])
    return {
        name: blocks_of(table[table["split"] == split], size)
        for name, split in (("training", "train"), ("test", "test"))
    }


def _sample(blueprint: Blueprint, paths: ProjectPaths, params: ScoreParams) -> Float32[np.ndarray, "n c h w"]:
    module = load_generator(
        paths.train(blueprint.generator) / WEIGHTS,
        network=blueprint.network,
        latent=blueprint.latent,
        image=blueprint.image,
    )
    network = find_network(blueprint.network)
    image = sample(module, draw_latents(params.seed, params.n_large, blueprint.latent, lattice=network.lattice))
    return np.asarray(np.clip(to_intensity(image, network.value_range), 0.0, 1.0))


def _draw(generator: str, crop_set: CropSet, generated: Float32[np.ndarray, "n c h w"], paths: ProjectPaths) -> None:
    folder = paths.score(generator)
    real = crop_intensity(crop_set.test[: len(generated)])
    pores, fake_pores = segment(real, crop_set.segmentation), segment(generated, crop_set.segmentation)
    write_json(folder / REFERENCE, describe(pores))
    curves, fake_curves = two_point_curves(pores), two_point_curves(fake_pores)
    table = pd.DataFrame({"real": curves.mean(axis=0), "generated": fake_curves.mean(axis=0)})
    with replacing(folder / "s2.csv") as beside:
        table.to_csv(beside, index_label="lag")
    scale = crop_set.voxel_size
    save_s2(folder / "s2.png", curves, fake_curves, voxel_size=scale, title=generator)
    save_real_against_generated(
        folder / "real_against_generated.png", real, generated, voxel_size=scale, title=generator
    )
