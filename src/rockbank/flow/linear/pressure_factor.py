"""Solving with the pressure's matrix: by Cholesky factors, or about by a multigrid cycle."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import coo_array

from rockbank.core.errors import UserError
from rockbank.flow.kernels.band import factorise, fill_band, solve_band, solve_with_wells
from rockbank.flow.kernels.cell_ordering import CellOrdering
from rockbank.flow.kernels.compiled import Cells
from rockbank.flow.kernels.multigrid import cycle


class NoPressureError(UserError, RuntimeError):
    """The pressure's matrix is singular; says why."""


class _PressureSolver(ABC):
    """Solves with the matrix, with the wells under rates eliminated (Woodbury 1950).

    Args:
        ordering: of the cells.
        conductance: of its faces.
        diagonal: of the matrix.
        columns: what 1 Pa more in each well under a rate drives into the cells.

    Raises:
        NoPressureError: the matrix is singular.
    """

    # To try in turn, and which part of a well's own conductance has to be left of it without its cells.
    PRECISIONS: tuple[tuple[type[np.floating[Any]], float], ...]

    def __init__(
        self,
        ordering: CellOrdering,
        conductance: Float[np.ndarray, " f"],
        diagonal: Cells,
        columns: Float[np.ndarray, "k n"],
    ) -> None:
        total = columns.sum(axis=1)
        for precision, least in self.PRECISIONS:
            self.precision = precision
            if not self._set_up(ordering, conductance, diagonal):
                continue
            self.solved = np.array([self._solve(column) for column in columns]).reshape(columns.shape)
            schur = np.diag(total) - columns @ self.solved.T
            if (np.diag(schur) > least * total).all():
                self.schur = np.linalg.inv(schur)
                return
        raise NoPressureError("no well holds the pressure, or the permeabilities differ beyond double precision")

    @abstractmethod
    def _set_up(self, ordering: CellOrdering, conductance: Float[np.ndarray, " f"], diagonal: Cells) -> bool:
        """For the matrix without those wells; whether it could be done in this precision."""

    @abstractmethod
    def _solve(self, excess: Cells) -> Cells:
        """With the matrix without those wells."""

    def solve(self, excess: Cells) -> Cells:
        """About the pressure change that takes that excess away from the matrix's own reservoir."""
        dp = self._solve(excess)
        return dp + (self.schur @ (self.solved @ excess)) @ self.solved if len(self.schur) else dp


class PressureCycle(_PressureSolver):
    """A cycle of algebraic multigrid, with the wells under rates eliminated as far as a cycle solves.

    It is symmetric and positive, so that it preconditions conjugate gradients.
    """

    PRECISIONS = ((np.float64, -np.inf),)

    def _set_up(self, ordering: CellOrdering, conductance: Float[np.ndarray, " f"], diagonal: Cells) -> bool:
        # Its setup takes longer to import than small grids take to run.
        from rockbank.flow.linear.multigrid import SingularError, hierarchy

        n, lower, upper = len(diagonal), ordering.lower, ordering.upper
        rows, others = np.concatenate([np.arange(n), lower, upper]), np.concatenate([np.arange(n), upper, lower])
        entries = np.concatenate([diagonal, -conductance, -conductance])
        try:
            self.levels = hierarchy(coo_array((entries, (rows, others)), shape=(n, n)).tocsr())
        except SingularError as error:
            raise NoPressureError(str(error)) from error
        return True

    def _solve(self, excess: Cells) -> Cells:
        self.levels.b[: len(excess)] = excess
        cycle(self.levels)
        return self.levels.x[: len(excess)].copy()


class PressureFactor(_PressureSolver):
    """Cholesky factors.

    Single precision halves the memory that a solution goes through, and conjugate gradients mend what it loses.
    """

    PRECISIONS = ((np.float32, 1e-4), (np.float64, 1e-12))

    def _set_up(self, ordering: CellOrdering, conductance: Float[np.ndarray, " f"], diagonal: Cells) -> bool:
        self.band = np.empty((len(diagonal), ordering.width), dtype=self.precision)
        fill_band(ordering.lower, ordering.upper, conductance, diagonal, self.band)
        return bool(factorise(self.band))

    def _solve(self, excess: Cells) -> Cells:
        dp = excess.astype(self.precision)
        solve_band(self.band, dp)
        return dp.astype(float)

    def solve(self, excess: Cells) -> Cells:
        """The pressure change, but for what the precision loses."""
        dp, narrow = np.empty_like(excess), np.empty(len(excess), dtype=self.precision)
        solve_with_wells(self.band, self.solved, self.schur, excess, narrow, dp)
        return dp
