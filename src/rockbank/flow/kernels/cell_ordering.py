"""The cells as the sequential iteration numbers them, for a narrow band, and which lie beside which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rockbank.flow.equations.grid import Grid


@dataclass(frozen=True, kw_only=True, eq=False)
class CellOrdering:
    """The active cells numbered along the shortest axis first, so that their matrix is a band, a layer's cells wide.

    Attributes:
        cell: number on the grid of each cell, in the new order.
        place: the new number of each of the grid's cells.
        face: number on the grid of each face; they come in the order of their lower cells.
        lower: the cell of the lesser new number on one side of each face.
        upper: that on the other side.
        width: of the lower band with its diagonal.
        start: where each cell's faces begin in the three that follow.
        neighbour: behind each face of a cell.
        side: that face, in the new order.
    """

    cell: Int[np.ndarray, " n"]
    place: Int[np.ndarray, " n"]
    face: Int[np.ndarray, " f"]
    lower: Int[np.ndarray, " f"]
    upper: Int[np.ndarray, " f"]
    width: int
    start: Int[np.ndarray, " n+1"]
    neighbour: Int[np.ndarray, " 2f"]
    side: Int[np.ndarray, " 2f"]

    @property
    def adjacency(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Cells beside faces and faces around cells, as `flow_order` takes them."""
        return self.lower, self.upper, self.start, self.neighbour, self.side


def order_cells(grid: Grid) -> CellOrdering:
    """The ordering of a grid's active cells."""
    longest_first = np.argsort([-n for n in grid.box], kind="stable")
    number = grid.number.transpose(longest_first).ravel()
    cell = number[number >= 0]
    place = np.argsort(cell)
    lower, upper = np.sort(place[grid.faces], axis=1).T
    face = np.lexsort((upper, lower))
    lower, upper = lower[face].astype(np.uint32), upper[face].astype(np.uint32)
    ends, others = np.concatenate([lower, upper]), np.concatenate([upper, lower])
    order = np.argsort(ends, kind="stable")
    n_faces = len(face)
    return CellOrdering(
        cell=cell,
        place=place,
        face=face,
        lower=lower,
        upper=upper,
        width=1 + int((upper - lower).max(initial=0)),
        start=np.searchsorted(ends[order], np.arange(len(cell) + 1)).astype(np.uint32),
        neighbour=others[order],
        side=np.tile(np.arange(n_faces, dtype=np.uint32), 2)[order],
    )
