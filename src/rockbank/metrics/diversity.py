"""Does the generator vary as the rock does, and does it copy what it was trained on?"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt
from torch import Tensor

from rockbank.rock.crops import to_intensity

N_CELLS = 16


def mean_pairwise_distance(values: Float[Tensor, "n d"], batch: int = 1024) -> float:
    """Mean Euclidean distance between two different rows."""
    n = len(values)
    total = sum(float(torch.cdist(values[i : i + batch], values).double().sum()) for i in range(0, n, batch))
    return total / (n * (n - 1))


def diversity(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """Mean pairwise distance of generated features over that of real ones: 1 is as it should be, 0 a collapse."""
    return mean_pairwise_distance(generated) / mean_pairwise_distance(real)


def memorisation(
    train: Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"],
    test: Float[np.ndarray, "k c h w"] | UInt[np.ndarray, "k c h w"],
    generated: Float[np.ndarray, "m c h w"] | UInt[np.ndarray, "m c h w"],
) -> float:
    """Median distance of generated samples to their nearest training crop, over that of test crops.

    About 1 where the generator's samples are as new as unseen rock, 0 where it replays its training crops.
    The distance is that of images averaged down to 16 cells a side: a copy is a copy pixel by pixel, the
    averaging takes away noise, and every training crop can be looked at, as a sample of them would miss most
    copies.
    """
    known = coarse(train)
    return float(
        np.median(nearest_distance(coarse(generated), known)) / np.median(nearest_distance(coarse(test), known))
    )


def coarse(rock: Float[np.ndarray, "n c h w"] | UInt[np.ndarray, "n c h w"], batch: int = 256) -> Float[Tensor, "n d"]:
    """Each image averaged over blocks, N_CELLS on its shorter side, as one vector."""
    n, _, h, w = rock.shape
    block = max(1, min(h, w) // N_CELLS)
    parts = []
    for start in range(0, n, batch):
        part = rock[start : start + batch]
        intensity = to_intensity(part) if np.issubdtype(part.dtype, np.unsignedinteger) else part
        values = torch.from_numpy(np.ascontiguousarray(intensity, dtype=np.float32))
        parts.append(torch.nn.functional.avg_pool2d(values, block).flatten(1))
    return torch.cat(parts)


def nearest_distance(
    values: Float[Tensor, "n d"], known: Float[Tensor, "m d"], batch: int = 256
) -> Float[np.ndarray, " n"]:
    """Euclidean distance of each row to the nearest row of `known`."""
    # Exact differences: the faster matrix product leaves a copy at a distance of 1e-3 instead of 0.
    exact = "donot_use_mm_for_euclid_dist"
    nearest = [
        torch.cdist(values[i : i + batch], known, compute_mode=exact).amin(dim=1) for i in range(0, len(values), batch)
    ]
    return torch.cat(nearest).numpy()
