"""Numerical aquifers of a deck: cells that stand for water outside the grid (AQUNUM), and what they touch (AQUCON)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool

from rockbank.flow.eclipse.grid.arrays import DeckArrays
from rockbank.flow.eclipse.grid.fault_faces import FACES
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.ranges import MULTIPLIERS
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.grid import AquiferCells, Grid
from rockbank.flow.equations.problem import State

Cell = tuple[int, int, int]
# Number of a cell, axis along which its permeability counts, A / (d / 2).
_Half = tuple[int, int, float]


@dataclass(frozen=True, kw_only=True)
class _AquiferCell:
    """A record of AQUNUM.

    Attributes:
        record: its items.
        aquifer: its number.
        cell: (i, j, k) from 0.
        area: across which it flows, m^2.
        length: m.
    """

    record: Record
    aquifer: int
    cell: Cell
    area: float
    length: float

    @property
    def half_factor(self) -> float:
        """A / (d / 2), m."""
        return 2 * self.area / self.length


class NumericalAquifers:
    """Records of AQUNUM and AQUCON as they come."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._records: list[Record] = []
        self._joined: list[Record] = []
        self._cells: list[_AquiferCell] = []

    def take(self, records: Sequence[Record]) -> None:
        """Keep those of one keyword."""
        for record in records:
            (self._records if record.keyword == "AQUNUM" else self._joined).append(record)

    def fill(self, arrays: DeckArrays) -> list[Cell]:
        """Give the aquifers' cells the porosity, permeability and regions of their records; returns which they are.

        Raises:
            DeckError: with every record that says what cannot be.
        """
        faults, found = [], list[_AquiferCell]()
        for record in self._records:
            try:
                own = _aquifer_cell(record, arrays.box)
                if own.cell in [of.cell for of in found]:
                    raise record.error(f"cell {_as_counted(own.cell)} is an aquifer's already; take another")
                _fill(arrays, own)
                found.append(own)
            except DeckError as error:
                faults.append(str(error))
        if faults:
            raise DeckError("\n".join(faults))
        self._cells = found
        return [of.cell for of in found]

    def joined(self, grid: Grid, arrays: DeckArrays) -> Grid:
        """The grid with aquifers, each of whose first cell touches what AQUCON says, and the others the one before.

        Raises:
            DeckError: a record of AQUCON says what cannot be, or a cell of an aquifer has no volume on the grid.
        """
        if not (self._cells or self._joined):
            return grid
        cells = self._cells
        pairs = list[tuple[_Half, _Half]]()
        faults = [str(of.record.error(f"cell {_as_counted(of.cell)} has no volume; take one that has"))
                  for of in cells if grid.number[of.cell] < 0]  # fmt: skip
        is_aquifer = np.zeros(grid.box, dtype=bool)
        is_aquifer[tuple(np.array([of.cell for of in cells], dtype=int).reshape(-1, 3).T)] = True
        chains: dict[int, list[_AquiferCell]] = {}
        for of in cells:
            chains.setdefault(of.aquifer, []).append(of)
        for chain in chains.values():
            halves = [(int(grid.number[of.cell]), 0, of.half_factor) for of in chain]
            pairs += pairwise(halves)
        for record in self._joined:
            try:
                aquifer = record.whole(1)
                if aquifer not in chains:
                    raise record.error(f"item 1: got aquifer {aquifer}; AQUNUM has {list(chains)}")
                pairs += self._connections(record, chains[aquifer][0], grid, arrays, is_aquifer)
            except DeckError as error:
                faults.append(str(error))
        if faults:
            raise DeckError("\n".join(faults))
        self._tell_alone(chains)
        # The lesser number of a pair first.
        ordered = np.array([sorted(pair) for pair in pairs], dtype=float).reshape(-1, 2, 3)
        number = np.array([grid.number[of.cell] for of in cells])
        order = np.argsort(number)
        depth = [of.record.number(9, "length", float(grid.depth[at])) for of, at in zip(cells, number, strict=True)]
        return replace(
            grid,
            aquifers=AquiferCells(
                cells=number[order],
                volume=np.array([of.area * of.length for of in cells])[order],
                depth=np.array(depth)[order],
                pairs=ordered[:, :, 0].astype(int),
                axes=ordered[:, :, 1].astype(int),
                half_factors=ordered[:, :, 2],
            ),
        )

    def filled(self, state: State, grid: Grid, *, is_explicit: bool) -> State:
        """The initial state with the aquifers' cells full of water, at the pressures of their records.

        Args:
            state: of the grid.
            grid: with the aquifers' cells.
            is_explicit: whether the deck gives pressures and saturations of all cells, which then hold in these too, as
                in OPM Flow.
        """
        if not self._cells:
            return state
        pressure, saturation = (torch.as_tensor(of).reshape(grid.box).clone()
                                for of in (state.pressure, state.saturation))  # fmt: skip
        for of_cell in self._cells:
            record, cell = of_cell.record, of_cell.cell
            own = record.number(10, "pressure", float(pressure[cell]))
            if is_explicit and own != float(pressure[cell]):
                self.notes.append(f"{record.place}: AQUNUM: item 10: got {record.text(10)}; PRESSURE has another, "
                                  "which counts")  # fmt: skip
            elif not is_explicit:
                pressure[cell], saturation[cell] = own, 1.0
        return State(pressure=pressure.reshape(grid.shape), saturation=saturation.reshape(grid.shape))

    def have_pressure(self, grid: Grid) -> Bool[np.ndarray, " n"]:
        """Which active cells are such that a record says at what pressure they begin."""
        has = np.zeros(grid.box, dtype=bool)
        for of in self._cells:
            has[of.cell] = of.record.has(10)
        return np.asarray(has.ravel()[grid.cells])

    def _connections(
        self, record: Record, first: _AquiferCell, grid: Grid, arrays: DeckArrays, is_aquifer: Bool[np.ndarray, "*box"]
    ) -> Iterator[tuple[_Half, _Half]]:
        """Of the aquifer's first cell with those of a record of AQUCON."""
        record.refuse((12, 13), "connections feel no vertical equilibrium", default=0)
        within = arrays.within(record, 2)
        axis, is_before = FACES[record.choice(8, tuple(FACES))]
        multiplier = record.number(9, default=1.0)
        if multiplier < 0:
            raise record.error(f"item 9: got {record.text(9)}; it must be 0 or more")
        takes_area = record.whole(10, 0)
        if takes_area not in (0, 1):
            raise record.error(f"item 10: got {takes_area}; use 0, or 1 for the area of the reservoir's face")
        is_inner = record.choice(11, ("YES", "Y", "NO", "N"), "NO").startswith("Y")
        multipliers = arrays.multiplier(MULTIPLIERS[axis][is_before])
        is_reservoir = grid.is_active & ~is_aquifer
        places = [tuple(int(at) for at in place) for place in np.argwhere(_mask(grid.box, within))]
        n_passed = 0
        for place in places:
            beside = list(place)
            beside[axis] += -1 if is_before else 1
            is_beside = 0 <= beside[axis] < grid.box[axis] and bool(is_reservoir[tuple(beside)])
            if not is_reservoir[place] or (is_beside and not is_inner):
                n_passed += 1
                continue
            number = int(grid.number[place])
            sizes = grid.cell_sizes[:, number]
            area = float(np.delete(sizes, axis).prod())
            # The connection's own multiplier acts on both halves alike.
            own = multiplier * 2 * area / float(sizes[axis]) * float(multipliers[place])
            of_aquifer = multiplier * (2 * area / first.length if takes_area else first.half_factor)
            yield (int(grid.number[first.cell]), 0, of_aquifer), (number, axis, own)
        if n_passed:
            self.notes.append(f"{record.place}: AQUCON: {n_passed} of {len(places)} faces are passed over: the cell is "
                              "not active, an aquifer's, or touches an active one there (item 11)")  # fmt: skip

    def _tell_alone(self, chains: dict[int, list[_AquiferCell]]) -> None:
        joined = {record.whole(1) for record in self._joined}
        for aquifer, chain in chains.items():
            if aquifer not in joined:
                self.notes.append(f"{chain[0].record.place}: AQUNUM: no AQUCON joins aquifer {aquifer} to a cell")


