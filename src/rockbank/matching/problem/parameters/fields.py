"""A field of permeability or porosity as a mean and a few directions: Karhunen and Loève's, or an ensemble's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.rock import Rock
from rockbank.matching.problem.parameterisation import Group, Model

Property = Literal["permeability", "porosity"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LinearField:
    """A field whose logarithm, of permeability, or log-odds, of porosity, is normal with few directions.

        y = mean + basis z,   k = exp(y)   or   phi = 1 / (1 + exp(-y))

    Permeability along x; that along y and z keeps its ratio to it in every cell of the case's own rock.

    Attributes:
        name: of the parameter.
        of: permeability, m^2, or porosity.
        cells: place of each in the flattened box of the grid.
        mean: of y.
        basis: of y, each column scaled by its standard deviation.
        says: where mean and basis come from, in words.
    """

    name: str
    of: Property
    cells: Int[np.ndarray, " c"]
    mean: Float[Tensor, " c"]
    basis: Float[Tensor, "c n"]
    says: str

    @property
    def n_latent(self) -> int:
        """One for each direction."""
        return self.basis.shape[1]

    @property
    def groups(self) -> Sequence[Group]:
        """All of them are one."""
        return (Group(name=self.name, n_latent=self.n_latent, prior=self.says),)

    def check(self, model: Model) -> None:
        """InputError where its cells are not the grid's."""
        if len(self.cells) != (n := len(model.rock.grid.placed_cells)):
            raise InputError(f"{self.name}: is of {len(self.cells)} cells, the grid has {n}")

    def variables(self, z: Float[Tensor, "*b n"]) -> Float[Tensor, "*b c"]:
        """The logarithms or log-odds in the cells."""
        return self.mean + z @ self.basis.T

    def jacobian(self, z: Float[np.ndarray, " n"]) -> Float[Tensor, "n c"]:
        """The directions."""
        return self.basis.T

    def model(self, variables: Float[Tensor, " c"], model: Model) -> Model:
        """The rock with this field in its cells."""
        if self.of == "porosity":
            rock = replace(model.rock, porosity=self._placed(torch.sigmoid(variables), model.rock.porosity))
        else:
            k_x = self._placed(torch.exp(variables), model.rock.components[0])
            rock = with_permeability(model.rock, k_x)
        return replace(model, rock=rock)

    def facies(self, variables: Float[Tensor, "*b c"]) -> None:
        """A field knows of none."""
        return

    def values(self, variables: Float[Tensor, " c"]) -> Mapping[str, float]:
        """No number of it means anything by itself."""
        return {}

    def _placed(self, values: Float[Tensor, " c"], field: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        at = torch.as_tensor(self.cells)
        return field.double().flatten().index_copy(0, at, values).reshape(field.shape)


def with_permeability(rock: Rock, k_x: Float[Tensor, "*shape"]) -> Rock:
    """The rock with another permeability along x, and those along y and z in the ratio that they had to it."""
    own = rock.components
    if len(own) == 1:
        return replace(rock, permeability=k_x)
    safe = torch.where(own[0] > 0, own[0], torch.ones_like(own[0]))
    ratios = [torch.where(own[0] > 0, each / safe, torch.ones_like(each)) for each in own[1:]]
    return replace(rock, permeability=[k_x, *(k_x * ratio for ratio in ratios)])


def principal_components(
    samples: Float[np.ndarray, "m c"], n: int
) -> tuple[Float[np.ndarray, " c"], Float[np.ndarray, "c n"], float]:
    """Mean of an ensemble, its first principal components times their standard deviations, and the variance they keep.

    Raises:
        InputError: an ensemble of m has m - 1 components at most.
    """
    if not 1 <= n < len(samples):
        raise InputError(f"components: got {n}; {len(samples)} members have 1 to {len(samples) - 1}")
    mean = samples.mean(axis=0)
    _, s, directions = np.linalg.svd((samples - mean) / np.sqrt(len(samples) - 1), full_matrices=False)
    return mean, _signed(directions[:n].T * s[:n]), float(np.sum(s[:n] ** 2) / np.sum(s**2))


def _signed(basis: Float[np.ndarray, "c n"]) -> Float[np.ndarray, "c n"]:
    """Each column with its largest number positive, whatever sign the library gave it."""
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)
    return np.ascontiguousarray(basis * np.where(largest < 0, -1.0, 1.0))
