"""The rock: what holds the fluids, and what lets them through."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class Rock:
    """Permeability and porosity of one model, or of a batch of them; either may require grad.

    Attributes:
        grid: that both lie on.
        permeability: m^2, of the grid's shape, after one axis of members where there are several; or three of
            them, along x, y, z.
        porosity: in (0, 1], of the grid's shape likewise.
        compressibility: of the pores, 1/Pa: pore volume = volume * porosity * exp(c (p - reference)).
        reference_pressure: Pa, at which the porosity is what it is.
    """

    grid: Grid
    permeability: Float[Tensor, "*b *shape"] | Sequence[Float[Tensor, "*b *shape"]]
    porosity: Float[Tensor, "*b *shape"]
    compressibility: float = 0.0
    reference_pressure: float = 1.0e5

    def __post_init__(self) -> None:
        if not isinstance(self.permeability, Tensor | Sequence) or isinstance(self.permeability, str):
            raise InputError(f"permeability: got {type(self.permeability).__name__}; give a torch tensor, such as "
                             "torch.from_numpy(array), or three along x, y and z")  # fmt: skip
        components = self.components
        if len(components) not in (1, 3):
            raise InputError(f"permeability: got {len(components)} components; give one, or three along x, y and z")
        members = {self._members(f"permeability {axis}", k) for axis, k in zip("xyz", components, strict=False)}
        members |= {self._members("porosity", self.porosity)}
        if len(members - {1}) > 1:
            raise InputError(f"rock: permeability and porosity have {sorted(members)} members; give the same number")
        for k in map(self.flat, components):
            remedy = "; it must be positive, in m^2 (1 mD is 9.869233e-16 m^2)"
            require("permeability", k, (k > 0) & k.isfinite(), remedy, grid=self.grid)
        phi = self.flat(self.porosity)
        require("porosity", phi, (phi > 0) & (phi <= 1), "; it must lie in (0, 1]; switch a cell without pores off by "
                "Grid(active=...)", grid=self.grid)  # fmt: skip
        if not 0 <= self.compressibility < 1e-6:
            raise InputError(f"rock: got compressibility {self.compressibility} 1/Pa; give 0 or some 1e-10 1/Pa")
        if not math.isfinite(self.reference_pressure):
            raise InputError(f"rock: got reference pressure {self.reference_pressure} Pa; give that of the porosity")

    def _members(self, name: str, field: Tensor) -> int:
        if not isinstance(field, Tensor) or not field.is_floating_point():
            raise InputError(f"{name}: got {_kind(field)}; give a torch tensor of floating point numbers, such as "
                             "torch.from_numpy(array)")  # fmt: skip
        lead = field.ndim - len(self.grid.shape)
        if lead not in (0, 1) or tuple(field.shape[lead:]) != self.grid.shape:
            raise InputError(f"{name}: got shape {tuple(field.shape)}; the grid has {self.grid.shape}, "
                             "after one axis of members at most")  # fmt: skip
        return field.shape[0] if lead else 1

    @property
    def components(self) -> Sequence[Float[Tensor, "*b *shape"]]:
        """The permeability: one for all directions, or three."""
        return (self.permeability,) if isinstance(self.permeability, Tensor) else self.permeability

    def flat(self, field: Float[Tensor, "*b *shape"]) -> Float[Tensor, "b n"]:
        """A field's active cells, in float64, with an axis of members."""
        n_box = self.grid.is_active.size
        return field.reshape(-1, n_box)[:, torch.as_tensor(self.grid.cells, device=field.device)].double()

    def along(self, axis: int) -> Float[Tensor, "b n"]:
        """Permeability of the active cells along x (0), y (1) or z (2), m^2."""
        components = self.components
        return self.flat(components[axis if len(components) == 3 else 0])


def _kind(field: object) -> str:
    return str(field.dtype) if isinstance(field, Tensor) else type(field).__name__


def require(name: str, values: Tensor, holds: Tensor, remedy: str, grid: Grid | None = None) -> None:
    """Raises InputError with the first of `values` that does not hold; a NaN holds in no comparison.

    Args:
        name: of the values.
        values: any, or those of the grid's active cells.
        holds: where they are as they must be.
        remedy: what to do.
        grid: whose cell is named, and how many more there are.
    """
    if bool(holds.all()):
        return
    where = ""
    if grid is not None:
        wrong = torch.nonzero(~holds.reshape(-1, grid.n_cells))
        where = f" in cell {grid.place(int(wrong[0, 1]))}{f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''}"
    raise InputError(f"{name}: got {values.detach()[~holds][0].item():g}{where}{remedy}")


def transmissibility(rock: Rock) -> Float[Tensor, "b f"]:
    """Two-point transmissibility of each face without fluid, m^3: half-cells in series.

        T = A / (d_l / (2 k_l) + d_r / (2 k_r))

    (Aziz and Settari 1979, sec. 3.6.)
    """
    grid, parts = rock.grid, []
    for axis in range(3):
        left, right = torch.as_tensor(grid.faces[grid.face_axis == axis].T)
        k = rock.along(axis)
        size = torch.as_tensor(grid.cell_sizes, device=k.device)
        area = size[[a for a in range(3) if a != axis]].prod(dim=0)
        half = size[axis] / (2 * k)
        parts.append(area[left] / (half[:, left] + half[:, right]))
    return torch.cat(parts, dim=1)


def pore_volume(rock: Rock) -> Float[Tensor, "b n"]:
    """Pore volume of each active cell at the reference pressure, m^3: porosity times bulk volume."""
    phi = rock.flat(rock.porosity)
    return phi * torch.as_tensor(rock.grid.volume, device=phi.device)
