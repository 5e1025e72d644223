"""From a generator's image to rock."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rockbank.core.errors import InputError
from rockbank.generator.ranges import ValueRange
from rockbank.matching.problem.parameterisation import Group, Model, kept_in_aquifers

# Directions of a derivative that are taken at a time: a quarter of them, but no more than these. Of DeepFlow's network
# 25, whose activations are 50 MB; of one of bodies 92, in 0.4 GB.
_N_CHUNKS, _MAX_CHUNK = 4, 100


@dataclass(frozen=True, kw_only=True)
class Geology:
    """How permeability and porosity follow from an image, whose columns run along i and whose rows run down j.

        k = permeability_range p + least_permeability,   phi = porosity_range y + least_porosity

    with the image's facies probability p and porosity variable y in [0, 1] (Mosser, Dubrule and Blunt 2019 and its
    code, whose numbers are the defaults).

    Attributes:
        facies: channel of p.
        porosity: channel of y; None is a porosity of `least_porosity` everywhere.
        permeability_range: m^2, between no sand and sand.
        least_permeability: m^2.
        porosity_range: dimensionless.
        least_porosity: dimensionless.
    """

    facies: int = 0
    porosity: int | None = 1
    permeability_range: float = 1e-12
    least_permeability: float = 1e-15
    porosity_range: float = 0.3
    least_porosity: float = 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """Rock of one image.

    Attributes:
        facies: probability of sand.
        permeability: m^2.
        porosity: dimensionless.
    """

    facies: Float[Tensor, "*b i j"]
    permeability: Float[Tensor, "*b i j"]
    porosity: Float[Tensor, "*b i j"]


class RockGenerator:
    """A generator and the geology of its images: latents in, rock out, in float64.

    By itself it is the parameterisation of a grid of two axes, of the images' shape.
    """

    def __init__(
        self, generator: nn.Module, latent: tuple[int, ...], value_range: ValueRange, geology: Geology
    ) -> None:
        """Of a module from (n, *latent) to (n, channels, height, width).

        Raises:
            InputError: the geology asks for a channel that the generator has not.
        """
        for name, channel in (("facies", geology.facies), ("porosity", geology.porosity)):
            if channel is not None and not 0 <= channel < len(value_range):
                remedy = "; leave porosity at null for one" if name == "porosity" else ""
                raise InputError(f"geology.{name}: got channel {channel}; the generator has {len(value_range)}, "
                                 f"counted from 0{remedy}")  # fmt: skip
        self._generator = _folded(generator).requires_grad_(False)
        self._latent = latent
        self._low, self._high = torch.tensor(value_range, dtype=torch.float64).T[:, :, None, None]
        self._geology = geology
        self._single: RockGenerator | None = None

    @property
    def n_latent(self) -> int:
        """Numbers of one latent."""
        return int(torch.Size(self._latent).numel())

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Cells of an image, along the columns and down the rows."""
        with torch.no_grad():
            return tuple(self.variables(torch.zeros(self.n_latent, dtype=torch.float64)).shape[-2:])

    @property
    def groups(self) -> Sequence[Group]:
        """All of the latent."""
        return (Group(name="generator", n_latent=self.n_latent, prior="the generator's images"),)

    def check(self, model: Model) -> None:
        """InputError where the images are of another shape than the grid."""
        if self.shape != model.rock.grid.shape:
            raise InputError(f"grid: got {model.rock.grid.shape} cells, the generator makes sections of {self.shape}; "
                             "take a generator of the grid's shape, a grid of the generator's, or say in 'parameters' "
                             "on which layers or sections its images lie")  # fmt: skip

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b 2 i j"]:
        """Facies probability of latents, in [0, 1], and their porosity variable, about so."""
        geology = self._geology
        image = self._generator(z.reshape(-1, *self._latent))
        unit = ((image - self._low) / (self._high - self._low)).mT
        y = unit[:, geology.porosity] if geology.porosity is not None else torch.zeros_like(unit[:, 0])
        return torch.stack([unit[:, geology.facies], y], dim=1).reshape(*z.shape[:-1], 2, *unit.shape[-2:])

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n 2 i j"]:
        """Derivatives of one latent's variables in each of its numbers, by forward differentiation.

        In float32, whose convolutions take a third of the time: 1e-5 off, of softened bodies 2e-5 of the largest, which
        a Gauss-Newton step does not notice.
        """
        if self._single is None:
            self._single = self._in(torch.float32)
        single, at = self._single, torch.as_tensor(z, dtype=torch.float32)

        def along(direction: Tensor) -> Tensor:
            slope: Tensor = torch.func.jvp(single.variables, (at,), (direction,))[1]
            return slope

        with warnings.catch_warnings():
            # Torch compiles something at its first forward derivative by a function that it says is not to be used.
            warnings.filterwarnings("ignore", "`torch.jit.script`", FutureWarning)
            size = min(math.ceil(len(at) / _N_CHUNKS), _MAX_CHUNK)
            return torch.vmap(along, chunk_size=size)(torch.eye(len(at))).detach().double()

    def _in(self, dtype: torch.dtype) -> RockGenerator:
        other = copy(self)
        other._generator = deepcopy(self._generator).to(dtype)
        other._low, other._high = self._low.to(dtype), self._high.to(dtype)
        return other

    def rock(self, variables: Float[Tensor, "*b 2 i j"]) -> Section:
        """The rock of facies probability and porosity variable."""
        geology = self._geology
        facies, y = variables.unbind(-3)
        return Section(
            facies=facies,
            permeability=geology.permeability_range * facies + geology.least_permeability,
            porosity=geology.porosity_range * y + geology.least_porosity,
        )

    def model(self, variables: Float[Tensor, "2 i j"], model: Model) -> Model:
        """The image's rock in place of the case's."""
        section, own = self.rock(variables), model.rock
        k = kept_in_aquifers(section.permeability, own.components[0], own.grid)
        porosity = kept_in_aquifers(section.porosity, own.porosity, own.grid)
        rock = replace(own, permeability=k, porosity=porosity)
        return replace(model, rock=rock)

    def facies(self, variables: Float[Tensor, "*b 2 i j"]) -> Float[Tensor, "*b i j"]:
        """Probability of sand."""
        return variables[..., 0, :, :]

    def values(self, variables: Float[Tensor, "2 i j"]) -> Mapping[str, float]:
        """No number of it means anything by itself."""
        return {}

    def __call__(self, z: Float[Tensor, "*b n"]) -> Section:
        """The rock of latents."""
        return self.rock(self.variables(z))


def _folded(module: nn.Module) -> nn.Module:
    """A copy in float64 for evaluation, whose batch normalisations are part of the convolutions before them.

    Derivatives of DeepFlow's network then take two thirds of the time.
    """
    module = deepcopy(module).double().eval()
    for chain in [of for of in module.modules() if isinstance(of, nn.Sequential)]:
        for i, (layer, after) in enumerate(pairwise(chain)):
            if isinstance(layer, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
                chain[i], chain[i + 1] = fuse_conv_bn_eval(layer, after), nn.Identity()
    return module


@dataclass(frozen=True, kw_only=True, eq=False)
class WellFacies:
    """What the wells were seen to go through.

    Attributes:
        cells: places on the grid, i and j, and k where it has layers.
        is_sand: in each.
    """

    cells: tuple[tuple[int, ...], ...]
    is_sand: Bool[Tensor, " m"]

    def at(self, fields: Float[Tensor, "*b *shape"] | None) -> Float[Tensor, "*b m"]:
        """A field in these cells; there are none where there is no field."""
        if fields is None:
            return torch.zeros(0, dtype=torch.float64)
        if not self.cells:
            return fields[..., 0, 0, None][..., :0]
        return fields[(..., *torch.tensor(self.cells).T)]
