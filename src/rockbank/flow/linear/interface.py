"""What every linear solver of the Jacobian is, and the blocks that each starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.linearised import Jacobian
from rockbank.flow.equations.places import added, at
from rockbank.flow.equations.problem import Problem

# What is left of a right-hand side, by its norm, where a solution is to be as good as a direct one.
TIGHT = 1e-10


class Factor(Protocol):
    """A factorised Jacobian; a singular one gives solutions that are not finite."""

    def solve(
        self, cells: Float[Tensor, "b n 2 m"], wells: Float[Tensor, "b w m"], tolerance: float = TIGHT
    ) -> tuple[Float[Tensor, "b n 2 m"], Float[Tensor, "b w m"]]:
        """From m right-hand sides of [water, oil] and the wells to (pressure, saturation) and bottom-hole pressures.

        A solver that iterates may leave `tolerance` of the right-hand side's norm.
        """

    def solve_transposed(
        self, cells: Float[Tensor, "b n 2 m"], wells: Float[Tensor, "b w m"]
    ) -> tuple[Float[Tensor, "b n 2 m"], Float[Tensor, "b w m"]]:
        """From m right-hand sides of (pressure, saturation) and bottom-hole pressures to [water, oil] and the wells."""


class LinearSolver(Protocol):
    """Makes factors; one of them serves one thread."""

    def factor(self, problem: Problem, jacobian: Jacobian) -> Factor:
        """The Jacobian ready for any number of right-hand sides."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """The Jacobian as the blocks of its matrix, each place once.

    Attributes:
        cell: of each cell's equations [water, oil] in its own (pressure, saturation).
        left_right: of the left cell's equations in the right cell's unknowns, for each face.
        right_left: of the right cell's in the left's.
        cell_well: of the perforated cell's equations in the bottom-hole pressure.
        well_cell: of the well's equation in the perforated cell's unknowns.
        well: of the well's equation in its bottom-hole pressure.
    """

    cell: Float[Tensor, "b n 2 2"]
    left_right: Float[Tensor, "b f 2 2"]
    right_left: Float[Tensor, "b f 2 2"]
    cell_well: Float[Tensor, "b p 2"]
    well_cell: Float[Tensor, "b p 2"]
    well: Float[Tensor, "b w"]


def assemble(problem: Problem, jacobian: Jacobian) -> Blocks:
    """Sums what faces and perforations add to the rows of their cells and wells."""
    device = jacobian.diagonal.device
    left, right = torch.as_tensor(np.ascontiguousarray(problem.grid.faces.T), device=device)
    place, well = (torch.as_tensor(of, device=device) for of in (problem.perforation_cell, problem.perforation_well))
    diagonal, of_left, of_right, perforation, rates = (of.movedim((0, 1), (-2, -1)) for of in (
        jacobian.diagonal, jacobian.left, jacobian.right, jacobian.perforation, jacobian.control_rates))  # fmt: skip
    cell = added(added(diagonal, left, of_left), right, -of_right)
    cell = added(cell, place, -perforation[:, :2])
    of_well = (at(rates, well)[:, None] * perforation).sum(dim=0)
    back = (-2, -1), (0, 1)
    return Blocks(
        cell=cell.movedim(*back),
        left_right=jacobian.right,
        right_left=-jacobian.left,
        cell_well=-jacobian.perforation[..., 2],
        well_cell=of_well[:2].movedim(*back),
        well=added(jacobian.control_bhp, well, of_well[2]),
    )
