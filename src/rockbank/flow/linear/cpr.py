"""Iterating on the Jacobian: GMRES with the constrained pressure residual, on the CPU, member by member."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_array
from torch import Tensor

from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import Problem
from rockbank.flow.kernels.krylov.gmres import gmres
from rockbank.flow.kernels.krylov.matrix import Matrix, Vector, fill
from rockbank.flow.kernels.krylov.preconditioner import eliminate, transpose
from rockbank.flow.linear.direct import DirectSolver
from rockbank.flow.linear.interface import TIGHT, Factor, LinearSolver
from rockbank.flow.linear.multigrid import KeptHierarchy, SingularError

# Iterations after which the solution is given to the direct solver, and vectors that GMRES keeps.
MAX_ITERATIONS, RESTART = 200, 30


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pattern:
    """Where the blocks of a problem's cells and faces stand.

    Attributes:
        faces: left and right cell of each.
        start, column: of the blocks by rows, in the order of the columns.
        diagonal: the block of each cell.
        face: of each block off the diagonal.
        mirror: of each block, that of its row and column exchanged.
        pairs: of perforations of the same well, by their places among all.
    """

    faces: Int[np.ndarray, "f 2"]
    start: Int[np.ndarray, " n+1"]
    column: Int[np.ndarray, " nnz"]
    diagonal: Int[np.ndarray, " n"]
    face: Int[np.ndarray, " nnz"]
    mirror: Int[np.ndarray, " nnz"]
    pairs: Int[np.ndarray, "2 q"]


def _pattern(problem: Problem) -> _Pattern:
    n, faces = problem.grid.n_cells, np.ascontiguousarray(problem.grid.faces)
    cells, (left, right) = np.arange(n), faces.T
    rows, columns = np.concatenate([cells, left, right]), np.concatenate([cells, right, left])
    order = np.lexsort((columns, rows))
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    of_cells, of_left, of_right = np.split(place, [n, n + len(faces)])
    mirror = np.empty_like(place)
    mirror[of_cells], mirror[of_left], mirror[of_right] = of_cells, of_right, of_left
    face = np.zeros_like(place)
    face[of_left] = face[of_right] = np.arange(len(faces))
    return _Pattern(
        faces=faces,
        start=np.searchsorted(rows[order], np.arange(n + 1)).astype(np.uint32),
        column=columns[order].astype(np.uint32),
        diagonal=of_cells.astype(np.uint32),
        face=face.astype(np.uint32),
        mirror=mirror.astype(np.uint32),
        pairs=np.stack(np.nonzero(problem.perforation_well[:, None] == problem.perforation_well)),
    )


class CPRSolver:
    """GMRES, preconditioned in two stages: the pressure by a multigrid cycle, then all unknowns by ILU(0).

        M^-1 r = p + ILU^-1 (r - A p),   p = V W^T r

    (Wallis 1983; Cao, Tchelepi, Wallis and Yardumian 2005.) W sums the phases so that the derivative of the
    accumulation in the saturation is gone (true-IMPES), which leaves a matrix of pressures that is symmetric but for
    compressibility; V is a cycle over its hierarchy, which is kept as long as it serves. Wells are eliminated exactly.
    A transposed system has the transposed preconditioner.

    Args:
        other: for what does not converge.
    """

    def __init__(self, other: LinearSolver | None = None) -> None:
        self.other = other or DirectSolver()
        self.n_iterations = 0
        self._known: tuple[Problem, _Pattern] | None = None
        self._space: tuple[np.ndarray, np.ndarray] | None = None
        self.pressure = KeptHierarchy()

    def factor(self, problem: Problem, jacobian: Jacobian) -> CPRFactor:
        """The preconditioner of each member."""
        if self._known is None or self._known[0] is not problem:
            self._known, self.pressure = (problem, _pattern(problem)), KeptHierarchy()
        members = [_Preconditioned(self, problem, self._known[1], jacobian, i) for i in range(len(jacobian.diagonal))]
        return CPRFactor(members, lambda: self.other.factor(problem, jacobian))

    def working_space(self, like: Vector) -> tuple[np.ndarray, np.ndarray]:
        """For the basis and the directions of GMRES, the same at each call: fresh memory takes as long as iterating."""
        if self._space is None or self._space[0].shape[1:] != like.shape:
            self._space = np.empty((RESTART + 1, *like.shape)), np.empty((RESTART, *like.shape))
        return self._space


class CPRFactor:
    """The preconditioned Jacobian of each member."""

    def __init__(self, members: list[_Preconditioned], direct: Callable[[], Factor]) -> None:
        self.members, self._direct = members, direct
        self._other: Factor | None = None

    def solve(self, cells: Tensor, wells: Tensor, tolerance: float = TIGHT) -> tuple[Tensor, Tensor]:
        """x = A^-1 b, but for `tolerance` of the norm of b."""
        found = self._iterated(cells, wells, tolerance, is_transposed=False)
        return found or self._by_other().solve(cells, wells)

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor]:
        """y = A^-T b."""
        found = self._iterated(cells, wells, TIGHT, is_transposed=True)
        return found or self._by_other().solve_transposed(cells, wells)

    def _by_other(self) -> Factor:
        if self._other is None:
            self._other = self._direct()
        return self._other

    def _iterated(
        self, cells: Tensor, wells: Tensor, tolerance: float, *, is_transposed: bool
    ) -> tuple[Tensor, Tensor] | None:
        """None where a solution does not converge."""
        x, x_w = torch.empty_like(cells), torch.empty_like(wells)
        with np.errstate(all="ignore"):
            for i, member in enumerate(self.members):
                for c in range(cells.shape[-1]):
                    of_cells, of_wells = cells[i, ..., c].numpy(), wells[i, :, c].numpy()
                    found = (
                        member.solve_transposed(of_cells, of_wells)
                        if is_transposed
                        else member.solve(of_cells, of_wells, tolerance)
                    )
                    if found is None:
                        return None
                    x[i, ..., c], x_w[i, :, c] = map(torch.from_numpy, found)
        return x, x_w


class _Preconditioned:
    """One member's matrix and the pivots of its ILU(0)."""

    def __init__(self, solver: CPRSolver, problem: Problem, pattern: _Pattern, jacobian: Jacobian, i: int) -> None:
        self.solver, self.pattern = solver, pattern
        diagonal, perforation = (
            np.ascontiguousarray(of[i].movedim(0, -1).numpy()) for of in (jacobian.diagonal, jacobian.perforation)
        )
        left, right = (np.ascontiguousarray(of[i].numpy()) for of in (jacobian.left, jacobian.right))
        with np.errstate(all="ignore"):
            self.weight = -diagonal[0, 1] / diagonal[1, 1]  # what a saturation adds to water it takes from oil
            self.scale = float(np.abs(diagonal[0, 1]).sum() / np.abs(left[..., 0]).sum()) if left.size else 1.0
        self.matrix = _matrix(pattern, problem)
        self.matrix.pivot[:] = jacobian.control_bhp[i].numpy()
        rates = np.ascontiguousarray(jacobian.control_rates[i].numpy())
        fill(pattern.faces, pattern.face, diagonal, left, right, perforation, rates, self.weight, self.scale,
             self.matrix)  # fmt: skip
        self.inverse = np.empty((problem.grid.n_cells, 2, 2))
        eliminate(self.matrix, pattern.mirror, self.inverse)
        self.transposed: tuple[Matrix, np.ndarray] | None = None

    def solve(
        self, cells: Float[np.ndarray, "n 2"], wells: Float[np.ndarray, " w"], tolerance: float
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " w"]] | None:
        """(pressure, saturation) and bottom-hole pressures, or None."""
        right = np.stack([cells[:, 0] + self.weight * cells[:, 1], cells[:, 0]], axis=1)
        found = self._bordered(self.matrix, self.inverse, right, wells, tolerance, is_transposed=False)
        if found is not None:
            found[0][:, 0] *= self.scale
        return found

    def solve_transposed(
        self, cells: Float[np.ndarray, "n 2"], wells: Float[np.ndarray, " w"]
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " w"]] | None:
        """Multipliers of [water, oil] and of the wells, or None; the pressure equation counts for both phases."""
        if self.transposed is None:
            into = _matrix_like(self.matrix), np.empty_like(self.inverse)
            transpose(self.pattern.mirror, self.matrix, self.inverse, *into)
            self.transposed = into
        right = cells * [self.scale, 1.0]
        matrix, inverse = self.transposed
        found = self._bordered(matrix, inverse, right, wells, TIGHT, is_transposed=True)
        if found is None:
            return None
        y, y_w = found
        return np.stack([y[:, 0] + y[:, 1], self.weight * y[:, 0]], axis=1), y_w

    def _bordered(
        self,
        matrix: Matrix,
        inverse: Float[np.ndarray, "n 2 2"],
        right: Float[np.ndarray, "n 2"],
        wells: Float[np.ndarray, " w"],
        tolerance: float,
        *,
        is_transposed: bool,
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " w"]] | None:
        """The solution of [[A, column], [row, pivot]] by the Schur complement in the cells."""
        np.subtract.at(right, matrix.place, matrix.well_column * (wells / matrix.pivot)[matrix.well][:, None])
        x, (basis, directions), kept = np.empty_like(right), self.solver.working_space(right), self.solver.pressure
        for is_again in (False, True):
            is_new = kept.levels is None
            try:
                levels = kept.of(self._pressure_matrix)
            except SingularError:
                return None
            limit = int(min(kept.max_iterations(tolerance), MAX_ITERATIONS))
            n, left = gmres(matrix, inverse, levels, is_transposed, right, tolerance, limit, basis, directions, x)
            self.solver.n_iterations += n
            kept.judge(n, left)
            if left <= tolerance:
                through = (matrix.well_row * x[matrix.place]).sum(axis=1)
                return x, (wells - np.bincount(matrix.well, through, minlength=len(wells))) / matrix.pivot
            if is_new or is_again:
                break
            kept.drop()
        return None

    def _pressure_matrix(self) -> csr_array:
        """The pressure equation's part, with what the wells under rates put between their perforations."""
        matrix, (k, other) = self.matrix, self.pattern.pairs
        of_wells = -matrix.well_column[k, 0] * matrix.well_row[other, 0] / matrix.pivot[matrix.well[k]]
        n = len(matrix.diagonal)
        cells = csr_array((matrix.blocks[:, 0, 0].copy(), matrix.column, matrix.start), shape=(n, n))
        return csr_array(cells + csr_array((of_wells, (matrix.place[k], matrix.place[other])), shape=(n, n)))


def _matrix(pattern: _Pattern, problem: Problem) -> Matrix:
    n_perforations, n_wells = len(problem.perforation_cell), len(problem.wells)
    return Matrix(
        start=pattern.start,
        column=pattern.column,
        diagonal=pattern.diagonal,
        blocks=np.empty((len(pattern.column), 2, 2)),
        place=problem.perforation_cell,
        well=problem.perforation_well,
        well_column=np.empty((n_perforations, 2)),
        well_row=np.empty((n_perforations, 2)),
        pivot=np.empty(n_wells),
    )


def _matrix_like(matrix: Matrix) -> Matrix:
    return matrix._replace(**{name: np.empty_like(getattr(matrix, name))
                              for name in ("blocks", "well_column", "well_row", "pivot")})  # fmt: skip
