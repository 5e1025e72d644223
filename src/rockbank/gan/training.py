"""Training of a generator against its critic, as an iterator of records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from jaxtyping import Float32, UInt

from rockbank.core.errors import InputError
from rockbank.core.provenance import code_sha256
from rockbank.gan.checkpoint import (
    FILE,
    CheckpointMismatch,
    check_fingerprint,
    fingerprint,
    load_checkpoint,
    save_checkpoint,
)
from rockbank.gan.features import PYRAMID
from rockbank.gan.losses import ONE
from rockbank.gan.ranks import Ranks
from rockbank.gan.training_state import Record, TrainingState
from rockbank.generator.latents import draw_latents
from rockbank.params import GeneratorParams

# What makes the weights, but for the evaluation: parts of the package.
CODE = ("efficientnet.py", "gan", "generator/latents.py", "generator/ranges.py", "rock/crops.py")
Evaluate = Callable[[Float32[np.ndarray, "n c h w"]], Mapping[str, float]]


def pick_device() -> torch.device:
    """The GPU where there is one, else the CPU; of the processes of torchrun each takes its own GPU."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", dist.get_node_local_rank(0) if dist.is_torchelastic_launched() else 0)


def fit(
    crops: UInt[np.ndarray, "n c h w"],
    params: GeneratorParams,
    *,
    device: torch.device,
    evaluate: Evaluate | None,
    n_samples: int,
    checkpoint: Path | None,
    ranks: Ranks = ONE,
) -> Iterator[Record]:
    """Train by alternating `n_critic` critic steps and one generator step; a record after each of the latter.

    Where `checkpoint` holds the state of a killed training with the same crops and params, its records come first,
    as replayed ones, and the training goes on bit for bit (on a GPU, or on a CPU with as many threads). The last of
    them has its samples again: a kill between the checkpoint and its record would lose them.

    Args:
        crops: what to learn from; full scale is intensity 1.
        params: networks, loss, rates, steps.
        device: where to train.
        evaluate: intensities of `n_samples` samples -> scores; the least "kid" is the best. None keeps the last.
        n_samples: how many samples are evaluated.
        checkpoint: folder for the state, written at each evaluation; None writes none.
        ranks: the processes that share each batch; all iterate alike, the first writes, and another number may go on.

    Raises:
        InputError: for crops or shapes that do not fit the params.
        CheckpointMismatch: for a checkpoint of other crops, params or code.
        TrainingDiverged: naming step and loss; the last checkpoint stays.
    """
    _check_crops(crops, params)
    identity = fingerprint(crops, params=asdict(params), n_samples=n_samples, code=code_sha256(CODE))
    training = TrainingState(crops, params, device, ranks)
    latents = draw_latents(params.seed, n_samples, params.latent)
    saved = load_checkpoint(checkpoint) if checkpoint is not None else None
    if saved is not None and checkpoint is not None:
        tensors, about = saved
        check_fingerprint(checkpoint, about["identity"], identity)
        try:
            training.restore(tensors, about)
        # torch's error for tensors of other names or shapes.
        except RuntimeError as error:
            why = " ".join(str(error).split())
            raise CheckpointMismatch(
                f"{checkpoint / FILE}: does not fit the networks: {why}; remove it to start anew"
            ) from error
        yield from training.replayed(latents)
    while training.step < params.n_steps:
        metrics = training.advance()
        samples, is_best = None, False
        if training.step % params.evaluate_every == 0 or training.step == params.n_steps:
            samples = training.sample(latents)
            scores = dict(ranks.from_first(evaluate, samples)) if evaluate is not None else {}
            is_best = training.keep_if_best(scores.get("kid"))
            metrics |= scores
        record = Record(
            step=training.step,
            metrics=metrics,
            samples=samples,
            is_best=is_best,
            best_step=training.best_step,
            best=training.best,
        )
        training.history.append(replace(record, samples=None, best={}))
        if samples is not None and checkpoint is not None and ranks.is_first:
            save_checkpoint(checkpoint, training.tensors(), {"identity": identity, **training.about()})
        yield record


def _check_crops(crops: UInt[np.ndarray, "n c h w"], params: GeneratorParams) -> None:
    if crops.ndim != 4 or crops.dtype.kind != "u":
        raise InputError(f"crops: got {crops.dtype} of shape {crops.shape}; use unsigned integers (n, c, h, w)")
    if len(crops) < params.batch:
        raise InputError(f"crops: got {len(crops)}, fewer than a batch of {params.batch}; cut more, or lower the batch")
    if params.energy > 0 and min(crops.shape[2:]) < 2 * PYRAMID[-1][0]:
        raise InputError(
            f"crops: got {crops.shape[2]} x {crops.shape[3]} pixels; the energy distance is of feature maps of up to "
            f"{PYRAMID[-1][0]} pixels a cell, and needs two cells a side: cut larger crops, or set energy to 0"
        )
