"""Solving with the Jacobian where wells have cross-flow: the bores' mixtures as unknowns that are eliminated first."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import Problem
from rockbank.flow.linear.interface import TIGHT, Factor, LinearSolver

Columns = tuple[Float[Tensor, "b n 2 k"], Float[Tensor, "b w k"]]


class MixtureSolver:
    """Another solver's factors of the Jacobian at given mixtures, and Woodbury's formula for what they add.

        (J + A C)^-1 = J^-1 - J^-1 A (1 + C J^-1 A)^-1 C J^-1

    with A the derivatives of the residual in the part of water in each bore, and C those of that part in the unknowns
    (Golub and Van Loan 2013, sec. 2.1.4): one more right-hand side for each well in which fluid enters at one
    perforation and leaves at another. In all others A or C is 0.
    """

    def __init__(self, other: LinearSolver) -> None:
        self.other = other

    def factor(self, problem: Problem, jacobian: Jacobian) -> MixtureFactor:
        """The other solver's factors, with A and C."""
        return MixtureFactor(self.other.factor(problem, jacobian), problem, jacobian)


class MixtureFactor:
    """The factors of J, and A and C as columns."""

    def __init__(self, factor: Factor, problem: Problem, jacobian: Jacobian) -> None:
        well, crosses = (np.asarray(of) for of in (problem.perforation_well, problem.crosses))
        flows = [_some(of, well, len(crosses)) for of in (jacobian.by_mixture, jacobian.mixture)]
        self.factor, self._n_mixed = factor, int((crosses & flows[0] & flows[1]).sum())
        if not self._n_mixed:
            return
        # What is added to the column of a well, of those that mix.
        kept = np.flatnonzero(crosses & flows[0] & flows[1])
        mixed = np.flatnonzero(np.isin(well, kept))
        device = jacobian.mixture.device
        of, cell, at, column = (
            torch.as_tensor(each, device=device)
            for each in (mixed, problem.perforation_cell[mixed], well[mixed], np.searchsorted(kept, well[mixed]))
        )
        n_members, n_cells = jacobian.diagonal.shape[:2]
        rows = torch.arange(n_members, device=device)[:, None]

        def columns(of_cells: Float[Tensor, "b q 2"], of_wells: Float[Tensor, "b q"]) -> Columns:
            cells = jacobian.diagonal.new_zeros(n_members, n_cells, len(kept), 2)
            wells = jacobian.diagonal.new_zeros(n_members, len(crosses), len(kept))
            cells.index_put_((rows, cell, column), of_cells, accumulate=True)
            wells.index_put_((rows, at, column), of_wells, accumulate=True)
            return cells.mT, wells

        by_mixture, mixture = jacobian.by_mixture[:, of], jacobian.mixture[:, of]
        rates = (jacobian.control_rates[:, at] * by_mixture).sum(dim=-1)
        self.a = columns(-by_mixture, rates)
        self.c = columns(mixture[..., :2], mixture[..., 2])

    def solve(self, cells: Tensor, wells: Tensor, tolerance: float = TIGHT) -> tuple[Tensor, Tensor]:
        """x = (J + A C)^-1 b."""
        x = self.factor.solve(cells, wells, tolerance)
        return _corrected(x, self._of_a, self.c) if self._n_mixed else x

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor]:
        """y = (J + A C)^-T b."""
        y = self.factor.solve_transposed(cells, wells)
        return _corrected(y, self._of_c, self.a) if self._n_mixed else y

    @cached_property
    def _of_a(self) -> Columns:
        return self.factor.solve(*self.a)

    @cached_property
    def _of_c(self) -> Columns:
        return self.factor.solve_transposed(*self.c)


def _some(of: Float[Tensor, "b p a"], well: Int[np.ndarray, " p"], n_wells: int) -> Bool[np.ndarray, " w"]:
    """Whether a well has a perforation, in any member, where something is not 0."""
    is_some = (of != 0).any(dim=-1).any(dim=0).cpu().numpy()
    return np.bincount(well[is_some], minlength=n_wells) > 0


def _corrected(x: Columns, solved: Columns, rows: Columns) -> Columns:
    """x - Y (1 + R Y)^-1 R x, with Y the columns solved for and R the rows."""
    matrix = _product(rows, solved)
    small = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device) + matrix
    z = torch.linalg.solve(small, _product(rows, x))
    return x[0] - torch.einsum("bnck,bkm->bncm", solved[0], z), x[1] - solved[1] @ z


def _product(rows: Columns, columns: Columns) -> Float[Tensor, "b k m"]:
    return torch.einsum("bnck,bncm->bkm", rows[0], columns[0]) + rows[1].mT @ columns[1]
