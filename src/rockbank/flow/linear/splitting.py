"""Solving with the transposed Jacobian by the splitting of the sequential iteration, for few right-hand sides."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import Problem
from rockbank.flow.kernels.cell_ordering import CellOrdering, order_cells
from rockbank.flow.kernels.splitting import Factors, Order, WellRows, iterate, rows, split
from rockbank.flow.kernels.transport import flow_order
from rockbank.flow.linear.interface import TIGHT, Factor, LinearSolver
from rockbank.flow.linear.pressure_factor import NoPressureError, PressureFactor

# Right-hand sides up to which iterating is faster: for the case of Mosser et al. (2019), 128 slabs of 64 cells, one
# takes 13 ms and each other 9 more, where eliminating slabs takes 36 and 2 to 3.
FEW = 4
# The iteration has converged when it changes the multipliers by less than this part of them. The gradients of that
# case are then within 3e-10 of those by elimination, after some 14 iterations a step.
TOLERANCE = 1e-10
# Beyond these eliminating would have been faster.
MAX_ITERATIONS = 30


class SplittingSolver:
    """The splitting of the sequential iteration, transposed, where few right-hand sides come; else another solver.

    In rows of [sum of both phases, water] and columns of (pressure, saturation), the Jacobian and the part of it that
    an iteration solves with are

        J = | J_tp  J_ts |        M = | P     0 |
            | J_wp  J_ws |            | J_wp  T |

    with P the pressure's matrix at given mobilities, symmetric and narrow, and T the transport with a given total
    flux, triangular in the order of the flow. One iteration y <- y + M^-T (g - J^T y) is a sweep against the flow,
    and a solution with the factors of P. Like the forward iteration it contracts by about 0.15; GMRES would save one
    iteration in ten, which is what its products of vectors take.

    It is for co-current flow only: with gravity or capillary pressure T has no such order.

    Args:
        other: for many right-hand sides, for solutions with J itself, and where the iteration does not converge.
    """

    def __init__(self, other: LinearSolver) -> None:
        self.other = other
        self._known: tuple[Problem, CellOrdering] | None = None

    def factor(self, problem: Problem, jacobian: Jacobian) -> SplittingFactor:
        """Factorises nothing yet: the number of right-hand sides decides what."""
        if self._known is None or self._known[0] is not problem:
            self._known = problem, order_cells(problem.grid)
        return SplittingFactor(self.other, problem, self._known[1], jacobian)


class SplittingFactor:
    """The Jacobian of each member, with the other solver's factors as soon as they are needed."""

    def __init__(self, other: LinearSolver, problem: Problem, ordering: CellOrdering, jacobian: Jacobian) -> None:
        self.other, self.problem, self.ordering, self.jacobian = other, problem, ordering, jacobian
        self._others: Factor | None = None

    def solve(self, cells: Tensor, wells: Tensor, tolerance: float = TIGHT) -> tuple[Tensor, Tensor]:
        """x = A^-1 b."""
        return self._by_other().solve(cells, wells, tolerance)

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor]:
        """y = A^-T b."""
        found = self._iterated(cells, wells) if cells.shape[-1] <= FEW and self._others is None else None
        return found or self._by_other().solve_transposed(cells, wells)

    def _by_other(self) -> Factor:
        if self._others is None:
            self._others = self.other.factor(self.problem, self.jacobian)
        return self._others

    def _iterated(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor] | None:
        """None where a member's iteration does not converge; where it diverges, it ends with NaN."""
        y, y_w = torch.empty_like(cells), torch.empty_like(wells)
        with np.errstate(all="ignore"):
            for i in range(len(cells)):
                try:
                    member = _Split(self.problem, self.ordering, self.jacobian, i)
                except NoPressureError:
                    return None
                for c in range(cells.shape[-1]):
                    found = member.solve_transposed(cells[i, ..., c].numpy(), wells[i, :, c].numpy())
                    if found is None:
                        return None
                    y[i, ..., c], y_w[i, :, c] = map(torch.from_numpy, found)
        return y, y_w


class _Split:
    """One member's Jacobian, and the parts that an iteration solves with."""

    def __init__(self, problem: Problem, ordering: CellOrdering, jacobian: Jacobian, i: int) -> None:
        diagonal, left, right, perforation, rates = (
            np.ascontiguousarray(of[i].movedim(0, -1).numpy())
            for of in (jacobian.diagonal, jacobian.left, jacobian.right, jacobian.perforation, jacobian.control_rates)
        )
        is_turned = ordering.place[problem.grid.faces[ordering.face, 0]] != ordering.lower
        self.sum, self.water = rows(ordering.cell, ordering.face, is_turned, diagonal, left, right, perforation)
        well = problem.perforation_well
        held = (rates[:, None, well] * perforation).sum(axis=0)
        self.wells = wells = WellRows(
            place=ordering.place[problem.perforation_cell],
            well=well,
            entries=held[:2],
            by_bhp=jacobian.control_bhp[i].numpy() + np.bincount(well, held[2], minlength=rates.shape[1]),
        )
        self.ordering, self.parts = ordering, split(ordering.lower, ordering.upper, wells.place, self.sum, self.water)
        cells, waiting = np.empty((2, len(ordering.cell)), dtype=np.uint32)
        flow_order(self.parts.carried, *ordering.adjacency, waiting, cells)
        self.order = Order(*ordering.adjacency, cells)
        columns = np.zeros((rates.shape[1], len(ordering.cell)))
        columns[well, wells.place] = self.sum.by_bhp
        is_rated = rates.any(axis=0) & columns.any(axis=1)
        pressure = PressureFactor(ordering, self.parts.conductance, self.parts.pressure, columns[is_rated])
        self.factors = Factors(pressure.band, pressure.solved, pressure.schur)

    def solve_transposed(
        self, cells: Float[np.ndarray, "n 2"], wells: Float[np.ndarray, " w"]
    ) -> tuple[Float[np.ndarray, "n 2"], Float[np.ndarray, " w"]] | None:
        """The multipliers of [water, oil] and of the wells."""
        ordering, of_wells = self.ordering, self.wells
        y_w = wells / of_wells.by_bhp
        left = np.ascontiguousarray(cells[ordering.cell].T)
        for c in range(2):
            np.subtract.at(left[c], of_wells.place, of_wells.entries[c] * y_w[of_wells.well])
        y = np.zeros_like(left)
        if not iterate(self.order, of_wells, self.sum, self.water, self.parts, self.factors, TOLERANCE, MAX_ITERATIONS,
                       left, y):  # fmt: skip
            return None
        through = self.sum.by_bhp * y[0, of_wells.place] + self.water.by_bhp * y[1, of_wells.place]
        y_w += np.bincount(of_wells.well, through, minlength=len(y_w)) / of_wells.by_bhp
        return np.stack([y[0] + y[1], y[0]], axis=1)[ordering.place], y_w
