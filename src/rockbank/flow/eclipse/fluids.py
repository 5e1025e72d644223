"""A deck's tables of fluids: DENSITY, PVTW, PVCDO or PVDO, and SWOF."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.text import Record
from rockbank.flow.equations.fluid import Fluid, Phase
from rockbank.flow.equations.relperm import SaturationTable
from rockbank.flow.units import BAR

# How far a PVDO table may be from one compressibility and one viscosity.
_SAME_VOLUME, _SAME_VISCOSITY = 1e-4, 1e-6
# A volume factor that is the same at all pressures is that of this compressibility: it changes by 1e-7 over 100 bar.
_LEAST_COMPRESSIBILITY = 1e-9 / BAR


def read_fluid(tables: Mapping[str, Record], gravity: float) -> Fluid:
    """Water and oil of a deck.

    Args:
        tables: the records of the keywords above, by name.
        gravity: m/s^2.

    Raises:
        DeckError: a table is missing, there are two of the oil, or one says what is not supported.
    """
    density = _table(tables, "DENSITY")
    if "PVCDO" in tables and "PVDO" in tables:
        raise tables["PVDO"].error(f"PVCDO in {tables['PVCDO'].place} says the same of the oil; keep one")
    oil = tables["PVCDO"] if "PVCDO" in tables else _table(tables, "PVDO")
    read_oil = _liquid if oil.keyword == "PVCDO" else _dead_oil
    return Fluid(
        water=_liquid(_table(tables, "PVTW"), density.number(2, "density")),
        oil=read_oil(oil, density.number(1, "density")),
        curves=_curves(_table(tables, "SWOF")),
        gravity=gravity,
    )


def _table(tables: Mapping[str, Record], name: str) -> Record:
    if name not in tables:
        raise InputError(f"the deck has no {name}; give it")
    return tables[name]


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
    numbers = np.asarray(record.numbers())
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