def _aquifer_cell(record: Record, box: tuple[int, int, int]) -> _AquiferCell:
    cell = (record.whole(2) - 1, record.whole(3) - 1, record.whole(4) - 1)
    if not all(0 <= at < n for at, n in zip(cell, box, strict=True)):
        raise record.error(f"cell {_as_counted(cell)} is outside the grid of {box} cells")
    scale = record.units.scale("length")
    area, length = record.number(5) * scale**2, record.number(6, "length")
    for i, got in ((5, area), (6, length), (10, record.number(10, default=1.0))):
        if not got > 0:
            raise record.error(f"item {i}: got {record.text(i)}; it must be positive")
    if not 0 < record.number(7, default=1.0) <= 1:
        raise record.error(f"item 7: got porosity {record.text(7)}; it must lie in (0, 1]")
    if record.number(8) < 0:
        raise record.error(f"item 8: got permeability {record.text(8)}; it must be 0 or more")
    record.number(9, default=0.0)
    for i in (1, 11, 12):
        if record.whole(i, None if i == 1 else 1) < 1:
            raise record.error(f"item {i}: got {record.text(i)}; it must be 1 or more")
    return _AquiferCell(record=record, aquifer=record.whole(1), cell=cell, area=area, length=length)


def _fill(arrays: DeckArrays, cell: _AquiferCell) -> None:
    record = cell.record
    for name in ("PERMX", "PERMY", "PERMZ"):
        arrays.hold(name, cell.cell, record.number(8, "permeability"), record)
    if record.has(7):
        arrays.hold("PORO", cell.cell, record.number(7), record)
    elif "PORO" in arrays and not arrays.raw("PORO")[cell.cell] > 0:
        raise record.error(f"item 7: has no default, for cell {_as_counted(cell.cell)} has no porosity; give it")
    for name in ("ACTNUM", "NTG", "MULTPV"):
        arrays.hold(name, cell.cell, 1.0, record)
    for i, name in ((11, "PVTNUM"), (12, "SATNUM")):
        if record.has(i):
            arrays.hold(name, cell.cell, float(record.whole(i)), record, is_new=True)


def _mask(box: tuple[int, int, int], within: tuple[slice, slice, slice]) -> Bool[np.ndarray, "nx ny nz"]:
    mask = np.zeros(box, dtype=bool)
    mask[within] = True
    return mask


def _as_counted(cell: Cell) -> str:
    """As decks count."""
    return str(tuple(at + 1 for at in cell))
