"""A deck's grid: boxes in straight rows, layers that dip or step, or corner points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.grid.arrays import DeckArrays
from rockbank.flow.eclipse.ranges import MULTIPLIERS, VECTORS
from rockbank.flow.eclipse.record import Record
from rockbank.flow.eclipse.text import MOST_NUMBERS
from rockbank.flow.equations.corner_point import TOUCHING, CornerPointGrid, corners_of, volumes
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock

# A number, or one for each active cell.
OfCells = float | Float[np.ndarray, " n"]
# Cell sizes and depths are what the deck's text says to this part of them.
_SAME = 1e-6


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """Records of a deck that shape its grid, beside its arrays; None is not given.

    Attributes:
        coord: COORD.
        zcorn: ZCORN.
        minpv: MINPV, the least pore volume of an active cell.
        pinch: PINCH.
        has_nnc: no NONNC is given.
        aquifers: cells that MINPV does not switch off, (i, j, k) from 0.
    """

    coord: Record | None = None
    zcorn: Record | None = None
    minpv: Record | None = None
    pinch: Record | None = None
    has_nnc: bool = True
    aquifers: Sequence[tuple[int, int, int]] = ()

    def grid(self, arrays: DeckArrays) -> Grid:
        """The grid; layers where there is more than one. A cell without pores is not active, as in Eclipse."""
        is_active = arrays.values("ACTNUM") != 0
        # A negative porosity is none that switches a cell off.
        pores = arrays.complete("PORO", is_active) * arrays.values("NTG") * arrays.multiplier("MULTPV")
        is_active &= pores != 0
        if self.coord is not None or self.zcorn is not None:
            corners, is_mirrored = self._corners(arrays)
            return self._of_corners(corners, is_active, pores, is_mirrored=is_mirrored)
        along = [_row(arrays, axis) for axis in range(3)]
        top = _flat_top(arrays, along)
        if along[2] is None or top is None:
            return self._of_corners(_layers(arrays, along[:2]), is_active, pores)
        sizes = [of for of in along if of is not None]
        is_kept = self._without_small(is_active, pores, np.prod(np.meshgrid(*sizes, indexing="ij"), axis=0))
        if self._pinches(is_kept, self._passed(is_active, is_kept), sizes[2]):
            return self._of_corners(
                _columns(sizes[:2], top + np.cumsum(sizes[2]) - sizes[2], sizes[2]), is_active, pores
            )
        is_active = is_kept
        shape = arrays.box if arrays.box[2] > 1 else arrays.box[:2]
        return Grid(
            shape=shape,
            spacing=tuple(float(size[0]) if (size == size[0]).all() else tuple(map(float, size)) for size in sizes),
            active=None if is_active.all() else is_active.reshape(shape),
            top=top,
        )

    def _of_corners(
        self,
        corners: Float[np.ndarray, "nx ny nz 2 2 2 3"],
        is_active: Bool[np.ndarray, "nx ny nz"],
        pores: Float[np.ndarray, "nx ny nz"],
        *,
        is_mirrored: bool = False,
    ) -> CornerPointGrid:
        bulk = volumes(corners)
        if (bulk[is_active] < 0).sum() > (bulk[is_active] > 0).sum():
            # A left-handed map: x and y the other way round.
            raise InputError("the grid's corners turn the other way: ZCORN grows downwards, COORD's rows with y")
        is_given, is_active = is_active & (bulk >= 0), self._without_small(is_active & (bulk > 0), pores, bulk)
        shape = is_active.shape if is_active.shape[2] > 1 else is_active.shape[:2]
        if not is_active.any():
            raise InputError("the grid has no active cell; see PORO, ACTNUM, MINPV and the corners")
        sides = [np.diff(corners.mean(axis=tuple({3, 4, 5} - {3 + a})), axis=3)[..., 0, :] for a in range(3)]
        lengths = [np.where(is_active, np.linalg.norm(side, axis=-1), np.nan) for side in sides]
        spacing = []
        for axis, length in enumerate(lengths):
            other = tuple({0, 1, 2} - {axis})
            n = (~np.isnan(length)).sum(axis=other)
            mean = np.nansum(length, axis=other) / np.maximum(n, 1)
            spacing.append(tuple(map(float, np.where(n > 0, mean, mean[n > 0].mean()))))
        return CornerPointGrid(
            shape=shape,
            spacing=tuple(spacing),
            active=None if is_active.all() else is_active.reshape(shape),
            top=float(corners[..., 2][is_active].min()),
            corners=corners,
            pinch=self._pinch(),
            is_passed=self._passed(is_given, is_active),
            most_gap=0.0 if self.pinch is None else self.pinch.number(3, "length", math.inf),
            has_nnc=self.has_nnc,
            is_mirrored=is_mirrored,
        )

    def _pinch(self) -> float | None:
        """How thick layers may be across which cells touch, m."""
        if self.pinch is None:
            return None
        return self.pinch.number(1, "length", 0.001 * self.pinch.units.scale("length"))

    def _passed(
        self, was_active: Bool[np.ndarray, "nx ny nz"], is_active: Bool[np.ndarray, "nx ny nz"]
    ) -> Bool[np.ndarray, "nx ny nz"] | None:
        """What MINPV has switched off, however thick it is, but for NOGAP."""
        if self.pinch is None or self.pinch.text(2, "GAP").upper() == "NOGAP":
            return None
        return np.asarray(was_active & ~is_active)

    def _pinches(
        self,
        is_active: Bool[np.ndarray, "nx ny nz"],
        is_passed: Bool[np.ndarray, "nx ny nz"] | None,
        dz: Float[np.ndarray, " nz"],
    ) -> bool:
        """Whether cells of boxes touch across others."""
        pinch = self._pinch()
        if pinch is None:
            return False
        counts = ~is_active if is_passed is None else ~(is_active | is_passed)
        i, j, k = np.nonzero(is_active)
        apart = np.diff(np.cumsum(counts * dz, axis=2)[i, j, k])
        is_across = (np.diff(i) == 0) & (np.diff(j) == 0) & (np.diff(k) > 1)
        return bool((is_across & (apart <= pinch + TOUCHING)).any())

    def _without_small(
        self,
        is_active: Bool[np.ndarray, "nx ny nz"],
        pores: Float[np.ndarray, "nx ny nz"],
        bulk: Float[np.ndarray, "nx ny nz"],
    ) -> Bool[np.ndarray, "nx ny nz"]:
        if self.minpv is None:
            return is_active
        least = self.minpv.number(1, "volume", 1e-6 * self.minpv.units.scale("volume"))
        is_small = (pores * bulk < least) & (pores > 0)
        for cell in self.aquifers:
            is_small[cell] = False
        return np.asarray(is_active & ~is_small)

    def _corners(self, arrays: DeckArrays) -> tuple[Float[np.ndarray, "nx ny nz 2 2 2 3"], bool]:
        """Of COORD and ZCORN, and whether their y is turned round."""
        (nx, ny, nz), coord, zcorn = arrays.box, self.coord, self.zcorn
        if coord is None or zcorn is None:
            raise InputError("the deck has COORD or ZCORN alone; give both")
        if len(coord.items) != 6 * (nx + 1) * (ny + 1) or len(zcorn.items) != 8 * nx * ny * nz:
            raise coord.error(f"got {len(coord.items)} numbers, and ZCORN {len(zcorn.items)}; {arrays.box} cells have "
                              f"{6 * (nx + 1) * (ny + 1)} and {8 * nx * ny * nz}")  # fmt: skip
        pillars = coord.numbers(len(coord.items)) * coord.units.scale("length")
        depths = zcorn.numbers(len(zcorn.items)) * zcorn.units.scale("length")
        corners = corners_of(pillars.reshape(ny + 1, nx + 1, 6), depths.reshape(2 * nz, 2 * ny, 2 * nx))
        # Maps have y upwards where rows go down; the cells are the same, seen from below.
        is_mirrored = bool(np.nansum(volumes(corners)) < 0)
        return corners * np.array([1.0, -1.0 if is_mirrored else 1.0, 1.0]), is_mirrored


def require_pinch(record: Record) -> None:
    """DeckError where PINCH asks for other transmissibilities than those of the cells above and below."""
    record.choice(2, ("GAP", "NOGAP"), "GAP")
    record.number(3, "length", math.inf)
    record.choice(5, ("TOP", "ALL"), "TOP")
    if record.text(4, "TOPBOT").upper() != "TOPBOT":
        raise record.error(f"item 4: got '{record.text(4)}'; only TOPBOT is supported")


def multipliers(grid: Grid, arrays: DeckArrays, pinch: Record | None = None) -> dict[str, torch.Tensor]:
    """What NTG, MULTPV and the multipliers of faces make of a rock; nothing where they are 1.

    Across a pinched-out layer the MULTZ of the cell above counts, or the least down to there where PINCH says ALL.
    """
    found = {}
    net, pores = arrays.values("NTG"), arrays.multiplier("MULTPV")
    factor = np.ones(len(grid.faces))
    for axis, (behind, before) in enumerate(MULTIPLIERS):
        of_axis = grid.face_axis == axis
        left, right = grid.cells[grid.faces[of_axis]].T
        of_cells = arrays.multiplier(behind).ravel()
        of_left = of_cells[left]
        if axis == 2 and pinch is not None and pinch.text(5, "TOP").upper() == "ALL":
            for f in np.flatnonzero(right - left > 1):
                of_left[f] = of_cells[left[f] : right[f]].min()
        factor[of_axis] = of_left * arrays.multiplier(before).ravel()[right]
    for of, values in (
        ("net_to_gross", net.ravel()[grid.cells]),
        ("pore_multiplier", pores.ravel()[grid.cells]),
        ("face_multiplier", factor),
    ):
        if (values != 1).any():
            found[of] = torch.tensor(values, dtype=torch.float64)
    return found


def read_rock(
    grid: Grid, arrays: DeckArrays, *, pinch: Record | None, compressibility: OfCells, reference_pressure: OfCells
) -> Rock:
    """Porosity, permeability and multipliers of a deck, and how its pores give way."""
    k = [_tensor(field, grid) for field in _permeability(arrays, grid.is_active)]
    is_isotropic = all(torch.equal(k[0].nan_to_num(), each.nan_to_num()) for each in k[1:])
    return Rock(
        grid=grid,
        permeability=k[0] if is_isotropic else k,
        porosity=_tensor(arrays.complete("PORO", grid.is_active), grid),
        compressibility=compressibility,
        reference_pressure=reference_pressure,
        faults=arrays.faults(grid),
        **multipliers(grid, arrays, pinch),
    )


def _permeability(arrays: DeckArrays, where: Bool[np.ndarray, "nx ny nz"]) -> list[Float[np.ndarray, "nx ny nz"]]:
    """Along x, y and z; InputError where a direction is missing in which the grid has more than one cell."""
    found = []
    for axis, n in zip("XYZ", arrays.box, strict=True):
        name = f"PERM{axis}"
        if name not in arrays and n > 1:
            raise InputError(f"the deck has no {name}; give it, or copy another direction: COPY, PERMX {name} /")
        if name not in arrays:
            other = next((each for each in ("PERMX", "PERMY", "PERMZ") if each in arrays), "PERMX")
            arrays.notes.append(f"the deck has no {name}, along which there is one cell: {other} is taken")
            name = other
        found.append(arrays.complete(name, where))
    return found


def _tensor(field: np.ndarray, grid: Grid) -> torch.Tensor:
    return torch.tensor(field.reshape(grid.shape), dtype=torch.float64)


def _row(arrays: DeckArrays, axis: int) -> Float[np.ndarray, " n"] | None:
    """Sizes of the cells along an axis; None where layers have other thicknesses from place to place."""
    name = ("DX", "DY", "DZ")[axis]
    if (vector := arrays.sizes.get(VECTORS[axis])) is not None:
        if name in arrays:
            raise vector.error(f"{name} in {arrays.place(name)} says the same; keep one")
        return vector.numbers() * vector.units.scale("length")
    field = np.moveaxis(arrays.complete(name, arrays.values("ACTNUM") != 0), axis, 0).reshape(arrays.box[axis], -1)
    if np.nanmax(np.nanmax(field, axis=1) - np.nanmin(field, axis=1)) > _SAME * np.nanmax(field):
        if axis == 2:
            return None
        raise InputError(f"{name} varies across {'xyz'[axis]}; rows of cells have to be straight on the map")
    return np.asarray(np.nanmax(field, axis=1))


def _flat_top(arrays: DeckArrays, along: list[Float[np.ndarray, " n"] | None]) -> float | None:
    """Depth of the first layer's top; None where layers dip or leave gaps."""
    if "TOPS" not in arrays:
        raise InputError("the deck has no TOPS; give the depth of the first layer's cells")
    field, dz = arrays.raw("TOPS"), along[2]
    if dz is None:
        return None
    top = field[~np.isnan(field[:, :, 0]), 0][:1]
    if not top.size:
        raise InputError("TOPS has no value in the first layer; give the depth of its cells")
    expected = np.broadcast_to(top[0] + np.cumsum(dz) - dz, arrays.box)
    given = ~np.isnan(field)
    return float(top[0]) if np.allclose(field[given], expected[given], rtol=_SAME, atol=_SAME) else None


