"""GMRES on the Jacobian's blocks."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.kernels.compiled import compiled
from rockbank.flow.kernels.krylov.matrix import Matrix, Vector, multiply
from rockbank.flow.kernels.krylov.preconditioner import precondition, precondition_transposed
from rockbank.flow.kernels.multigrid import Hierarchy


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
