"""GMRES on the Jacobian's blocks, preconditioned by a multigrid cycle for the pressure and ILU(0) for all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled
from rockbank.flow.kernels.multigrid import Hierarchy, cycle

Vector = Float[np.ndarray, "n 2"]


class Matrix(NamedTuple):
    """The cells' part of a Jacobian by rows of 2 x 2 blocks, with the wells eliminated.

        A = blocks - sum_w column_w row_w^T / pivot_w

    Attributes:
        start: where each row's blocks begin.
        column: the cell of each block.
        diagonal: which block is the cell's own.
        blocks: in rows of [pressure equation, water] and columns of (pressure, saturation).
        place: cell of each perforation.
        well: its well.
        well_column: of the perforated cell's equations in the bottom-hole pressure.
        well_row: of the well's equation in the cell's unknowns.
        pivot: of the well's equation in its bottom-hole pressure.
    """

    start: Int[np.ndarray, " n+1"]
    column: Int[np.ndarray, " nnz"]
    diagonal: Int[np.ndarray, " n"]
    blocks: Float[np.ndarray, "nnz 2 2"]
    place: Int[np.ndarray, " p"]
    well: Int[np.ndarray, " p"]
    well_column: Float[np.ndarray, "p 2"]
    well_row: Float[np.ndarray, "p 2"]
    pivot: Float[np.ndarray, " w"]


@compiled
def fill(
    lower_upper: Int[np.ndarray, "f 2"],
    faces: Int[np.ndarray, "f 2"],
    of_cells: Float[np.ndarray, "2 2 n"],
    of_left: Float[np.ndarray, "2 2 f"],
    of_right: Float[np.ndarray, "2 2 f"],
    of_perforations: Float[np.ndarray, "2 3 p"],
    rates: Float[np.ndarray, "w 2"],
    weight: Float[np.ndarray, " n"],
    scale: float,
    matrix: Matrix,
) -> None:
    """The blocks from what cells, faces and perforations add; the pressure equation is water + weight * oil.

    Columns of pressures are multiplied by `scale`.
    """
    blocks, diagonal = matrix.blocks, matrix.diagonal
    for i in range(len(weight)):
        at = diagonal[i]
        for x in range(2):
            size = scale if x == 0 else 1.0
            blocks[at, 0, x] = size * (of_cells[0, x, i] + weight[i] * of_cells[1, x, i])
            blocks[at, 1, x] = size * of_cells[0, x, i]
    for f in range(len(faces)):
        l, r = faces[f]  # noqa: E741
        for x in range(2):
            size = scale if x == 0 else 1.0
            left_w, left_o = size * of_left[0, x, f], size * of_left[1, x, f]
            right_w, right_o = size * of_right[0, x, f], size * of_right[1, x, f]
            blocks[diagonal[l], 0, x] += left_w + weight[l] * left_o
            blocks[diagonal[l], 1, x] += left_w
            blocks[lower_upper[f, 0], 0, x] = right_w + weight[l] * right_o
            blocks[lower_upper[f, 0], 1, x] = right_w
            blocks[diagonal[r], 0, x] -= right_w + weight[r] * right_o
            blocks[diagonal[r], 1, x] -= right_w
            blocks[lower_upper[f, 1], 0, x] = -left_w - weight[r] * left_o
            blocks[lower_upper[f, 1], 1, x] = -left_w
    for k in range(len(matrix.place)):
        i, w = matrix.place[k], matrix.well[k]
        for x in range(3):
            size = scale if x == 0 else 1.0
            water, oil = size * of_perforations[0, x, k], size * of_perforations[1, x, k]
            held = rates[w, 0] * water + rates[w, 1] * oil
            if x == 2:
                matrix.well_column[k, 0] = -water - weight[i] * oil
                matrix.well_column[k, 1] = -water
                matrix.pivot[w] += held
            else:
                blocks[diagonal[i], 0, x] -= water + weight[i] * oil
                blocks[diagonal[i], 1, x] -= water
                matrix.well_row[k, x] = held


@compiled
def eliminate(matrix: Matrix, inverse: Float[np.ndarray, "n 2 2"]) -> None:
    """The inverted pivots of ILU(0).

    No two neighbours of a cell are neighbours of each other on these grids, so that nothing but the diagonal changes:

        D_i = A_ii - sum_(j < i) A_ij D_j^-1 A_ji
    """
    blocks, start, column = matrix.blocks, matrix.start, matrix.column
    for i in range(len(inverse)):
        inverse[i] = blocks[matrix.diagonal[i]]
    for k in range(len(matrix.place)):
        i, pivot = matrix.place[k], matrix.pivot[matrix.well[k]]
        for r in range(2):
            for c in range(2):
                inverse[i, r, c] -= matrix.well_column[k, r] * matrix.well_row[k, c] / pivot
    for i in range(len(inverse)):
        d00, d01, d10, d11 = inverse[i, 0, 0], inverse[i, 0, 1], inverse[i, 1, 0], inverse[i, 1, 1]
        for k in range(start[i], matrix.diagonal[i]):
            j = column[k]
            for back in range(start[j + 1] - 1, matrix.diagonal[j], -1):
                if column[back] == i:
                    a, b, m = blocks[k], blocks[back], inverse[j]
                    l00, l01 = a[0, 0] * m[0, 0] + a[0, 1] * m[1, 0], a[0, 0] * m[0, 1] + a[0, 1] * m[1, 1]
                    l10, l11 = a[1, 0] * m[0, 0] + a[1, 1] * m[1, 0], a[1, 0] * m[0, 1] + a[1, 1] * m[1, 1]
                    d00 -= l00 * b[0, 0] + l01 * b[1, 0]
                    d01 -= l00 * b[0, 1] + l01 * b[1, 1]
                    d10 -= l10 * b[0, 0] + l11 * b[1, 0]
                    d11 -= l10 * b[0, 1] + l11 * b[1, 1]
                    break
        determinant = d00 * d11 - d01 * d10
        inverse[i, 0, 0], inverse[i, 0, 1] = d11 / determinant, -d01 / determinant
        inverse[i, 1, 0], inverse[i, 1, 1] = -d10 / determinant, d00 / determinant


@compiled
def transpose(mirror: Int[np.ndarray, " nnz"], of: Matrix, inverse: Float[np.ndarray, "n 2 2"], into: Matrix,
              inverse_into: Float[np.ndarray, "n 2 2"]) -> None:  # fmt: skip
    """A^T, and the pivots of its ILU(0); `mirror` is the place of each block's opposite."""
    for k in range(len(mirror)):
        block = of.blocks[mirror[k]]
        into.blocks[k, 0, 0], into.blocks[k, 0, 1] = block[0, 0], block[1, 0]
        into.blocks[k, 1, 0], into.blocks[k, 1, 1] = block[0, 1], block[1, 1]
    for i in range(len(inverse)):
        inverse_into[i, 0, 0], inverse_into[i, 0, 1] = inverse[i, 0, 0], inverse[i, 1, 0]
        inverse_into[i, 1, 0], inverse_into[i, 1, 1] = inverse[i, 0, 1], inverse[i, 1, 1]
    into.well_column[:], into.well_row[:], into.pivot[:] = of.well_row, of.well_column, of.pivot


