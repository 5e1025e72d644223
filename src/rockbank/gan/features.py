"""What a frozen ImageNet network sees of images: for a projected critic, and for the energy distance of a batch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.efficientnet import load_efficientnet
from rockbank.generator.ranges import ValueRange

Maps = tuple[Tensor, ...]

# Neither Lite0 nor Lite2, by which generators are scored.
EXTRACTOR = "lite1"
# Pixels of the image a pixel of the map, and channels, of its pyramid.
PYRAMID = ((2, 16), (4, 24), (8, 40), (16, 112))


class FrozenFeatures:
    """The maps at strides 2, 4, 8 and 16 of EfficientNet-Lite1; gradients pass to the images."""

    def __init__(self, value_range: ValueRange, device: torch.device) -> None:
        """For images in a network's range, of 1 channel or 3, on `device`."""
        self.device = device
        self._network = load_efficientnet(EXTRACTOR).to(device)
        low, high = torch.tensor(value_range, device=device).T[:, :, None, None]
        self._centre, self._half_span = (low + high) / 2, (high - low) / 2

    def __call__(self, image: Float[Tensor, "n c h w"]) -> Maps:
        """The maps; in float32, since a CPU is no faster by depthwise convolutions in bf16."""
        with torch.autocast(image.device.type, enabled=False):
            scaled = (image.float() - self._centre) / self._half_span
            return tuple(self._network.pyramid(scaled.expand(-1, 3, -1, -1)))


def pool(maps: Maps) -> Maps:
    """Mean and standard deviation of each channel over the image, map by map."""
    return tuple(torch.cat(_moments(each.float().flatten(2)), dim=1) for each in maps)


def _moments(x: Float[Tensor, "n c p"]) -> tuple[Tensor, Tensor]:
    # The standard deviation's gradient at 0 would be infinite.
    return x.mean(dim=2), (x.var(dim=2) + 1e-6).sqrt()
