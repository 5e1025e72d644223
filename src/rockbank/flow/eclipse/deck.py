"""Reads Eclipse decks of oil and water into a case; what it cannot honour is an error that names file and line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.eclipse.arrays import OPERATIONS, VECTORS, DeckArrays
from rockbank.flow.eclipse.fluids import read_fluid
from rockbank.flow.eclipse.keywords import N_RECORDS, PASSED_OVER, SCHEDULE, TABLES
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.ranges import ARRAYS
from rockbank.flow.eclipse.text import MOST_NUMBERS, SLASH, Keyword, Record, read_keywords
from rockbank.flow.eclipse.tuning import read_tuning
from rockbank.flow.eclipse.wells import DeckWells, read_date
from rockbank.flow.equations.equilibrium import equilibrium
from rockbank.flow.equations.fluid import GRAVITY, Fluid
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock

# Eclipse's date where a deck has no START.
_START = datetime(1983, 1, 1)
# Of EQUIL's item 9.
_SUBDIVISIONS = -5


def read_deck(path: Path, *, gravity: float | None = None) -> Case:
    """The case of a deck.

    Read are boxes of cells in straight rows, one region of each kind, water and oil of constant viscosity and
    compressibility, SWOF, explicit or hydrostatic initial states, wells under rate or bottom-hole pressure with
    Eclipse's defaults, METRIC and FIELD units.

    Args:
        path: of the deck; what it includes is relative to its folder.
        gravity: m/s^2; None is the Earth's where there are layers, and else 0, which is then the same.

    Raises:
        DeckError: for a keyword or an item that is not supported, or wrong, naming file and line.
    """
    reader = _Reader(path)
    try:
        for keyword in read_keywords(path, N_RECORDS):
            reader.take(keyword)
        return reader.case(gravity)
    except DeckError:
        raise
    except InputError as error:
        # What has no place in the deck is missing from it, or is wrong as a whole.
        raise DeckError(f"{path}: {error}") from error


class _Reader:
    """A deck as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._title = ""
        self._start = _START
        self._notes: list[str] = []
        self._passed_over: dict[str, None] = {}
        self._stray: list[str] = []
        self._seen: set[str] = set()
        self._tables: dict[str, Record] = {}
        self._arrays: DeckArrays | None = None
        self._grid: Grid | None = None
        self._wells: DeckWells | None = None
        self._options = Options()

    def take(self, keyword: Keyword) -> None:
        """Keep what the keyword says."""
        name = keyword.name
        if name in ("START", "DIMENS") and name in self._seen:
            raise keyword.error("is given twice; keep one")
        self._seen.add(name)
        if name == SLASH:
            self._stray.append(str(keyword.place))
        elif keyword.section == "SUMMARY":
            return
        elif name == "TITLE":
            self._title = keyword.record.text(1)
        elif name == "START":
            self._start = read_date(keyword.record)
        elif name == "DIMENS":
            self._arrays = DeckArrays(_box(keyword.record))
        elif name == "TUNING":
            self._tune(keyword)
        elif name in TABLES:
            self._take_table(keyword.record)
        elif name in SCHEDULE:
            self._schedule(keyword).take(keyword)
        elif name in (*ARRAYS, *VECTORS, *OPERATIONS, "BOX", "ENDBOX"):
            self._need_arrays(keyword).take(keyword)
        elif name in ("TABDIMS", "EQLDIMS", "NUMRES"):
            _require_one_region(keyword.record, 2 if name == "TABDIMS" else 1)
        elif name == "SPECGRID":
            _require_box(keyword.record, self._need_arrays(keyword).box)
        elif name in PASSED_OVER or name not in N_RECORDS:
            self._passed_over[name] = None

    def case(self, gravity: float | None) -> Case:
        """All of it."""
        if "OIL" not in self._seen or "WATER" not in self._seen:
            raise InputError("the deck is not of OIL and WATER; say both in RUNSPEC")
        if self._arrays is None or self._grid is None or self._wells is None:
            raise InputError("the deck has no DIMENS or no schedule; give both")
        if {"METRIC", "FIELD"} <= self._seen:
            raise InputError("the deck is of METRIC and FIELD units; keep one")
        grid = self._grid
        self._arrays.require_values(grid.is_active)
        rock = _rock(grid, self._arrays, self._tables.get("ROCK"))
        if gravity is None:
            gravity = GRAVITY if grid.box[2] > 1 else 0.0
        fluid = read_fluid(self._tables, gravity)
        return Case(
            title=self._title or self._path.stem,
            rock=rock,
            fluid=fluid,
            wells=tuple(self._wells.wells(rock)),
            schedule=self._wells.schedule(),
            initial=self._initial(grid, fluid, self._arrays),
            options=self._options,
            start=self._start,
            notes=(*self._own_notes(), *self._arrays.notes, *self._wells.notes),
        )

    def _own_notes(self) -> Iterator[str]:
        if self._passed_over:
            yield f"passed over, since they change nothing here: {', '.join(self._passed_over)}"
        if self._stray:
            yield f"passed over a '/' that ends nothing: {', '.join(self._stray)}"
        yield from self._notes

    def _tune(self, keyword: Keyword) -> None:
        if {"TSTEP", "DATES"} & self._seen:
            raise keyword.error("comes after the first step; steps and tolerances cannot change later, give it before")
        try:
            self._options, notes = read_tuning(keyword)
        except DeckError:
            raise
        except InputError as error:
            raise keyword.error(str(error)) from error
        self._notes += notes

    def _take_table(self, record: Record) -> None:
        if (before := self._tables.get(record.keyword)) is not None:
            self._notes.append(f"{record.place}: {record.keyword} is given again, after {before.place}; the last one "
                               "counts")  # fmt: skip
        self._tables[record.keyword] = record

    def _need_arrays(self, keyword: Keyword) -> DeckArrays:
        if self._arrays is None:
            raise keyword.error("comes before DIMENS")
        return self._arrays

    def _schedule(self, keyword: Keyword) -> DeckWells:
        """The wells; with the schedule's first keyword, the grid is complete."""
        if self._wells is None:
            self._grid = self._need_arrays(keyword).grid()
            self._wells = DeckWells(self._grid, self._start)
        return self._wells

    def _initial(self, grid: Grid, fluid: Fluid, arrays: DeckArrays) -> State:
        is_explicit = any(name in arrays for name in ("PRESSURE", "SWAT", "SOIL"))
        if is_explicit and "EQUIL" in self._tables:
            raise self._tables["EQUIL"].error("PRESSURE, SWAT or SOIL is given too; keep one way to begin")
        if is_explicit:
            return State(
                pressure=_tensor(arrays.complete("PRESSURE", grid.is_active), grid),
                saturation=_tensor(arrays.water_saturation(grid.is_active), grid),
            )
        if "EQUIL" not in self._tables:
            raise InputError("the deck has no initial state; give EQUIL, or PRESSURE and SWAT")
        record = self._tables["EQUIL"]
        return equilibrium(
            grid,
            fluid,
            datum=record.number(1, "length", 0.0),
            pressure=record.number(2, "pressure"),
            contact=record.number(3, "length", 0.0),
            capillary_at_contact=record.number(4, "pressure", 0.0),
            slices=_slices(record),
        )


