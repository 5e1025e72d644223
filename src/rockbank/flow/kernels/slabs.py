"""The compiled loops of `SlabSolver`: block-tridiagonal elimination slab by slab, of one member.

Rows and columns of a slab are the sums of both phases' equations, or the pressures, of all its cells, then the
water's equations, or the saturations. Right-hand sides are the last axis, so that products of matrices do nearly
all the work.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled
from rockbank.flow.kernels.inversion import Matrix, invert

Entries = Float[np.ndarray, "2 2 n"]
Columns = Float[np.ndarray, "n 2 m"]
Rows = Float[np.ndarray, "rows m"]
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
            f = slabs.across[i]
            for c in range(2):
                down[0, c, i], down[1, c, i] = right_left[0, c, f] + right_left[1, c, f], right_left[0, c, f]
                up[0, c, i], up[1, c, i] = left_right[0, c, f] + left_right[1, c, f], left_right[0, c, f]
    for k in range(n_slabs):
        first, w = slabs.begins[k], slabs.begins[k + 1] - slabs.begins[k]
        block = inverses[begins[k] : begins[k + 1]].reshape(2 * w, 2 * w)
        block[:] = 0.0
        for i in range(w):
            _put(cell, slabs.cells[first + i], block, i, i)
        for f in range(slabs.faces_begin[k], slabs.faces_begin[k + 1]):
            _put(left_right, slabs.faces[f], block, slabs.left[f], slabs.right[f])
            _put(right_left, slabs.faces[f], block, slabs.right[f], slabs.left[f])
        if k:
            last = slabs.begins[k - 1]
            before = inverses[begins[k - 1] : begins[k]].reshape(2 * (first - last), 2 * (first - last))
            _take(slabs.ahead[last:first], before, down[:, :, last:first], up[:, :, last:first], block)
        invert(block)
    return Eliminated(begins, inverses, down, up)


@compiled
def _put(entries: Entries, k: int, block: Matrix, i: int, j: int) -> None:
    """The k-th entries in the rows [sum, water] of the i-th and the columns of the j-th cell of a slab."""
    w = len(block) // 2
    for c in range(2):
        block[i, c * w + j] = entries[0, c, k] + entries[1, c, k]
        block[w + i, c * w + j] = entries[0, c, k]


@compiled
def _take(ahead: Int[np.ndarray, " n"], before: Matrix, down: Entries, up: Entries, block: Matrix) -> None:
    """block -= down before up."""
    w, n = len(ahead), len(block) // 2
    row, is_whole = np.empty(2 * w), w == n and bool(np.all(ahead >= 0))
    for i in range(w):
        if ahead[i] < 0:
            continue
        for r in range(2):
            of_p, of_s = down[r, 0, i], down[r, 1, i]
            for j in range(2 * w):
                row[j] = of_p * before[i, j] + of_s * before[w + i, j]
            for c in range(2):
                to = block[r * n + ahead[i], c * n : (c + 1) * n]
                if is_whole:  # then every cell's neighbour has its own place, and this runs in vectors
                    for j in range(w):
                        to[j] -= row[j] * up[0, c, j] + row[w + j] * up[1, c, j]
                else:
                    for j in range(w):
                        if ahead[j] >= 0:
                            to[ahead[j]] -= row[j] * up[0, c, j] + row[w + j] * up[1, c, j]


@compiled
def substitute(slabs: Slabs, of: Eliminated, is_transposed: bool, x: Columns, begin: int, end: int) -> None:
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
    solved[:] = np.dot(schur, solved)
    for i in range(len(x)):
        for r in range(2):
            for v in range(len(reaching)):
                f, w = x[i, r, m + v], reaching[v]
                for c in range(m):
                    x[i, r, c] -= f * solved[w, c]
    return solved
