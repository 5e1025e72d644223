"""A generator without padding: every pixel has the same distribution, so that a larger latent makes a larger image.

The latent is one tensor on a lattice of cells, a cell for CELL x CELL pixels of the image. A cell's first N_COARSE
numbers are what the coarsest layer reads; the others are the noise of the finer layers, packed into the cell whose
pixels they belong to (the noise of Karras et al. 2019, but an input).
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pixel_shuffle

CELL = 16
# Cells that the image lacks on each side of its latent: what the unpadded convolutions and doublings eat away.
MARGIN = 4
N_COARSE = 32
# Pixels a cell and side at each doubling.
FINER = (2, 4, 8, 16)
N_LATENT = N_COARSE + sum(scale**2 for scale in FINER)
WIDTHS = (128, 128, 128, 64, 32)
LEAK = 0.2
# What leaky ReLU takes away (He et al. 2015).
GAIN = (2 / (1 + LEAK**2)) ** 0.5


class Convolution(nn.Conv2d):
    """3 x 3, unpadded, the weights of each output channel scaled to keep the size of what passes.

    w gain / |w|: activations neither grow nor die however long the weights have been learnt (Karras et al. 2024,
    sec. 2.3). Without it a training at rates of 1e-3 ended with all outputs at the ends of tanh after 500 steps; pixel
    norm does as much for twice the time, most of it for moving memory.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        """From `n_in` to `n_out` channels."""
        super().__init__(n_in, n_out, 3)

    def draw_weights(self, rng: torch.Generator) -> None:
        """Each output channel's weights of length about 1, so that rates mean what they mean elsewhere."""
        _start(self, rng, self.weight[0].numel())

    def forward(self, input: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d p q"]:
        """The convolution by the scaled weights, then leaky ReLU."""
        weight = self.weight * (GAIN * self.weight.square().sum((1, 2, 3), keepdim=True).rsqrt())
        return leaky_relu(conv2d(input, weight, self.bias), LEAK, inplace=True)


class Doubling(nn.ConvTranspose2d):
    """Twice the resolution, unpadded, with weights scaled as those of `Convolution`; then noise, and leaky ReLU.

    A kernel of 4 overlaps evenly at a stride of 2, so it leaves no checkerboard.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        """From `n_in` to `n_out` channels."""
        # A padding of 2 keeps those pixels alone that all of their inputs reach.
        super().__init__(n_in, n_out, 4, 2, 2)
        self.noise_weight = nn.Parameter(torch.empty(n_out, 1, 1))

    def draw_weights(self, rng: torch.Generator) -> None:
        """As those of `Convolution`, the noise at a tenth of the rest."""
        _start(self, rng, 4 * self.in_channels)
        nn.init.normal_(self.noise_weight, 0.0, 0.1, generator=rng)

    def forward(  # type: ignore[override]
        self, x: Float[Tensor, "n c h w"], noise: Float[Tensor, "n 1 p q"]
    ) -> Float[Tensor, "n d r s"]:
        """(h, w) -> (2 h - 2, 2 w - 2); `noise` is cut to the doubled map by its middle."""
        # An output reads 2 x 2 of the 4 x 4.
        weight = self.weight * (2 * GAIN * self.weight.square().sum((0, 2, 3), keepdim=True).rsqrt())
        x = conv_transpose2d(x, weight, self.bias, stride=2, padding=2)
        noise = cropped(noise, (noise.shape[-1] - x.shape[-1]) // 2)
        x = torch.addcmul(x, self.noise_weight.to(x.dtype), noise.to(x.dtype))
        return leaky_relu(x, LEAK, inplace=True)


class TextureGenerator(nn.Module):
    """z (n, 372, h, w) -> (n, 1, 16 (h - 8), 16 (w - 8)), black at -1 and white at 1; not clipped."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        """`widths`: channels at each scale, from 16 pixels a cell's side down to 1."""
        super().__init__()
        self.coarse = nn.Sequential(Convolution(N_COARSE, widths[0]), Convolution(widths[0], widths[0]))
        self.doublings = nn.ModuleList([Doubling(n_in, n_out) for n_in, n_out in pairwise(widths)])
        self.finer = nn.ModuleList([Convolution(n_out, n_out) for n_out in widths[1:]])
        self.grey = nn.Conv2d(widths[-1], 1, 1)

    def draw_weights(self, rng: torch.Generator) -> None:
        """A small last layer: grey at first, with little contrast."""
        nn.init.normal_(self.grey.weight, 0.0, 0.02, generator=rng)
        nn.init.zeros_(_bias(self.grey))

    def forward(self, z: Float[Tensor, "n 372 h w"]) -> Float[Tensor, "n 1 p q"]:
        """Images of the latents `z`."""
        coarse, *noises = torch.split(z, [N_COARSE, *(scale**2 for scale in FINER)], dim=1)
        x = self.coarse(coarse)
        for scale, noise, double, convolve in zip(FINER, noises, self.doublings, self.finer, strict=True):
            x = convolve(double(x, pixel_shuffle(noise, scale)))
        x = self.grey(x)
        # Of the margin of 64 pixels the layers take 62. No tanh: from its ends, where a training that swings too far
        # arrives with every pixel, no gradient leads back.
        return cropped(x if x.dtype is torch.float64 else x.float(), 2)


def cropped(x: Float[Tensor, "n c h w"], n: int) -> Float[Tensor, "n c p q"]:
    """`x` without `n` pixels on each side."""
    return x[:, :, n:-n, n:-n]


def _start(layer: nn.Conv2d | nn.ConvTranspose2d, rng: torch.Generator, n_in: int) -> None:
    nn.init.normal_(layer.weight, 0.0, n_in**-0.5, generator=rng)
    nn.init.zeros_(_bias(layer))


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
