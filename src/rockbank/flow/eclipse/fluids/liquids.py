"""A deck's liquids: DENSITY, PVTW, PVCDO or PVDO, of each region of PVTNUM in use."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.equations.curves.pressure_table import PressureTable
from rockbank.flow.equations.fluid import LiquidRegions, Phase
from rockbank.flow.units import BAR, CENTIPOISE

# How far the volumes and viscosities of PVDO may be from constant compressibility and viscosity to be taken for such.
_SAME_VOLUME, _SAME_VISCOSITY = 1e-7, 1e-6
# A volume factor that is the same at all pressures is that of this compressibility: it changes by 1e-7 over 100 bar.
_LEAST_COMPRESSIBILITY = 1e-9 / BAR
# Viscosity and compressibility of water where PVTW says none.
_VISCOSITY, _COMPRESSIBILITY = 0.5 * CENTIPOISE, 4e-5 / BAR

Tables = Mapping[str, Sequence[Record]]


def read_liquids(tables: Tables, regions: Int[np.ndarray, " n"]) -> tuple[tuple[Phase, Phase], LiquidRegions | None]:
    """Water and oil of the first region in use, and where others are.

    Args:
        tables: the records of the keywords above, by name.
        regions: PVTNUM of the active cells, from 0.

    Raises:
        DeckError: a table is missing, there are two of the oil, or one says what is not supported.
    """
    used, of_cells = np.unique(regions, return_inverse=True)
    each = [_liquids(tables, int(region)) for region in used]
    distinct = list(dict.fromkeys(each))
    places = np.array([distinct.index(pair) for pair in each], dtype=int)
    return distinct[0], (
        LiquidRegions(liquids=tuple(distinct[1:]), region=places[of_cells]) if len(distinct) > 1 else None
    )


def _liquids(tables: Tables, region: int) -> tuple[Phase, Phase]:
    density = table_of(tables, "DENSITY", region)
    if "PVCDO" in tables and "PVDO" in tables:
        raise tables["PVDO"][0].error(f"PVCDO in {tables['PVCDO'][0].place} says the same of the oil; keep one")
    oil = table_of(tables, "PVCDO" if "PVCDO" in tables else "PVDO", region)
    read_oil = _liquid if oil.keyword == "PVCDO" else _dead_oil
    return (
        _liquid(table_of(tables, "PVTW", region), density.number(2, "density", 999.04)),
        read_oil(oil, density.number(1, "density", 600.0)),
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


def _liquid(record: Record, density: float) -> Phase:
    """PVTW and PVCDO: reference pressure, volume factor there, compressibility, viscosity, its change."""
    pressure, is_water = record.number(1, "pressure"), record.keyword == "PVTW"
    return _phase(
        record,
        pressure=pressure,
        volume_factor=record.number(2, default=1.0),
        compressibility=record.number(3, "compressibility", _COMPRESSIBILITY if is_water else 0.0),
        viscosity=record.number(4, "viscosity", _VISCOSITY if is_water else None),
        viscosibility=record.number(5, "compressibility", 0.0),
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
    viscosibility: float = 0.0,
) -> Phase:
    """The liquid of a volume factor at a pressure, from which follows the pressure where it is 1."""
    if not volume_factor > 0:
        raise record.error(f"got volume factor {volume_factor:g}; it must be positive")
    if compressibility < 0:
        raise record.error(f"got compressibility {compressibility:g} 1/Pa; it must be 0 or more")
    reference = pressure
    if volume_factor != 1.0:
        compressibility = max(compressibility, _LEAST_COMPRESSIBILITY)
        reference += math.log(volume_factor) / compressibility
    try:
        return Phase(
            viscosity=viscosity,
            density=density,
            compressibility=compressibility,
            reference_pressure=reference,
            viscosibility=viscosibility,
            viscosity_pressure=pressure if viscosibility else Phase.viscosity_pressure,
        )
    except InputError as error:
        raise record.error(str(error)) from error


def _dead_oil(record: Record, density: float) -> Phase:
    """PVDO: rows of pressure, volume factor and viscosity; of constant ones where they are such."""
    numbers = record.numbers()
    if numbers.size < 6 or numbers.size % 3:
        raise record.error(f"got {numbers.size} numbers; give rows of pressure, volume factor and viscosity")
    pressure, volume_factor, viscosity = numbers.reshape(-1, 3).T
    if not ((np.diff(pressure) > 0).all() and (volume_factor > 0).all() and (viscosity > 0).all()):
        raise record.error("pressures have to increase, and volume factors and viscosities to be positive")
    pressure, viscosity = pressure * record.units.scale("pressure"), viscosity * record.units.scale("viscosity")
    b = 1 / volume_factor
    compressibility = max(float(np.log(b[-1] / b[0]) / (pressure[-1] - pressure[0])), 0.0)
    # Between its rows the table is straight.
    middle, mean = (pressure[1:] + pressure[:-1]) / 2, (b[1:] + b[:-1]) / 2
    off = [np.abs(of / (b[0] * np.exp(compressibility * (at - pressure[0]))) - 1).max()
           for at, of in ((pressure, b), (middle, mean))]  # fmt: skip
    if max(off) < _SAME_VOLUME and np.ptp(viscosity) <= _SAME_VISCOSITY * viscosity[0]:
        return _phase(record, pressure=float(pressure[0]), volume_factor=float(volume_factor[0]),
                      compressibility=compressibility, viscosity=float(viscosity[0]), density=density)  # fmt: skip
    try:
        table = PressureTable(pressure=tuple(map(float, pressure)), b=tuple(map(float, b)),
                              per_viscosity=tuple(map(float, b / viscosity)))  # fmt: skip
        return Phase(viscosity=float(viscosity[0]), density=density, table=table)
    except InputError as error:
        raise record.error(str(error)) from error
