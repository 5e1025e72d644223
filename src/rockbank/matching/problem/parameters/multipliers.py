"""Multipliers: of the rock in zones, of the transmissibility across faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.problem.parameters.numbers import Numbers

Factor = Literal["permeability", "vertical permeability", "porosity", "transmissibility"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Zones(Numbers):
    """A multiplier of the rock in each zone.

    Attributes:
        of: permeability in all directions, that along z, or porosity.
        cells: places in the flattened box of the grid, of each zone, by the name of its number.
    """

    of: Factor
    cells: Mapping[str, Int[np.ndarray, " c"]]

    def check(self, model: Model) -> None:
        """InputError for a zone without cells, or along z where there is one permeability for all directions."""
        box = model.rock.grid.is_active.ravel()
        for name, cells in self.cells.items():
            if not box[cells].any():
                raise InputError(f"{name}: has no active cell; leave it out")

    def model(self, variables: Float[Tensor, " n"], model: Model) -> Model:
        """The rock, multiplied zone by zone."""
        rock = model.rock
        factor = torch.ones(rock.grid.is_active.size, dtype=torch.float64)
        for value, cells in zip(variables, self.cells.values(), strict=True):
            at = torch.as_tensor(cells)
            factor = factor.index_put((at,), value.expand(len(at)))
        factor = factor.reshape(rock.grid.shape)
        if self.of == "porosity":
            return replace(model, rock=replace(rock, porosity=rock.porosity * factor))
        own = rock.components
        if self.of == "vertical permeability":
            own = own if len(own) == 3 else (own[0], own[0], own[0])
            permeability = [own[0], own[1], own[2] * factor]
            return replace(model, rock=replace(rock, permeability=permeability))
        found = [each * factor for each in own]
        return replace(model, rock=replace(rock, permeability=found[0] if len(found) == 1 else found))


@dataclass(frozen=True, kw_only=True, eq=False)
class Faults(Numbers):
    """A multiplier of the transmissibility of some faces.

    Attributes:
        faces: their places in the grid's `faces`, of each fault, by the name of its number.
    """

    faces: Mapping[str, Int[np.ndarray, " f"]]

    def check(self, model: Model) -> None:
        """InputError for a fault without faces."""
        for name, faces in self.faces.items():
            if not len(faces):
                raise InputError(f"{name}: no flow crosses its faces; leave it out")

    def model(self, variables: Float[Tensor, " n"], model: Model) -> Model:
        """The rock, whose faces have what they had times the multipliers."""
        rock = model.rock
        n_faces = len(rock.grid.faces)
        factor = torch.ones(n_faces, dtype=torch.float64) if rock.face_multiplier is None else rock.face_multiplier
        for value, faces in zip(variables, self.faces.values(), strict=True):
            at = torch.as_tensor(faces)
            factor = factor.index_copy(0, at, factor[at] * value)
        return replace(model, rock=replace(rock, face_multiplier=factor))


def faces_behind(grid: Grid, cells: Int[np.ndarray, " c"], axis: int) -> Int[np.ndarray, " f"]:
    """The faces that are crossed from these cells, places in the flattened box, along an axis."""
    left = grid.cells[grid.faces[:, 0]]
    return np.flatnonzero((grid.face_axis == axis) & np.isin(left, cells))
