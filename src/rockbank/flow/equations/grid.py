"""Cartesian grids with inactive cells: which cells touch, and over what area and distance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import InputError


@dataclass(frozen=True, kw_only=True, eq=False)
class AquiferCells:
    """Active cells that stand for water outside the box (Eclipse's AQUNUM); their neighbours in the box miss them.

    Attributes:
        cells: their numbers, increasing.
        volume: bulk volume of each, m^3.
        depth: of the centre of each, m.
        pairs: numbers of cells that touch, an aquifer's cell among them, the lesser first; those that touch twice come
            twice.
        axes: along which the permeability of the first and of the second cell counts: 0, 1 or 2.
        half_factors: A / (d / 2) of each in both cells, m, 0 for a seal: half-transmissibilities by k.
    """

    cells: Int[np.ndarray, " a"]
    volume: Float[np.ndarray, " a"]
    depth: Float[np.ndarray, " a"]
    pairs: Int[np.ndarray, "m 2"]
    axes: Int[np.ndarray, "m 2"]
    half_factors: Float[np.ndarray, "m 2"]

    @cached_property
    def faces(self) -> Int[np.ndarray, "f 2"]:
        """The pairs, each once."""
        return np.asarray(np.unique(self.pairs, axis=0))

    @cached_property
    def face(self) -> Int[np.ndarray, " m"]:
        """Of which of these faces each pair is a part."""
        return np.asarray(np.unique(self.pairs, axis=0, return_inverse=True)[1]).ravel()


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """A box of cells (i, j) or (i, j, k), i along x, j along y, k downwards.

    Fields on it have its shape; the solvers see the active cells only, in the order of a C array.

    Attributes:
        shape: cells along x, y and, where there are layers, z.
        spacing: metres along x, y and z; each a number, or one for each cell along that axis.
        active: which cells take part; None is all.
        top: depth of the top of the first layer, in metres.
        links: numbers of active cells that touch beside those that the geometry has touch, the lesser first; none of
            them has a face already (Eclipse's NNC). None is nowhere.
        aquifers: cells that stand for water outside the box, and what they touch. None is nowhere.
    """

    shape: tuple[int, ...]
    spacing: tuple[float | Sequence[float], ...]
    active: Bool[np.ndarray, "*shape"] | None = None
    top: float = 0.0
    links: Int[np.ndarray, "m 2"] | None = None
    aquifers: AquiferCells | None = None

    def __post_init__(self) -> None:
        if len(self.shape) not in (2, 3) or min(self.shape) < 1:
            raise InputError(f"grid: got shape {self.shape}; give 2 or 3 positive counts, such as (128, 64)")
        if len(self.spacing) != 3:
            raise InputError(f"grid: got {len(self.spacing)} spacings; give metres along x, y and z")
        for axis, sizes in zip("xyz", self.sizes, strict=True):
            wrong = sizes[~(np.isfinite(sizes) & (sizes > 0))]
            if wrong.size:
                raise InputError(f"grid: got spacing {wrong[0]} m along {axis}; every cell needs a positive size")
        if not math.isfinite(self.top):
            raise InputError(f"grid: got top {self.top} m; give the depth of the first layer's top, such as 0")
        if self.active is not None and (self.active.shape != self.shape or not self.active.any()):
            raise InputError(f"grid: got active cells of shape {self.active.shape}, {int(self.active.sum())} of them; "
                             f"give at least one, in the shape {self.shape}")  # fmt: skip

    @property
    def box(self) -> tuple[int, int, int]:
        """Cells along x, y, z; a grid of two axes has one layer."""
        nx, ny, *nz = self.shape
        return nx, ny, nz[0] if nz else 1

    @cached_property
    def sizes(self) -> tuple[Float[np.ndarray, " nx"], Float[np.ndarray, " ny"], Float[np.ndarray, " nz"]]:
        """Metres of each cell along x, y, z."""
        return tuple(  # type: ignore[return-value]
            _along(axis, n, given) for axis, n, given in zip("xyz", self.box, self.spacing, strict=True)
        )

    @cached_property
    def is_active(self) -> Bool[np.ndarray, "nx ny nz"]:
        """Which cells take part."""
        return np.ones(self.box, dtype=bool) if self.active is None else self.active.reshape(self.box)

    @cached_property
    def cells(self) -> Int[np.ndarray, " n"]:
        """Place of each active cell in the flattened box."""
        return np.flatnonzero(self.is_active)

    @property
    def n_cells(self) -> int:
        """How many are active."""
        return len(self.cells)

    @cached_property
    def number(self) -> Int[np.ndarray, "nx ny nz"]:
        """Number of each cell among the active ones; -1 where it is not active."""
        number = np.full(math.prod(self.box), -1)
        number[self.cells] = np.arange(len(self.cells))
        return number.reshape(self.box)

    @cached_property
    def faces(self) -> Int[np.ndarray, "f 2"]:
        """Active cells on either side of each inner face, the left (lesser) one first.

        By axis x, y, z, then links, then those of aquifers.
        """
        others = [] if self.links is None else [self.links]
        others += [] if self.aquifers is None else [self.aquifers.faces]
        return np.concatenate([self._own_faces[0], *others]) if others else self._own_faces[0]

    @cached_property
    def face_axis(self) -> Int[np.ndarray, " f"]:
        """0, 1 or 2: along which axis a face is crossed; 3 for a link, or of an aquifer."""
        own = self._own_faces[1]
        return np.concatenate([own, np.full(len(self.faces) - len(own), 3)])

    @property
    def half_factors(self) -> Float[np.ndarray, "f 2"] | None:
        """Of a face in its left and in its right cell, m; None where the cells are boxes, whose sizes say it."""
        return None

    @property
    def is_structured(self) -> bool:
        """Whether only neighbours in the box touch."""
        return self.links is None and self.aquifers is None

    @cached_property
    def has_place(self) -> Bool[np.ndarray, " n"]:
        """Which active cells lie where the box has them."""
        has_place = np.ones(self.n_cells, dtype=bool)
        if self.aquifers is not None:
            has_place[self.aquifers.cells] = False
        return has_place

    @cached_property
    def placed_cells(self) -> Int[np.ndarray, " m"]:
        """Place in the flattened box of each active cell that lies there; an aquifer's does not."""
        cells: Int[np.ndarray, " m"] = self.cells[self.has_place]
        return cells

    @cached_property
    def _own_faces(self) -> tuple[Int[np.ndarray, "f 2"], Int[np.ndarray, " f"]]:
        """Those of the geometry, and their axes."""
        found, number = [], np.where(np.append(self.has_place, False)[self.number], self.number, -1)
        for axis in range(3):
            left = np.moveaxis(number, axis, 0)[:-1].ravel()
            right = np.moveaxis(number, axis, 0)[1:].ravel()
            both = (left >= 0) & (right >= 0)
            found.append(np.stack([left[both], right[both]], axis=1))
        return np.concatenate(found), np.repeat(np.arange(3), [len(pairs) for pairs in found])

    @cached_property
    def cell_sizes(self) -> Float[np.ndarray, "3 n"]:
        """Metres of each active cell along x, y, z."""
        boxes = np.meshgrid(*self.sizes, indexing="ij")
        return np.stack([box.ravel()[self.cells] for box in boxes])

    @cached_property
    def volume(self) -> Float[np.ndarray, " n"]:
        """Bulk volume of each active cell, m^3."""
        if self.aquifers is None:
            return self._volume_in_place
        volume = self._volume_in_place.copy()
        volume[self.aquifers.cells] = self.aquifers.volume
        return volume

    @cached_property
    def depth(self) -> Float[np.ndarray, " n"]:
        """Depth of the centre of each active cell, m."""
        if self.aquifers is None:
            return self._depth_in_place
        depth = self._depth_in_place.copy()
        depth[self.aquifers.cells] = self.aquifers.depth
        return depth

    @property
    def _volume_in_place(self) -> Float[np.ndarray, " n"]:
        """By the geometry alone."""
        return np.asarray(self.cell_sizes.prod(axis=0))

    @property
    def _depth_in_place(self) -> Float[np.ndarray, " n"]:
        """By the geometry alone."""
        dz = self.sizes[2]
        centres = self.top + np.cumsum(dz) - dz / 2
        return np.asarray(np.broadcast_to(centres, self.box).ravel()[self.cells])

    def cell(self, place: Sequence[int]) -> int:
        """Number of the active cell at `place`; InputError where the grid has none there."""
        if len(place) != len(self.shape) or any(not 0 <= at < n for at, n in zip(place, self.shape, strict=True)):
            raise InputError(f"cell {tuple(place)} is outside the grid of {self.shape} cells, numbered from 0")
        number = int(self.number[tuple(place) if len(place) == 3 else (*place, 0)])
        if number < 0:
            raise InputError(f"cell {tuple(place)} is not active; take one that is")
        return number

    def place(self, number: int) -> tuple[int, ...]:
        """Where the active cell of that number is, counted from 0 along the axes of `shape`."""
        return tuple(int(at) for at in np.unravel_index(self.cells[number], self.box)[: len(self.shape)])


def _along(axis: str, n: int, given: float | Sequence[float]) -> Float[np.ndarray, " n"]:
    sizes = np.asarray(given, dtype=float)
    if sizes.ndim and sizes.shape != (n,):
        raise InputError(f"grid: got {sizes.size} spacings along {axis}; give 1, or {n}, one for each cell")
    return np.broadcast_to(sizes, (n,))
