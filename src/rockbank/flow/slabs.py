"""The compiled loops of `SlabSolver`: block-tridiagonal elimination slab by slab, of one member.

Rows and columns of a slab are the sums of both phases' equations, or the pressures, of all its cells, then the
water's equations, or the saturations. Right-hand sides are the last axis, so that products of matrices do nearly
all the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numba import uint64

from rockbank.flow.kernels import compiled

Matrix = Float[np.ndarray, "n n"]
Entries = Float[np.ndarray, "2 2 n"]
Columns = Float[np.ndarray, "n 2 m"]
Rows = Float[np.ndarray, "rows m"]
# Matrices of this many rows and fewer are inverted row by row, larger ones in four parts.
SMALL = 32
# Fewer right-hand sides than this are multiplied in a loop: BLAS would copy the matrix first.
FEW = 4


class Slabs(NamedTuple):
    """Which cells and faces are in which slab, in the problem's numbers.

    Attributes:
        begins: of each slab in `cells`, and the end of the last's.
        cells: slab by slab.
        ahead: of each of them the place in the next slab of its neighbour there, -1 where there is none.
        across: the face between the two.
        faces_begin: of each slab in `faces`, and the end of the last's.
        faces: between cells of the same slab.
        left: the place in the slab of the cell on the left of each of those.
        right: on its right.
    """

    begins: Int[np.ndarray, " k+1"]
    cells: Int[np.ndarray, " n"]
    ahead: Int[np.ndarray, " n"]
    across: Int[np.ndarray, " n"]
    faces_begin: Int[np.ndarray, " k+1"]
    faces: Int[np.ndarray, " f"]
    left: Int[np.ndarray, " f"]
    right: Int[np.ndarray, " f"]


class Eliminated(NamedTuple):
    """A matrix whose slabs have been eliminated one after the other.

    Attributes:
        begins: of the inverse of each slab's block, and the end of the last's.
        inverses: of the blocks, less what the slabs before leave there.
        down: entries in the rows of a cell's neighbour ahead and the columns of the cell; cells as `Slabs` has them.
        up: in the rows of the cell and the columns of the neighbour.
    """

    begins: Int[np.ndarray, " k+1"]
    inverses: Float[np.ndarray, " entries"]
    down: Entries
    up: Entries


@compiled
def eliminate(
    slabs: Slabs, cell: Entries, left_right: Float[np.ndarray, "2 2 f"], right_left: Float[np.ndarray, "2 2 f"]
) -> Eliminated:
    """From the entries [water, oil][pressure, saturation] of `Blocks`."""
    n_slabs, n = len(slabs.begins) - 1, len(slabs.cells)
    begins = np.zeros(n_slabs + 1, np.int64)
    for k in range(n_slabs):
        begins[k + 1] = begins[k] + (2 * (slabs.begins[k + 1] - slabs.begins[k])) ** 2
    inverses, down, up = np.empty(begins[n_slabs]), np.zeros((2, 2, n)), np.zeros((2, 2, n))
    for i in range(n):
        if slabs.ahead[i] >= 0:
            _sum_and_water(right_left, slabs.across[i], down, i)
            _sum_and_water(left_right, slabs.across[i], up, i)
    entries = np.empty((2, 2, 1))
    for k in range(n_slabs):
        first, w = slabs.begins[k], slabs.begins[k + 1] - slabs.begins[k]
        block = inverses[begins[k] : begins[k + 1]].reshape(2 * w, 2 * w)
        block[:] = 0.0
        for i in range(w):
            _sum_and_water(cell, slabs.cells[first + i], entries, 0)
            block[i::w, i::w] = entries[:, :, 0]
        for f in range(slabs.faces_begin[k], slabs.faces_begin[k + 1]):
            i, j = slabs.left[f], slabs.right[f]
            _sum_and_water(left_right, slabs.faces[f], entries, 0)
            block[i::w, j::w] = entries[:, :, 0]
            _sum_and_water(right_left, slabs.faces[f], entries, 0)
            block[j::w, i::w] = entries[:, :, 0]
        if k:
            last = slabs.begins[k - 1]
            before = inverses[begins[k - 1] : begins[k]].reshape(2 * (first - last), 2 * (first - last))
            _take(slabs.ahead[last:first], before, down[:, :, last:first], up[:, :, last:first], block)
        invert(block)
    return Eliminated(begins, inverses, down, up)


@compiled
def _sum_and_water(given: Entries, i: int, rows: Entries, j: int) -> None:
    """One cell's rows [water, oil] as [water + oil, water]."""
    for c in range(2):
        rows[0, c, j] = given[0, c, i] + given[1, c, i]
        rows[1, c, j] = given[0, c, i]


