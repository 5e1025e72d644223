"""The faces of cells that a deck's FAULTS name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.grid import Grid

# What FAULTS and AQUCON call the faces of a cell: axis, and whether before it.
FACES = {
    f"{letter}{end}": (axis, end == "-")
    for letters in ("XYZ", "IJK")
    for axis, letter in enumerate(letters)
    for end in ("", "+", "-")
}

Box = tuple[slice, slice, slice]


class FaultFaces:
    """Boxes of cells by the name of a fault, and which of their faces are on it."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Box, str]]] = {}

    def add(self, record: Record, within: Box) -> None:
        """What a record of FAULTS says of the cells of a box."""
        self._parts.setdefault(record.text(1), []).append((within, record.text(8)))
        if record.text(8).upper() not in FACES:
            raise record.error(f"item 8: got '{record.text(8)}'; use X, Y, Z, or X-, Y-, Z-")

    def of(self, record: Record) -> Iterator[tuple[Box, int, bool]]:
        """Cells of the fault that a record names, the axis across its faces, and whether they are before the cells."""
        if record.text(1) not in self._parts:
            raise record.error(f"no fault '{record.text(1)}'; known are {list(self._parts)}")
        for within, face in self._parts[record.text(1)]:
            yield within, *FACES[face.upper()]

    def on(self, grid: Grid) -> dict[str, Int[np.ndarray, " k"]]:
        """The faces of each fault, by their numbers in the grid."""
        found = {}
        for name, parts in self._parts.items():
            is_face = np.zeros(len(grid.faces), dtype=bool)
            for within, letter in parts:
                axis, is_before = FACES[letter.upper()]
                is_cell = np.zeros(grid.box, dtype=bool)
                is_cell[within] = True
                is_face |= (grid.face_axis == axis) & is_cell.ravel()[grid.cells[grid.faces[:, int(is_before)]]]
            found[name] = np.flatnonzero(is_face)
        return found
