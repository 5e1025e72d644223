"""Solving with the Jacobian of co-current flow: pressures slice by slice, saturations in the order of the flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.flow import cocurrent_kernels as kernels
from rockbank.flow.cocurrent_kernels import Network
from rockbank.flow.pressure_slices import Border, Slices, border, factorise_slices
from rockbank.flow.problem import Problem
from rockbank.flow.residual import Jacobian

# Right-hand sides at a time: with twice as many products of matrices are hardly faster, with half of them slower,
# and what an iteration touches is 9 arrays of so many columns.
AT_A_TIME = 32
# Ten suffice for eight digits.
MAX_ITERATIONS = 40

Kernel = Callable[..., Any]


class CocurrentError(RuntimeError):
    """This Jacobian is none of co-current flow, or the iteration does not converge: the direct solver can take it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pattern:
    """What depends on the problem only.

    Attributes:
        cells: the problem's number of each cell, slice by slice.
        perforations: the problem's number of each perforation, by cell.
        slices: across the longest axis.
        network: of the cells so numbered.
    """

    cells: Int[np.ndarray, " n"]
    perforations: Int[np.ndarray, " p"]
    slices: Slices
    network: Network


def _pattern(problem: Problem) -> _Pattern:
    grid = problem.grid
    n, axis = grid.n_cells, int(np.argmax(grid.box))
    places = np.stack(np.unravel_index(grid.cells, grid.box))
    cells = np.lexsort((*np.delete(places, axis, axis=0)[::-1], places[axis]))
    number = np.empty(n, dtype=np.int64)
    number[cells] = np.arange(n)
    left, right = number[grid.faces.T]
    ahead, crosses = np.full(n, -1), grid.face_axis == axis
    ahead[left[crosses]] = right[crosses]
    of_cell, other = np.concatenate([left, right]), np.concatenate([right, left])
    by_cell = np.lexsort((other, of_cell))
    perforations = np.argsort(number[problem.perforation_cell], kind="stable")
    n_in_slice = np.unique(places[axis], return_counts=True)[1]
    return _Pattern(
        cells=cells,
        perforations=perforations,
        slices=Slices(begins=np.concatenate([[0], np.cumsum(n_in_slice)]), ahead=ahead),
        network=Network(
            left=left,
            right=right,
            begins=np.searchsorted(of_cell[by_cell], np.arange(n + 1)),
            neighbours=other[by_cell],
            through=np.tile(np.arange(len(left)), 2)[by_cell],
            place=number[problem.perforation_cell][perforations],
            of_well=problem.perforation_well[perforations],
        ),
    )


class CocurrentSolver:
    """Pressure and transport in turns, for problems without gravity and capillary pressure, on the CPU.

    With the sum of both phases' equations (the oil's weighted by beta, so that the accumulation of s drops out) and
    that of water the Jacobian is

        [ A  B     ] [ p ]   [ r_t ]
        [ C  M + N ] [ s ] = [ r_w ]

    Here M is transport at a fixed total velocity, triangular in the order in which the cells flow; B and N are what
    a saturation does to that velocity through the mobility; A is an M-matrix, block tridiagonal in the slices of
    the grid, bordered by the wells. So

        s <- M^-1 (r_w - C p - N s),   p = A^-1 (r_t - B s)

    contracts, by 0.1 to 0.3 on the case of Mosser et al. (2019): the nonlinear sequential iteration's linear image.
    The transposed solve is the same backwards. One step of memory for each right-hand side (Anderson 1965) makes it
    a factor of 8 an iteration.

    Args:
        tolerance: the fixed point's residual by its norm, for each right-hand side.
    """

    def __init__(self, tolerance: float = 1e-9) -> None:
        self.tolerance = tolerance
        self._known: tuple[Problem, _Pattern] | None = None

    def factor(self, problem: Problem, jacobian: Jacobian) -> CocurrentFactor:
        """The factors of A, the coefficients of the others and the order of the flow, of each member.

        Raises:
            CocurrentError: a flux depends on the saturations on both sides, or the water flows in a circle.
        """
        if self._known is None or self._known[0] is not problem:
            self._known = problem, _pattern(problem)
        pattern, n_members = self._known[1], len(jacobian.diagonal)
        return CocurrentFactor([_Member(pattern, jacobian.take([i]), self.tolerance) for i in range(n_members)])


