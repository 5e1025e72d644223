"""Solving with the Jacobian on any device: block elimination over slabs of cells, all members at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.problem import Problem
from rockbank.flow.linear.interface import TIGHT, Blocks, Factor, assemble

REFINED = 1e-10
MOST_REFINEMENTS = 20


class BlockSolver:
    """Block-tridiagonal elimination across the grid's longest axis, with the wells as a border.

        D_k <- D_k - L_k D_(k-1)^-1 U_(k-1),   k = 1 ..

    D_k couples the cells of slab k with each other; L and U couple a cell with its neighbours in the slabs before
    and after only, so that each is diagonal in the cells (Golub and Van Loan 2013, sec. 4.5). A 128 x 64 grid is
    128 slabs of 64 cells: 128 batched inversions of 128 x 128. Cells that are not active are identity rows. The
    loops run on the device without waiting for it.

    Args:
        single: eliminate in float32 and refine the solution in float64 until it changes by less than 1e-10 of its
            largest entry; where that fails, eliminate again in float64. For devices whose float64 is slow.
    """

    def __init__(self, *, single: bool = False) -> None:
        self.dtype = torch.float32 if single else torch.float64
        self._known: tuple[Problem, torch.device, _Places] | None = None

    def factor(self, problem: Problem, jacobian: Jacobian) -> Factor:
        """The inverted slabs of every member."""
        device = jacobian.diagonal.device
        if self._known is None or self._known[0] is not problem or self._known[1] != device:
            self._known = problem, device, _places(problem, device)
        blocks, places = assemble(problem, jacobian), self._known[2]
        factor = _Bordered(blocks, places, self.dtype)
        return factor if self.dtype == torch.float64 else _Refined(blocks, places, factor)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Places:
    """Where cells, faces and perforations lie in the slabs.

    Attributes:
        shape: slabs, and places within each.
        slab, within: of each active cell.
        empty_slab, empty_within: of the places that are not active.
        left, right: cells of each face.
        inside: the faces within a slab.
        across: those between a slab and the next.
        cell, well: of each perforation.
    """

    shape: tuple[int, int]
    slab: Int[Tensor, " n"]
    within: Int[Tensor, " n"]
    empty_slab: Int[Tensor, " e"]
    empty_within: Int[Tensor, " e"]
    left: Int[Tensor, " f"]
    right: Int[Tensor, " f"]
    inside: Int[Tensor, " i"]
    across: Int[Tensor, " a"]
    cell: Int[Tensor, " p"]
    well: Int[Tensor, " p"]


def _places(problem: Problem, device: torch.device) -> _Places:
    grid, axis = problem.grid, int(np.argmax(problem.grid.box))
    is_inside = grid.face_axis != axis
    slab, within = _slabs(grid, axis, grid.is_active)
    empty_slab, empty_within = _slabs(grid, axis, ~grid.is_active)
    arrays = {
        "slab": slab,
        "within": within,
        "empty_slab": empty_slab,
        "empty_within": empty_within,
        "left": grid.faces[:, 0],
        "right": grid.faces[:, 1],
        "inside": np.flatnonzero(is_inside),
        "across": np.flatnonzero(~is_inside),
        "cell": problem.perforation_cell,
        "well": problem.perforation_well,
    }
    n_slabs = grid.box[axis]
    return _Places(
        shape=(n_slabs, grid.is_active.size // n_slabs),
        **{name: torch.as_tensor(np.ascontiguousarray(of), device=device) for name, of in arrays.items()},
    )


def _slabs(grid: Grid, axis: int, which: np.ndarray) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Slab of each cell of `which`, in the order of the grid, and its place within."""
    within = np.arange(which.size // grid.box[axis]).reshape([n for a, n in enumerate(grid.box) if a != axis])
    return np.nonzero(which)[axis], np.broadcast_to(np.expand_dims(within, axis), grid.box)[which]


class _Slabs:
    """The cells' part of the Jacobian, eliminated: the inverse of each slab's block, and what couples the slabs.

    Rows and columns of a slab stand as (2, places): first the water's equations or the pressures of all cells.
    """

    def __init__(self, blocks: Blocks, at: _Places, dtype: torch.dtype) -> None:
        (n_slabs, size), n_members = at.shape, len(blocks.cell)
        self.at, self.dtype = at, dtype

        def couplings(of: Float[Tensor, "b f 2 2"]) -> Float[Tensor, "slabs-1 b 2 2 size"]:
            between = torch.zeros(n_slabs - 1, n_members, 2, 2, size, dtype=dtype, device=of.device)
            from_left = at.left[at.across]
            between[at.slab[from_left], :, :, :, at.within[from_left]] = _places_first(of[:, at.across]).to(dtype)
            return between

        self.upper, self.lower = couplings(blocks.left_right), couplings(blocks.right_left)
        inverse = torch.zeros(n_slabs, n_members, 2, size, 2, size, dtype=dtype, device=blocks.cell.device)
        inverse[at.slab, :, :, at.within, :, at.within] = _places_first(blocks.cell).to(dtype)
        left, right = at.left[at.inside], at.right[at.inside]
        for row, column, block in ((left, right, blocks.left_right), (right, left, blocks.right_left)):
            values = _places_first(block[:, at.inside]).to(dtype)
            inverse[at.slab[row], :, :, at.within[row], :, at.within[column]] = values
        inverse[at.empty_slab, :, :, at.empty_within, :, at.empty_within] = torch.eye(
            2, dtype=dtype, device=inverse.device
        )
        self.inverse = inverse.flatten(4).flatten(2, 3)
        is_singular = torch.zeros(n_members, dtype=torch.bool, device=inverse.device)
        for k in range(n_slabs):
            if k:
                _eliminate(inverse[k], self.lower[k - 1], inverse[k - 1], self.upper[k - 1])
            pivot = torch.linalg.inv_ex(self.inverse[k])
            self.inverse[k] = pivot.inverse
            is_singular |= pivot.info != 0
        self.inverse[-1].masked_fill_(is_singular[:, None, None], torch.nan)

    def solve(self, cells: Float[Tensor, "b n 2 m"], *, transposed: bool) -> Float[Tensor, "b n 2 m"]:
        """A^-1 or A^-T on m right-hand sides: a sweep forth and one back."""
        at, (n_slabs, size) = self.at, self.at.shape
        inverse, lower, upper = self.inverse, self.lower, self.upper
        if transposed:  # the pivots of A^T are those of A, transposed
            inverse, lower, upper = inverse.mT, upper.transpose(2, 3), lower.transpose(2, 3)
        x = cells.new_zeros(n_slabs, len(cells), 2, size, cells.shape[-1], dtype=self.dtype)
        x[at.slab, :, :, at.within] = _places_first(cells).to(self.dtype)
        flat = x.flatten(2, 3)
        for k in range(n_slabs):
            if k:
                x[k] -= _couple(lower[k - 1], x[k - 1])
            flat[k] = inverse[k] @ flat[k]
        for k in range(n_slabs - 2, -1, -1):
            flat[k] -= inverse[k] @ _couple(upper[k], x[k + 1]).flatten(1, 2)
        return x[at.slab, :, :, at.within].transpose(0, 1).to(cells)


def _places_first(values: Tensor) -> Tensor:
    """(b, places, ...) -> (places, b, ...), as indexing by slab and place within gives them."""
    return values.transpose(0, 1)


def _couple(coupling: Float[Tensor, "b 2 2 s"], x: Float[Tensor, "b 2 s m"]) -> Float[Tensor, "b 2 s m"]:
    """L x with L diagonal in the cells."""
    of_first = coupling[:, :, 0, :, None] * x[:, None, 0]
    return of_first.addcmul_(coupling[:, :, 1, :, None], x[:, None, 1])


def _eliminate(
    block: Float[Tensor, "b 2 s 2 s"],
    lower: Float[Tensor, "b 2 2 s"],
    inverse: Float[Tensor, "b 2 s 2 s"],
    upper: Float[Tensor, "b 2 2 s"],
) -> None:
    """D <- D - L D_before^-1 U, in place."""
    rows = _couple(lower, inverse.flatten(3)).view(*inverse.shape)
    for y in (0, 1):
        block.addcmul_(rows[:, :, :, y, None], upper[:, None, None, y], value=-1)


class _Solution(NamedTuple):
    cells: Float[Tensor, "b n 2 m"]
    wells: Float[Tensor, "b w m"]


class _Bordered:
    """[A B; C E] by the wells' Schur complement E - C A^-1 B; the columns of B go along with the right-hand sides."""

    def __init__(self, blocks: Blocks, at: _Places, dtype: torch.dtype) -> None:
        self.slabs = _Slabs(blocks, at, dtype)
        self.corner = torch.diag_embed(blocks.well)
        (n_members, n), n_wells = blocks.cell.shape[:2], blocks.well.shape[1]

        def border(of: Float[Tensor, "b p 2"]) -> Float[Tensor, "b n 2 w"]:
            places = of.new_zeros(n_members, n, n_wells, 2)
            places[:, at.cell, at.well] = of
            return places.mT

        self.columns, self.rows = border(blocks.cell_well), border(blocks.well_cell)

    def solve(self, cells: Tensor, wells: Tensor, tolerance: float = TIGHT) -> _Solution:
        """x = A^-1 b."""
        return self._solve(cells, wells, self.columns, self.rows, transposed=False)

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> _Solution:
        """y = A^-T b."""
        return self._solve(cells, wells, self.rows, self.columns, transposed=True)

    def _solve(self, cells: Tensor, wells: Tensor, columns: Tensor, rows: Tensor, *, transposed: bool) -> _Solution:
        n_rhs = cells.shape[-1]
        solved = self.slabs.solve(torch.cat([cells, columns], dim=-1), transposed=transposed)
        reduced = rows.flatten(1, 2).mT @ solved.flatten(1, 2)
        schur = torch.linalg.solve_ex(self.corner - reduced[..., n_rhs:], wells - reduced[..., :n_rhs])
        of_wells = schur.result.masked_fill_(schur.info[:, None, None] != 0, torch.nan)
        of_cells = solved[..., :n_rhs] - (solved[..., n_rhs:].flatten(1, 2) @ of_wells).view_as(cells)
        return _Solution(of_cells, of_wells)


class _Refined:
    """A rough solver made exact by iterative refinement in float64 (Higham 2002, ch. 12)."""

    def __init__(self, blocks: Blocks, at: _Places, rough: _Bordered) -> None:
        self.blocks, self.at, self.rough = blocks, at, rough

    def solve(self, cells: Tensor, wells: Tensor, tolerance: float = TIGHT) -> _Solution:
        """x = A^-1 b."""
        return self._solve(_Solution(cells, wells), transposed=False)

    def solve_transposed(self, cells: Tensor, wells: Tensor) -> _Solution:
        """y = A^-T b."""
        return self._solve(_Solution(cells, wells), transposed=True)

    def _solve(self, right: _Solution, *, transposed: bool) -> _Solution:
        inexact = self.rough.solve_transposed if transposed else self.rough.solve
        # float32 ends at 1e-38: an adjoint's right-hand side may be of any size
        size = right.cells.abs().amax(dim=(1, 2), keepdim=True)
        size = torch.where(size > 0, size, torch.ones_like(size))
        right = _Solution(right.cells / size, right.wells / size[:, 0])
        x = inexact(*right)
        for _ in range(MOST_REFINEMENTS):
            left = _times(self.blocks, self.at, x, transposed=transposed)
            change = inexact(right.cells - left.cells, right.wells - left.wells)
            x = _Solution(x.cells + change.cells, x.wells + change.wells)
            if _is_small(change, x):
                break
        else:
            exact = _Bordered(self.blocks, self.at, torch.float64)
            x = exact.solve_transposed(*right) if transposed else exact.solve(*right)
        return _Solution(x.cells * size, x.wells * size[:, 0])


def _is_small(change: _Solution, x: _Solution) -> bool:
    """Whether no unknown changes by more than REFINED of the largest of its kind, in any right-hand side."""
    pairs = [(change.cells[:, :, a], x.cells[:, :, a]) for a in (0, 1)] + [(change.wells, x.wells)]
    return all(bool((d.abs().amax(dim=1) <= REFINED * whole.abs().amax(dim=1)).all()) for d, whole in pairs)


def _times(of: Blocks, at: _Places, x: _Solution, *, transposed: bool) -> _Solution:
    """The Jacobian, or its transpose, times x, from its blocks."""
    cell, left_right, right_left, columns, rows = of.cell, of.left_right, of.right_left, of.cell_well, of.well_cell
    if transposed:
        cell, left_right, right_left, columns, rows = cell.mT, right_left.mT, left_right.mT, rows, columns
    cells = cell @ x.cells
    cells.index_add_(1, at.left, left_right @ x.cells[:, at.right])
    cells.index_add_(1, at.right, right_left @ x.cells[:, at.left])
    cells.index_add_(1, at.cell, columns[..., None] * x.wells[:, at.well, None])
    wells = of.well[..., None] * x.wells
    return _Solution(cells, wells.index_add_(1, at.well, (rows[..., None] * x.cells[:, at.cell]).sum(dim=2)))
