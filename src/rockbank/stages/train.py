"""Train one generator as one MLflow run, and keep the weights whose KID on validation crops was the best."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float32, UInt8
from PIL import Image
from torch import Tensor

from rockbank.core.files import read_json, replacing, replacing_folder, sha256, whole_files, write_json
from rockbank.core.heap import keep_freed_memory
from rockbank.core.paths import CHECKPOINTS, HISTORY, PIPELINE, TRAINING_PICTURE, ProjectPaths, origin
from rockbank.core.provenance import code_sha256, git_commit
from rockbank.core.terminal import progress, terminal
from rockbank.gan import training
from rockbank.gan.checkpoint import saved_step
from rockbank.gan.ranks import Ranks, torchrun_ranks
from rockbank.gan.spectrum import fit_spectrum
from rockbank.gan.training import fit, pick_device
from rockbank.gan.training_state import Record
from rockbank.gan.weights import save_weights
from rockbank.generator.card import WEIGHTS
from rockbank.metrics.features import make_extractor
from rockbank.metrics.score import progress_evaluator
from rockbank.mlops import tracking
from rockbank.params import GeneratorParams, ScoreParams
from rockbank.plot.curves import save_training
from rockbank.plot.grids import grid
from rockbank.rock.crops import CropSet, load_crops
from rockbank.stages.blueprint import Blueprint
from rockbank.stages.training_about import TrainingAbout
from rockbank.stages.training_run import SAMPLES, samples_file

RUN = "run.json"
N_PICTURED = 16
# Grids of samples that travel with the weights, evenly over the training: 60 kB each at 64 x 64.
N_GRIDS = 8
# What makes the weights: the training, and the scores by which the best are chosen.
CODE = (*training.CODE, "metrics", "rock")


def train(generator: str, params: GeneratorParams, score: ScoreParams, paths: ProjectPaths = PIPELINE) -> None:
    """Train `generator`, or go on from where a killed training was, in the same MLflow run.

    Under torchrun all its processes take part, and the first one logs and writes; another number of them may go on.

    Its checkpoints lie under .checkpoints, in a folder named after the parameters, the data and the code, so that
    changed ones start anew; the folder goes when the training has ended, with those of other code.
    """
    with torchrun_ranks() as ranks:
        _train(generator, params, score, paths, ranks)


def _train(generator: str, params: GeneratorParams, score: ScoreParams, paths: ProjectPaths, ranks: Ranks) -> None:
    keep_freed_memory()
    crop_set = load_crops(paths.crops(params.family))
    device = pick_device()
    settings = {**asdict(params), "extractor": score.extractor, "n_progress": score.n_progress}
    checkpoints = f"{generator}-{_fingerprint(settings, paths.crops(params.family))}"
    checkpoint = CHECKPOINTS / f"{checkpoints}-{code_sha256(CODE)[:12]}"
    validation = crop_set.validation[: score.n_progress]
    if not ranks.is_first:
        # Its records are those of the first, which evaluates for all.
        for _ in fit(
            crop_set.train,
            params,
            device=device,
            evaluate=_never,
            n_samples=len(validation),
            checkpoint=checkpoint,
            ranks=ranks,
        ):
            pass
        return
    others = [each for each in CHECKPOINTS.glob(f"{checkpoints}*") if each != checkpoint]
    _say_what_begins_anew(generator, checkpoint, others)
    extractor = make_extractor(score.extractor, score.inception_weights, device.type)
    with tracking.start(params.family, generator, settings, resume=_run_id(checkpoint)) as run:
        write_json(checkpoint / RUN, {"run_id": run.run_id})
        commit, md5 = git_commit(), origin(params.family, paths)
        run.data(f"{params.family} crops", paths.crops(params.family), md5)
        run.tag({"git_commit": commit, "data_md5": md5})
        run.describe(description := _description(generator, params, crop_set, len(validation)))
        records = fit(
            crop_set.train,
            params,
            device=device,
            evaluate=progress_evaluator(validation, crop_set.segmentation, extractor),
            n_samples=len(validation),
            checkpoint=checkpoint,
            ranks=ranks,
        )
        history, times = [], run.times("generator_loss")
        for record in _shown(generator, params.n_steps, records):
            # A kill falls before or after the log of the last step that the checkpoint has.
            if record.step not in times:
                times[record.step] = run.log(record.step, record.metrics)
            history.append({"step": record.step, "time": times[record.step], **record.metrics})
            if record.samples is not None and not samples_file(checkpoint, record.step).is_file():
                tiled = grid(record.samples[:N_PICTURED], 4)
                run.picture("samples", tiled, record.step)
                _save_png(samples_file(checkpoint, record.step), tiled)
        run.tag({"best_step": str(record.best_step)})
        weights = _fitted(generator, params, crop_set, record.best, device)
        _write(generator, params, crop_set, weights, history, paths)
        about = TrainingAbout(
            params=settings, git_commit=commit, data_md5=md5, best_step=record.best_step, description=description
        )
        about.save(paths.train(generator))
        _keep_samples(checkpoint / SAMPLES, paths.train(generator) / SAMPLES)
        run.has_weights(sha256(paths.train(generator) / WEIGHTS))
    for each in (checkpoint, *others):
        shutil.rmtree(each, ignore_errors=True)


def _say_what_begins_anew(generator: str, checkpoint: Path, others: Iterable[Path]) -> None:
    """One line where only other code has a checkpoint of this training: one training is of one code."""
    steps = [step for each in others if (step := saved_step(each)) is not None]
    if steps and saved_step(checkpoint) is None:
        terminal.print(
            f"{generator}: the code has changed since the checkpoint of step {max(steps)}; the training begins anew"
        )


def _never(samples: Float32[np.ndarray, "n c h w"]) -> dict[str, float]:
    raise AssertionError("another process than the first evaluates")


def _shown(generator: str, n_steps: int, records: Iterable[Record]) -> Iterator[Record]:
    """The records, with a progress bar that shows the last scores."""
    with progress(f"training {generator}", n_steps) as advance:
        for record in records:
            kid = record.metrics.get("kid")
            advance(says="" if kid is None else f"KID {kid:.3f}{', the best so far' if record.is_best else ''}")
            yield record


def _fitted(
    generator: str, params: GeneratorParams, crop_set: CropSet, best: Mapping[str, Tensor], device: torch.device
) -> Mapping[str, Tensor]:
    """The weights that were kept, with their noise fitted to the rock's spectrum where the params ask for it."""
    if params.spectral_steps == 0:
        return best
    with progress(f"fitting the spectrum of {generator}", params.spectral_steps) as advance:
        return fit_spectrum(best, crop_set.train, params, device, advance)