class CocurrentFactor:
    """Solves with the Jacobian of each member; CocurrentError where the iteration does not converge."""

    def __init__(self, members: list[_Member]) -> None:
        self.members = members

    def solve(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor]:
        """From m right-hand sides of [water, oil] and the wells to (pressure, saturation) and bottom-hole pressures."""
        return self._solve(cells, wells, is_transposed=False)

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> tuple[Tensor, Tensor]:
        """From m right-hand sides of (pressure, saturation) and bottom-hole pressures to [water, oil] and the wells."""
        return self._solve(cells, wells, is_transposed=True)

    def _solve(self, cells: Tensor, wells: Tensor, *, is_transposed: bool) -> tuple[Tensor, Tensor]:
        x, x_w = torch.empty_like(cells, memory_format=torch.contiguous_format), torch.empty_like(wells)
        for i, member in enumerate(self.members):
            for first in range(0, cells.shape[-1], AT_A_TIME):
                some = slice(first, first + AT_A_TIME)
                b, b_w = cells[i, ..., some].numpy(), np.ascontiguousarray(wells[i, :, some].numpy())
                solved = member.solve_transposed(b, b_w) if is_transposed else member.solve(b, b_w)
                x[i, ..., some], x_w[i, :, some] = (torch.from_numpy(of) for of in solved)
        return x, x_w


class _Member:
    """One member's Jacobian."""

    def __init__(self, pattern: _Pattern, jacobian: Jacobian, tolerance: float) -> None:
        self.pattern, self.tolerance = pattern, tolerance
        self._borders: dict[bool, Border] = {}
        network, slices = pattern.network, pattern.slices
        self.matrices = of = kernels.matrices(
            network,
            _by_entry(jacobian.diagonal, pattern.cells),
            _by_entry(jacobian.left),
            _by_entry(jacobian.right),
            _by_entry(jacobian.perforation, pattern.perforations),
            np.ascontiguousarray(jacobian.control_bhp[0].numpy()),
            np.ascontiguousarray(jacobian.control_rates[0].numpy()),
        )
        self.order = kernels.flow_order(of)
        if len(self.order) < len(of.m) or np.isnan(of.m).any():
            raise CocurrentError("jacobian: the phases flow against each other, or in a circle; use solver 'direct'")
        self.factor = factorise_slices(slices, network.left, network.right, of.a, of.a_left, of.a_right)

    def solve(
        self, cells: Float[np.ndarray, "n 2 m"], wells: Float[np.ndarray, "w m"]
    ) -> tuple[Float[np.ndarray, "n 2 m"], Float[np.ndarray, "w m"]]:
        """J^-1 of [water, oil] and wells."""
        at, beta = self.pattern.cells, self.matrices.beta[:, None]
        water, oil = cells[at, 0], cells[at, 1]
        p, s, bhp = self._iterate(kernels.solve, water + beta * oil, water, wells, is_transposed=False)
        return self._in_place(p, s), bhp

    def solve_transposed(
        self, cells: Float[np.ndarray, "n 2 m"], wells: Float[np.ndarray, "w m"]
    ) -> tuple[Float[np.ndarray, "n 2 m"], Float[np.ndarray, "w m"]]:
        """J^-T of (pressure, saturation) and wells; the sum's multiplier counts for both phases."""
        at, beta = self.pattern.cells, self.matrices.beta[:, None]
        lam_t, lam_w, mu = self._iterate(
            kernels.solve_transposed, cells[at, 0], cells[at, 1], wells, is_transposed=True
        )
        return self._in_place(lam_t + lam_w, beta * lam_t), mu

    def _iterate(
        self,
        kernel: Kernel,
        first: Float[np.ndarray, "n m"],
        second: Float[np.ndarray, "n m"],
        wells: Float[np.ndarray, "w m"],
        *,
        is_transposed: bool,
    ) -> tuple[Float[np.ndarray, "n m"], Float[np.ndarray, "n m"], Float[np.ndarray, "w m"]]:
        network, slices, of = self.pattern.network, self.pattern.slices, self.matrices
        if is_transposed not in self._borders:
            column, row = (of.rate_p, of.well_t) if is_transposed else (of.well_t, of.rate_p)
            self._borders[is_transposed] = border(
                slices, self.factor, is_transposed, network.place, network.of_well, column, row, of.well
            )
        *solved, iterations = kernel(
            first, second, wells, network, slices, of, self.order, self.factor, self._borders[is_transposed],
            self.tolerance, MAX_ITERATIONS,
        )  # fmt: skip
        if not iterations:
            raise CocurrentError(f"jacobian: not solved to {self.tolerance:g} in {MAX_ITERATIONS} iterations; use "
                                 "solver 'direct'")  # fmt: skip
        return tuple(solved)  # type: ignore[return-value]

    def _in_place(self, first: Float[np.ndarray, "n m"], second: Float[np.ndarray, "n m"]) -> Float[np.ndarray, "n 2 m"]:
        """Both in the problem's order of cells."""
        both = np.empty((len(first), 2, first.shape[1]))
        both[self.pattern.cells, 0], both[self.pattern.cells, 1] = first, second
        return both


def _by_entry(
    blocks: Float[Tensor, "1 k r c"], order: Int[np.ndarray, " k"] | slice = slice(None)
) -> Float[np.ndarray, "r c k"]:
    """The blocks' entries, each in an array of its own, in that order."""
    return np.ascontiguousarray(blocks[0].permute(1, 2, 0).numpy()[..., order])
