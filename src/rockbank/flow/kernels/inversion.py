"""Inverses of dense matrices, in their place."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.kernels.compiled import compiled, uint64

Matrix = Float[np.ndarray, "n n"]
# Matrices of this many rows and fewer are inverted row by row, larger ones in four parts.
SMALL = 32


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

    The places are unsigned because those that may be negative keep the loops from becoming vector instructions.
    """
    n = uint64(len(matrix))
    flat, rows, pivot = matrix.reshape(n * n), np.empty(4 * n), np.empty((4, 4))
    one, two, three, four = uint64(1), uint64(2), uint64(3), uint64(4)
    for first in range(0, len(matrix) - 3, 4):
        pivot[:] = matrix[first : first + 4, first : first + 4]
        _invert_from(pivot, 0)
        k = uint64(first)
        for i in range(four):
            f_0, f_1, f_2, f_3 = pivot[i, 0], pivot[i, 1], pivot[i, 2], pivot[i, 3]
            to, at = i * n, k * n
            for j in range(n):
                rows[to + j] = f_0 * flat[at + j] + f_1 * flat[at + n + j]
            at += two * n
            for j in range(n):
                rows[to + j] += f_2 * flat[at + j] + f_3 * flat[at + n + j]
            for j in range(four):
                rows[to + k + j] = pivot[i, j]
        for i in range(n):
            if k <= i < k + four:
                continue
            to = i * n
            at = to + k
            f_0, f_1, f_2, f_3 = flat[at], flat[at + one], flat[at + two], flat[at + three]
            flat[at] = flat[at + one] = flat[at + two] = flat[at + three] = 0.0
            for j in range(n):
                flat[to + j] -= f_0 * rows[j] + f_1 * rows[n + j] + f_2 * rows[two * n + j] + f_3 * rows[three * n + j]
        for j in range(four * n):
            flat[k * n + j] = rows[j]
    _invert_from(matrix, len(matrix) - len(matrix) % 4)


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