def _layers(arrays: DeckArrays, rows: list[Float[np.ndarray, " n"] | None]) -> Float[np.ndarray, "nx ny nz 2 2 2 3"]:
    """Corners of cells with flat tops at TOPS and thicknesses DZ, each column by itself, as OPM Flow has it."""
    nz = arrays.box[2]
    if "DZV" in arrays.sizes:
        record = arrays.sizes["DZV"]
        dz = np.broadcast_to(record.numbers() * record.units.scale("length"), arrays.box)
    else:
        dz = np.nan_to_num(arrays.raw("DZ"))
    tops = arrays.raw("TOPS").copy()
    tops[:, :, 0] = np.where(np.isnan(tops[:, :, 0]), np.nanmin(tops), tops[:, :, 0])
    for k in range(1, nz):
        below = tops[:, :, k - 1] + dz[:, :, k - 1]
        tops[:, :, k] = np.where(np.isnan(tops[:, :, k]), below, tops[:, :, k])
    return _columns([of for of in rows if of is not None], tops, dz)


def _columns(
    rows: Sequence[Float[np.ndarray, " n"]], tops: Float[np.ndarray, "*nx ny nz"], dz: Float[np.ndarray, "*nx ny nz"]
) -> Float[np.ndarray, "nx ny nz 2 2 2 3"]:
    """Corners of cells with flat tops, in straight rows of sizes along x and y."""
    x, y = (np.concatenate([[0.0], np.cumsum(of)]) for of in rows)
    nx, ny, nz = len(rows[0]), len(rows[1]), tops.shape[-1]
    corners = np.empty((nx, ny, nz, 2, 2, 2, 3))
    for a, b in np.ndindex(2, 2):
        corners[:, :, :, a, b, :, 0] = x[a : nx + a, None, None, None]
        corners[:, :, :, a, b, :, 1] = y[None, b : ny + b, None, None]
        corners[:, :, :, a, b, 0, 2] = tops
        corners[:, :, :, a, b, 1, 2] = tops + dz
    return corners


def box_of(record: Record) -> tuple[int, int, int]:
    """The cells of DIMENS along x, y, z."""
    box = record.whole(1), record.whole(2), record.whole(3)
    if min(box) < 1 or math.prod(box) > MOST_NUMBERS:
        raise record.error(f"got {box} cells; give 1 or more along each axis, {MOST_NUMBERS} in all at most")
    return box


def require_box(record: Record, box: tuple[int, int, int]) -> None:
    """DeckError where SPECGRID has other cells than DIMENS, several reservoirs, or axes that are not straight."""
    got = tuple(record.whole(i, n) for i, n in enumerate(box, start=1))
    if got != box:
        raise record.error(f"got {got} cells; DIMENS has {box}")
    if record.whole(4, 1) > 1:
        raise record.error(f"item 4: got {record.whole(4)}; one reservoir is supported")
    if record.text(5, "F").upper() != "F":
        raise record.error(f"item 5: got '{record.text(5)}'; only straight axes are supported, say F")
