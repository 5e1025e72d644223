"""Stationary normal fields by their variogram: Karhunen and Loève's directions on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.fft import irfftn, next_fast_len, rfftn
from scipy.sparse.linalg import LinearOperator, eigsh

from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid

Shape = Literal["exponential", "gaussian", "spherical"]
# Of the variance: more than rounding takes of it, which only a covariance that is none has negative.
_NEGATIVE = 1e-8
# Cells up to which the whole covariance is taken apart.
_FEW = 400


@dataclass(frozen=True, kw_only=True)
class Variogram:
    """1 - rho(h), of variance 1, with h the distance by the ranges along turned axes.

        exponential: rho = exp(-3 h),   gaussian: rho = exp(-3 h^2),   spherical: rho = 1 - 1.5 h + 0.5 h^3 up to h = 1

    so that little or nothing is left at the range, h = 1 (Chilès and Delfiner 2012, sec. 2.5).

    Attributes:
        shape: one of these.
        ranges: m, along, across, and down.
        azimuth: degrees from x towards y, of the first range.
    """

    shape: Shape
    ranges: tuple[float, float, float]
    azimuth: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in get_args(Shape):
            raise InputError(f"shape: got '{self.shape}'; known are {list(get_args(Shape))}")
        if not all(0 < each < np.inf for each in self.ranges):
            raise InputError(f"ranges: got {list(self.ranges)}; each must be positive, in m")

    def correlation(
        self, x: Float[np.ndarray, "*n"], y: Float[np.ndarray, "*n"], z: Float[np.ndarray, "*n"]
    ) -> Float[np.ndarray, "*n"]:
        """rho at a distance along the axes, m."""
        turn = np.deg2rad(self.azimuth)
        along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
        h = np.sqrt(sum((of / reach) ** 2 for of, reach in zip((along, across, z), self.ranges, strict=True)))
        if self.shape == "exponential":
            return np.asarray(np.exp(-3 * h))
        if self.shape == "gaussian":
            return np.asarray(np.exp(-3 * h**2))
        return np.asarray(np.where(h < 1, 1 - 1.5 * h + 0.5 * h**3, 0.0))


def karhunen_loeve(grid: Grid, variogram: Variogram, n: int) -> tuple[Float[np.ndarray, "c n"], float]:
    """The first n directions of a field of variance 1 in cells that have a place, scaled, and the variance they keep.

    Eigenvectors of the covariance times the roots of their eigenvalues; the covariance is applied by Fourier transforms
    over twice the box, on cells of the grid's mean sizes.

    Raises:
        InputError: more directions than cells.
    """
    n_cells = len(grid.placed_cells)
    if not 1 <= n <= n_cells:
        raise InputError(f"components: got {n}; a grid of {n_cells} cells has 1 to {n_cells}")
    covariance = _covariance(grid, variogram)
    if n_cells <= _FEW or n > n_cells // 2:
        values, vectors = np.linalg.eigh(covariance @ np.eye(n_cells))
    else:
        # A start of its own would make other signs and, among equal values, other directions at each call.
        start = np.random.default_rng(0).standard_normal(n_cells)
        values, vectors = eigsh(covariance, k=n, v0=start)
    order = np.argsort(values)[::-1][:n]
    values = values[order]
    if values[-1] < -_NEGATIVE * n_cells:
        raise InputError(f"variogram: '{variogram.shape}' with these ranges has no {n} directions; ask for fewer")
    basis = vectors[:, order] * np.sqrt(values.clip(0))
    largest = np.take_along_axis(basis, np.abs(basis).argmax(axis=0)[None], axis=0)
    return basis * np.where(largest < 0, -1.0, 1.0), float(values.sum() / n_cells)


def _covariance(grid: Grid, variogram: Variogram) -> LinearOperator:
    """rho between these cells, by its Fourier transform on a torus that is too large for cells to see round it."""
    box, cells = grid.box, grid.placed_cells
    sizes = [float(np.mean(each)) for each in grid.sizes]
    whole = [next_fast_len(2 * m - 1, real=True) for m in box]
    lags = [np.minimum(np.arange(m), m - np.arange(m)) * np.where(np.arange(m) > m // 2, -1, 1) for m in whole]
    at = np.meshgrid(*(lag * size for lag, size in zip(lags, sizes, strict=True)), indexing="ij")
    spectrum = rfftn(variogram.correlation(*at))

    def apply(vector: Float[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
        field = np.zeros(box)
        field.ravel()[cells] = vector.ravel()
        turned = irfftn(rfftn(field, whole) * spectrum, whole)
        return np.asarray(turned[: box[0], : box[1], : box[2]].ravel()[cells])

    return LinearOperator((len(cells), len(cells)), matvec=apply, dtype=float)
