"""A generator without padding: every pixel has the same law, so that a larger latent makes a larger image.

The latent is one tensor on a lattice of cells, a cell for CELL x CELL pixels of the image. A cell's first N_COARSE
numbers are what the coarsest layer reads; the others are the noise of the finer layers, packed into the cell whose
pixels they belong to (the noise of Karras et al. 2019, but an input).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_shuffle

CELL = 16
# Cells that the image lacks on each side of its latent: what the unpadded convolutions and doublings eat away.
MARGIN = 4
N_COARSE = 32
# Pixels a cell and side at each doubling.
FINER = (2, 4, 8, 16)
N_LATENT = N_COARSE + sum(scale**2 for scale in FINER)
WIDTHS = (128, 128, 128, 64, 32)
LEAK = 0.2


class Doubling(nn.Module):
    """Twice the resolution, noise added with a learnt weight a channel, and a 3 x 3 convolution; all unpadded.

    The transposed convolution's kernel of 4 overlaps evenly at a stride of 2, so it leaves no checkerboard. It is 1.5
    to 3 times as fast as a bilinear doubling with pixel norm, whose backward passes move memory about.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        """From `n_in` to `n_out` channels."""
        super().__init__()
        # A padding of 2 keeps those pixels alone that all of their inputs reach.
        self.transposed = nn.ConvTranspose2d(n_in, n_out, 4, 2, 2)
        self.noise_weight = nn.Parameter(torch.empty(n_out, 1, 1))
        self.convolution = nn.Conv2d(n_out, n_out, 3)

    def draw_weights(self, rng: torch.Generator) -> None:
        """He et al. (2015), by the inputs that reach a pixel; the noise at a tenth of the rest."""
        n_in = self.transposed.in_channels
        nn.init.normal_(self.transposed.weight, 0.0, _gain() / (4 * n_in) ** 0.5, generator=rng)
        nn.init.normal_(self.noise_weight, 0.0, 0.1, generator=rng)
        _start(self.convolution, rng)
        nn.init.zeros_(_bias(self.transposed))

    def forward(self, x: Float[Tensor, "n c h w"], noise: Float[Tensor, "n 1 p q"]) -> Float[Tensor, "n d r s"]:
        """(h, w) -> (2 h - 4, 2 w - 4); `noise` is cut to the doubled map by its middle."""
        x = self.transposed(x)
        noise = cropped(noise, (noise.shape[-1] - x.shape[-1]) // 2)
        x = leaky_relu(torch.addcmul(x, self.noise_weight.to(x.dtype), noise.to(x.dtype)), LEAK, inplace=True)
        return leaky_relu(self.convolution(x), LEAK, inplace=True)


class TextureGenerator(nn.Module):
    """z (n, 372, h, w) -> (n, 1, 16 (h - 8), 16 (w - 8)) in [-1, 1]."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        """`widths`: channels at each scale, from 16 pixels a cell's side down to 1."""
        super().__init__()
        self.coarse = nn.ModuleList([nn.Conv2d(N_COARSE, widths[0], 3), nn.Conv2d(widths[0], widths[0], 3)])
        self.finer = nn.ModuleList([Doubling(n_in, n_out) for n_in, n_out in pairwise(widths)])
        self.grey = nn.Conv2d(widths[-1], 1, 1)

    def draw_weights(self, rng: torch.Generator) -> None:
        """He et al. (2015); a small last layer keeps tanh from its ends."""
        for layer in self.coarse:
            _start(layer, rng)
        nn.init.normal_(self.grey.weight, 0.0, 0.02, generator=rng)
        nn.init.zeros_(_bias(self.grey))

    def forward(self, z: Float[Tensor, "n 372 h w"]) -> Float[Tensor, "n 1 p q"]:
        """Images of the latents `z`."""
        x, *noises = z.split([N_COARSE, *(scale**2 for scale in FINER)], dim=1)
        for layer in self.coarse:
            x = leaky_relu(layer(x), LEAK, inplace=True)
        for scale, noise, layer in zip(FINER, noises, self.finer, strict=True):
            x = layer(x, pixel_shuffle(noise, scale))
        x = self.grey(x)
        # Of the margin of 64 pixels the layers take 62.
        return torch.tanh(cropped(x if x.dtype is torch.float64 else x.float(), 2))


def cropped(x: Float[Tensor, "n c h w"], n: int) -> Float[Tensor, "n c p q"]:
    """`x` without `n` pixels on each side."""
    return x[:, :, n:-n, n:-n]


def _start(layer: nn.Module, rng: torch.Generator) -> None:
    assert isinstance(layer, nn.Conv2d)
    nn.init.kaiming_normal_(layer.weight, LEAK, generator=rng)
    nn.init.zeros_(_bias(layer))


def _gain() -> float:
    return nn.init.calculate_gain("leaky_relu", LEAK)


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
