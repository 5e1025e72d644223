"""A generator that lays bodies over layers, as rivers do, and learns from images what they are like.

An image begins as layers, each row with properties of its own. Then bodies come one after another, and each hides what
it covers, until there is sand enough. (Generators that compose images of parts: Yang et al. 2017, LR-GAN; of one
learnt shape over and over: Smirnov et al. 2021, MarioNette.) The latent says where each body is, how large, and what
its properties are. Learnt are the law of the sizes, the outline that all bodies share, the properties of both facies,
and when there is sand enough.

What a history match needs: nothing jumps with the latent. Bodies move and grow; the last ones draw back where others
bring more sand.
"""

from __future__ import annotations

from copy import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import relu, softplus

from rockbank.core.errors import InputError

# Numbers of the latent for a body, its place along x and z, its size and its properties, and for a row, its properties.
N_PROPERTIES = 2
N_BODY, N_ROW = 3 + N_PROPERTIES, N_PROPERTIES
# Pieces of the law of sizes, which begins as uniform between the two, in cells.
N_SIZES, SMALLEST, LARGEST = 16, 5.0, 18.0
# Knots of the outline, which reaches so many sizes to both sides of a body's middle.
N_KNOTS, REACH = 33, 1.25
# Steepness, 1/cell, of the logistic function of the distance by which an image goes from shale to sand across an edge.
# Between edges of 5/cell thin shale leaks: the energy distance of the flow is 1146, here 80. In training the derivative
# is that of the soft one (straight-through, Bengio et al. 2013); the steep one's is 0 but within a tenth of a cell.
STEEP, SOFT = 40.0, 4.0
# Cells by which an edge draws back for each unit of sand proportion beyond what is enough.
WITHDRAWAL = 500.0
# Standard deviations of the properties and the proportion of sand that is enough, in units of what is learnt.
SPREAD, PROPORTION = 0.1, 0.1
# softplus(ONE) is 1.
ONE = 0.5413248546


