"""A deck's tables of fluids: DENSITY, PVTW, PVCDO or PVDO, and SWOF or SWFN with SOF2."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.relperm import SaturationTable
from rockbank.flow.units import BAR

# How far a PVDO table may be from one compressibility and one viscosity.
_SAME_VOLUME, _SAME_VISCOSITY = 1e-4, 1e-6
# A volume factor that is the same at all pressures is that of this compressibility: it changes by 1e-7 over 100 bar.
_LEAST_COMPRESSIBILITY = 1e-9 / BAR


Tables = Mapping[str, Sequence[Record]]


def read_fluid(tables: Tables, gravity: float, *, pvt: int = 0, saturation: int = 0) -> Fluid:
    """Water and oil of a deck, in one region of each kind.

    Args:
        tables: the records of the keywords above, by name.
        gravity: m/s^2.
        pvt: region of PVTNUM, from 0.
        saturation: of SATNUM.

    Raises:
        DeckError: a table is missing, there are two of the oil, or one says what is not supported.
    """
    density = table_of(tables, "DENSITY", pvt)
    if "PVCDO" in tables and "PVDO" in tables:
        raise tables["PVDO"][0].error(f"PVCDO in {tables['PVCDO'][0].place} says the same of the oil; keep one")
    oil = table_of(tables, "PVCDO" if "PVCDO" in tables else "PVDO", pvt)
    read_oil = _liquid if oil.keyword == "PVCDO" else _dead_oil
    return Fluid(
        water=_liquid(table_of(tables, "PVTW", pvt), density.number(2, "density", 999.04)),
        oil=read_oil(oil, density.number(1, "density", 600.0)),
        curves=_read_curves(tables, saturation),
        gravity=gravity,
    )


def table_of(tables: Tables, name: str, region: int) -> Record:
    """The table of a region, or the one before where it is empty, as Eclipse has it."""
    if name not in tables:
        raise InputError(f"the deck has no {name}; give it")
    records = tables[name]
    for record in reversed(records[: region + 1]):
        if len(record.items):
            return record
    raise records[0].error("is empty; give its numbers")


def _read_curves(tables: Tables, region: int) -> SaturationTable:
    if "SWOF" in tables:
        if "SWFN" in tables or "SOF2" in tables:
            other = tables["SWFN" if "SWFN" in tables else "SOF2"][0]
            raise other.error(f"SWOF in {tables['SWOF'][0].place} says the same; keep one family of tables")
        record = table_of(tables, "SWOF", region)
        s, k_water, k_oil, p_c = _columns(record, 4)
    else:
        if "SWFN" not in tables and "SOF2" not in tables:
            raise InputError("the deck has no SWOF; give it, or SWFN and SOF2")
        record = table_of(tables, "SWFN", region)
        (s_w, of_water, pressure), (s_o, of_oil) = _columns(record, 3), _columns(table_of(tables, "SOF2", region), 2)
        s = np.unique(np.concatenate([s_w, 1 - s_o]).round(12))
        s = s[s >= s_w[0] - 1e-12]
        k_water, k_oil, p_c = np.interp(s, s_w, of_water), np.interp(1 - s, s_o, of_oil), np.interp(s, s_w, pressure)
    try:
        return SaturationTable(
            saturation=tuple(map(float, s)),
            k_water=tuple(map(float, k_water)),
            k_oil=tuple(map(float, k_oil)),
            p_capillary=tuple(map(float, p_c * record.units.scale("pressure"))),
        )
    except InputError as error:
        raise record.error(str(error)) from error


def _columns(record: Record, n: int) -> Float[np.ndarray, "n rows"]:
    """A table's columns; a default lies on the straight line between its neighbours, as in Eclipse."""
    if len(record.items) % n or not len(record.items):
        raise record.error(f"got {len(record.items)} items; give rows of {n}")
    rows = record.items.numbers().reshape(-1, n).T
    for i in np.flatnonzero(np.isnan(rows.T.ravel())):
        if record.has(int(i) + 1):
            record.number(int(i) + 1)
    if not np.isfinite(rows[0]).all():
        raise record.error("a saturation is left out; give each")
    for column in rows[1:]:
        given = ~np.isnan(column)
        if not (given[0] and given[-1]):
            raise record.error("the first or the last number of a column is left out; give both")
        column[~given] = np.interp(rows[0][~given], rows[0][given], column[given])
    return rows


def _liquid(record: Record, density: float) -> Phase:
    """PVTW and PVCDO: reference pressure, volume factor there, compressibility, viscosity, its change."""
    if record.number(5, "compressibility", 0.0) != 0:
        raise record.error(f"item 5: got {record.text(5)}; the viscosity cannot change with pressure, say 0")
    return _phase(
        record,
        pressure=record.number(1, "pressure"),
        volume_factor=record.number(2, default=1.0),
        compressibility=record.number(3, "compressibility", 0.0),
        viscosity=record.number(4, "viscosity"),
        density=density,
    )


def _phase(
    record: Record,
    *,
    pressure: float,
    volume_factor: float,
    compressibility: float,
    viscosity: float,
    density: float,
) -> Phase:
    """The liquid of a volume factor at a pressure, from which follows the pressure where it is 1."""
    if not volume_factor > 0:
        raise record.error(f"got volume factor {volume_factor:g}; it must be positive")
    if compressibility < 0:
        raise record.error(f"got compressibility {compressibility:g} 1/Pa; it must be 0 or more")
    if volume_factor != 1.0:
        compressibility = max(compressibility, _LEAST_COMPRESSIBILITY)
        pressure += math.log(volume_factor) / compressibility
    try:
        return Phase(viscosity=viscosity, density=density, compressibility=compressibility, reference_pressure=pressure)
    except InputError as error:
        raise record.error(str(error)) from error


def _dead_oil(record: Record, density: float) -> Phase:
    """PVDO: rows of pressure, volume factor and viscosity, which have to be those of a constant compressibility."""
    numbers = record.numbers()
    if numbers.size < 6 or numbers.size % 3:
        raise record.error(f"got {numbers.size} numbers; give rows of pressure, volume factor and viscosity")
    pressure, volume_factor, viscosity = numbers.reshape(-1, 3).T
    if not ((np.diff(pressure) > 0).all() and (volume_factor > 0).all()):
        raise record.error("pressures have to increase, and volume factors to be positive")
    if np.ptp(viscosity) > _SAME_VISCOSITY * viscosity[0]:
        raise record.error(f"viscosities from {viscosity.min():g} to {viscosity.max():g}; only a constant one is "
                           "supported")  # fmt: skip
    pressure, log = pressure * record.units.scale("pressure"), np.log(volume_factor)
    compressibility = -(log[-1] - log[0]) / (pressure[-1] - pressure[0])
    off = np.abs(log - log[0] + compressibility * (pressure - pressure[0])).max()
    if off > _SAME_VOLUME:
        raise record.error(f"the volume factors are {off:.1g} from those of a constant compressibility, which alone is "
                           f"supported, to {_SAME_VOLUME:g}")  # fmt: skip
    return _phase(
        record,
        pressure=float(pressure[0]),
        volume_factor=float(volume_factor[0]),
        compressibility=max(float(compressibility), 0.0),
        viscosity=float(viscosity[0]) * record.units.scale("viscosity"),
        density=density,
    )