@compiled
def _take(ahead: Int[np.ndarray, " n"], before: Matrix, down: Entries, up: Entries, block: Matrix) -> None:
    """block -= down before up."""
    w, n = len(ahead), len(block) // 2
    row = np.empty(2 * w)
    for i in range(w):
        if ahead[i] < 0:
            continue
        for r in range(2):
            of_p, of_s, to = down[r, 0, i], down[r, 1, i], r * n + ahead[i]
            for j in range(2 * w):
                row[j] = of_p * before[i, j] + of_s * before[w + i, j]
            for c in range(2):
                for j in range(w):
                    if ahead[j] >= 0:
                        block[to, c * n + ahead[j]] -= row[j] * up[0, c, j] + row[w + j] * up[1, c, j]


@compiled
def invert(matrix: Matrix) -> None:
    """Its inverse in its place, without exchanges of rows, by the Schur complement of its first half.

    The pressures' half is an M-matrix, what remains of the saturations' is transport, with the gain of a cell and
    its outflow on the diagonal: both have large pivots. For 128 rows it takes a quarter of LAPACK's time.
    """
    n = len(matrix)
    if n <= SMALL:
        _invert_small(matrix)
        return
    h = (n + 1) // 2
    a, b, c, d = matrix[:h, :h].copy(), matrix[:h, h:].copy(), matrix[h:, :h].copy(), matrix[h:, h:].copy()
    invert(a)
    a_b = np.dot(a, b)
    d -= np.dot(c, a_b)
    invert(d)
    d_c_a = np.dot(d, np.dot(c, a))
    matrix[:h, :h] = a + np.dot(a_b, d_c_a)
    matrix[:h, h:] = -np.dot(a_b, d)
    matrix[h:, :h] = -d_c_a
    matrix[h:, h:] = d


@compiled
def _invert_small(matrix: Matrix) -> None:
    """Gauss and Jordan, four pivots at a time.

    The indices are unsigned because those that may be negative keep the loops from becoming vector instructions.
    """
    n = len(matrix)
    flat, size = matrix.reshape(n * n), uint64(n)
    rows, pivot = np.empty((4, n)), np.empty((4, 4))
    r_0, r_1, r_2, r_3 = rows[0], rows[1], rows[2], rows[3]
    for k in range(0, n - 3, 4):
        pivot[:] = matrix[k : k + 4, k : k + 4]
        _invert_from(pivot, 0)
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
    _invert_from(matrix, n - n % 4)


