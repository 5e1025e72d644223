"""A deck's arrays: cell by cell, by boxes, by EQUALS, COPY, MULTIPLY and ADD."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.ranges import ARRAYS, ONE
from rockbank.flow.eclipse.text import Keyword, Record
from rockbank.flow.equations.grid import Grid

VECTORS = ("DXV", "DYV", "DZV")
OPERATIONS = ("EQUALS", "COPY", "MULTIPLY", "ADD")
# Cell sizes and depths are what the deck's text says to this part of them.
_SAME = 1e-6
# Saturations of a deck are rounded.
_FULL = 1e-4


class DeckArrays:
    """Arrays of one box of cells (i, j, k), filled as the keywords come; a cell without a value is NaN."""

    def __init__(self, box: tuple[int, int, int]) -> None:
        self.box = box
        self.notes: list[str] = []
        self._fields: dict[str, Float[np.ndarray, "nx ny nz"]] = {}
        self._last: dict[str, Record] = {}
        self._sizes: dict[str, Float[np.ndarray, " n"]] = {}
        self._within = self._whole()

    def take(self, keyword: Keyword) -> None:
        """Do what the keyword says."""
        if keyword.name in VECTORS:
            n = self.box[VECTORS.index(keyword.name)]
            sizes = self._scaled(keyword.record, n, "length")
            self._take_last(keyword.name, keyword.record, is_again=keyword.name in self._sizes)
            self._sizes[keyword.name] = sizes
        elif keyword.name in OPERATIONS:
            within = self._within
            for record in keyword.records:
                within = self._box(record, 3, within)
                self._operate(record, within)
        elif keyword.name == "BOX":
            self._within = self._box(keyword.record, 1, self._whole())
        elif keyword.name == "ENDBOX":
            self._within = self._whole()
        else:
            self._fill(keyword)

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def complete(self, name: str, where: Bool[np.ndarray, "nx ny nz"] | None = None) -> Float[np.ndarray, "nx ny nz"]:
        """The array `name`; InputError where it is absent, or lacks a value in a cell of `where`."""
        if name not in self._fields:
            raise InputError(f"the deck has no {name}; give it")
        field = self._fields[name]
        missing = np.isnan(field) if where is None else np.isnan(field) & where
        if missing.any():
            i, j, k = _places(missing)[0] + 1
            raise InputError(f"{name} has no value in cell ({i}, {j}, {k}); give one for every cell")
        return field

    def require_values(self, where: Bool[np.ndarray, "nx ny nz"]) -> None:
        """DeckError with a line for each array that holds what it cannot hold in a cell of `where`."""
        problems = []
        for name, field in self._fields.items():
            wrong = _places(where & ~np.isnan(field) & ~ARRAYS[name].hold(field))
            if len(wrong):
                record, (i, j, k) = self._last[name], wrong[0] + 1
                got = field[tuple(wrong[0])] / record.units.scale(ARRAYS[name].dimension)
                rest = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                remedy = ", or ACTNUM has to switch the cell off" if ARRAYS[name] != ONE else ""
                problems.append(f"{record.place}: {name}: got {got:g} in cell ({i}, {j}, {k}){rest}; "
                                f"{ARRAYS[name]}{remedy}")  # fmt: skip
        if problems:
            raise DeckError("\n".join(problems))

    def water_saturation(self, where: Bool[np.ndarray, "nx ny nz"]) -> Float[np.ndarray, "nx ny nz"]:
        """SWAT, or what SOIL leaves; DeckError where both are given and do not fill the pores."""
        if "SOIL" not in self:
            return self.complete("SWAT", where)
        rest = 1.0 - self.complete("SOIL", where)
        if "SWAT" not in self:
            return rest
        water = self.complete("SWAT", where)
        wrong = _places(where & (np.abs(water - rest) > _FULL))
        if len(wrong):
            (i, j, k), at = wrong[0] + 1, tuple(wrong[0])
            raise DeckError(f"{self._last['SOIL'].place}: SOIL: got {1 - rest[at]:g} beside SWAT {water[at]:g} in cell "
                            f"({i}, {j}, {k}); together they must be 1")  # fmt: skip
        return water

    def permeability(self, where: Bool[np.ndarray, "nx ny nz"]) -> list[Float[np.ndarray, "nx ny nz"]]:
        """Along x, y and z; InputError where a direction is missing in which the grid has more than one cell."""
        found = []
        for axis, n in zip("XYZ", self.box, strict=True):
            name = f"PERM{axis}"
            if name not in self and n > 1:
                raise InputError(f"the deck has no {name}; give it, or copy another direction: COPY, PERMX {name} /")
            if name not in self:
                other = next((each for each in ("PERMX", "PERMY", "PERMZ") if each in self), "PERMX")
                self.notes.append(f"the deck has no {name}, along which there is one cell: {other} is taken")
                name = other
            found.append(self.complete(name, where))
        return found

    def grid(self) -> Grid:
        """The grid; layers where there is more than one. A cell without pores is not active, as in Eclipse."""
        sizes = tuple(self._along(axis) for axis in range(3))
        is_active = self._fields.get("ACTNUM", np.ones(self.box)) != 0
        # A negative porosity is none that switches a cell off.
        is_active &= self.complete("PORO", is_active) != 0
        shape = self.box if self.box[2] > 1 else self.box[:2]
        return Grid(
            shape=shape,
            spacing=tuple(float(size[0]) if (size == size[0]).all() else tuple(map(float, size)) for size in sizes),
            active=None if is_active.all() else is_active.reshape(shape),
            top=self._top(sizes[2]),
        )

    def _whole(self) -> tuple[slice, slice, slice]:
        nx, ny, nz = self.box
        return slice(0, nx), slice(0, ny), slice(0, nz)

    def _scaled(self, record: Record, n: int, dimension: str) -> Float[np.ndarray, " n"]:
        numbers = np.asarray(record.numbers())
        if len(numbers) != n:
            raise record.error(f"got {len(numbers)} numbers for {n} cells")
        return numbers * record.units.scale(dimension)

    def _fill(self, keyword: Keyword) -> None:
        within, name = self._within, keyword.name
        nx, ny, nz = (part.stop - part.start for part in within)
        # Depths of the first layer are enough.
        if name == "TOPS" and len(keyword.record.items) == nx * ny:
            within, nz = (*within[:2], slice(0, 1)), 1
        numbers = self._scaled(keyword.record, nx * ny * nz, ARRAYS[name].dimension)
        field = self._field(name)
        self._take_last(name, keyword.record, is_again=not np.isnan(field[within]).all())
        field[within] = numbers.reshape(nz, ny, nx).transpose(2, 1, 0)

    def _take_last(self, name: str, record: Record, *, is_again: bool) -> None:
        """Remember where an array was given, and say so where it has values already."""
        if is_again:
            self.notes.append(f"{record.place}: {name} is given again, after {self._last[name].place}; the last one "
                              "counts")  # fmt: skip
        self._last[name] = record

    def _field(self, name: str) -> Float[np.ndarray, "nx ny nz"]:
        return self._fields.setdefault(name, np.full(self.box, np.nan))

    def _box(self, record: Record, first: int, within: tuple[slice, slice, slice]) -> tuple[slice, slice, slice]:
        parts = []
        for axis, (part, n) in enumerate(zip(within, self.box, strict=True)):
            low = record.whole(first + 2 * axis, part.start + 1)
            high = record.whole(first + 2 * axis + 1, part.stop)
            if not 1 <= low <= high <= n:
                raise record.error(f"got {low} to {high} along {'xyz'[axis]}; the grid has 1 to {n}")
            parts.append(slice(low - 1, high))
        return parts[0], parts[1], parts[2]

    def _operate(self, record: Record, within: tuple[slice, slice, slice]) -> None:
        name = record.text(1).upper()
        target = record.text(2).upper() if record.keyword == "COPY" else name
        for each in (name, target):
            if each not in ARRAYS:
                raise record.error(f"array {each} is not supported; known are {list(ARRAYS)}")
        if ARRAYS[name].dimension != ARRAYS[target].dimension:
            raise record.error(f"{name} is a {ARRAYS[name].dimension}, {target} a {ARRAYS[target].dimension}")
        if record.keyword != "EQUALS" and name not in self:
            raise record.error(f"{name} has no values yet")
        self._last[target] = record
        if record.keyword == "COPY":
            self._field(target)[within] = self._fields[name][within]
            return
        if record.keyword == "MULTIPLY":
            self._fields[name][within] *= record.number(2)
            return
        value = record.number(2, ARRAYS[name].dimension)
        if record.keyword == "ADD":
            self._fields[name][within] += value
        else:
            self._field(name)[within] = value

    def _along(self, axis: int) -> Float[np.ndarray, " n"]:
        """Sizes of the cells along an axis; DeckError where they change across it."""
        name = ("DX", "DY", "DZ")[axis]
        if (vector := self._sizes.get(VECTORS[axis])) is not None:
            if name in self:
                raise self._last[VECTORS[axis]].error(f"{name} in {self._last[name].place} says the same; keep one")
            return vector
        field = np.moveaxis(self.complete(name), axis, 0).reshape(self.box[axis], -1)
        if np.ptp(field, axis=1).max() > _SAME * field.max():
            raise InputError(f"{name} varies across {'xyz'[axis]}; only boxes of cells in straight rows are supported")
        return np.asarray(field[:, 0])

    def _top(self, sizes: Float[np.ndarray, " nz"]) -> float:
        if "TOPS" not in self:
            raise InputError("the deck has no TOPS; give the depth of the first layer's cells")
        field = self._fields["TOPS"]
        top = field[0, 0, 0]
        expected = np.broadcast_to(top + np.cumsum(sizes) - sizes, self.box)
        given = ~np.isnan(field)
        given[:, :, 0] = True
        if not np.allclose(field[given], expected[given], rtol=_SAME, atol=_SAME):
            raise InputError("TOPS tilts, or leaves gaps between layers; only flat layers on each other are supported")
        return float(top)


def _places(where: Bool[np.ndarray, "nx ny nz"]) -> Int[np.ndarray, "n 3"]:
    """The cells of a mask in Eclipse's order, i fastest, from 0."""
    return np.argwhere(where.T)[:, ::-1]
