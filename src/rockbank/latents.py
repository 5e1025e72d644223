"""Latents drawn from a seed, the same on every machine and in every batch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

TRUNCATION_MAX = 10.0


def draw_latents(
    seed: int, n: int, shape: tuple[int, ...], truncation: float | None = None
) -> Float32[np.ndarray, "n *shape"]:
    """Latents z ~ N(0, 1) by the counter-based generator Philox (Salmon et al. 2011).

    Sample i of a seed is the same for every `n` > i: the draws come in the order of the samples.

    Args:
        seed: any whole number in [0, 2^64).
        n: how many, at least 1.
        shape: of one latent.
        truncation: scale of z; below 1 it trades diversity for typical samples.

    Raises:
        ValueError: for a seed, count or truncation outside its range.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: got {seed}; use a whole number in [0, 2^64)")
    if n < 1:
        raise ValueError(f"n: got {n}; ask for at least one sample")
    if truncation is not None and not 0 < truncation <= TRUNCATION_MAX:
        raise ValueError(f"truncation: got {truncation}; use a number in (0, {TRUNCATION_MAX:g}]")
    latents = np.random.Generator(np.random.Philox(key=seed)).standard_normal((n, *shape), dtype=np.float32)
    return latents if truncation is None else latents * np.float32(truncation)