def _slices(record: Record) -> int:
    """EQUIL's item 9: 0 is a cell's centre, N in size a mean over 2 N slices, which lie flat in cells that do."""
    return max(2 * abs(record.whole(9, _SUBDIVISIONS)), 1)


def _rock(grid: Grid, arrays: DeckArrays, table: Record | None) -> Rock:
    k = [_tensor(field, grid) for field in arrays.permeability(grid.is_active)]
    is_isotropic = all(torch.equal(k[0].nan_to_num(), each.nan_to_num()) for each in k[1:])
    porosity = _tensor(arrays.complete("PORO", grid.is_active), grid)
    if table is None:
        return Rock(grid=grid, permeability=k[0] if is_isotropic else k, porosity=porosity)
    return Rock(
        grid=grid,
        permeability=k[0] if is_isotropic else k,
        porosity=porosity,
        reference_pressure=table.number(1, "pressure"),
        compressibility=table.number(2, "compressibility", 0.0),
    )


def _tensor(field: np.ndarray, grid: Grid) -> torch.Tensor:
    return torch.tensor(field.reshape(grid.shape), dtype=torch.float64)


def _require_one_region(record: Record, n_items: int) -> None:
    """TABDIMS, EQLDIMS and NUMRES: numbers of regions, of which 0 is the default."""
    for i in range(1, n_items + 1):
        if record.whole(i, 1) > 1:
            raise record.error(f"item {i}: got {record.whole(i)}; one region of each kind is supported")


def _box(record: Record) -> tuple[int, int, int]:
    """DIMENS."""
    box = record.whole(1), record.whole(2), record.whole(3)
    if min(box) < 1 or math.prod(box) > MOST_NUMBERS:
        raise record.error(f"got {box} cells; give 1 or more along each axis, {MOST_NUMBERS} in all at most")
    return box


def _require_box(record: Record, box: tuple[int, int, int]) -> None:
    """SPECGRID: the cells of DIMENS, one reservoir, axes that are straight."""
    got = tuple(record.whole(i, n) for i, n in enumerate(box, start=1))
    if got != box:
        raise record.error(f"got {got} cells; DIMENS has {box}")
    if record.whole(4, 1) > 1:
        raise record.error(f"item 4: got {record.whole(4)}; one reservoir is supported")
    if record.text(5, "F").upper() != "F":
        raise record.error(f"item 5: got '{record.text(5)}'; only straight axes are supported, say F")
