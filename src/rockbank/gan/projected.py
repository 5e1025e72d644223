"""A critic that looks through frozen ImageNet features (Projected GAN: Sauer et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize

from rockbank.efficientnet import load_efficientnet
from rockbank.gan.critic import Critic, Maps

LEAK = 0.2
EXTRACTOR = "lite1"
# Of its pyramid: (pixels of the image a pixel of the map, channels).
PYRAMID = ((2, 16), (4, 24), (8, 40), (16, 112))
# Downsampled to this many patches a side of a 64 x 64 crop, so that each scale weighs the same.
COARSEST = 16


class SpectralConv2d(nn.Conv2d):
    """A convolution divided by its largest singular value, by one power iteration a step (Miyato et al. 2018)."""

    left: Tensor

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        """As nn.Conv2d."""
        super().__init__(n_in, n_out, kernel, stride, padding)
        self.register_buffer("left", torch.empty(n_out))

    def draw_weights(self, rng: torch.Generator) -> None:
        """He et al. (2015), and a random start of the power iteration."""
        nn.init.kaiming_normal_(self.weight, LEAK, generator=rng)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        nn.init.normal_(self.left, generator=rng)
        for _ in range(10):
            self._iterate(self.weight.flatten(1))

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d p q"]:
        """The convolution by W / sigma(W)."""
        with torch.autocast(input.device.type, enabled=False):
            matrix = self.weight.flatten(1)
            right = self._iterate(matrix) if self.training else _unit(matrix.detach().T @ self.left)
            sigma = torch.dot(self.left, matrix @ right)
            weight = self.weight / sigma
        return conv2d(input, weight, self.bias, self.stride, self.padding)

    @torch.no_grad()
    def _iterate(self, matrix: Float[Tensor, "d k"]) -> Float[Tensor, " k"]:
        right = _unit(matrix.T @ self.left)
        # A tensor of its own: the graph of an earlier forward pass holds the old one.
        self.left = _unit(matrix @ right)
        return right


class Mixing(nn.Module):
    """A fixed random 1 x 1 convolution: what a map says is spread over all channels (Sauer et al. 2021, sec. 3.2)."""

    weight: Tensor

    def __init__(self, n_in: int, n_out: int) -> None:
        """From `n_in` to `n_out` channels."""
        super().__init__()
        self.register_buffer("weight", torch.empty(n_out, n_in, 1, 1))

    def draw_weights(self, rng: torch.Generator) -> None:
        """He et al. (2015)."""
        nn.init.kaiming_normal_(self.weight, generator=rng)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h w"]:
        """The mixed map."""
        return conv2d(x, self.weight)


class Head(nn.Module):
    """One scale's critic: halved until a 64 x 64 crop has 4 x 4 patches, a value each."""

    def __init__(self, stride: int, n_in: int, width: int) -> None:
        """For a map of `stride` pixels, `n_in` channels."""
        super().__init__()
        self.mixing = Mixing(n_in, width)
        layers: list[nn.Module] = []
        while stride < COARSEST:
            layers += [SpectralConv2d(width, width, 4, 2, 1), nn.LeakyReLU(LEAK)]
            stride *= 2
        self.network = nn.Sequential(
            *layers, SpectralConv2d(width, 2 * width, 3, 1, 1), nn.LeakyReLU(LEAK), SpectralConv2d(2 * width, 1, 1)
        )

    def forward(self, feature: Float[Tensor, "n c h w"]) -> Float[Tensor, "n patches"]:
        """The values of the patches."""
        values: Tensor = self.network(self.mixing(feature))
        return values.float().flatten(1)


class ProjectedCritic(Critic):
    """Values of all patches at strides 2, 4, 8 and 16 of EfficientNet-Lite1's frozen features."""

    def __init__(self, n_channels: int, width: int) -> None:
        """For images of `n_channels` channels in [-1, 1], 1 or 3."""
        super().__init__()
        self.n_channels = n_channels
        self.heads = nn.ModuleList([Head(stride, n_in, width) for stride, n_in in PYRAMID])
        # No part of the state: the weights come from their package, and a checkpoint need not carry them.
        object.__setattr__(self, "features", None)

    def attach(self) -> None:
        """Load the frozen network."""
        object.__setattr__(self, "features", load_efficientnet(EXTRACTOR))

    def project(self, image: Float[Tensor, "n c h w"]) -> Maps:
        """The frozen feature maps; in float32, since a CPU is no faster by depthwise convolutions in bf16."""
        with torch.autocast(image.device.type, enabled=False):
            return tuple(self.features.pyramid(image.float().expand(-1, 3, -1, -1)))

    def judge(self, maps: Maps) -> Float[Tensor, "n patches"]:
        """One value a patch."""
        return torch.cat([head(each) for head, each in zip(self.heads, maps, strict=True)], dim=1)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ProjectedCritic:
        if self.features is not None:
            self.features._apply(fn, recurse)
        module: ProjectedCritic = super()._apply(fn, recurse)
        return module


def _unit(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return normalize(x, dim=0)
