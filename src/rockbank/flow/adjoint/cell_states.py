"""Pressures and saturations of cells as observables: which of them a run returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.trajectory import Trajectory

CellQuantity = Literal["pressure", "saturation"]
# In the order of a cell's unknowns.
CELL_QUANTITIES: tuple[CellQuantity, ...] = get_args(CellQuantity)


@dataclass(frozen=True, kw_only=True, eq=False)
class CellStates:
    """What a run returns of its cells; nothing else of them is kept for gradients.

    Attributes:
        report: the report step at whose end each is returned, counted from 0.
        cell: its number among the active cells, as `Grid.cell` tells it.
        quantity: of each: the pressure of the oil (Pa) or the saturation of water.
    """

    report: Int[np.ndarray, " n"]
    cell: Int[np.ndarray, " n"]
    quantity: Sequence[CellQuantity]

    def __post_init__(self) -> None:
        n = len(self.report)
        if len(self.cell) != n or len(self.quantity) != n:
            raise InputError(f"states: got {n} report steps, {len(self.cell)} cells and {len(self.quantity)} "
                             "quantities; give one of each for a state")  # fmt: skip
        if unknown := sorted(set(self.quantity) - set(CELL_QUANTITIES)):
            raise InputError(f"states: got {unknown}; known are {list(CELL_QUANTITIES)}")

    def __len__(self) -> int:
        """How many."""
        return len(self.report)

    @property
    def unknown(self) -> Int[np.ndarray, " n"]:
        """0 for a pressure, 1 for a saturation."""
        return np.array([CELL_QUANTITIES.index(of) for of in self.quantity], dtype=int)

    def check(self, n_reports: int, n_cells: int) -> None:
        """InputError naming the report step or the cell that a run has not."""
        for name, given, n in (("report step", self.report, n_reports), ("cell", self.cell, n_cells)):
            wrong = given[(given < 0) | (given >= n)]
            if wrong.size:
                raise InputError(f"states: got {name} {wrong[0]}; there are {n}, numbered from 0")

    def before(self, n_reports: int) -> CellStates:
        """Those of the first report steps."""
        kept = np.flatnonzero(self.report < n_reports)
        return CellStates(
            report=self.report[kept], cell=self.cell[kept], quantity=[self.quantity[int(i)] for i in kept]
        )

    def at_steps(self, steps: Int[np.ndarray, " t"]) -> CellStates:
        """The same with the number of another step in the place of each report step."""
        return replace(self, report=steps[self.report])

    def of(self, trajectory: Trajectory) -> Float[Tensor, " n"]:
        """Their values in the run of one member."""
        at = trajectory.ends[self.report] + 1
        pressure, saturation = (getattr(trajectory, name)[at, self.cell] for name in CELL_QUANTITIES)
        return torch.where(torch.as_tensor(self.unknown == 0, device=pressure.device), pressure, saturation)


def no_states() -> CellStates:
    """None of any cell."""
    return CellStates(report=np.zeros(0, dtype=int), cell=np.zeros(0, dtype=int), quantity=())
