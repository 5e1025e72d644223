"""What a parameterisation is to those that match it: latents of a standard normal prior in, rock and fluid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """What a parameterisation changes of a case.

    Attributes:
        rock: of one model.
        fluid: water and oil.
        has_saturation: whether the case begins with a saturation of its own, which no parameter changes; else it is the
            curves' connate water.
    """

    rock: Rock
    fluid: Fluid
    has_saturation: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """Numbers of the latent that belong together.

    Attributes:
        name: of the parameter, as the case file has it.
        n_latent: how many numbers.
        prior: of what they stand for, in words.
    """

    name: str
    n_latent: int
    prior: str


def kept_in_aquifers(values: Float[Tensor, "*shape"], own: Float[Tensor, "*shape"], grid: Grid) -> Tensor:
    """`values`, but `own` in cells of aquifers, which do not lie where the box has them."""
    if grid.aquifers is None:
        return values
    at = torch.as_tensor(grid.cells[~grid.has_place])
    return values.flatten().index_copy(0, at, own.double().flatten()[at]).reshape(values.shape)


class Parameterisation(Protocol):
    """Latents z ~ N(0, I) to variables, which torch differentiates, and variables to rock and fluid."""

    @property
    def n_latent(self) -> int:
        """Numbers of one latent."""
        ...

    @property
    def groups(self) -> Sequence[Group]:
        """The named parts of the latent, in its order."""
        ...

    def check(self, model: Model) -> None:
        """InputError where it does not fit a case's grid or fluid."""
        ...

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b *v"]:
        """What rock and fluid hang on."""
        ...

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n *v"]:
        """Derivatives of one latent's variables in each of its numbers."""
        ...

    def model(self, variables: Float[Tensor, "*v"], model: Model) -> Model:
        """The case's rock and fluid with what the variables say in place of their own."""
        ...

    def facies(self, variables: Float[Tensor, "*b *v"]) -> Float[Tensor, "*b *shape"] | None:
        """Probability of sand on the case's grid, linear in the variables; None where there is none."""
        ...

    def values(self, variables: Float[Tensor, "*v"]) -> Mapping[str, float]:
        """Parameters that are numbers, by name."""
        ...
