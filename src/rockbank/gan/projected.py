"""A critic that looks through frozen ImageNet features (Projected GAN: Sauer et al. 2021)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, normalize

from rockbank.gan.features import PYRAMID, Maps

LEAK = 0.2
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


class ProjectedCritic(nn.Module):
    """A head a scale, on the feature maps of `FrozenFeatures`."""

    def __init__(self, width: int) -> None:
        """`width`: channels that each map is mixed to; Sauer et al. have 64 to 512."""
        super().__init__()
        self.heads = nn.ModuleList([Head(stride, n_in, width) for stride, n_in in PYRAMID])

    def forward(self, maps: Maps) -> Float[Tensor, "n patches"]:
        """One value a patch, as many of each scale."""
        return torch.cat([head(each) for head, each in zip(self.heads, maps, strict=True)], dim=1)


def _unit(x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    return normalize(x, dim=0)
