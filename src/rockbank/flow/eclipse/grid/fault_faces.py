"""The faces of cells that a deck's FAULTS name."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.eclipse.ranges import MULTIPLIERS
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
        self._factors: dict[str, float] = {}

    def add(self, record: Record, within: Box) -> None:
        """What a record of FAULTS says of the cells of a box."""
        parts = self._parts.setdefault(record.text(1), [])
        if record.text(8).upper() not in FACES:
            raise record.error(f"item 8: got '{record.text(8)}'; use X, Y, Z, or X-, Y-, Z-")
        parts.append((within, record.text(8)))

    def seal(self, record: Record) -> None:
        """Keep the factor that a record of MULTFLT has for a fault's faces: the last one counts."""
        if record.text(1) not in self._parts:
            raise record.error(f"no fault '{record.text(1)}'; known are {list(self._parts)}")
        factor = record.number(2, default=1.0)
        if factor < 0:
            raise record.error(f"item 2: got {record.text(2)}; it must be 0 or more")
        self._factors[record.text(1)] = factor

    def sealed(self, name: str, factor: Float[np.ndarray, "nx ny nz"]) -> Float[np.ndarray, "nx ny nz"]:
        """A multiplier of faces, such as MULTX-, by the factors of the faults that have such faces."""
        factor = factor.copy()
        for fault, of_fault in self._factors.items():
            for within, face in self._parts[fault]:
                axis, is_before = FACES[face.upper()]
                if MULTIPLIERS[axis][is_before] == name:
                    factor[within] *= of_fault
        return factor

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