@compiled
def _invert_from(matrix: Matrix, first: int) -> None:
    """Gauss and Jordan's last pivots, one at a time."""
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
def substitute(
    slabs: Slabs, of: Eliminated, is_transposed: bool, x: Columns, begin: int, end: int
) -> None:
    """J^-1 x, or J^-T x, in the place of x, in its columns from `begin` to `end`.

    What J takes and gives is as in `Factor`; the sums' multipliers count for water and oil alike.
    """
    n_slabs, m, widest = len(slabs.begins) - 1, end - begin, 0
    for k in range(n_slabs):
        widest = max(widest, slabs.begins[k + 1] - slabs.begins[k])
    down = of.up.transpose(1, 0, 2) if is_transposed else of.down
    up = of.down.transpose(1, 0, 2) if is_transposed else of.up
    given, solved, other = np.empty((2 * widest, m)), np.empty((2 * widest, m)), np.empty((2 * widest, m))
    for k in range(n_slabs):
        first, w = slabs.begins[k], slabs.begins[k + 1] - slabs.begins[k]
        for i in range(w):
            q = slabs.cells[first + i]
            for c in range(m):
                water, oil = x[q, 0, begin + c], x[q, 1, begin + c]
                given[i, c] = water if is_transposed else water + oil
                given[w + i, c] = oil if is_transposed else water
        if k:
            last = slabs.begins[k - 1]
            for i in range(first - last):
                j = slabs.ahead[last + i]
                if j >= 0:
                    for r in range(2):
                        of_p, of_s = down[r, 0, last + i], down[r, 1, last + i]
                        for c in range(m):
                            given[r * w + j, c] -= of_p * solved[i, c] + of_s * solved[first - last + i, c]
        _times_inverse(of, k, is_transposed, given[: 2 * w], solved[: 2 * w])
        for i in range(w):
            q = slabs.cells[first + i]
            for c in range(m):
                x[q, 0, begin + c], x[q, 1, begin + c] = solved[i, c], solved[w + i, c]
    for k in range(n_slabs - 1, -1, -1):
        first, w = slabs.begins[k], slabs.begins[k + 1] - slabs.begins[k]
        if k + 1 < n_slabs:
            n_next = slabs.begins[k + 2] - slabs.begins[k + 1]
            for i in range(w):
                j = slabs.ahead[first + i]
                for r in range(2):
                    of_p, of_s = up[r, 0, first + i], up[r, 1, first + i]
                    for c in range(m):
                        given[r * w + i, c] = of_p * solved[j, c] + of_s * solved[n_next + j, c] if j >= 0 else 0.0
            _times_inverse(of, k, is_transposed, given[: 2 * w], other[: 2 * w])
            for i in range(w):
                q = slabs.cells[first + i]
                for c in range(m):
                    solved[i, c] = x[q, 0, begin + c] - other[i, c]
                    solved[w + i, c] = x[q, 1, begin + c] - other[w + i, c]
        for i in range(w):
            q = slabs.cells[first + i]
            for c in range(m):
                p, s = solved[i, c], solved[w + i, c]
                x[q, 0, begin + c], x[q, 1, begin + c] = (p + s, p) if is_transposed else (p, s)


@compiled
def _times_inverse(of: Eliminated, k: int, is_transposed: bool, x: Rows, y: Rows) -> None:
    """y = the inverse of a slab's block, or its transpose, times x."""
    n, m = x.shape
    inverse = of.inverses[of.begins[k] : of.begins[k + 1]].reshape(n, n)
    if m >= FEW:
        if is_transposed:
            np.dot(inverse.T, x, y)
        else:
            np.dot(inverse, x, y)
        return
    for c in range(m):
        one, result = x[:, c].copy(), np.zeros(n)
        for i in range(n):
            if is_transposed:
                for j in range(n):
                    result[j] += inverse[i, j] * one[i]
            else:
                total = 0.0
                for j in range(n):
                    total += inverse[i, j] * one[j]
                result[i] = total
        y[:, c] = result


@compiled
def add_wells(
    place: Int[np.ndarray, " p"],
    well: Int[np.ndarray, " p"],
    row: Float[np.ndarray, "p 2"],
    diagonal: Float[np.ndarray, " w"],
    reaching: Int[np.ndarray, " r"],
    x: Float[np.ndarray, "n 2 m+r"],
    b: Float[np.ndarray, "w m"],
) -> Float[np.ndarray, "w m"]:
    """The wells' unknowns x_w, from R x + w x_w = b and x + J^-1 K x_w = J^-1 b; x is made to fit them.

    Args:
        place: the cell of each perforation.
        well: its well.
        row: its entries of R.
        diagonal: w.
        reaching: the wells whose columns of K are not zero.
        x: what J^-1 makes of m right-hand sides, then of those columns.
        b: right-hand sides of the wells.
    """
    m, schur, solved = b.shape[1], np.diag(diagonal), b.copy()
    for q in range(len(place)):
        for r in range(2):
            i, w, f = place[q], well[q], row[q, r]
            for c in range(m):
                solved[w, c] -= f * x[i, r, c]
            for v in range(len(reaching)):
                schur[w, reaching[v]] -= f * x[i, r, m + v]
    invert(schur)
    solved = np.dot(schur, solved)
    for i in range(len(x)):
        for r in range(2):
            for v in range(len(reaching)):
                f, w = x[i, r, m + v], reaching[v]
                for c in range(m):
                    x[i, r, c] -= f * solved[w, c]
    return solved
