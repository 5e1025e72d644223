"""The levels of an algebraic multigrid, by pyamg, for the compiled cycle."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from pyamg import smoothed_aggregation_solver
from scipy.sparse import block_array, block_diag, csr_array, tril, triu

from rockbank.flow.kernels.multigrid import Hierarchy, Rows, cycle

# Connections weaker than this part of the geometric mean of the diagonals do not aggregate.
STRENGTH = 0.05
# Unknowns of a level that is inverted instead of coarsened.
COARSEST = 60
# Iterations that take as long as setting up a hierarchy, on the Egg model; and by which factor those of a solution
# with the matrix's own differ from one solution to the next.
SETUP, SLACK = 40, 1.1


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
        # Its other weight takes an eigenvalue from a random start, with which no run would be the same twice.
        solver = smoothed_aggregation_solver(
            symmetric, symmetry="symmetric", strength=("symmetric", {"theta": STRENGTH}),
            smooth=("jacobi", {"omega": 4 / 3, "weighting": "local"}), max_coarse=COARSEST, presmoother=None,
            postsmoother=None,
        )  # fmt: skip
    except (ValueError, np.linalg.LinAlgError) as error:
        raise SingularError("the pressure's matrix has numbers out of all proportion") from error
    matrices = [csr_array(level.A) for level in solver.levels]
    begin = np.cumsum([0, *(of.shape[0] for of in matrices)])
    whole = csr_array(block_diag(matrices, format="csr"))
    whole.sort_indices()
    return Hierarchy(
        begin=begin.astype(np.uint32),
        before=_rows(tril(whole, -1, format="csr")),
        after=_rows(triu(whole, 1, format="csr")),
        inverse_diagonal=1 / whole.diagonal(),
        prolongation=_prolongation([csr_array(level.P) for level in solver.levels[:-1]], begin),
        coarsest=np.linalg.pinv(matrices[-1].toarray(), rcond=1e-14, hermitian=True),
        x=np.zeros(begin[-1]),
        b=np.zeros(begin[-1]),
    )


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
