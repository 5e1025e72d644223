"""A generator's images on a layer or a section of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.parameterisation import Group, Model, kept_in_aquifers
from rockbank.matching.problem.parameters.fields import with_permeability


@dataclass(frozen=True, kw_only=True, eq=False)
class SectionOfGrid:
    """One image in the cells of one or several layers, or of one or several sections, all alike.

    Columns of the image run along the first axis that is left, rows down the second.

    Attributes:
        name: of the parameter.
        generator: latents to images and rock.
        shape: of the grid.
        axis: across the image, "i", "j" or "k"; None is the whole of a grid of two axes.
        at: places along it.
    """

    name: str
    generator: RockGenerator
    shape: tuple[int, ...]
    axis: Literal["i", "j", "k"] | None = None
    at: tuple[int, ...] = ()

    @property
    def n_latent(self) -> int:
        """The generator's."""
        return self.generator.n_latent

    @property
    def groups(self) -> Sequence[Group]:
        """One."""
        return (Group(name=self.name, n_latent=self.n_latent, prior="the generator's images"),)

    def check(self, model: Model) -> None:
        """InputError where the images are of another shape."""
        if self.axis is None and len(self.shape) != 2:
            raise InputError(f"{self.name}: the grid has three axes; say on which layers or sections the images lie, "
                             "such as 'k: 0'")  # fmt: skip
        if self._across is not None:
            if self._across >= len(self.shape):
                raise InputError(f"{self.name}: {self.axis}: the grid has two axes; leave it out")
            wrong = [each for each in self.at if each >= self.shape[self._across]]
            if wrong:
                raise InputError(f"{self.name}: {self.axis}: got {wrong[0]}; the grid has "
                                 f"{self.shape[self._across]} along it, counted from 0")  # fmt: skip
        wanted = tuple(n for axis, n in enumerate(self.shape) if axis != self._across)
        made = self.generator.shape
        if made != wanted:
            raise InputError(f"{self.name}: the generator makes images of {made} cells, the grid has {wanted} there; "
                             "take a generator of that shape")  # fmt: skip

    @property
    def _across(self) -> int | None:
        return None if self.axis is None else "ijk".index(self.axis)

    @property
    def covered(self) -> Bool[np.ndarray, "*shape"]:
        """The cells that have an image's."""
        covered = np.zeros(self.shape, dtype=bool)
        if self._across is None:
            return ~covered
        np.moveaxis(covered, self._across, 0)[list(self.at)] = True
        return covered

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b v"]:
        """Facies probability and porosity variable of the images."""
        return self.generator.variables(z).flatten(-3)

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n v"]:
        """The generator's."""
        return self.generator.jacobian(z).flatten(1)

    def model(self, variables: Float[Tensor, " v"], model: Model) -> Model:
        """The rock with the images' in these cells."""
        section = self.generator.rock(variables.reshape(2, *self.generator.shape))
        porosity, k_x = (
            kept_in_aquifers(self._placed(image, own), own, model.rock.grid)
            for image, own in (
                (section.porosity, model.rock.porosity),
                (section.permeability, model.rock.components[0]),
            )
        )
        return replace(model, rock=with_permeability(replace(model.rock, porosity=porosity), k_x))

    def facies(self, variables: Float[Tensor, "*b v"]) -> Float[Tensor, "*b *shape"]:
        """Of the images' cells; 0 elsewhere."""
        images = variables.reshape(*variables.shape[:-1], 2, *self.generator.shape)[..., 0, :, :]
        return self._placed(images, images.new_zeros(*images.shape[:-2], *self.shape))

    def values(self, variables: Float[Tensor, " v"]) -> Mapping[str, float]:
        """No number of it means anything by itself."""
        return {}

    def _placed(self, image: Float[Tensor, "*b p q"], field: Float[Tensor, "*b *shape"]) -> Float[Tensor, "*b *shape"]:
        if self._across is None:
            return image
        field = field.double().clone()
        # A view of the copy, whose cells it fills.
        field.movedim(self._across - len(self.shape), -1)[..., list(self.at)] = image[..., None]
        return field
