"""Solving with the pressure's matrix: by Cholesky factors, or about by a multigrid cycle."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array

from rockbank.core.errors import UserError
from rockbank.flow.kernels.band import factorise, fill_band, solve_band
from rockbank.flow.kernels.cell_ordering import CellOrdering
from rockbank.flow.kernels.compiled import Cells
from rockbank.flow.kernels.multigrid import cycle


class NoPressureError(UserError, RuntimeError):
    """The pressure's matrix is singular; says why."""


class PressureCycle:
    """A cycle of algebraic multigrid, with the wells under rates eliminated as far as a cycle solves (Woodbury 1950).

    It is symmetric and positive, so that it preconditions conjugate gradients.

    Args:
        ordering: of the cells.
        conductance: of its faces.
        diagonal: of the matrix.
        columns: what 1 Pa more in each well under a rate drives into the cells.

    Raises:
        NoPressureError: the matrix is singular.
    """

    def __init__(
        self,
        ordering: CellOrdering,
        conductance: Float[np.ndarray, " f"],
        diagonal: Cells,
        columns: Float[np.ndarray, "k n"],
    ) -> None:
        # Its setup takes longer to import than small grids take to run.
        from rockbank.flow.linear.multigrid import SingularError, hierarchy

        n, lower, upper = len(diagonal), ordering.lower, ordering.upper
        rows, others = np.concatenate([np.arange(n), lower, upper]), np.concatenate([np.arange(n), upper, lower])
        entries = np.concatenate([diagonal, -conductance, -conductance])
        try:
            self.levels = hierarchy(coo_array((entries, (rows, others)), shape=(n, n)).tocsr())
        except SingularError as error:
            raise NoPressureError(str(error)) from error
        self.solved = np.array([self._solve(column) for column in columns]).reshape(columns.shape)
        self.schur = np.linalg.inv(np.diag(columns.sum(axis=1)) - columns @ self.solved.T)

    def _solve(self, excess: Cells) -> Cells:
        self.levels.b[: len(excess)] = excess
        cycle(self.levels)
        return self.levels.x[: len(excess)].copy()

    def solve(self, excess: Cells) -> Cells:
        """About the pressure change that takes that excess away from the matrix's own reservoir."""
        return with_wells(self._solve(excess), excess, self.solved, self.schur)


def with_wells(dp: Cells, excess: Cells, solved: Float[np.ndarray, "k n"], schur: Float[np.ndarray, "k k"]) -> Cells:
    """The solution with the eliminated wells' columns, from that without."""
    return dp + (schur @ (solved @ excess)) @ solved if len(schur) else dp


class PressureFactor:
    """Cholesky factors of the matrix, with the wells under rates eliminated (Woodbury 1950).

    Single precision halves the memory that a solution goes through, and conjugate gradients mend what it loses.

    Args:
        ordering: of the cells.
        conductance: of its faces.
        diagonal: of the matrix.
        columns: what 1 Pa more in each well under a rate drives into the cells.

    Raises:
        NoPressureError: the matrix is singular.
    """

    def __init__(
        self,
        ordering: CellOrdering,
        conductance: Float[np.ndarray, " f"],
        diagonal: Cells,
        columns: Float[np.ndarray, "k n"],
    ) -> None:
        total = columns.sum(axis=1)
        self.precision: type[np.floating[Any]]
        for self.precision, least in ((np.float32, 1e-4), (np.float64, 1e-12)):
            self.band = np.empty((len(diagonal), ordering.width), dtype=self.precision)
            fill_band(ordering.lower, ordering.upper, conductance, diagonal, self.band)
            if not factorise(self.band):
                continue
            self.solved = np.array([self._solve(column) for column in columns]).reshape(columns.shape)
            schur = np.diag(total) - columns @ self.solved.T
            if (np.diag(schur) > least * total).all():
                self.schur = np.linalg.inv(schur)
                return
        raise NoPressureError("no well holds the pressure, or the permeabilities differ beyond double precision")

    def _solve(self, excess: Cells) -> Cells:
        dp = excess.astype(self.precision)
        solve_band(self.band, dp)
        return dp.astype(float)

    def solve(self, excess: Cells) -> Cells:
        """About the pressure change that takes that excess away from the matrix's own reservoir."""
        return with_wells(self._solve(excess), excess, self.solved, self.schur)
