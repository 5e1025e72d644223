"""Reads Eclipse decks of oil and water into a case; what it cannot honour is an error that names file and line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Int

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.eclipse.dimensions import Dimensions
from rockbank.flow.eclipse.faults import Faults
from rockbank.flow.eclipse.fluids.compaction import Compaction, read_compaction
from rockbank.flow.eclipse.fluids.curves import read_curves
from rockbank.flow.eclipse.fluids.initial import read_initial
from rockbank.flow.eclipse.fluids.liquids import read_liquids
from rockbank.flow.eclipse.grid.aquifers import NumericalAquifers
from rockbank.flow.eclipse.grid.arrays import DeckArrays
from rockbank.flow.eclipse.grid.connections import Connections
from rockbank.flow.eclipse.grid.geometry import Geometry, box_of, read_rock, require_box, require_pinch
from rockbank.flow.eclipse.keywords import (
    FLUID_TABLES,
    N_RECORDS,
    PASSED_OVER,
    PASSED_OVER_BEGINNING,
    PASSED_OVER_WHOLE,
    REFUSED,
    SATURATION_TABLES,
    SCHEDULE,
    TABLES,
)
from rockbank.flow.eclipse.lines import DeckError, Lines
from rockbank.flow.eclipse.ranges import ARRAYS, OPERATIONS, VECTORS
from rockbank.flow.eclipse.record import Record
from rockbank.flow.eclipse.schedule.dates import read_date
from rockbank.flow.eclipse.schedule.wells import DeckWells
from rockbank.flow.eclipse.text import SLASH, Keyword, read_keywords
from rockbank.flow.eclipse.tuning import DEFAULT, read_tuning
from rockbank.flow.equations.fluid import GRAVITY, Fluid
from rockbank.flow.equations.grid import Grid
from rockbank.flow.units import DECK_UNITS

# Eclipse's date where a deck has no START.
_START = datetime(1983, 1, 1)
_KNOWN = frozenset((*REFUSED, *PASSED_OVER_WHOLE))
_GEOMETRY = ("COORD", "ZCORN", "MINPV", "PINCH")


def read_deck(path: Path, *, gravity: float | None = None) -> Case:
    """The case of a deck.

    Read are boxes of cells and corner points, multipliers of faces and pores, water and oil of PVTW, PVCDO and PVDO,
    SWOF or SWFN with SOF2, by regions and with end points of cells, explicit or hydrostatic initial states, wells
    under rate or bottom-hole pressure with Eclipse's defaults, METRIC, FIELD and LAB units.

    Args:
        path: of the deck; what it includes is relative to its folder.
        gravity: m/s^2; None is the Earth's. Where all cells lie at one depth, to which the wells refer too, the fluids'
            is 0, which is then the same; the initial state is that of the Earth's all the same.

    Raises:
        DeckError: with a line for each keyword or item that is not supported, or wrong, naming file and line.
    """
    return _Reader(path).case(gravity)


class _Reader:
    """A deck as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files: list[Path] = []
        self._title = ""
        self._start = _START
        self._notes: list[str] = []
        self._passed_over: dict[str, None] = {}
        self._stray: list[str] = []
        self._seen: set[str] = set()
        self._faults = Faults(path, self._lose)
        self._n_records = dict(N_RECORDS)
        self._tables: dict[str, list[Record]] = {}
        self._geometry: dict[str, Record] = {}
        self._scaling: dict[str, Record] = {}
        self._dimensions = Dimensions()
        self._connections = Connections()
        self._aquifers = NumericalAquifers()
        self._arrays: DeckArrays | None = None
        self._grid: Grid | None = None
        self._wells: DeckWells | None = None
        self._region_set = "F"
        self._options = DEFAULT

    def case(self, gravity: float | None) -> Case:
        """All of the deck, or all that is wrong with it."""
        case = None
        with self._faults.caught():
            lines = Lines(self._path)
            self._files = lines.files
            for keyword in read_keywords(lines, self._n_records, self._faults.refuse, _KNOWN):
                with self._faults.caught(keyword):
                    self._take(keyword)
            case = self._case(gravity)
        if self._faults or case is None:
            raise self._faults.error()
        return case

    def _lose(self, keyword: Keyword) -> None:
        if self._arrays is not None:
            self._arrays.lose(keyword.name)
        if self._wells is not None:
            self._wells.lose(keyword)

    def _take(self, keyword: Keyword) -> None:
        """Keep what the keyword says."""
        name = keyword.name
        if name in ("START", "DIMENS") and name in self._seen:
            raise keyword.error("is given twice; keep one")
        self._seen.add(name)
        if not keyword.is_known:
            self._pass_over(keyword)
        elif name == SLASH:
            self._stray.append(str(keyword.place))
        elif name == "TITLE":
            self._title = keyword.record.text(1)
        elif name == "START":
            self._start = read_date(keyword.record)
        elif name == "DIMENS":
            self._arrays = DeckArrays(box_of(keyword.record), self._faults.refuse)
        elif name == "TUNING":
            self._tune(keyword)
        elif name in TABLES:
            self._take_table(keyword)
        elif name in SCHEDULE:
            self._schedule(keyword).take(keyword)
        elif name in (*ARRAYS, *VECTORS, *OPERATIONS, "BOX", "ENDBOX", "FAULTS", "MULTFLT"):
            if keyword.section == "SCHEDULE":
                raise keyword.error("rock does not change with time; say it before SCHEDULE")
            self._need_arrays(keyword).take(keyword)
        elif name in ("NNC", "EDITNNC", "AQUNUM", "AQUCON"):
            if keyword.section == "SCHEDULE":
                raise keyword.error("what cells touch does not change with time; say it before SCHEDULE")
            (self._aquifers if name.startswith("AQU") else self._connections).take(keyword.records)
        elif name in ("TABDIMS", "EQLDIMS", "ROCKOPTS"):
            rock = self._tables.get("ROCK", [None])[0]
            self._n_records.update(self._dimensions.take(keyword, rock))
        elif name in ("ENDSCALE", "SCALECRS"):
            self._scaling[name] = keyword.record
            if name == "ENDSCALE" and keyword.record.text(1, "NODIR").upper() != "NODIR":
                raise keyword.record.error(f"item 1: got '{keyword.record.text(1)}'; end points are those of all "
                                           "directions, say NODIR")  # fmt: skip
        elif name in _GEOMETRY:
            self._geometry[name] = keyword.record
            if name == "PINCH":
                require_pinch(keyword.record)
        elif name == "NUMRES":
            if keyword.record.whole(1, 1) > 1:
                raise keyword.record.error(f"item 1: got {keyword.record.whole(1)}; one reservoir is supported")
        elif name == "SPECGRID":
            require_box(keyword.record, self._need_arrays(keyword).box)
        elif name in PASSED_OVER or name not in N_RECORDS:
            self._passed_over[name] = None
            if name == "GRIDOPTS" and keyword.record.whole(2, 0) > 0:
                self._region_set = "M"

    def _pass_over(self, keyword: Keyword) -> None:
        """A keyword of which the number of records is not known."""
        if keyword.name in PASSED_OVER_WHOLE or keyword.name.startswith(PASSED_OVER_BEGINNING):
            self._passed_over[keyword.name] = None
        else:
            self._faults.unknown(keyword)

    def _case(self, gravity: float | None) -> Case | None:
        """All of it; None where there is none."""
        if "OIL" not in self._seen or "WATER" not in self._seen:
            self._faults.refuse(InputError("the deck is not of OIL and WATER; say both in RUNSPEC"))
            self._faults.lost |= {"PVDO", "SWOF", "DENSITY"}
        if sum(name in self._seen for name in DECK_UNITS) > 1:
            self._faults.refuse(InputError("the deck is of METRIC and FIELD units; keep one"))
        if self._arrays is None or self._grid is None or self._wells is None:
            lacks = "DIMENS" if self._arrays is None else "schedule"
            self._faults.refuse(InputError(f"the deck has no {lacks}; give it"))
            return None
        arrays, grid, wells = self._arrays, self._grid, self._wells
        fluid = rock = initial = schedule = None
        own_gravity = gravity
        if gravity is None:
            gravity = GRAVITY if np.ptp(grid.depth) > 0 or wells.has_head(grid) else 0.0
        with self._faults.caught():
            fluid = self._fluid(arrays, grid, gravity)
        with self._faults.caught():
            compaction = self._compaction()
            if not self._faults.has_errors:
                rock = self._connections.joined(
                    read_rock(grid, arrays, pinch=self._geometry.get("PINCH"), **vars(compaction))
                )
        with self._faults.caught():
            schedule = wells.schedule()
        if fluid is not None:
            with self._faults.caught():
                at_rest = replace(fluid, gravity=GRAVITY if own_gravity is None else own_gravity)
                initial, curves = read_initial(self._tables, self._regions("EQLNUM", ("EQUIL",)), arrays, grid, at_rest,
                                               is_apart=self._aquifers.have_pressure(grid))  # fmt: skip
                fluid = replace(fluid, curves=curves)
                initial = self._aquifers.filled(initial, grid, is_explicit="EQUIL" not in self._tables)
        found = wells.wells(rock) if rock is not None else []
        if fluid is None or rock is None or initial is None or schedule is None or self._faults:
            return None
        return Case(
            title=self._title or self._path.stem,
            rock=rock,
            fluid=fluid,
            wells=tuple(found),
            schedule=schedule,
            initial=initial,
            options=self._options,
            start=self._start,
            history=wells.history(),
            regions=arrays.all_regions(grid),
            faults=arrays.faults(rock.grid),
            files=tuple(self._files),
            notes=(*self._own_notes(), *arrays.notes, *self._connections.notes, *self._aquifers.notes, *wells.notes),
        )

    def _fluid(self, arrays: DeckArrays, grid: Grid, gravity: float) -> Fluid | None:
        liquids = regions = None
        with self._faults.caught():
            liquids, regions = read_liquids(self._tables, self._regions("PVTNUM", FLUID_TABLES[:-1]))
        curves = read_curves(self._tables, self._regions("SATNUM", SATURATION_TABLES), arrays, grid.cells,
                             scaling=self._scaling)  # fmt: skip
        if liquids is None:
            return None
        return Fluid(water=liquids[0], oil=liquids[1], curves=curves, gravity=gravity, regions=regions)

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

    def _take_table(self, keyword: Keyword) -> None:
        if (before := self._tables.get(keyword.name)) is not None:
            self._notes.append(f"{keyword.record.place}: {keyword.name} is given again, after {before[0].place}; the "
                               "last one counts")  # fmt: skip
        self._tables[keyword.name] = keyword.records

    def _need_arrays(self, keyword: Keyword) -> DeckArrays:
        if self._arrays is None:
            raise keyword.error("comes before DIMENS")
        self._arrays.region_set = self._region_set
        if "INCLUDE" in self._faults.lost:
            self._arrays.lose("INCLUDE")
        return self._arrays

    def _schedule(self, keyword: Keyword) -> DeckWells:
        """The wells; with the schedule's first keyword, the grid is complete."""
        if self._wells is None:
            arrays = self._need_arrays(keyword)
            # Where there is no grid, the schedule is held against the box.
            shape = arrays.box if arrays.box[2] > 1 else arrays.box[:2]
            self._grid = Grid(shape=shape, spacing=(1.0, 1.0, 1.0))
            with self._faults.caught():
                given = {name.lower(): record for name, record in self._geometry.items()}
                cells = self._aquifers.fill(arrays)
                self._grid = Geometry(**given, has_nnc="NONNC" not in self._seen, aquifers=cells).grid(arrays)
                self._grid = self._connections.linked(self._aquifers.joined(self._grid, arrays))
                arrays.require_values(self._grid.is_active)
            self._wells = DeckWells(self._grid, arrays.values("SATNUM"), self._start, self._faults.refuse)
            if "INCLUDE" in self._faults.lost:
                self._wells.lose(replace(keyword, name="WELSPECS"))
        return self._wells

    def _regions(self, name: str, tables: tuple[str, ...]) -> Int[np.ndarray, " n"]:
        """Regions of the active cells, from 0."""
        assert self._arrays is not None
        assert self._grid is not None
        n = max([len(self._tables[each]) for each in tables if each in self._tables], default=1)
        return np.asarray(self._arrays.regions(name, self._grid.is_active, n).ravel()[self._grid.cells])

    def _compaction(self) -> Compaction:
        assert self._arrays is not None
        name = self._dimensions.rock_regions
        if name != "ROCKNUM" and "ROCKNUM" in self._arrays:
            self._notes.append(f"{self._arrays.place('ROCKNUM')}: ROCKNUM: ROCK goes by {name}; item 3 of ROCKOPTS "
                               "would say otherwise")  # fmt: skip
        return read_compaction(self._tables, self._regions(name, ("ROCK",)))
