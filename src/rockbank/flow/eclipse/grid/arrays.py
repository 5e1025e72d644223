"""A deck's arrays: cell by cell, by boxes, by EQUALS, COPY, MULTIPLY and ADD, and those by regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.grid.fault_faces import Box, FaultFaces
from rockbank.flow.eclipse.grid.operate import ACTS
from rockbank.flow.eclipse.keywords import REFUSED
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.ranges import ARRAYS, EDITED, OF_REGIONS, ONE, REGION_ARRAYS, VECTORS
from rockbank.flow.eclipse.record import Items, Record
from rockbank.flow.eclipse.text import Keyword
from rockbank.flow.equations.grid import Grid

_REGION_SETS = {"M": "MULTNUM", "F": "FLUXNUM", "O": "OPERNUM"}
_SIZES = ("DX", "DY", "DZ")


class DeckArrays:
    """Arrays of one box of cells (i, j, k), filled as the keywords come; a cell without a value is NaN.

    Args:
        box: cells along x, y, z.
        refuse: takes the errors of records, after which the others are read.
    """

    def __init__(self, box: tuple[int, int, int], refuse: Callable[[DeckError], None]) -> None:
        self.box = box
        self.notes: list[str] = []
        self.sizes: dict[str, Record] = {}
        # Of operations on regions that name none: M where GRIDOPTS has such, else F.
        self.region_set = "F"
        self._refuse = refuse
        self._fields: dict[str, Float[np.ndarray, "nx ny nz"]] = {}
        self._last: dict[str, Record] = {}
        self._lost: set[str] = set()
        self._faults = FaultFaces()
        self._section = ""
        self._within = self._whole()
        # What GRID has said of multipliers, once EDIT has begun.
        self._of_grid: dict[str, tuple[Float[np.ndarray, "nx ny nz"], Record]] = {}

    def take(self, keyword: Keyword) -> None:
        """Do what the keyword says."""
        name = keyword.name
        if keyword.section != self._section:
            self._enter(keyword.section)
        if name in VECTORS:
            keyword.record.numbers(self.box[VECTORS.index(name)])
            self._take_last(name, keyword.record, is_again=name in self.sizes)
            self.sizes[name] = keyword.record
        elif name == "BOX":
            self._within = self._box(keyword.record, 1, self._whole())
        elif name == "ENDBOX":
            self._within = self._whole()
        elif name in ARRAYS:
            self._fill(keyword)
        else:
            within = self._within
            for record in keyword.records:
                try:
                    within = self._act(name, record, within)
                except DeckError as error:
                    self._refuse(error)

    def _enter(self, section: str) -> None:
        """A box ends with its section; what EDIT says of a multiplier multiplies what GRID has said."""
        self._section, self._within = section, self._whole()
        if section == "EDIT" and not self._of_grid:
            given = [name for name in EDITED if name in self]
            self._of_grid = {name: (self._fields.pop(name), self._last[name]) for name in given}

    def _act(self, name: str, record: Record, within: Box) -> Box:
        if name == "FAULTS":
            self._faults.add(record, self._box(record, 2, self._whole()))
        elif name == "MULTFLT":
            self._faults.seal(record)
        elif name == "OPERATER":
            regions = _REGION_SETS[record.choice(7, tuple(_REGION_SETS), "O")]
            if regions not in self and "INCLUDE" not in self._lost:
                raise record.error(f"{regions} has no values yet")
            self._compute(record, record.text(3), record.text(4), (5, 6), self.values(regions) == record.whole(2))
        elif name == "OPERATE":
            within = self._box(record, 2, within)
            self._compute(record, record.text(8), record.text(9), (10, 11), within)
        elif name in OF_REGIONS:
            regions = _REGION_SETS[record.choice(4, tuple(_REGION_SETS), self.region_set)]
            if regions not in self:
                raise record.error(f"{regions} has no values yet")
            where = self.values(regions) == record.whole(3)
            self._operate(record, OF_REGIONS[name], where)
        else:
            within = self._box(record, 3, within)
            self._operate(record, name, within)
        return within

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def raw(self, name: str) -> Float[np.ndarray, "nx ny nz"]:
        """An array that is there, NaN where nothing is given."""
        return self._fields[name]

    def place(self, name: str) -> str:
        """Where an array was given last."""
        return str(self._last[name].place)

    def is_lost(self, name: str) -> bool:
        """Whether an array was given, but could not be read."""
        return name in self._lost

    def lose(self, name: str) -> None:
        """Remember that an array could not be read."""
        self._lost.add(name)

    def hold(
        self, name: str, cell: tuple[int, int, int], value: float, record: Record, *, is_new: bool = False
    ) -> None:
        """Set an array's value in a cell, where it has values already or `is_new`, as a record has it."""
        if name in self._of_grid:
            self._of_grid[name][0][cell] = value
        if name in self or is_new:
            self._field(name)[cell] = value
            self._last.setdefault(name, record)

    def within(self, record: Record, first: int) -> Box:
        """The box of a record's six items from `first` on."""
        return self._box(record, first, self._whole())

    def values(self, name: str) -> Float[np.ndarray, "nx ny nz"]:
        """An array that has a default, which stands where nothing is given."""
        default = ARRAYS[name].default
        assert default is not None
        field = self._fields.get(name)
        return np.full(self.box, default) if field is None else np.where(np.isnan(field), default, field)

    def multiplier(self, name: str) -> Float[np.ndarray, "nx ny nz"]:
        """An array of multipliers: GRID's by EDIT's, and by the factors of the faults that have such faces."""
        factor = self.values(name)
        if name in self._of_grid:
            factor = factor * np.nan_to_num(self._of_grid[name][0], nan=1.0)
        return self._faults.sealed(name, factor)

    def complete(self, name: str, where: Bool[np.ndarray, "nx ny nz"] | None = None) -> Float[np.ndarray, "nx ny nz"]:
        """The array `name`; InputError where it is absent, or lacks a value in a cell of `where`."""
        if name not in self._fields:
            raise InputError(f"the deck has no {name}; give it")
        field = self._fields[name]
        missing = np.isnan(field) if where is None else np.isnan(field) & where
        if missing.any():
            i, j, k = places(missing)[0] + 1
            raise InputError(f"{name} has no value in cell ({i}, {j}, {k}); give one for every cell")
        return field

    def require_values(self, where: Bool[np.ndarray, "nx ny nz"]) -> None:
        """Refuses each array that holds what it cannot hold in a cell of `where`."""
        given = [(name, field, self._last.get(name)) for name, field in self._fields.items()]
        for name, field, record in [*given, *((name, *of_grid) for name, of_grid in self._of_grid.items())]:
            wrong = places(where & ~np.isnan(field) & ~ARRAYS[name].hold(field))
            if record is not None and len(wrong):
                remedy = ", or ACTNUM has to switch the cell off" if ARRAYS[name] != ONE else ""
                self._refuse(_wrong(name, field, record, wrong, f"{ARRAYS[name]}{remedy}"))

    def regions(self, name: str, where: Bool[np.ndarray, "nx ny nz"], n: int) -> Int[np.ndarray, "nx ny nz"]:
        """Regions counted from 0; refuses those of which there is no table."""
        field = self.values(name)
        wrong = places(where & ((field > n) | (field % 1 != 0)))
        if len(wrong):
            self._refuse(_wrong(name, field, self._last[name], wrong, f"the deck has tables for 1 to {n}"))
        return np.where(where, np.clip(field, 1, n) - 1, 0).astype(int)

    def _whole(self) -> Box:
        nx, ny, nz = self.box
        return slice(0, nx), slice(0, ny), slice(0, nz)

    def _fill(self, keyword: Keyword) -> None:
        within, name, record = self._within, keyword.name, keyword.record
        nx, ny, nz = (part.stop - part.start for part in within)
        # Depths of the first layer are enough.
        if name == "TOPS" and len(record.items) == nx * ny:
            within, nz = (*within[:2], slice(0, 1)), 1
        n = nx * ny * nz
        if name in _SIZES and len(record.items) == nx * ny < n:
            # So are sizes of the first layer, which those below share.
            whole = np.tile(record.numbers(nx * ny), nz)
            record = replace(record, items=Items([(1, str(value)) for value in whole]))
        if len(record.items) == n and None in (text for _, text in record.items.runs):
            # A default leaves the cell as it was.
            numbers = record.items.numbers()
            for i in np.flatnonzero(np.isnan(numbers)):
                if record.has(int(i) + 1):
                    record.number(int(i) + 1)
        else:
            numbers = record.numbers(n)
        field = self._field(name)
        self._take_last(name, record, is_again=not np.isnan(field[within]).all())
        new = (numbers * record.units.scale(ARRAYS[name].dimension)).reshape(nz, ny, nx).transpose(2, 1, 0)
        field[within] = np.where(np.isnan(new), field[within], new)

    def _take_last(self, name: str, record: Record, *, is_again: bool) -> None:
        """Remember where an array was given, and say so where it has values already."""
        if is_again:
            self.notes.append(f"{record.place}: {name} is given again, after {self._last[name].place}; the last one "
                              "counts")  # fmt: skip
        self._last[name] = record

    def _field(self, name: str) -> Float[np.ndarray, "nx ny nz"]:
        if name not in self._fields:
            self._fields[name] = np.full(self.box, np.nan)
        return self._fields[name]

    def _given(self, name: str) -> Float[np.ndarray, "nx ny nz"] | None:
        """What a copy is of: a multiplier of which EDIT has said nothing is GRID's."""
        return self._fields.get(name, self._of_grid[name][0] if name in self._of_grid else None)

    def _box(self, record: Record, first: int, within: Box) -> Box:
        parts = []
        for axis, (part, n) in enumerate(zip(within, self.box, strict=True)):
            low = record.whole(first + 2 * axis, part.start + 1)
            high = record.whole(first + 2 * axis + 1, part.stop)
            if not 1 <= low <= high <= n:
                raise record.error(f"got {low} to {high} along {'xyz'[axis]}; the grid has 1 to {n}")
            parts.append(slice(low - 1, high))
        return parts[0], parts[1], parts[2]

    def _operate(self, record: Record, act: str, within: Box | Bool[np.ndarray, "nx ny nz"]) -> None:
        name = record.text(1).upper()
        target = record.text(2).upper() if act == "COPY" else name
        self._require_known(record, (name, target), target)
        if ARRAYS[name].dimension != ARRAYS[target].dimension:
            raise record.error(f"{name} is a {ARRAYS[name].dimension}, {target} a {ARRAYS[target].dimension}")
        if act != "EQUALS" and name not in self and ARRAYS[name].default is None:
            # A file that could not be read may have had them.
            if self._lost & {name, "INCLUDE"}:
                self._lost.add(target)
                return
            raise record.error(f"{name} has no values yet")
        self._last[target] = record
        given = self._given(name)
        if act == "COPY":
            assert given is not None or ARRAYS[name].default is not None
            self._field(target)[within] = (self.values(name) if given is None else given)[within]
            return
        if act != "EQUALS" and ARRAYS[name].default is not None:
            self._fields[name] = self.values(name)
        if act == "MULTIPLY":
            self._fields[name][within] *= record.number(2)
            return
        value, field = record.number(2, ARRAYS[name].dimension), self._field(name)
        if act == "ADD":
            field[within] += value
        elif act == "EQUALS":
            field[within] = value
        else:
            field[within] = (np.maximum if act == "MINVALUE" else np.minimum)(field[within], value)

    def _compute(
        self,
        record: Record,
        act: str,
        of: str,
        items: tuple[int, int],
        within: Box | Bool[np.ndarray, "nx ny nz"],
    ) -> None:
        """OPERATE: an array by what `act` makes of another one, in the deck's units, with two numbers."""
        target, source = record.text(1).upper(), of.upper()
        self._require_known(record, (target, source), target)
        if act.upper() not in ACTS:
            raise record.error(f"got '{act}'; use one of {', '.join(ACTS)}")
        given = self._given(source)
        if given is None and ARRAYS[source].default is None:
            if self._lost & {source, "INCLUDE"}:
                self._lost.add(target)
                return
            raise record.error(f"{source} has no values yet")
        x = (self.values(source) if given is None else given)[within] / record.units.scale(ARRAYS[source].dimension)
        scale, field = record.units.scale(ARRAYS[target].dimension), self._field(target)
        alpha, beta = (record.number(i, default=0.0) for i in items)
        with np.errstate(all="ignore"):
            field[within] = scale * ACTS[act.upper()](x, field[within] / scale, alpha, beta)
        self._last[target] = record

    def _require_known(self, record: Record, names: tuple[str, str], target: str) -> None:
        for name in names:
            if name not in ARRAYS:
                self._lost.add(target)
                raise record.error(f"array {name} is not supported; {REFUSED.get(name) or f'known are {list(ARRAYS)}'}")

    def all_regions(self, grid: Grid) -> dict[str, Float[np.ndarray, "*shape"]]:
        """Numbers of regions in each cell, of the arrays that are given."""
        return {name: self.values(name).reshape(grid.shape) for name in REGION_ARRAYS if name in self}

    def faults(self, grid: Grid) -> dict[str, Int[np.ndarray, " k"]]:
        """The faces of each fault."""
        return self._faults.on(grid)


def _wrong(
    name: str, field: Float[np.ndarray, "nx ny nz"], record: Record, wrong: Int[np.ndarray, "m 3"], why: str
) -> DeckError:
    i, j, k = wrong[0] + 1
    got = field[tuple(wrong[0])] / record.units.scale(ARRAYS[name].dimension)
    rest = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return DeckError(f"{record.place}: {name}: got {got:g} in cell ({i}, {j}, {k}){rest}; {why}")


def places(where: Bool[np.ndarray, "nx ny nz"]) -> Int[np.ndarray, "n 3"]:
    """The cells of a mask in Eclipse's order, i fastest, from 0."""
    return np.argwhere(where.T)[:, ::-1]