@compiled
def _through_wells(matrix: Matrix, x: Vector, total: Float[np.ndarray, " w"]) -> None:
    """row_w^T x / pivot_w."""
    total[:] = 0.0
    for k in range(len(matrix.place)):
        i = matrix.place[k]
        total[matrix.well[k]] += matrix.well_row[k, 0] * x[i, 0] + matrix.well_row[k, 1] * x[i, 1]
    for w in range(len(total)):
        total[w] /= matrix.pivot[w]


@compiled
def multiply(matrix: Matrix, x: Vector, out: Vector, of_wells: Float[np.ndarray, " w"]) -> None:
    """A x."""
    blocks, start, column = matrix.blocks, matrix.start, matrix.column
    for i in range(len(x)):
        first, second = 0.0, 0.0
        for k in range(start[i], start[i + 1]):
            j = column[k]
            first += blocks[k, 0, 0] * x[j, 0] + blocks[k, 0, 1] * x[j, 1]
            second += blocks[k, 1, 0] * x[j, 0] + blocks[k, 1, 1] * x[j, 1]
        out[i, 0], out[i, 1] = first, second
    _through_wells(matrix, x, of_wells)
    for k in range(len(matrix.place)):
        i, through = matrix.place[k], of_wells[matrix.well[k]]
        out[i, 0] -= matrix.well_column[k, 0] * through
        out[i, 1] -= matrix.well_column[k, 1] * through


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


