"""Reads Eclipse decks of oil and water into a case; what it cannot honour is an error that names file and line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.eclipse.arrays import ARRAYS, OPERATIONS, VECTORS, DeckArrays
from rockbank.flow.eclipse.text import SECTIONS, DeckError, Keyword, Record, read_keywords
from rockbank.flow.eclipse.wells import DeckWells, read_date
from rockbank.flow.equations.equilibrium import equilibrium
from rockbank.flow.equations.fluid import GRAVITY, Fluid, Phase
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.relperm import SaturationTable
from rockbank.flow.equations.rock import Rock

# Eclipse's date where a deck has no START.
_START = datetime(1983, 1, 1)
_TABLES = ("SWOF", "PVTW", "PVDO", "PVCDO", "DENSITY", "ROCK", "EQUIL")
_WELLS: Mapping[str, int | None] = {
    "WELSPECS": None,
    "COMPDAT": None,
    "WCONINJE": None,
    "WCONPROD": None,
    "TSTEP": 1,
    "DATES": None,
}
# What changes no result, or only asks for output, passed over: how many records each has.
PASSED_OVER: Mapping[str, int | None] = {
    **dict.fromkeys(SECTIONS, 0),
    **dict.fromkeys(("OIL", "WATER", "METRIC", "FIELD", "UNIFIN", "UNIFOUT", "FMTIN", "FMTOUT"), 0),
    **dict.fromkeys(("ECHO", "NOECHO", "INIT", "NOWARN", "WARN", "CART", "IMPLICIT", "OLDTRAN", "FILLEPS"), 0),
    **dict.fromkeys(("ALL", "RUNSUM", "SEPARATE", "EXCEL", "RPTONLY", "RPTONLYO", "PERFORMA", "MSUMLINS"), 0),
    **dict.fromkeys(("MSUMNEWT", "TCPU", "TIMESTEP", "NEWTON", "NLINEARS", "MLINEARS", "ELAPSED", "DAY", "YEAR"), 0),
    **dict.fromkeys(("TABDIMS", "WELLDIMS", "EQLDIMS", "REGDIMS", "NSTACK", "MESSAGES", "GRIDFILE", "GRIDUNIT"), 1),
    **dict.fromkeys(("MAPAXES", "MAPUNITS", "RPTGRID", "RPTPROPS", "RPTSOL", "RPTRST", "RPTSCHED", "RPTSMRY"), 1),
    **dict.fromkeys(("NEXTSTEP", "DRSDT", "SMRYDIMS", "SUMTHIN"), 1),
    "TUNING": 3,
}
_N_RECORDS: Mapping[str, int | None] = {
    **PASSED_OVER,
    **dict.fromkeys((*ARRAYS, *VECTORS, *_TABLES, "DIMENS", "START", "BOX"), 1),
    **dict.fromkeys(OPERATIONS, None),
    **_WELLS,
    "ENDBOX": 0,
}
# How far a PVDO table may be from one compressibility and one viscosity.
_SAME_VOLUME, _SAME_VISCOSITY = 1e-4, 1e-6


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
    for keyword in read_keywords(path, _N_RECORDS):
        reader.take(keyword)
    try:
        return reader.case(gravity)
    except DeckError as error:
        raise (error if str(error).startswith(str(path)) else DeckError(f"{path}: {error}")) from None
    except InputError as error:
        raise DeckError(f"{path}: {error}") from error


class _Reader:
    """A deck as far as it has been read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._title = ""
        self._start = _START
        self._seen: set[str] = set()
        self._tables: dict[str, Record] = {}
        self._arrays: DeckArrays | None = None
        self._grid: Grid | None = None
        self._wells: DeckWells | None = None

    def take(self, keyword: Keyword) -> None:
        """Keep what the keyword says."""
        name = keyword.name
        self._seen.add(name)
        if keyword.section == "SUMMARY":
            return
        if name == "TITLE":
            self._title = keyword.record.text(1)
        elif name == "START":
            self._start = read_date(keyword.record)
        elif name == "DIMENS":
            self._arrays = DeckArrays((keyword.record.whole(1), keyword.record.whole(2), keyword.record.whole(3)))
        elif name in ("TABDIMS", "EQLDIMS"):
            self._one_region(keyword.record, 2 if name == "TABDIMS" else 1)
        elif name in _TABLES:
            self._tables[name] = keyword.record
        elif name in _WELLS:
            self._schedule(keyword).take(keyword)
        elif name not in PASSED_OVER:
            self._need_arrays(keyword).take(keyword)

    def case(self, gravity: float | None) -> Case:
        """All of it."""
        if "OIL" not in self._seen or "WATER" not in self._seen:
            raise DeckError("the deck is not of OIL and WATER; say both in RUNSPEC")
        if self._arrays is None or self._grid is None or self._wells is None:
            raise DeckError("the deck has no DIMENS or no schedule; give both")
        grid = self._grid
        rock = _rock(grid, self._arrays, self._tables.get("ROCK"))
        if gravity is None:
            gravity = GRAVITY if grid.box[2] > 1 else 0.0
        fluid = self._fluid(gravity)
        return Case(
            title=self._title or self._path.stem,
            rock=rock,
            fluid=fluid,
            wells=tuple(self._wells.wells(rock)),
            schedule=self._wells.schedule(),
            initial=self._initial(grid, fluid, self._arrays),
            start=self._start,
            notes=tuple(self._wells.notes),
        )

    @staticmethod
    def _one_region(record: Record, n_items: int) -> None:
        for i in range(1, n_items + 1):
            if record.whole(i, 1) != 1:
                raise record.error(f"item {i}: got {record.whole(i)}; one region of each kind is supported")

    def _need_arrays(self, keyword: Keyword) -> DeckArrays:
        if self._arrays is None:
            raise keyword.error("comes before DIMENS")
        return self._arrays

    def _schedule(self, keyword: Keyword) -> DeckWells:
        """The wells; with the schedule's first keyword, the grid is complete."""
        if self._wells is None:
            try:
                self._grid = self._need_arrays(keyword).grid()
            except InputError as error:
                raise DeckError(f"{self._path}: {error}") from error
            self._wells = DeckWells(self._grid, self._start)
        return self._wells

    def _table(self, name: str) -> Record:
        if name not in self._tables:
            raise DeckError(f"the deck has no {name}; give it")
        return self._tables[name]

    def _fluid(self, gravity: float) -> Fluid:
        density = self._table("DENSITY")
        oil = self._table("PVCDO") if "PVCDO" in self._tables else self._table("PVDO")
        read_oil = _liquid if oil.keyword == "PVCDO" else _dead_oil
        return Fluid(
            water=_liquid(self._table("PVTW"), density.number(2, "density")),
            oil=read_oil(oil, density.number(1, "density")),
            curves=_curves(self._table("SWOF")),
            gravity=gravity,
        )

    def _initial(self, grid: Grid, fluid: Fluid, arrays: DeckArrays) -> State:
        if "PRESSURE" in arrays or "SWAT" in arrays:
            pressure, saturation = (
                _tensor(arrays.complete(name, grid.is_active), grid) for name in ("PRESSURE", "SWAT")
            )
            return State(pressure=pressure, saturation=saturation)
        if "EQUIL" not in self._tables:
            raise DeckError("the deck has no initial state; give EQUIL, or PRESSURE and SWAT")
        record = self._tables["EQUIL"]
        return equilibrium(
            grid,
            fluid,
            datum=record.number(1, "length", 0.0),
            pressure=record.number(2, "pressure"),
            contact=record.number(3, "length", 0.0),
            capillary_at_contact=record.number(4, "pressure", 0.0),
        )