class BodiesGenerator(nn.Module):
    """z (n, 5 bodies + 2 height) -> (n, 3, height, width): facies in [-1, 1], and two properties, not clipped.

    The latent has all places along x first, then all along z, all sizes, all of each property; then those of the rows.
    """

    def __init__(self, latent: tuple[int, ...], image: tuple[int, int, int]) -> None:
        """For latents and images of these shapes."""
        super().__init__()
        _, self.height, self.width = image
        self.steepness = STEEP
        self.n_bodies = (latent[0] - N_ROW * self.height) // N_BODY
        self.least_size = nn.Parameter(torch.empty(()))
        self.size_steps = nn.Parameter(torch.empty(N_SIZES))
        self.top = nn.Parameter(torch.empty(N_KNOTS))
        self.base = nn.Parameter(torch.empty(N_KNOTS))
        self.enough = nn.Parameter(torch.empty(()))
        self.sand = Properties()
        self.shale = Properties()

    def draw_weights(self, rng: torch.Generator) -> None:
        """Nothing is drawn: round bodies, both facies alike, until 40 % are sand."""
        base = 0.7 * (1 - torch.linspace(-REACH, REACH, N_KNOTS).square())
        with torch.no_grad():
            for of, value in (
                (self.least_size, SMALLEST), (self.size_steps, ONE), (self.top, -base), (self.base, base),
                (self.enough, 0.4 / PROPORTION),
            ):  # fmt: skip
                of.copy_(torch.as_tensor(value))

    def softened(self, steepness: float) -> BodiesGenerator:
        """The same weights with edges of this steepness, 1/cell.

        Raises:
            InputError: they would be steeper than in the images.
        """
        if steepness > STEEP:
            raise InputError(f"edges: got {steepness:g}; give at most {STEEP:g} a cell, as in the images")
        other = copy(self)
        other.steepness = steepness
        return other

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 3 h w"]:
        """Images of the latents `z`."""
        # What is summed over tens of bodies is too much for bf16.
        with torch.autocast(z.device.type, enabled=False):
            return self._paint(z if z.dtype is torch.float64 else z.float())

    def _paint(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 3 h w"]:
        bodies, rows = torch.split(z, [N_BODY * self.n_bodies, N_ROW * self.height], dim=1)
        x, y, size, *properties = bodies.reshape(-1, N_BODY, self.n_bodies).unbind(1)
        top, base = self._edges(_uniform(x) * self.width - 0.5, _uniform(y) * self.height - 0.5, self._sizes(size))
        sand = self.sand(torch.stack(properties, dim=1), facies=1.0)[..., None, None]
        image: Tensor = self.shale(rows.reshape(-1, N_ROW, self.height), facies=-1.0).unsqueeze(-1)
        image = image.expand(-1, -1, -1, self.width)
        row = _indices(self.height, z).unsqueeze(-1)
        for i in range(self.n_bodies):
            proportion = 0.5 + 0.5 * image[:, :1].mean((2, 3), keepdim=True)
            withdrawn = WITHDRAWAL * relu(proportion - PROPORTION * self.enough)
            inside = torch.minimum(row - top[:, i], base[:, i] - row) - withdrawn
            image = image + self._covered(inside) * (sand[:, :, i] - image)
        return image

    def _covered(self, inside: Float[Tensor, "n 1 h w"]) -> Float[Tensor, "n 1 h w"]:
        """What a body hides of cells that lie so many cells inside it."""
        covered = torch.sigmoid(self.steepness * inside)
        if not self.training:
            return covered
        soft = torch.sigmoid(SOFT * inside)
        return soft + (covered - soft).detach()

    def _sizes(self, z: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Cells, by their quantile function: linear between 17 knots, that of a latent at its probability."""
        steps = softplus(self.size_steps) * ((LARGEST - SMALLEST) / N_SIZES)
        passed = (N_SIZES * _uniform(z).unsqueeze(-1) - _indices(N_SIZES, z)).clamp(0, 1)
        # A body of no size has no edges.
        return self.least_size.clamp(min=1.0) + passed @ steps

    def _edges(
        self, x: Float[Tensor, "n k"], y: Float[Tensor, "n k"], size: Float[Tensor, "n k"]
    ) -> tuple[Float[Tensor, "n k 1 1 w"], Float[Tensor, "n k 1 1 w"]]:
        """The rows between which each body lies in each column: the outline about (x, y), `size` times as large."""
        reach = REACH * size.unsqueeze(-1)
        along = (_indices(self.width, x) - x.unsqueeze(-1)) / reach
        knot = 0.5 * (N_KNOTS - 1) * (1 + along.clamp(-1, 1))
        between = relu(1 - (knot.unsqueeze(-1) - _indices(N_KNOTS, x)).abs())
        # Past its ends the outline closes at 45 degrees.
        past = reach * relu(along.abs() - 1)
        top = y.unsqueeze(-1) + size.unsqueeze(-1) * (between @ self.top) + past
        base = y.unsqueeze(-1) + size.unsqueeze(-1) * (between @ self.base) - past
        return top[:, :, None, None], base[:, :, None, None]


class Properties(nn.Module):
    """The normal law of a facies' two properties, which are independent."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.empty(N_PROPERTIES, 1))
        self.spread = nn.Parameter(torch.empty(N_PROPERTIES, 1))

    def draw_weights(self, rng: torch.Generator) -> None:
        """Nothing is drawn."""
        nn.init.zeros_(self.mean)
        nn.init.constant_(self.spread, ONE)

    def forward(self, z: Float[Tensor, "n 2 m"], facies: float) -> Float[Tensor, "n 3 m"]:
        """`facies`, and the properties of standard normal `z`."""
        of = self.mean + SPREAD * softplus(self.spread) * z
        return torch.cat([torch.full_like(of[:, :1], facies), of], dim=1)


def _uniform(z: Tensor) -> Tensor:
    """The probability that a standard normal number is less than `z`."""
    return 0.5 + 0.5 * torch.erf(z * 0.5**0.5)


def _indices(n: int, like: Tensor) -> Float[Tensor, " n"]:
    return torch.arange(n, dtype=like.dtype, device=like.device)
