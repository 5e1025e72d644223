"""Latents drawn from a seed, the same on every machine and in every batch."""

from __future__ import annotations

from collections.abc import Iterator

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
    return next(latent_blocks(seed, n, shape, truncation, size=n))


def latent_blocks(
    seed: int, n: int, shape: tuple[int, ...], truncation: float | None = None, *, size: int
) -> Iterator[Float32[np.ndarray, "b *shape"]]:
    """The latents of `draw_latents`, bit for bit, `size` at a time; only one block is in memory.

    Raises:
        ValueError: for a seed, count or truncation outside its range, before the first block is drawn.
    """
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed: got {seed}; use a whole number in [0, 2^64)")
    if n < 1:
        raise ValueError(f"n: got {n}; ask for at least one sample")
    if truncation is not None and not 0 < truncation <= TRUNCATION_MAX:
        raise ValueError(f"truncation: got {truncation}; use a number in (0, {TRUNCATION_MAX:g}]")
    # The generator keeps the half of a draw that a block did not use, so where it is cut leaves no trace.
    rng = np.random.Generator(np.random.Philox(key=seed))
    scale = None if truncation is None else np.float32(truncation)
    sizes = (min(size, n - start) for start in range(0, n, size))
    blocks = (rng.standard_normal((length, *shape), dtype=np.float32) for length in sizes)
    return blocks if scale is None else (block * scale for block in blocks)
