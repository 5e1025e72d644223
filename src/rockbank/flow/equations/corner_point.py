"""Corner-point grids: cells between pillars, whose faces touch in part across faults and pinch-outs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid

# Corners are the same to this, m; a deck's single precision is coarser at 3000 m.
TOUCHING = 1e-4
# Points and weights of Gauss on [0, 1]: exact for the volume of a cell with straight edges.
_GAUSS = (0.5 - 0.5 / 3**0.5, 0.5 + 0.5 / 3**0.5)


@dataclass(frozen=True, kw_only=True, eq=False)
class CornerPointGrid(Grid):
    """A grid of Eclipse's COORD and ZCORN; `spacing` holds mean sizes, for pictures.

    Half of a face's transmissibility is k |A . d| / (d . d), with A the area that both cells share, as a vector, and
    d from the cell's centre to that of its whole face (Eclipse's NEWTRAN, as OPM Flow computes it).

    Attributes:
        corners: of each cell, m; the three axes of 2 are along x, y and z, the last holds x, y and depth.
        pinch: how thick layers without active cells may be across which those above and below touch, m; None is that
            nothing touches across a layer.
        is_passed: inactive cells whose thickness counts for nothing there; None is nowhere.
        most_gap: how far apart cells may be that touch where nothing, or only such cells, is between them, m.
        has_nnc: whether cells that are no neighbours in the box may touch.
        is_mirrored: whether the corners' y runs against that of the map on which the grid was given.
    """

    corners: Float[np.ndarray, "nx ny nz 2 2 2 3"]
    pinch: float | None = None
    is_passed: Bool[np.ndarray, "nx ny nz"] | None = None
    most_gap: float = 0.0
    has_nnc: bool = True
    is_mirrored: bool = False

    def __post_init__(self) -> None:
        if self.corners.shape != (*self.box, 2, 2, 2, 3):
            raise InputError(f"grid: got corners of shape {self.corners.shape}; give {(*self.box, 2, 2, 2, 3)}")
        wrong = ~(np.isfinite(self.corners).all(axis=(3, 4, 5, 6)) & (self._volumes > 0)) & self.is_active
        if wrong.any():
            place = tuple(int(at) for at in np.argwhere(wrong)[0])
            raise InputError(f"grid: cell {place} and {int(wrong.sum()) - 1} more have no volume; switch them off")
        super().__post_init__()

    @cached_property
    def _volumes(self) -> Float[np.ndarray, "nx ny nz"]:
        return volumes(self.corners)

    @property
    def _volume_in_place(self) -> Float[np.ndarray, " n"]:
        return np.asarray(self._volumes.ravel()[self.cells])

    @cached_property
    def _centres(self) -> Float[np.ndarray, "nx ny nz 3"]:
        return np.asarray(self.corners.mean(axis=(3, 4, 5)))

    @property
    def _depth_in_place(self) -> Float[np.ndarray, " n"]:
        return np.asarray(self._centres[..., 2].ravel()[self.cells])

    @cached_property
    def cell_sizes(self) -> Float[np.ndarray, "3 n"]:
        """Metres of each active cell along x, y, z: between the centres of its opposite faces, on the map and down."""
        along = [np.diff(self.corners.mean(axis=tuple({3, 4, 5} - {3 + a})), axis=3)[..., 0, :] for a in range(3)]
        sizes = [np.hypot(along[0][..., 0], along[0][..., 1]), np.hypot(along[1][..., 0], along[1][..., 1])]
        return np.stack([of.ravel()[self.cells] for of in (*sizes, along[2][..., 2])])

    @cached_property
    def _connections(self) -> tuple[Int[np.ndarray, "f 2"], Int[np.ndarray, " f"], Float[np.ndarray, "f 2"]]:
        found = [*self._lateral(0), *self._lateral(1), *self._vertical()]
        pairs = np.array([(left, right) for left, right, _, _ in found], dtype=int).reshape(-1, 2)
        axis = np.array([of for _, _, of, _ in found], dtype=int)
        area = np.array([of for _, _, _, of in found], dtype=float).reshape(-1, 3)
        factors = np.stack([self._half(pairs[:, 0], axis, 1, area), self._half(pairs[:, 1], axis, 0, area)], axis=1)
        is_kept = (factors > 0).all(axis=1) & self.has_place[self.number.ravel()[pairs]].all(axis=1)
        if not self.has_nnc:
            is_kept &= self._is_neighbour(pairs, axis)
        return self.number.ravel()[pairs[is_kept]], axis[is_kept], factors[is_kept]

    @cached_property
    def _own_faces(self) -> tuple[Int[np.ndarray, "f 2"], Int[np.ndarray, " f"]]:
        return self._connections[:2]

    @cached_property
    def half_factors(self) -> Float[np.ndarray, "f 2"]:
        """|A . d| / (d . d) of each face in its left and in its right cell, m: half-transmissibilities by k."""
        return self._connections[2]

    @cached_property
    def is_structured(self) -> bool:
        """Whether only neighbours in the box touch."""
        faces, axis = self._own_faces
        return super().is_structured and bool(self._is_neighbour(self.cells[faces], axis).all())

    def _is_neighbour(self, pairs: Int[np.ndarray, "f 2"], axis: Int[np.ndarray, " f"]) -> Bool[np.ndarray, " f"]:
        _, ny, nz = self.box
        return np.asarray(pairs[:, 1] - pairs[:, 0] == np.array([ny * nz, nz, 1])[axis])

    def _half(
        self, cells: Int[np.ndarray, " f"], axis: Int[np.ndarray, " f"], end: int, area: Float[np.ndarray, "f 3"]
    ) -> Float[np.ndarray, " f"]:
        centre, corners = self._centres.reshape(-1, 3)[cells], self.corners.reshape(-1, 2, 2, 2, 3)[cells]
        face = np.empty_like(centre)
        for a in range(3):
            of = axis == a
            face[of] = np.take(corners[of], end, axis=1 + a).mean(axis=(1, 2))
        d = face - centre
        return np.asarray(np.abs((area * d).sum(axis=1)) / np.maximum((d * d).sum(axis=1), 1e-30))

    def _lateral(self, axis: int) -> Iterator[tuple[int, int, int, Float[np.ndarray, " 3"]]]:
        """Faces across pillars: whole ones where the columns fit, else what cells of both have in common."""
        index = np.arange(self.is_active.size).reshape(self.box)
        corners, active, index = (np.moveaxis(of, axis, 0) for of in (self.corners, self.is_active, index))
        left, right = (np.take(corners[part], end, axis=3 + axis) for part, end in ((slice(None, -1), 1),
                                                                                   (slice(1, None), 0)))  # fmt: skip
        both = active[:-1] & active[1:]
        fits = (np.abs(left - right) <= TOUCHING).all(axis=(3, 4, 5)) | ~(active[:-1] | active[1:])
        column_fits = fits.all(axis=2)
        area = _area(left)
        for m, o, k in np.argwhere(both & column_fits[..., None]):
            yield index[m, o, k], index[m + 1, o, k], axis, area[m, o, k]
        for m, o in np.argwhere(~column_fits):
            a, b = np.flatnonzero(active[m, o]), np.flatnonzero(active[m + 1, o])
            z_a, z_b = left[m, o, a, ..., 2], right[m, o, b, ..., 2]
            touch = (z_a[:, :, 0].min(axis=1)[:, None] < z_b[:, :, 1].max(axis=1)[None]) & (
                z_b[:, :, 0].min(axis=1)[None] < z_a[:, :, 1].max(axis=1)[:, None])  # fmt: skip
            for k, n in np.argwhere(touch):
                shared = _shared_area(left[m, o, a[k]], right[m, o, b[n]])
                if shared is not None:
                    yield index[m, o, a[k]], index[m + 1, o, b[n]], axis, shared

    def _vertical(self) -> Iterator[tuple[int, int, int, Float[np.ndarray, " 3"]]]:
        """Faces between a cell and the next active one below it, where nothing but a pinched-out layer is between."""
        nx, ny, nz = self.box
        area = _area(self.corners[..., 1, :])
        is_passed = np.zeros(self.box, dtype=bool) if self.is_passed is None else self.is_passed
        passed = np.where(is_passed[..., None, None], np.diff(self.corners[..., 2], axis=5)[..., 0], 0.0)
        # Of all cells down to each one: the thickness that is passed, and how many count by theirs.
        passed, n_counted = np.cumsum(passed, axis=2), np.cumsum(~(self.is_active | is_passed), axis=2)
        for i, j in np.ndindex(nx, ny):
            layers = np.flatnonzero(self.is_active[i, j])
            bottom, top = self.corners[i, j, layers[:-1], :, :, 1, 2], self.corners[i, j, layers[1:], :, :, 0, 2]
            between = top - bottom - np.diff(passed[i, j, layers], axis=0)
            gap = np.abs(between).max(axis=(1, 2)) if len(layers) > 1 else np.empty(0)
            is_apart = np.diff(n_counted[i, j, layers]) > 0
            most = np.where(is_apart, -1.0 if self.pinch is None else self.pinch, self.most_gap) + TOUCHING
            for n in np.flatnonzero(gap <= most):
                at = np.array([layers[n], layers[n + 1]]) + (i * ny + j) * nz
                yield at[0], at[1], 2, area[i, j, layers[n]]


def volumes(corners: Float[np.ndarray, "*box 2 2 2 3"]) -> Float[np.ndarray, "*box"]:
    """Volume of each cell, of the map from the unit cube that is linear along each edge; 0 or less where turned out."""
    total = np.zeros(corners.shape[:-4])
    with np.errstate(invalid="ignore"):
        for at in np.ndindex(2, 2, 2):
            u = [_GAUSS[each] for each in at]
            slopes = [_slope(corners, u, axis) for axis in range(3)]
            total += (np.cross(slopes[0], slopes[1]) * slopes[2]).sum(axis=-1) / 8
    return total


def corners_of(
    coord: Float[np.ndarray, "ny+1 nx+1 6"], zcorn: Float[np.ndarray, "2nz 2ny 2nx"]
) -> Float[np.ndarray, "nx ny nz 2 2 2 3"]:
    """Corners from pillars (two points each) and depths of the corners, in Eclipse's order."""
    nz, ny, nx = (n // 2 for n in zcorn.shape)
    z = zcorn.reshape(nz, 2, ny, 2, nx, 2).transpose(4, 2, 0, 5, 3, 1)
    corners = np.empty((nx, ny, nz, 2, 2, 2, 3))
    corners[..., 2] = z
    pillars = coord.transpose(1, 0, 2)
    for a, b in np.ndindex(2, 2):
        top, bottom = (pillars[a : nx + a, b : ny + b, None, None, part] for part in (slice(0, 3), slice(3, 6)))
        rise = bottom[..., 2] - top[..., 2]
        is_known = rise != 0
        part = np.where(is_known, (z[:, :, :, a, b] - top[..., 2]) / np.where(is_known, rise, 1.0), 0.0)
        corners[:, :, :, a, b, :, :2] = top[..., :2] + part[..., None] * (bottom - top)[..., :2]
    return corners


def pillars_of(
    corners: Float[np.ndarray, "nx ny nz 2 2 2 3"],
) -> tuple[Float[np.ndarray, "ny+1 nx+1 6"], Float[np.ndarray, "2nz 2ny 2nx"]]:
    """Pillars through the uppermost and the lowest corner of a column, and the corners' depths, in Eclipse's order."""
    nx, ny, nz = corners.shape[:3]
    coord = np.empty((ny + 1, nx + 1, 6))
    for i, j in np.ndindex(nx + 1, ny + 1):
        at = min(i, nx - 1), min(j, ny - 1)
        line = corners[(*at, slice(None), i - at[0], j - at[1])].reshape(-1, 3)
        top, bottom = line[line[:, 2].argmin()], line[line[:, 2].argmax()]
        # A column without thickness stands upright.
        coord[j, i] = *top, *(bottom if bottom[2] > top[2] else top + np.array([0.0, 0.0, 1.0]))
    return coord, corners[..., 2].transpose(2, 5, 1, 4, 0, 3).reshape(2 * nz, 2 * ny, 2 * nx)


def _slope(corners: Float[np.ndarray, "*box 2 2 2 3"], u: Sequence[float], axis: int) -> Float[np.ndarray, "*box 3"]:
    of = np.moveaxis(corners, -4 + axis, -4)
    difference = of[..., 1, :, :, :] - of[..., 0, :, :, :]
    v, w = (u[a] for a in range(3) if a != axis)
    along = difference[..., 0, :, :] * (1 - v) + difference[..., 1, :, :] * v
    return np.asarray(along[..., 0, :] * (1 - w) + along[..., 1, :] * w)


def _area(quad: Float[np.ndarray, "*n 2 2 3"]) -> Float[np.ndarray, "*n 3"]:
    """Of a quadrilateral, as a vector: half the product of its diagonals."""
    return np.asarray(np.cross(quad[..., 1, 1, :] - quad[..., 0, 0, :], quad[..., 0, 1, :] - quad[..., 1, 0, :]) / 2)


def _shared_area(a: Float[np.ndarray, "2 2 3"], b: Float[np.ndarray, "2 2 3"]) -> Float[np.ndarray, " 3"] | None:
    """What two quadrilaterals between the same pillars have in common, as a vector: the first, cut by the other."""
    points = [(0.0, a[0, 0]), (1.0, a[1, 0]), (1.0, a[1, 1]), (0.0, a[0, 1])]
    for side, sign in ((0, 1.0), (1, -1.0)):
        low, high = b[0, side, 2], b[1, side, 2]
        inside = [sign * (point[2] - (low + u * (high - low))) for u, point in points]
        cut = []
        for n, (u, point) in enumerate(points):
            before, (u_before, point_before) = inside[n - 1], points[n - 1]
            if (inside[n] >= 0) != (before >= 0):
                t = before / (before - inside[n])
                cut.append((u_before + t * (u - u_before), point_before + t * (point - point_before)))
            if inside[n] >= 0:
                cut.append((u, point))
        points = cut
        if len(points) < 3:
            return None
    corners = np.stack([point for _, point in points])
    corners = corners - corners[0]
    return np.asarray(np.cross(corners[1:-1], corners[2:]).sum(axis=0) / 2)