def _rock(grid: Grid, arrays: DeckArrays, table: Record | None) -> Rock:
    names = ["PERMX", *(name if name in arrays else "PERMX" for name in ("PERMY", "PERMZ"))]
    k = [_tensor(arrays.complete(name, grid.is_active), grid) for name in names]
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


def _liquid(record: Record, density: float) -> Phase:
    """PVTW and PVCDO: reference pressure, volume factor there, compressibility, viscosity, its change."""
    if record.number(5, "compressibility", 0.0) != 0:
        raise record.error(f"item 5: got {record.text(5)}; the viscosity cannot change with pressure, say 0")
    compressibility = record.number(3, "compressibility", 0.0)
    return Phase(
        viscosity=record.number(4, "viscosity"),
        density=density,
        compressibility=compressibility,
        reference_pressure=_reference(record, record.number(1, "pressure"), record.number(2), compressibility),
    )


def _reference(record: Record, pressure: float, volume_factor: float, compressibility: float) -> float:
    """The pressure at which the volume factor is 1."""
    if volume_factor == 1.0:
        return pressure
    if compressibility == 0:
        raise record.error(f"volume factor {volume_factor} without compressibility is not supported; use 1")
    return pressure + math.log(volume_factor) / compressibility


def _dead_oil(record: Record, density: float) -> Phase:
    """PVDO: rows of pressure, volume factor and viscosity, which have to be those of a constant compressibility."""
    numbers = np.asarray(record.numbers())
    if numbers.size < 6 or numbers.size % 3:
        raise record.error(f"got {numbers.size} numbers; give rows of pressure, volume factor and viscosity")
    pressure, volume_factor, viscosity = numbers.reshape(-1, 3).T
    if np.ptp(viscosity) > _SAME_VISCOSITY * viscosity[0]:
        raise record.error(f"viscosities from {viscosity.min():g} to {viscosity.max():g}; only a constant one is "
                           "supported")  # fmt: skip
    pressure, log = pressure * record.units.scale("pressure"), np.log(volume_factor)
    compressibility = -(log[-1] - log[0]) / (pressure[-1] - pressure[0])
    off = np.abs(log - log[0] + compressibility * (pressure - pressure[0])).max()
    if off > _SAME_VOLUME:
        raise record.error(f"the volume factors are {off:.1g} from those of a constant compressibility, which alone is "
                           f"supported, to {_SAME_VOLUME:g}")  # fmt: skip
    return Phase(
        viscosity=float(viscosity[0]) * record.units.scale("viscosity"),
        density=density,
        compressibility=max(float(compressibility), 0.0),
        reference_pressure=_reference(record, float(pressure[0]), float(volume_factor[0]), float(compressibility)),
    )


def _curves(record: Record) -> SaturationTable:
    """SWOF: rows of water saturation, its and the oil's relative permeability, capillary pressure."""
    if len(record.items) % 4 or None in record.items:
        raise record.error(f"got {len(record.items)} items; give rows of Sw, krw, krow and Pc, without defaults")
    s, k_water, k_oil, p_c = np.asarray(record.numbers()).reshape(-1, 4).T
    try:
        return SaturationTable(
            saturation=tuple(map(float, s)),
            k_water=tuple(map(float, k_water)),
            k_oil=tuple(map(float, k_oil)),
            p_capillary=tuple(map(float, p_c * record.units.scale("pressure"))),
        )
    except InputError as error:
        raise record.error(str(error)) from error
