"""Connections of a deck beside those of its geometry: NNC, and what EDITNNC makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock

Pair = tuple[int, int]


class Connections:
    """Records of NNC and EDITNNC as they come; the cells of each are held against a grid."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._joined: list[Record] = []
        self._edited: list[Record] = []

    def take(self, records: Sequence[Record]) -> None:
        """Keep those of one keyword."""
        for record in records:
            record.refuse(
                range(8, len(record.items) + 1), "tables of the connection's own are not supported", default=0
            )
            (self._joined if record.keyword == "NNC" else self._edited).append(record)

    def linked(self, grid: Grid) -> Grid:
        """The grid with a link for each two cells that NNC joins and that do not touch already.

        Raises:
            DeckError: with every record that names a cell outside the grid, or one with itself.
        """
        faults, own, links = [], {tuple(sorted(pair)) for pair in grid.faces.tolist()}, dict[Pair, None]()
        for record in [*self._joined, *self._edited]:
            try:
                pair = _pair(record, grid)
            except DeckError as error:
                faults.append(str(error))
                continue
            if pair is not None and pair not in own and record.keyword == "NNC":
                links[pair] = None
        if faults:
            raise DeckError("\n".join(faults))
        return replace(grid, links=np.array(list(links), dtype=int)) if links else grid

    def joined(self, rock: Rock) -> Rock:
        """The rock with the transmissibilities of NNC, and the factors of EDITNNC.

        Raises:
            DeckError: a number is negative.
        """
        if not (self._joined or self._edited):
            return rock
        place = {tuple(sorted(pair)): i for i, pair in enumerate(rock.grid.faces.tolist())}
        added, factor = np.zeros(len(rock.grid.faces)), np.ones(len(rock.grid.faces))
        for record in self._joined:
            at = self._place(record, rock.grid, place)
            if at is not None:
                added[at] += _positive(record, "conductance")
        for record in self._edited:
            at = self._place(record, rock.grid, place)
            if at is not None:
                factor[at] *= _positive(record, "fraction")
        own = np.ones(len(factor)) if rock.face_multiplier is None else rock.face_multiplier.numpy()
        return replace(rock, face_multiplier=_tensor(own * factor), added_transmissibility=_tensor(added * factor))

    def _place(self, record: Record, grid: Grid, place: dict[Pair, int]) -> int | None:
        """Of the face; a connection of a cell that is not active, or that there is not, counts for nothing."""
        pair = _pair(record, grid)
        is_lost = pair is None or pair not in place
        if pair is None or is_lost or (record.keyword == "EDITNNC" and _are_neighbours(record)):
            why = "there is no such connection" if is_lost else "neighbours are none that it edits"
            self.notes.append(f"{record.place}: {record.keyword}: {why}; it is passed over")
            return None
        return place[pair]


def _pair(record: Record, grid: Grid) -> Pair | None:
    """Numbers of the two cells, the lesser first; None where one is not active."""
    numbers = []
    for first in (1, 4):
        cell = [record.whole(first + axis) for axis in range(3)]
        if not all(1 <= at <= n for at, n in zip(cell, grid.box, strict=True)):
            raise record.error(f"cell {tuple(cell)} is outside the grid of {grid.box} cells")
        numbers.append(int(grid.number[cell[0] - 1, cell[1] - 1, cell[2] - 1]))
    if numbers[0] == numbers[1] and numbers[0] >= 0:
        raise record.error("joins a cell with itself; name two")
    return None if min(numbers) < 0 else (min(numbers), max(numbers))


def _are_neighbours(record: Record) -> bool:
    """In the box, where MULTX and its kin edit."""
    return sum(abs(record.whole(4 + axis) - record.whole(1 + axis)) for axis in range(3)) == 1


def _positive(record: Record, dimension: str) -> float:
    value = record.number(7, dimension, 0.0 if record.keyword == "NNC" else 1.0)
    if value < 0:
        raise record.error(f"item 7: got {record.text(7)}; it must be 0 or more")
    return value


def _tensor(values: Float[np.ndarray, " f"]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)