@compiled
def _dot(a: Vector, b: Vector) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i, 0] * b[i, 0] + a[i, 1] * b[i, 1]
    return total


@compiled
def _add(factor: float, a: Vector, to: Vector) -> None:
    for i in range(len(a)):
        to[i, 0] += factor * a[i, 0]
        to[i, 1] += factor * a[i, 1]


@compiled
def _normalise(a: Vector, size: float) -> None:
    for i in range(len(a)):
        a[i, 0] /= size
        a[i, 1] /= size


@compiled
def gmres(
    matrix: Matrix,
    inverse: Float[np.ndarray, "n 2 2"],
    pressure: Hierarchy,
    is_transposed: bool,
    right: Vector,
    tolerance: float,
    max_iterations: int,
    basis: Float[np.ndarray, "restart+1 n 2"],
    directions: Float[np.ndarray, "restart n 2"],
    x: Vector,
) -> tuple[int, float]:
    """Preconditioned GMRES (Saad 2003, algorithms 9.4 and 9.5) from x = 0; restarted when the basis is full.

    A is preconditioned from the right, A^T from the left: (A M^-1)^T = M^-T A^T, so that both converge alike, which
    A^T M^-T does not.

    Args:
        matrix: A or A^T.
        inverse: the pivots of its ILU(0).
        pressure: hierarchy of its pressures.
        is_transposed: which of both it is.
        right: right-hand side.
        tolerance: that part of its norm, preconditioned for A^T, may be left.
        max_iterations: in all.
        basis: to work in.
        directions: likewise.
        x: the solution.

    Returns:
        iterations, and the norm of what is left by that of the right-hand side, both preconditioned for A^T.
    """
    restart = len(basis) - 1
    left, v, of_wells = right.copy(), np.empty_like(right), np.empty(len(matrix.pivot))
    h, c, s, g = np.zeros((restart + 1, restart)), np.zeros(restart), np.zeros(restart), np.zeros(restart + 1)
    x[:] = 0.0
    done, whole = 0, -1.0
    while True:
        if is_transposed:
            precondition_transposed(matrix, inverse, pressure, left, basis[0], v, of_wells)
        else:
            basis[0] = left
        g[0] = np.sqrt(_dot(basis[0], basis[0]))
        whole = g[0] if whole < 0.0 else whole
        if not g[0] > tolerance * whole or not np.isfinite(g[0]):
            return done, g[0] / whole if whole != 0.0 else 0.0
        _normalise(basis[0], g[0])
        m = 0
        while m < restart and done < max_iterations and abs(g[m]) > tolerance * whole:
            w, z = basis[m + 1], directions[m]
            if is_transposed:
                multiply(matrix, basis[m], z, of_wells)
                precondition_transposed(matrix, inverse, pressure, z, w, v, of_wells)
            else:
                precondition(matrix, inverse, pressure, basis[m], z, v, of_wells)
                multiply(matrix, z, w, of_wells)
            for j in range(m + 1):
                h[j, m] = _dot(basis[j], w)
                _add(-h[j, m], basis[j], w)
            norm = np.sqrt(_dot(w, w))
            for j in range(m):
                h[j, m], h[j + 1, m] = c[j] * h[j, m] + s[j] * h[j + 1, m], c[j] * h[j + 1, m] - s[j] * h[j, m]
            length = np.sqrt(h[m, m] ** 2 + norm**2)
            c[m], s[m], h[m, m] = h[m, m] / length, norm / length, length
            g[m], g[m + 1] = c[m] * g[m], -s[m] * g[m]
            m += 1
            done += 1
            if not norm > 0.0:
                break
            _normalise(w, norm)
        size = abs(g[m])
        for j in range(m - 1, -1, -1):
            for k in range(j + 1, m):
                g[j] -= h[j, k] * g[k]
            g[j] /= h[j, j]
            _add(g[j], basis[j] if is_transposed else directions[j], x)
        if not size > tolerance * whole or done >= max_iterations:
            return done, size / whole
        multiply(matrix, x, left, of_wells)
        for i in range(len(right)):
            left[i, 0], left[i, 1] = right[i, 0] - left[i, 0], right[i, 1] - left[i, 1]
