"""About the solution: a multigrid cycle for the pressure, and ILU(0) for all unknowns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled
from rockbank.flow.kernels.krylov.matrix import Matrix, Vector, multiply
from rockbank.flow.kernels.multigrid import Hierarchy, cycle


@compiled
def eliminate(matrix: Matrix, mirror: Int[np.ndarray, " nnz"], inverse: Float[np.ndarray, "n 2 2"]) -> None:
    """The inverted pivots of ILU(0); `mirror` is the place of each block's opposite.

    No two neighbours of a cell are neighbours of each other on these grids, so that nothing but the diagonal changes:

        D_i = A_ii - sum_(j < i) A_ij D_j^-1 A_ji
    """
    blocks, start, column, diagonal = matrix.blocks, matrix.start, matrix.column, matrix.diagonal
    for i in range(len(inverse)):
        for r in range(2):
            for c in range(2):
                inverse[i, r, c] = blocks[diagonal[i], r, c]
    for k in range(len(matrix.place)):
        i, pivot = matrix.place[k], matrix.pivot[matrix.well[k]]
        for r in range(2):
            for c in range(2):
                inverse[i, r, c] -= matrix.well_column[k, r] * matrix.well_row[k, c] / pivot
    for i in range(len(inverse)):
        d00, d01, d10, d11 = inverse[i, 0, 0], inverse[i, 0, 1], inverse[i, 1, 0], inverse[i, 1, 1]
        for k in range(start[i], diagonal[i]):
            j, back = column[k], mirror[k]
            a00, a01, a10, a11 = blocks[k, 0, 0], blocks[k, 0, 1], blocks[k, 1, 0], blocks[k, 1, 1]
            b00, b01, b10, b11 = blocks[back, 0, 0], blocks[back, 0, 1], blocks[back, 1, 0], blocks[back, 1, 1]
            m00, m01, m10, m11 = inverse[j, 0, 0], inverse[j, 0, 1], inverse[j, 1, 0], inverse[j, 1, 1]
            l00, l01 = a00 * m00 + a01 * m10, a00 * m01 + a01 * m11
            l10, l11 = a10 * m00 + a11 * m10, a10 * m01 + a11 * m11
            d00 -= l00 * b00 + l01 * b10
            d01 -= l00 * b01 + l01 * b11
            d10 -= l10 * b00 + l11 * b10
            d11 -= l10 * b01 + l11 * b11
        determinant = d00 * d11 - d01 * d10
        inverse[i, 0, 0], inverse[i, 0, 1] = d11 / determinant, -d01 / determinant
        inverse[i, 1, 0], inverse[i, 1, 1] = -d10 / determinant, d00 / determinant


@compiled
def transpose(mirror: Int[np.ndarray, " nnz"], of: Matrix, inverse: Float[np.ndarray, "n 2 2"], into: Matrix,
              inverse_into: Float[np.ndarray, "n 2 2"]) -> None:  # fmt: skip
    """A^T, and the pivots of its ILU(0); `mirror` is the place of each block's opposite."""
    for k in range(len(mirror)):
        other = mirror[k]
        for r in range(2):
            for c in range(2):
                into.blocks[k, r, c] = of.blocks[other, c, r]
    for i in range(len(inverse)):
        for r in range(2):
            for c in range(2):
                inverse_into[i, r, c] = inverse[i, c, r]
    into.well_column[:], into.well_row[:], into.pivot[:] = of.well_row, of.well_column, of.pivot


@compiled
def _substitute_back(matrix: Matrix, inverse: Float[np.ndarray, "n 2 2"], y: Vector) -> None:
    """y <- (I + D^-1 U)^-1 y."""
    blocks, column = matrix.blocks, matrix.column
    for i in range(len(y) - 1, -1, -1):
        first, second = 0.0, 0.0
        for k in range(matrix.diagonal[i] + 1, matrix.start[i + 1]):
            j = column[k]
            first += blocks[k, 0, 0] * y[j, 0] + blocks[k, 0, 1] * y[j, 1]
            second += blocks[k, 1, 0] * y[j, 0] + blocks[k, 1, 1] * y[j, 1]
        y[i, 0] -= inverse[i, 0, 0] * first + inverse[i, 0, 1] * second
        y[i, 1] -= inverse[i, 1, 0] * first + inverse[i, 1, 1] * second


@compiled
def precondition(
    matrix: Matrix,
    inverse: Float[np.ndarray, "n 2 2"],
    pressure: Hierarchy,
    r: Vector,
    z: Vector,
    left: Vector,
    of_wells: Float[np.ndarray, " w"],
) -> None:
    """z = p + ILU^-1 (r - A p), with p about the pressure that the pressure equation gives (Wallis 1983)."""
    blocks, start, column, p, n = matrix.blocks, matrix.start, matrix.column, pressure.x, len(r)
    for i in range(n):
        pressure.b[i] = r[i, 0]
    cycle(pressure)
    left[:] = r
    of_wells[:] = 0.0
    for k in range(len(matrix.place)):
        of_wells[matrix.well[k]] += matrix.well_row[k, 0] * p[matrix.place[k]]
    for k in range(len(matrix.place)):
        i, w = matrix.place[k], matrix.well[k]
        left[i, 0] += matrix.well_column[k, 0] * of_wells[w] / matrix.pivot[w]
        left[i, 1] += matrix.well_column[k, 1] * of_wells[w] / matrix.pivot[w]
    for i in range(n):  # with L z on the way, as both pass through the same blocks
        first, second = left[i, 0], left[i, 1]
        for k in range(start[i], matrix.diagonal[i]):
            j = column[k]
            x, y = p[j] + z[j, 0], z[j, 1]
            first -= blocks[k, 0, 0] * x + blocks[k, 0, 1] * y
            second -= blocks[k, 1, 0] * x + blocks[k, 1, 1] * y
        for k in range(matrix.diagonal[i], start[i + 1]):
            x = p[column[k]]
            first -= blocks[k, 0, 0] * x
            second -= blocks[k, 1, 0] * x
        z[i, 0] = inverse[i, 0, 0] * first + inverse[i, 0, 1] * second
        z[i, 1] = inverse[i, 1, 0] * first + inverse[i, 1, 1] * second
    _substitute_back(matrix, inverse, z)
    for i in range(n):
        z[i, 0] += p[i]


@compiled
def precondition_transposed(
    matrix: Matrix,
    inverse: Float[np.ndarray, "n 2 2"],
    pressure: Hierarchy,
    r: Vector,
    z: Vector,
    left: Vector,
    of_wells: Float[np.ndarray, " w"],
) -> None:
    """The transpose of what `precondition` does with A, where `matrix` is A^T: ILU first, then the pressure."""
    blocks, start, column, n = matrix.blocks, matrix.start, matrix.column, len(r)
    for i in range(n):
        first, second = r[i, 0], r[i, 1]
        for k in range(start[i], matrix.diagonal[i]):
            j = column[k]
            first -= blocks[k, 0, 0] * z[j, 0] + blocks[k, 0, 1] * z[j, 1]
            second -= blocks[k, 1, 0] * z[j, 0] + blocks[k, 1, 1] * z[j, 1]
        z[i, 0] = inverse[i, 0, 0] * first + inverse[i, 0, 1] * second
        z[i, 1] = inverse[i, 1, 0] * first + inverse[i, 1, 1] * second
    _substitute_back(matrix, inverse, z)
    multiply(matrix, z, left, of_wells)
    for i in range(n):
        pressure.b[i] = r[i, 0] - left[i, 0]
    cycle(pressure)
    for i in range(n):
        z[i, 0] += pressure.x[i]
