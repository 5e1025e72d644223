"""The energy distance between a batch and all real crops, as a part of the generator's loss, and what it compares.

A critic judges images one by one, so that the share of crops with a crack, or with an organic patch, wanders while a
training goes on. A distance between distributions sees the batch as a whole, and holds such shares.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.gan.features import Maps


class EnergyDistance:
    """The energy distance of pooled feature maps to those of a fixed set of images, without its constant.

        2 E|X - Y| - E|X - X'| - E|Y - Y'|        (Szekely and Rizzo 2013, eq. 5)

    X of the batch and Y of the set; it is 0 for two equal laws alone, its estimate is unbiased, and its gradient is
    bounded, where that of KID's kernel grows with the square of what an early sample is off. Each feature is taken from
    its mean over the set and in units of its standard deviation, and each map's distance over the root of its number
    of features.
    """

    def __init__(self, pooled: Iterable[Maps]) -> None:
        """`pooled`: of the set, batch by batch, as `features.pool` gives it."""
        scales = [torch.cat(scale) for scale in zip(*pooled, strict=True)]
        self._means = [scale.mean(dim=0) for scale in scales]
        self._units = [(scale.std(dim=0) + 1e-6) * scale.shape[1] ** 0.5 for scale in scales]
        self._known = self._standardise(tuple(scales))

    def __call__(self, pooled: Maps) -> Float[Tensor, ""]:
        """The mean over the maps of a batch's distance; at least 2 images."""
        scales = self._standardise(pooled)
        n = len(scales[0])
        distances = [
            2 * torch.cdist(x, known).mean() - torch.cdist(x, x).sum() / (n * (n - 1))
            for x, known in zip(scales, self._known, strict=True)
        ]
        return torch.stack(distances).mean()

    def _standardise(self, pooled: Maps) -> Maps:
        return tuple((x - mean) / unit for x, mean, unit in zip(pooled, self._means, self._units, strict=True))


def two_point(phase: Float[Tensor, "n h w"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, "n r"]]:
    """Two-point probability S2 of each image at r = 0 .. min(h, w) // 2, down the rows and along them.

    Of a phase that is 1 or 0, as `rock.correlation` has it; of its probability p the mean of p(x) p(x + r), which at
    r = 0 is less than the proportion by as much as edges are soft.
    """
    height, width = phase.shape[1:]
    lags = range(min(height, width) // 2 + 1)
    down = [(phase[:, r:] * phase[:, : height - r]).mean((1, 2)) for r in lags]
    along = [(phase[:, :, r:] * phase[:, :, : width - r]).mean((1, 2)) for r in lags]
    return torch.stack(down, dim=1), torch.stack(along, dim=1)
