"""The levels of an algebraic multigrid for the compiled cycle; pyamg aggregates."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from pyamg.aggregation.aggregate import standard_aggregation
from pyamg.relaxation.relaxation import gauss_seidel
from pyamg.strength import symmetric_strength_of_connection
from scipy.sparse import block_array, block_diag, csr_array, tril, triu

from rockbank.flow.kernels.multigrid import Hierarchy, Rows, cycle

# Connections weaker than this part of the geometric mean of the diagonals do not aggregate.
STRENGTH = 0.05
# Unknowns of a level that is inverted instead of coarsened, and levels of which the last is inverted anyway.
COARSEST, MAX_LEVELS = 60, 10
# Sweeps that bring the constant closer to what the matrix takes to zero, and the weight of the smoothed prolongation.
SWEEPS, OMEGA = 4, 4 / 3
# Iterations that take as long as setting up a hierarchy, on the Egg model; and by which factor those of a solution
# with the matrix's own differ from one solution to the next.
SETUP, SLACK = 20, 1.1


class SingularError(RuntimeError):
    """The matrix has a diagonal that is not positive, or is not finite."""


def hierarchy(matrix: csr_array) -> Hierarchy:
    """Smoothed aggregation (Vanek, Mandel and Brezina 1996) of the matrix's symmetric part.

    Args:
        matrix: whose entries off the diagonal are negative or small, and whose rows add up to little.

    Raises:
        SingularError: no such matrix.
    """
    symmetric = csr_array((matrix + matrix.T) / 2)
    if not (np.isfinite(symmetric.data).all() and (symmetric.diagonal() > 0).all()):
        raise SingularError("the pressure's matrix has a diagonal that is not positive")
    try:
        matrices, prolongations = _coarsened(symmetric)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise SingularError("the pressure's matrix has numbers out of all proportion") from error
    begin = np.cumsum([0, *(of.shape[0] for of in matrices)])
    whole = csr_array(block_diag(matrices, format="csr"))
    whole.sort_indices()
    return Hierarchy(
        begin=begin.astype(np.uint32),
        before=_rows(tril(whole, -1, format="csr")),
        after=_rows(triu(whole, 1, format="csr")),
        inverse_diagonal=1 / whole.diagonal(),
        prolongation=_prolongation(prolongations, begin),
        coarsest=np.linalg.pinv(matrices[-1].toarray(), rcond=1e-14, hermitian=True),
        x=np.zeros(begin[-1]),
        b=np.zeros(begin[-1]),
    )


def _coarsened(matrix: csr_array) -> tuple[list[csr_array], list[csr_array]]:
    """The matrices of all levels, and the prolongations between them.

        P = (I - OMEGA D^-1 A) T,   A <- P^T A P

    T is about constant on each aggregate, with columns of norm 1, and D_i = sum_j |A_ij| is a bound of the spectrum row
    by row: an eigenvalue would be taken from a random start, with which no run would be the same twice.
    """
    near_null = np.ones(matrix.shape[0])
    gauss_seidel(matrix, near_null, np.zeros_like(near_null), iterations=SWEEPS, sweep="symmetric")
    matrices, prolongations = [matrix], []
    while matrix.shape[0] > COARSEST and len(matrices) < MAX_LEVELS:
        tentative, _ = standard_aggregation(symmetric_strength_of_connection(matrix, STRENGTH))
        tentative = _scaled(tentative, near_null)
        near_null = np.sqrt(np.bincount(tentative.indices, tentative.data**2, minlength=tentative.shape[1]))
        tentative.data /= near_null[tentative.indices]
        smoothed = csr_array(tentative - _scaled(csr_array(matrix @ tentative), OMEGA / abs(matrix).sum(axis=1)))
        matrix = csr_array(smoothed.T @ matrix @ smoothed)
        matrix.sort_indices()
        matrices.append(matrix)
        prolongations.append(smoothed)
    return matrices, prolongations


def _scaled(matrix: csr_array, rows: Float[np.ndarray, " n"]) -> csr_array:
    data = matrix.data * np.repeat(rows, np.diff(matrix.indptr))
    return csr_array((data, matrix.indices, matrix.indptr), shape=matrix.shape)


class KeptHierarchy:
    """The hierarchy of an older matrix, as long as what it takes more is less than setting up a new one.

    What counts is how many iterations more than with its own matrix, by digit gained, the solutions have taken since:
    together they may take as many as a setup does, and so may any one of them.
    """

    def __init__(self) -> None:
        self.drop()

    def drop(self) -> None:
        """Forgets it."""
        self.levels: Hierarchy | None = None
        self._by_digit, self._more = math.inf, 0.0

    def of(self, matrix: Callable[[], csr_array]) -> Hierarchy:
        """That which is kept, or that of the matrix."""
        if self.levels is None:
            self.levels = hierarchy(matrix())
        return self.levels

    def max_iterations(self, tolerance: float) -> float:
        """Of a solution that leaves so much; one with the matrix's own hierarchy may take any number."""
        usual = -math.log10(tolerance) * self._by_digit
        return usual if math.isinf(usual) else math.ceil(usual) + SETUP

    def judge(self, iterations: int, left: float) -> None:
        """Takes note of a solution that left so much, and drops the hierarchy where it has grown slow."""
        if not 0 < left < 1:
            return
        digits = -math.log10(left)
        if math.isinf(self._by_digit):
            self._by_digit = SLACK * iterations / digits
        self._more = max(self._more + iterations - self._by_digit * digits, 0.0)
        if self._more > SETUP:
            self.drop()


def once(of: Hierarchy, right: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """About A^-1 b by one cycle."""
    n = of.begin[1]
    of.b[:n] = right
    cycle(of)
    return of.x[:n].copy()


def _prolongation(of_levels: list[csr_array], begin: np.ndarray) -> Rows:
    if not of_levels:
        return _rows(csr_array((int(begin[-1]), int(begin[-1]))))
    above = csr_array((int(begin[-1]), int(begin[1])))
    below = csr_array((int(begin[-1] - begin[-2]), int(begin[-1] - begin[1])))
    blocks = csr_array(block_array([[block_diag(of_levels)], [below]], format="csr"))
    return _rows(csr_array(block_array([[above, blocks]], format="csr")))


def _rows(matrix: csr_array) -> Rows:
    return Rows(
        start=matrix.indptr.astype(np.uint32),
        column=matrix.indices.astype(np.uint32),
        value=np.ascontiguousarray(matrix.data, dtype=float),
    )
