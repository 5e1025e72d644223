"""What a request takes: of its client's samples a minute, and of the process's memory."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32

from rockbank.generator.card import ModelCard
from rockbank.generator.windows import Window, n_tiles, tile_shape
from serving.protocol.schemas import GenerateRequest

# As many times the bytes of a float32 as its text and its own take.
TEXT = 4
# A stream has one block computed, one sent and one ahead.
N_HELD = 3


def n_values(card: ModelCard, latents: Float32[np.ndarray, "n *latent"]) -> int:
    """Values of the images of latents, which may have other extents than the card's where it is endless."""
    if card.lattice is None:
        return len(latents) * math.prod(card.image_shape)
    return len(latents) * math.prod(card.lattice.image(*latents.shape[2:]))


def n_samples(card: ModelCard, latents: Float32[np.ndarray, "n *latent"]) -> float:
    """Samples of the card's size that have as many pixels as the images of latents, of which each is one at least."""
    return max(len(latents), n_values(card, latents) / math.prod(card.image_shape))


def n_samples_of_tiles(card: ModelCard, n: int) -> float:
    """The same of `n` tiles of an endless image."""
    return n * max(1.0, math.prod(tile_shape(card)) / math.prod(card.image_shape))


def n_samples_of_request(card: ModelCard, body: GenerateRequest) -> float:
    """The same of a request: a window takes the whole of each tile that it touches."""
    if (window := body.requested_window) is None:
        return body.n
    assert card.lattice is not None
    return n_samples_of_tiles(card, body.n * n_tiles(window, card.lattice))


def window_bytes(card: ModelCard, window: Window, format_: str, *, is_whole: bool) -> int:
    """Bytes of a window that are held at once: bands as high as a tile, and all of its pixels where `is_whole`."""
    n_rows = N_HELD * min(window.height, tile_shape(card)[1]) + (window.height if is_whole else 0)
    return bytes_of(window.width * n_rows, format_)


def bytes_of(n: int, format_: str) -> int:
    """Bytes of `n` values, and of their text where the format is one."""
    return 4 * n * (TEXT if format_ == "json" else 1)
