"""The energy distance between a batch and all real crops, as a part of the generator's loss.

A critic judges images one by one, so that the share of crops with a crack, or with an organic patch, wanders while a
training goes on. A distance between distributions sees the batch as a whole, and holds such shares.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.gan.critic import Maps


class EnergyDistance:
    """The energy distance of pooled feature maps to those of a fixed set of images, without its constant.

        2 E|X - Y| - E|X - X'| - E|Y - Y'|        (Szekely and Rizzo 2013, eq. 5)

    X of the batch and Y of the set; it is 0 for two equal laws alone, its estimate is unbiased, and its gradient is
    bounded, where that of KID's kernel grows with the square of what an early sample is off. Each feature is taken from
    its mean over the set and in units of its standard deviation, and each scale's distance over the root of its number
    of features.
    """

    def __init__(self, project: Callable[[Tensor], Maps], images: Float[Tensor, "n c h w"], batch: int = 64) -> None:
        """Pool the maps that `project` gives of the set `images`, `batch` at a time."""
        with torch.no_grad():
            parts = [pool(project(images[i : i + batch])) for i in range(0, len(images), batch)]
        scales = [torch.cat(scale) for scale in zip(*parts, strict=True)]
        self.means = [scale.mean(dim=0) for scale in scales]
        self.units = [(scale.std(dim=0) + 1e-6) * scale.shape[1] ** 0.5 for scale in scales]
        self.known = self._standardise(tuple(scales))

    def __call__(self, maps: Maps) -> Float[Tensor, ""]:
        """The mean over the scales of a batch's distance, by its maps; at least 2 images."""
        scales = self._standardise(pool(maps))
        n = len(scales[0])
        distances = [
            2 * torch.cdist(x, known).mean() - torch.cdist(x, x).sum() / (n * (n - 1))
            for x, known in zip(scales, self.known, strict=True)
        ]
        return torch.stack(distances).mean()

    def _standardise(self, pooled: Maps) -> Maps:
        return tuple((x - mean) / unit for x, mean, unit in zip(pooled, self.means, self.units, strict=True))


def pool(maps: Maps) -> Maps:
    """Mean and standard deviation of each channel over the image, scale by scale."""
    return tuple(torch.cat(_moments(each.float().flatten(2)), dim=1) for each in maps)


def _moments(x: Float[Tensor, "n c p"]) -> tuple[Tensor, Tensor]:
    # The standard deviation's gradient at 0 would be infinite.
    return x.mean(dim=2), (x.var(dim=2) + 1e-6).sqrt()
