"""Batches of a training, and the streams of its seed."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float32, UInt

from rockbank.params import GeneratorParams
from rockbank.rock.crops import to_intensity

# What a seed's independent streams are for.
WEIGHTS, ORDER, STEP, TURN, SPECTRUM = range(5)


def real_batch(
    crops: UInt[np.ndarray, "n c h w"], params: GeneratorParams, i_batch: int
) -> Float32[np.ndarray, "b c h w"]:
    """Intensities of batch number `i_batch`; an epoch is a permutation, whose rest short of a batch is unused."""
    epoch, i_start = divmod(i_batch, len(crops) // params.batch)
    order = np.random.default_rng([params.seed, ORDER, epoch]).permutation(len(crops))
    real = to_intensity(crops[order[i_start * params.batch : (i_start + 1) * params.batch]])
    if params.turns:
        is_turned = np.random.default_rng([params.seed, TURN, i_batch]).random(len(real)) < 0.5
        real[is_turned] = real[is_turned, :, ::-1, ::-1]
    return real


def reseed(rng: torch.Generator, seed: int, stream: int, index: int) -> torch.Generator:
    """`rng` at the start of a stream of its own, whatever it gave before."""
    (state,) = np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)
    return rng.manual_seed(int(state))
