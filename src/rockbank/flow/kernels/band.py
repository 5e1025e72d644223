"""Cholesky factors of a symmetric band matrix."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled, uint64


@compiled
def fill_band(
    lower: CellOf, upper: CellOf, conductance: Faces, diagonal: Cells, band: Float[np.ndarray, "n w"]
) -> None:
    """The pressure's matrix by columns: band[j, k] stands in row j + k, column j."""
    band[:] = 0.0
    for i in range(len(diagonal)):
        band[i, 0] = diagonal[i]
    for f in range(len(conductance)):
        band[lower[f], upper[f] - lower[f]] = -conductance[f]


@compiled
def factorise(band: Float[np.ndarray, "n w"]) -> bool:
    """L L^T in the place of the lower band, 1 / L_jj on its diagonal; false where the matrix is not positive definite.

    Cholesky's factors within the band (Golub and Van Loan 2013, sec. 4.3).

    Four columns at a time are taken from those behind them: 3.4 ms in single precision for 8,192 cells and a band of
    64, where one by one takes 7.5 and LAPACK's pbtrf 11. The indices are unsigned because those that may be negative
    keep the innermost loop from becoming vector instructions.
    """
    n, width = band.shape
    flat, w = band.reshape(n * width), uint64(width)
    one, four = uint64(width + 3), uint64(4)  # rows that a column of four may reach, and their number
    two, three = one + one, one + one + one
    taken = np.zeros(4 * (width + 3), dtype=band.dtype)
    for j in range(0, n, 4):
        first, n_columns, n_rows = uint64(j), uint64(min(4, n - j)), uint64(min(width + 3, n - j))
        for q in range(n_columns):
            column, reach = (first + q) * w, min(w, n_rows - q)
            if not flat[column] > 0.0:
                return False
            scale = 1.0 / np.sqrt(flat[column])
            for k in range(reach):
                flat[column + k] *= scale
                taken[q * one + q + k] = flat[column + k]
            for k in range(uint64(1), min(n_columns - q, reach)):
                target, of_row = column + k * w, flat[column + k]
                for i in range(reach - k):
                    flat[target + i] -= of_row * flat[column + k + i]
            flat[column] = scale
        for k in range(four, n_rows):
            f_0, f_1, f_2, f_3 = taken[k], taken[one + k], taken[two + k], taken[three + k]
            target = (first + k) * w
            for i in range(n_rows - k):
                at = k + i
                flat[target + i] -= (
                    f_0 * taken[at] + f_1 * taken[one + at] + f_2 * taken[two + at] + f_3 * taken[three + at]
                )
    return True


@compiled
def solve_band(band: Float[np.ndarray, "n w"], x: Cells) -> None:
    """(L L^T)^-1 x in the place of x."""
    n, width = band.shape
    flat, w = band.reshape(n * width), uint64(width)
    for j in range(n):
        reach, row, column = uint64(min(width, n - j)), uint64(j), uint64(j) * w
        x[row] *= flat[column]
        of_column = x[row]
        for k in range(uint64(1), reach):
            x[row + k] -= of_column * flat[column + k]
    for j in range(n - 1, -1, -1):
        reach, row, column = uint64(min(width, n - j)), uint64(j), uint64(j) * w
        total = x[row]
        for k in range(uint64(1), reach):
            total -= flat[column + k] * x[row + k]
        x[row] = total * flat[column]


@compiled
def solve_with_wells(
    factor: Float[np.ndarray, "n w"],
    solved: Float[np.ndarray, "k n"],
    schur: Float[np.ndarray, "k k"],
    right: Cells,
    narrow: Float[np.ndarray, " n"],
    x: Cells,
) -> None:
    """The solution with k wells under rates eliminated (Woodbury 1950), as `linear.pressure_factor` sets them up.

    Args:
        factor: of the matrix without them.
        solved: what it gives for the column of each well.
        schur: the inverse of what is left of the wells.
        right: right-hand side.
        narrow: to work in, in the precision of the factor.
        x: the solution.
    """
    narrow[:] = right
    solve_band(factor, narrow)
    x[:] = narrow
    for k in range(len(schur)):
        by = 0.0
        for j in range(len(schur)):
            by += schur[k, j] * np.dot(solved[j], right)
        x += by * solved[k]
