"""The pressure's matrix slice by slice of the grid: block tridiagonal, with the wells as a border; compiled.

The right-hand sides are the last, contiguous axis of every array, so that products of matrices do most of the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numba import uint64

from rockbank.flow.kernels import Cells, CellOf, Faces, compiled

Columns = Float[np.ndarray, "n m"]
WellColumns = Float[np.ndarray, "w m"]
# Fewer right-hand sides than this are multiplied in a loop: BLAS would first copy the matrix.
FEW = 4
# Slices of more cells than this are inverted by LAPACK.
WIDE = 96


class Slices(NamedTuple):
    """How the cells lie: numbered slice by slice.

    Attributes:
        begins: where each slice begins, and the end of the last.
        ahead: the neighbour of each cell in the next slice, -1 where there is none.
    """

    begins: Int[np.ndarray, " k+1"]
    ahead: Int[np.ndarray, " n"]


class Factor(NamedTuple):
    """A, factorised.

    Attributes:
        begins: where the inverse of each slice begins.
        inverses: of the slices' blocks, after those before them are eliminated; one after the other.
        to_next: entry of A in the row of a cell and the column of its neighbour ahead.
        from_next: in the neighbour's row and the cell's column.
    """

    begins: Int[np.ndarray, " k+1"]
    inverses: Float[np.ndarray, " entries"]
    to_next: Cells
    from_next: Cells


@compiled
def factorise_slices(
    slices: Slices, left: CellOf, right: CellOf, diagonal: Cells, of_left: Faces, of_right: Faces
) -> Factor:
    """From the diagonal of A and, for each face, its entries in the rows of the left and of the right cell."""
    n, n_slices = len(diagonal), len(slices.begins) - 1
    begins, slice_of = np.zeros(n_slices + 1, np.int64), np.empty(n, np.int64)
    for k in range(n_slices):
        first, end = slices.begins[k], slices.begins[k + 1]
        slice_of[first:end] = k
        begins[k + 1] = begins[k] + (end - first) ** 2
    inverses = np.zeros(begins[n_slices])
    to_next, from_next = np.zeros(n), np.zeros(n)
    for i in range(n):
        k = slice_of[i]
        width = slices.begins[k + 1] - slices.begins[k]
        inverses[begins[k] + (i - slices.begins[k]) * (width + 1)] = diagonal[i]
    for f in range(len(left)):
        i, j = left[f], right[f]
        if slices.ahead[i] == j:
            to_next[i], from_next[i] = of_left[f], of_right[f]
        else:
            k = slice_of[i]
            first, width = slices.begins[k], slices.begins[k + 1] - slices.begins[k]
            inverses[begins[k] + (i - first) * width + j - first] = of_left[f]
            inverses[begins[k] + (j - first) * width + i - first] = of_right[f]
    for k in range(n_slices):
        first, width = slices.begins[k], slices.begins[k + 1] - slices.begins[k]
        block = inverses[begins[k] : begins[k + 1]].reshape(width, width)
        if k:
            last = slices.begins[k - 1]
            before = inverses[begins[k - 1] : begins[k]].reshape(first - last, first - last)
            for a in range(first - last):
                for b in range(first - last):
                    i, j = slices.ahead[last + a] - first, slices.ahead[last + b] - first
                    if i >= 0 and j >= 0:
                        block[i, j] -= from_next[last + a] * before[a, b] * to_next[last + b]
        if width > WIDE:
            block[:] = np.linalg.inv(block)
        else:
            invert(block)
    return Factor(begins, inverses, to_next, from_next)


@compiled
def invert(matrix: Float[np.ndarray, "n n"]) -> None:
    """Its inverse in its place, by Gauss and Jordan with four pivots at a time.

    Rows need not be exchanged: an M-matrix has large pivots. For 64 cells it takes half of LAPACK's time; the
    indices are unsigned because those that may be negative keep the innermost loops from becoming vector
    instructions.
    """
    n = len(matrix)
    flat, size = matrix.reshape(n * n), uint64(n)
    rows, pivot = np.empty((4, n)), np.empty((4, 4))
    r_0, r_1, r_2, r_3 = rows[0], rows[1], rows[2], rows[3]
    for k in range(0, n - 3, 4):
        pivot[:] = matrix[k : k + 4, k : k + 4]
        _invert_few(pivot)
        for i in range(4):
            f_0, f_1, f_2, f_3 = pivot[i, 0], pivot[i, 1], pivot[i, 2], pivot[i, 3]
            row, first = rows[i], uint64(k) * size
            for j in range(size):
                row[j] = f_0 * flat[first + j] + f_1 * flat[first + size + j]
            first += size + size
            for j in range(size):
                row[j] += f_2 * flat[first + j] + f_3 * flat[first + size + j]
            row[k : k + 4] = pivot[i]
        for i in range(n):
            if k <= i < k + 4:
                continue
            f_0, f_1, f_2, f_3 = matrix[i, k], matrix[i, k + 1], matrix[i, k + 2], matrix[i, k + 3]
            matrix[i, k : k + 4] = 0.0
            first = uint64(i) * size
            for j in range(size):
                flat[first + j] -= f_0 * r_0[j] + f_1 * r_1[j] + f_2 * r_2[j] + f_3 * r_3[j]
        matrix[k : k + 4] = rows
    _invert_few(matrix, n - n % 4)


@compiled
def _invert_few(matrix: Float[np.ndarray, "n n"], first: int = 0) -> None:
    """The pivots from the first on, one at a time."""
    n = len(matrix)
    for k in range(first, n):
        by = 1.0 / matrix[k, k]
        matrix[k, k] = 1.0
        for j in range(n):
            matrix[k, j] *= by
        for i in range(n):
            if i != k:
                f = matrix[i, k]
                matrix[i, k] = 0.0
                for j in range(n):
                    matrix[i, j] -= f * matrix[k, j]


@compiled
def eliminate(slices: Slices, factor: Factor, is_transposed: bool, x: Columns) -> None:
    """A^-1 x or A^-T x in the place of x."""
    begins, ahead = slices.begins, slices.ahead
    down = factor.to_next if is_transposed else factor.from_next
    up = factor.from_next if is_transposed else factor.to_next
    n_slices, m = len(begins) - 1, x.shape[1]
    widest = 0
    for k in range(n_slices):
        widest = max(widest, begins[k + 1] - begins[k])
    given, solved = np.empty((widest, m)), np.empty((widest, m))
    for k in range(n_slices):
        first, width = begins[k], begins[k + 1] - begins[k]
        y = solved[:width]
        _times_inverse(factor, k, is_transposed, x[first : first + width], y)
        x[first : first + width] = y
        for i in range(width):
            j, f = ahead[first + i], down[first + i]
            if j >= 0:
                for c in range(m):
                    x[j, c] -= f * y[i, c]
    for k in range(n_slices - 2, -1, -1):
        first, width = begins[k], begins[k + 1] - begins[k]
        y, z = given[:width], solved[:width]
        for i in range(width):
            j, f = ahead[first + i], up[first + i]
            for c in range(m):
                y[i, c] = f * x[j, c] if j >= 0 else 0.0
        _times_inverse(factor, k, is_transposed, y, z)
        for i in range(width):
            for c in range(m):
                x[first + i, c] -= z[i, c]


@compiled
def _times_inverse(factor: Factor, k: int, is_transposed: bool, x: Columns, y: Columns) -> None:
    """The inverse of a slice, or its transpose, times x into y."""
    width, m = x.shape
    inverse = factor.inverses[factor.begins[k] : factor.begins[k + 1]].reshape(width, width)
    if m >= FEW:
        if is_transposed:
            np.dot(inverse.T, x, y)
        else:
            np.dot(inverse, x, y)
        return
    for c in range(m):
        one, result = x[:, c].copy(), np.zeros(width)
        for i in range(width):
            if is_transposed:
                for j in range(width):
                    result[j] += inverse[i, j] * one[i]
            else:
                total = 0.0
                for j in range(width):
                    total += inverse[i, j] * one[j]
                result[i] = total
        y[:, c] = result


class Border(NamedTuple):
    """The wells' unknowns eliminated from [[A, K], [R, w]], or from its transpose.

    Attributes:
        reach: A^-1 K.
        schur: (w - R A^-1 K)^-1.
        row: R: entry of each perforation.
    """

    reach: Float[np.ndarray, "n w"]
    schur: Float[np.ndarray, "w w"]
    row: Float[np.ndarray, " p"]


@compiled
def border(
    slices: Slices,
    factor: Factor,
    is_transposed: bool,
    place: CellOf,
    of_well: Int[np.ndarray, " p"],
    column: Float[np.ndarray, " p"],
    row: Float[np.ndarray, " p"],
    well: Float[np.ndarray, " w"],
) -> Border:
    """From the entries of K and R for each perforation in a cell (`place`) of a well, and w."""
    reach, schur = np.zeros((len(slices.ahead), len(well))), np.diag(well)
    for q in range(len(place)):
        reach[place[q], of_well[q]] += column[q]
    eliminate(slices, factor, is_transposed, reach)
    for q in range(len(place)):
        schur[of_well[q]] -= row[q] * reach[place[q]]
    invert(schur)
    return Border(reach, schur, row)


@compiled
def add_wells(place: CellOf, of_well: Int[np.ndarray, " p"], of: Border, x: Columns, x_w: WellColumns) -> None:
    """From A^-1 b (in x) and the wells' right-hand sides (in x_w) to the solution with them, in their places."""
    n, m = x.shape
    for q in range(len(place)):
        i, w, f = place[q], of_well[q], of.row[q]
        for c in range(m):
            x_w[w, c] -= f * x[i, c]
    x_w[:] = np.dot(of.schur, x_w)
    for w in range(len(of.schur)):
        if np.any(of.reach[:, w] != 0.0):
            for i in range(n):
                f = of.reach[i, w]
                for c in range(m):
                    x[i, c] -= f * x_w[w, c]
