"""The rock: what holds the fluids, and what lets them through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import AquiferCells, Grid

# Pa, of a rock of which none is given.
REFERENCE_PRESSURE = 1.0e5


@dataclass(frozen=True, kw_only=True, eq=False)
class Rock:
    """Permeability and porosity of one model, or of a batch of them; either may require grad.

    Attributes:
        grid: that both lie on.
        permeability: m^2, of the grid's shape, after one axis of members where there are several; or three of
            them, along x, y, z.
        porosity: in (0, 1], of the grid's shape likewise.
        compressibility: of the pores, 1/Pa: pore volume = volume * porosity * exp(c (p - reference)); a number, or one
            for each active cell.
        reference_pressure: Pa, at which the porosity is what it is; likewise.
        net_to_gross: part of each active cell that is rock of that porosity and, along x and y, permeability; this and
            the two that follow may have an axis of members, and require grad.
        pore_multiplier: of the pore volume of each active cell.
        face_multiplier: of the transmissibility of each face, 0 for a seal.
        faults: the faces of each, by name, for `fault_multiplier`.
        added_transmissibility: of each face, m^3, on top of what geometry and permeability give; all that a link has.
            It may have an axis of members too.
    """

    grid: Grid
    permeability: Float[Tensor, "*b *shape"] | Sequence[Float[Tensor, "*b *shape"]]
    porosity: Float[Tensor, "*b *shape"]
    compressibility: float | Float[np.ndarray, " n"] = 0.0
    reference_pressure: float | Float[np.ndarray, " n"] = REFERENCE_PRESSURE
    net_to_gross: Float[Tensor, "*b n"] | None = None
    pore_multiplier: Float[Tensor, "*b n"] | None = None
    face_multiplier: Float[Tensor, "*b f"] | None = None
    faults: Mapping[str, Int[np.ndarray, " k"]] = field(default_factory=dict)
    added_transmissibility: Float[Tensor, "*b f"] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.permeability, Tensor | Sequence) or isinstance(self.permeability, str):
            raise InputError(f"permeability: got {type(self.permeability).__name__}; give a torch tensor, such as "
                             "torch.from_numpy(array), or three along x, y and z")  # fmt: skip
        components = self.components
        if len(components) not in (1, 3):
            raise InputError(f"permeability: got {len(components)} components; give one, or three along x, y and z")
        members = {self._members(f"permeability {axis}", k) for axis, k in zip("xyz", components, strict=False)}
        members |= {self._members("porosity", self.porosity)}
        members |= {len(factor) for factor in self.of_cells_and_faces if factor.ndim == 2}
        if len(members - {1}) > 1:
            raise InputError(f"rock: permeability, porosity, multipliers and added transmissibilities have "
                             f"{sorted(members)} members; give the same number")  # fmt: skip
        for k in map(self.flat, components):
            remedy = "; it must be 0 or more, in m^2 (1 mD is 9.869233e-16 m^2)"
            require("permeability", k, (k >= 0) & k.isfinite(), remedy, grid=self.grid)
        phi = self.flat(self.porosity)
        require("porosity", phi, (phi > 0) & (phi <= 1), "; it must lie in (0, 1]; switch a cell without pores off by "
                "Grid(active=...)", grid=self.grid)  # fmt: skip
        for name, n, least in (("net_to_gross", self.grid.n_cells, 1), ("pore_multiplier", self.grid.n_cells, 1),
                               ("face_multiplier", len(self.grid.faces), 0),
                               ("added_transmissibility", len(self.grid.faces), 0)):  # fmt: skip
            factor = getattr(self, name)
            if factor is None:
                continue
            if factor.ndim not in (1, 2) or factor.shape[-1] != n:
                raise InputError(f"rock: got {name} of shape {tuple(factor.shape)}; give {n} numbers, after one axis "
                                 "of members at most")  # fmt: skip
            holds = ((factor > 0) if least else (factor >= 0)) & factor.isfinite()
            require(f"rock: {name}", factor, holds, f"; it must be {'positive' if least else '0 or more'}")
        compressibility, reference = (self._of_cells(name) for name in ("compressibility", "reference_pressure"))
        wrong = compressibility[~((compressibility >= 0) & (compressibility < 1e-6))]
        if wrong.size:
            raise InputError(f"rock: got compressibility {wrong[0]} 1/Pa; give 0 or some 1e-10 1/Pa")
        wrong = reference[~np.isfinite(reference)]
        if wrong.size:
            raise InputError(f"rock: got reference pressure {wrong[0]} Pa; give that of the porosity")

    def _of_cells(self, name: str) -> Float[np.ndarray, " n"]:
        values = np.asarray(getattr(self, name), dtype=float)
        if values.ndim and values.shape != (self.grid.n_cells,):
            raise InputError(f"rock: got {name} of shape {values.shape}; give one number, or {self.grid.n_cells}, one "
                             "for each active cell")  # fmt: skip
        return np.atleast_1d(values)

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

    @property
    def of_cells_and_faces(self) -> list[Float[Tensor, "*b _"]]:
        """Multipliers of net rock, pores and faces, and what is added to these: those that are given."""
        given = (self.net_to_gross, self.pore_multiplier, self.face_multiplier, self.added_transmissibility)
        return [of for of in given if of is not None]

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
    """Two-point transmissibility of each face without fluid, m^3: half-cells in series, and the face's multiplier.

        T = A / (d_l / (2 k_l) + d_r / (2 k_r))

    (Aziz and Settari 1979, sec. 3.6.) Where cells are no boxes, A / (d / 2) of each is the grid's `half_factors`; where
    an aquifer's cell touches another, that of its `aquifers`.
    """
    grid, parts = rock.grid, []
    for axis in range(3):
        of_axis = np.flatnonzero(grid.face_axis == axis)
        left, right = torch.as_tensor(grid.faces[of_axis].T)
        k = rock.along(axis)
        if axis < 2 and rock.net_to_gross is not None:
            k = k * rock.net_to_gross.to(k)
        flows = k > 0
        k = torch.where(flows, k, torch.ones_like(k))
        if grid.half_factors is None:
            size = torch.as_tensor(grid.cell_sizes, device=k.device)
            area = size[[a for a in range(3) if a != axis]].prod(dim=0)
            half = size[axis] / (2 * k)
            t = area[left] / (half[:, left] + half[:, right])
        else:
            of_left, of_right = torch.as_tensor(grid.half_factors[of_axis].T, device=k.device)
            t = 1 / (1 / (of_left * k[:, left]) + 1 / (of_right * k[:, right]))
        parts.append(torch.where(flows[:, left] & flows[:, right], t, torch.zeros_like(t)))
    parts.append(parts[0].new_zeros(1, 0 if grid.links is None else len(grid.links)))
    if grid.aquifers is not None:
        parts.append(_of_aquifers(rock, grid.aquifers))
    n_members = max(map(len, parts))
    t = torch.cat([part.expand(n_members, -1) for part in parts], dim=1)
    t = t if rock.face_multiplier is None else t * rock.face_multiplier.to(t)
    return t if rock.added_transmissibility is None else t + rock.added_transmissibility.to(t)


def _of_aquifers(rock: Rock, aquifers: AquiferCells) -> Float[Tensor, "b f"]:
    """Transmissibility of their faces; what touches twice lets through the sum."""
    along = [rock.along(axis) for axis in range(3)]
    if rock.net_to_gross is not None:
        along = [k * rock.net_to_gross.to(k) for k in along]
    n_members = max(map(len, along))
    k = torch.stack([of.expand(n_members, -1) for of in along])
    halves = []
    for side in range(2):
        axis, cell, factor = (torch.as_tensor(of[:, side], device=k.device)
                              for of in (aquifers.axes, aquifers.pairs, aquifers.half_factors))  # fmt: skip
        halves.append(factor * k[axis, :, cell].T)
    flows = (halves[0] > 0) & (halves[1] > 0)
    left, right = (torch.where(flows, half, torch.ones_like(half)) for half in halves)
    t = torch.where(flows, 1 / (1 / left + 1 / right), torch.zeros_like(left))
    face = torch.as_tensor(aquifers.face, device=k.device).expand_as(t)
    return t.new_zeros(n_members, len(aquifers.faces)).scatter_add(1, face, t)


def fault_multiplier(rock: Rock, factors: Mapping[str, float | Float[Tensor, "*b"]]) -> Float[Tensor, "*b f"]:
    """A `face_multiplier` in which the rock's own is multiplied by those of faults, as MULTFLT does.

    Args:
        rock: with faults.
        factors: by the name of the fault; tensors may have an axis of members, and require grad.

    Raises:
        InputError: the rock has no such fault.
    """
    own = torch.ones(len(rock.grid.faces)) if rock.face_multiplier is None else rock.face_multiplier
    total = own.double()
    for name, factor in factors.items():
        if name not in rock.faults:
            raise InputError(f"rock: got fault '{name}'; known are {list(rock.faults)}")
        is_face = torch.zeros(total.shape[-1], dtype=torch.bool, device=total.device)
        is_face[torch.as_tensor(rock.faults[name])] = True
        of_fault = torch.as_tensor(factor, dtype=total.dtype, device=total.device)[..., None]
        total = torch.where(is_face, total * of_fault, total)
    return total


def pore_volume(rock: Rock) -> Float[Tensor, "b n"]:
    """Pore volume of each active cell at the reference pressure, m^3: porosity times net bulk volume."""
    phi = rock.flat(rock.porosity)
    pores = phi * torch.as_tensor(rock.grid.volume, device=phi.device)
    for factor in (rock.net_to_gross, rock.pore_multiplier):
        pores = pores if factor is None else pores * factor.to(pores)
    return pores