def _description(generator: str, params: GeneratorParams, crop_set: CropSet, n_validation: int) -> str:
    size = " x ".join(map(str, crop_set.crops.shape[1:]))
    kept = (
        f"**{generator}**: {params.network} by {params.loss} on {len(crop_set.train)} crops of {size}.\n\n"
        f"`kid` and `s2_distance` are measured on {n_validation} validation crops as training goes, the less the "
        "better; the weights of the least `kid` are kept. Under *Model metrics* are their curves, and samples of the "
        "same latents at every evaluation (move the slider); `final/...` are the final scores, on test crops, those "
        "that the gate weighs."
    )
    fitted = f" Then the noise of these weights was fitted to the crops' spectrum, in {params.spectral_steps} steps."
    return kept + (fitted if params.spectral_steps else "")


def _write(
    generator: str,
    params: GeneratorParams,
    crop_set: CropSet,
    weights: Mapping[str, Tensor],
    history: list[dict[str, float]],
    paths: ProjectPaths,
) -> None:
    folder = paths.train(generator)
    _, n_channels, height, width = crop_set.crops.shape
    save_weights(weights, folder / WEIGHTS)
    Blueprint(
        generator=generator,
        family=params.family,
        network=params.network,
        loss=params.loss,
        latent=params.latent,
        image=(n_channels, height, width),
    ).save(folder)
    table = pd.DataFrame(history)
    with replacing(folder / HISTORY) as beside:
        table.to_csv(beside, index=False)
    columns = {str(name): table[name].tolist() for name in table}
    save_training(folder / TRAINING_PICTURE, columns, title=generator)


def _save_png(path: Path, pixels: UInt8[np.ndarray, "h w *c"]) -> None:
    with replacing(path) as beside:
        Image.fromarray(pixels).save(beside, format="PNG", optimize=True)


def _keep_samples(source: Path, folder: Path) -> None:
    """Copy N_GRIDS of the grids, evenly from the first to the last."""
    grids = whole_files(source, "*.png")
    with replacing_folder(folder) as beside:
        for i in np.unique(np.linspace(0, len(grids) - 1, min(N_GRIDS, len(grids))).round().astype(int)):
            shutil.copyfile(grids[i], beside / grids[i].name)


def _fingerprint(settings: dict[str, Any], crops: Path) -> str:
    parts = json.dumps(settings, sort_keys=True, default=str) + sha256(crops / "crops.npy")
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def _run_id(checkpoint: Path) -> str | None:
    return read_json(checkpoint / RUN)["run_id"] if (checkpoint / RUN).is_file() else None
