"""Generators and critics, and the table that names them.

Table 1 is that of the shale paper (reconstruction of shale images by WGAN-GP); DeepFlow's are those of its published
checkpoint. A critic gives one value a sample: a WGAN's critic value, or the logit of a DCGAN's discriminator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rockbank.core.errors import InputError
from rockbank.gan.bodies import N_BODY, N_ROW, SOFT, BodiesGenerator
from rockbank.gan.projected import ProjectedCritic
from rockbank.gan.ranks import Ranks
from rockbank.gan.texture import CELL, MARGIN, N_LATENT, TextureGenerator
from rockbank.generator.latents import Lattice

Shape = tuple[int, ...]
ImageShape = tuple[int, int, int]

LEAK = 0.2
# Between torch and onnxruntime: 1e-4 of the span of tanh. Round-off alone gives 3e-7 for an untrained Table 1 generator
# and 6e-5 for DeepFlow's published one, whose batch norms onnxruntime folds into the convolutions; half a grey level of
# 8 bits is 4e-3.
TOLERANCE = 2e-4


class Dropout(nn.Module):
    """Dropout whose mask comes from an explicit generator, so that a killed training can go on bit for bit.

    Each element is kept with probability 1 - p and then divided by it (Srivastava et al. 2014).
    """

    def __init__(self, p: float, rng: torch.Generator | None) -> None:
        """Drop a fraction `p` while training, by draws of `rng` (torch's own where it is None)."""
        super().__init__()
        self.p = p
        self.rng = rng
        self.ranks = Ranks()

    def forward(self, x: Float[Tensor, "*dims"]) -> Float[Tensor, "*dims"]:
        """`x` with a fraction of its elements at zero, or `x` itself in eval mode."""
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(self.ranks.like_whole(x)).bernoulli_(1 - self.p, generator=self.rng)
        return x * self.ranks.part(kept).div_(1 - self.p)


class Table1Generator(nn.Module):
    """The shale paper's generator: z (n, latent) -> (n, 1, height, width) in [-1, 1]."""

    def __init__(self, latent: Shape, image: ImageShape) -> None:
        """Layers for latents and images of these shapes."""
        super().__init__()
        self.start = (128, image[1] // 8, image[2] // 8)
        self.linear = nn.Linear(latent[0], self.start[0] * self.start[1] * self.start[2])
        self.network = nn.Sequential(
            *_double(128, 128), nn.BatchNorm2d(128), nn.ReLU(),
            *_double(128, 64), nn.BatchNorm2d(64), nn.ReLU(),
            *_double(64, 1, bias=True), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n 1 h w"]:
        """Images of the latents `z`."""
        image: Tensor = self.network(self.linear(z).unflatten(1, self.start))
        return image


class Table1Critic(nn.Module):
    """The shale paper's critic, dropout after its convolutions, a linear layer to one value."""

    def __init__(self, image: ImageShape, width: int, dropout: float, rng: torch.Generator | None) -> None:
        """Layers for images of this shape; 64 is the published `width`."""
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(1, width, 5, 2, 2), nn.LeakyReLU(LEAK),
            nn.Conv2d(width, 2 * width, 5, 2, 2, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(LEAK),
            nn.Conv2d(2 * width, 4 * width, 5, 2, 2, bias=False), nn.BatchNorm2d(4 * width), nn.LeakyReLU(LEAK),
            Dropout(dropout, rng), nn.Flatten(),
        )  # fmt: skip
        self.linear = nn.Linear(4 * width * (image[1] // 8) * (image[2] // 8), 1)

    def forward(self, image: Float[Tensor, "n 1 h w"]) -> Float[Tensor, " n"]:
        """One value a sample."""
        return _in_float32(self.linear, self.network(image)).flatten()


class DeepFlowGenerator(nn.Module):
    """DeepFlow's generator: z (n, 50, a, b) -> (n, 3, 64 a, 64 b), by tanh, tanh and softplus."""

    def __init__(self, latent: Shape, image: ImageShape) -> None:
        """Layers for latents of 50 channels; their extent sets the image's."""
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in ((latent[0], 512), (128, 256), (64, 128), (32, 64), (16, 64), (16, 64)):
            layers += [nn.Conv2d(n_in, n_out, 3, 1, 1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.PixelShuffle(2)]
        # The order gives the keys `network.<index>.<name>` of the published state dict.
        self.network = nn.Sequential(*layers, nn.Conv2d(16, 3, 3, 1, 1))

    def forward(self, z: Float[Tensor, "n 50 a b"]) -> Float[Tensor, "n 3 h w"]:
        """Facies and porosity variable in [-1, 1], density variable above 0."""
        x = self.network(z)
        x = x if x.dtype is torch.float64 else x.float()  # double stays double, for gradients in a history match
        return torch.cat([torch.tanh(x[:, :2]), nn.functional.softplus(x[:, 2:])], dim=1)


class DeepFlowCritic(nn.Module):
    """DeepFlow's critic without normalisation; a sample's value is the mean over its patches."""

    def __init__(self, image: ImageShape, width: int, dropout: float, rng: torch.Generator | None) -> None:
        """Layers for images of this shape; 64 is the published `width`, 0 the published dropout."""
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image[0], width, 5, 1, 2), nn.ReLU(), nn.Conv2d(width, width, 5, 2, 1)]
        for n_in, n_out in ((1, 2), (2, 4), (4, 8), (8, 8)):
            layers += [nn.ReLU(), nn.Conv2d(n_in * width, n_out * width, 3, 2, 1)]
        self.network = nn.Sequential(*layers, nn.ReLU(), Dropout(dropout, rng))
        self.patches = nn.Conv2d(8 * width, 1, 3, 1, 1)

    def forward(self, image: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        """One value a sample."""
        return _in_float32(self.patches, self.network(image)).flatten(1).mean(dim=1)


@runtime_checkable
class OwnStart(Protocol):
    """A layer that draws its weights itself."""

    def draw_weights(self, rng: torch.Generator) -> None:
        """Fill all parameters and buffers of its own."""


@runtime_checkable
class Softenable(Protocol):
    """A generator whose images can have softer edges."""

    def softened(self, steepness: float) -> nn.Module:
        """The same weights with edges of this steepness, 1/cell."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """An entry of `BUILDERS`.

    Attributes:
        generator: (latent shape, image shape) -> module from (n, *latent) to (n, c, h, w).
        critic: (image shape, width, dropout, generator of the dropout's masks) -> module from (n, c, h, w), or
            from their feature maps, to (n,) or (n, patches).
        value_range: [low, high] of each channel of the generator's output.
        check: raises InputError where a latent and an image shape do not fit the network.
        is_projected: the critic judges the maps of `features.FrozenFeatures` instead of the images.
        lattice: of its latents where the generator is endless; None where all of its images have one size.
        facies: channel whose S2 the energy distance compares as well; None compares features alone.
        tolerance: of what an exported generator's images may differ by from torch's.
        match_edges: how steep a history match, whatever its method, takes the edges of its images, 1/cell, where they
            can be softened; None takes the images as they are.
    """

    generator: Callable[[Shape, ImageShape], nn.Module]
    critic: Callable[[ImageShape, int, float, torch.Generator | None], nn.Module]
    value_range: tuple[tuple[float, float], ...]
    check: Callable[[Shape, ImageShape], None]
    is_projected: bool = False
    lattice: Lattice | None = None
    facies: int | None = None
    tolerance: float = TOLERANCE
    match_edges: float | None = None


def _check_table1(latent: Shape, image: ImageShape) -> None:
    if len(latent) != 1:
        raise InputError(f"latent: got {list(latent)}; the network 'table1' takes one number, such as [128]")
    if image[0] != 1 or image[1] % 16 or image[2] % 16 or min(image) < 1:
        raise InputError(
            f"image: got {list(image)}; the network 'table1' makes one channel of sides that are multiples of 16, "
            "such as 1 x 64 x 64"
        )


def _check_deepflow(latent: Shape, image: ImageShape) -> None:
    if len(latent) != 3:
        raise InputError(f"latent: got {list(latent)}; the network 'deepflow' takes three numbers, such as [50, 1, 2]")
    made = (3, 64 * latent[1], 64 * latent[2])
    if image != made:
        raise InputError(
            f"image: got {list(image)}; the network 'deepflow' makes {list(made)} of a latent {list(latent)}: "
            "choose the latent's last two numbers as the image's over 64"
        )


def _check_texture(latent: Shape, image: ImageShape) -> None:
    needed = (N_LATENT, *(side // CELL + 2 * MARGIN for side in image[1:]))
    if image[0] != 1 or image[1] % CELL or image[2] % CELL:
        raise InputError(
            f"image: got {list(image)}; the network 'texture' makes one channel of sides that are multiples of {CELL}, "
            "such as 1 x 64 x 64"
        )
    if latent != needed:
        raise InputError(f"latent: got {list(latent)}; the network 'texture' makes {list(image)} of {list(needed)}")


def _check_bodies(latent: Shape, image: ImageShape) -> None:
    rows = N_ROW * image[1]
    if image[0] != 3 or min(image) < 1:
        raise InputError(f"image: got {list(image)}; the network 'bodies' makes facies and two properties, 3 channels")
    if len(latent) != 1 or latent[0] <= rows or (latent[0] - rows) % N_BODY:
        raise InputError(
            f"latent: got {list(latent)}; the network 'bodies' makes {list(image)} of one number, {rows} for the rows "
            f"and {N_BODY} for each body, such as [{rows + 48 * N_BODY}] for 48 of them"
        )


BUILDERS = {
    "table1": Network(generator=Table1Generator, critic=Table1Critic, value_range=((-1.0, 1.0),), check=_check_table1),
    "deepflow": Network(
        generator=DeepFlowGenerator,
        critic=DeepFlowCritic,
        value_range=((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)),
        check=_check_deepflow,
    ),
    "bodies": Network(
        generator=BodiesGenerator,
        critic=DeepFlowCritic,
        value_range=((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)),
        check=_check_bodies,
        facies=0,
        # The last edges, which are steep, follow a sum over the image five hundredfold.
        tolerance=4e-3,
        match_edges=SOFT,
    ),
    "texture": Network(
        generator=lambda latent, image: TextureGenerator(),
        critic=lambda image, width, dropout, rng: ProjectedCritic(width),
        value_range=((-1.0, 1.0),),
        check=_check_texture,
        is_projected=True,
        lattice=Lattice(cell=CELL, margin=MARGIN),
    ),
}


def find_network(name: str) -> Network:
    """The entry `name` of `BUILDERS`; InputError names the known ones."""
    if name not in BUILDERS:
        raise InputError(f"network: got '{name}'; known are {sorted(BUILDERS)}")
    return BUILDERS[name]


def build_generator(name: str, latent: Shape, image: ImageShape, rng: torch.Generator) -> nn.Module:
    """The generator of network `name`, its weights drawn from `rng`.

    Raises:
        InputError: for an unknown network, or shapes that do not fit it.
    """
    network = find_network(name)
    network.check(latent, image)
    with torch.device("meta"):
        module = network.generator(latent, image)
    return _initialised(module, rng, is_generator=True)


def build_critic(
    name: str, image: ImageShape, width: int, dropout: float, rng: torch.Generator, mask_rng: torch.Generator | None
) -> nn.Module:
    """The critic of network `name`, its weights drawn from `rng`, its dropout's masks later from `mask_rng`."""
    network = find_network(name)
    with torch.device("meta"):
        module = network.critic(image, width, dropout, mask_rng)
    return _initialised(module, rng, is_generator=False)


def _initialised(module: nn.Module, rng: torch.Generator, *, is_generator: bool) -> nn.Module:
    """`module`, built without storage, on the CPU with weights drawn from `rng`.

    A generator's convolutions start as N(0, 0.02^2) (Radford et al. 2015): torch's default, which takes the outputs of
    a transposed convolution for its fan-in, saturates the last tanh of Table 1, and its checkerboard stays (KID 1.3
    after 100 steps on 64 x 64 crops, against 0.2). Networks with `draw_weights` start by it; all else by torch's
    default.
    """
    module = module.to_empty(device="cpu")
    own = [each for each in module.modules() if isinstance(each, OwnStart)]
    for each in own:
        each.draw_weights(rng)
    for layer in module.modules() if not own else ():
        if is_generator and isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02, generator=rng)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, a=5**0.5, generator=rng)
            if layer.bias is not None:
                bound = float(layer.weight[0].numel() ** -0.5)
                nn.init.uniform_(layer.bias, -bound, bound, generator=rng)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()
    return module


def _double(n_in: int, n_out: int, *, bias: bool = False) -> tuple[nn.Module, ...]:
    """The transposed 3 x 3 convolution of stride 2 that doubles the side exactly."""
    return (nn.ConvTranspose2d(n_in, n_out, 3, 2, 1, output_padding=1, bias=bias),)


def _in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    # A critic's value in bf16 would be rounded to 8 bits, and the Wasserstein estimate is a difference of two.
    with torch.autocast(x.device.type, enabled=False):
        value: Tensor = layer(x.float())
    return value
