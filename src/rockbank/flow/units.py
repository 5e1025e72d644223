"""Units: the one home of conversions. Everything inside is SI; files and decks are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rockbank.core.errors import InputError

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365.25 * DAY
BAR, ATMOSPHERE, PSI = 1e5, 101325.0, 6894.757293168361
CENTIPOISE = 1e-3
# 1 D lets 1 cm^3/s of 1 cP through 1 cm^2 under 1 atm/cm.
MILLIDARCY = 1e-3 * 1e-7 / ATMOSPHERE
FOOT = 0.3048
BARREL = 42 * 231 * 0.0254**3
POUND = 0.45359237

UNITS: Mapping[str, Mapping[str, float]] = {
    "length": {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "km": 1e3, "ft": FOOT, "in": FOOT / 12},
    "time": {"s": 1.0, "min": MINUTE, "hour": HOUR, "day": DAY, "year": YEAR},
    "pressure": {"Pa": 1.0, "kPa": 1e3, "MPa": 1e6, "bar": BAR, "atm": ATMOSPHERE, "psi": PSI},
    "viscosity": {"Pa s": 1.0, "mPa s": 1e-3, "cP": CENTIPOISE},
    "permeability": {"m2": 1.0, "D": 1e3 * MILLIDARCY, "mD": MILLIDARCY},
    "density": {"kg/m3": 1.0, "g/cm3": 1e3, "lb/ft3": POUND / FOOT**3},
    "compressibility": {"1/Pa": 1.0, "1/bar": 1 / BAR, "1/atm": 1 / ATMOSPHERE, "1/psi": 1 / PSI},
    "volume": {"m3": 1.0, "cm3": 1e-6, "bbl": BARREL},
    "rate": {
        "m3/s": 1.0,
        "cm3/hour": 1e-6 / HOUR,
        "m3/hour": 1 / HOUR,
        "m3/day": 1 / DAY,
        "bbl/day": BARREL / DAY,
        "stb/day": BARREL / DAY,
    },
    "acceleration": {"m/s2": 1.0},
    # Volume rate times viscosity over pressure: what a well index or a transmissibility is.
    "conductance": {
        "m3": 1.0,
        "cP m3/day/bar": CENTIPOISE / DAY / BAR,
        "cP cm3/hour/atm": CENTIPOISE * 1e-6 / HOUR / ATMOSPHERE,
        "cP bbl/day/psi": CENTIPOISE * BARREL / DAY / PSI,
    },
    "fraction": {"%": 1e-2},
}
_QUANTITY = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


@dataclass(frozen=True)
class Quantity:
    """Reads numbers of one dimension: a number is SI, a text carries its unit.

    Attributes:
        dimension: a key of UNITS.
    """

    dimension: str

    def __call__(self, raw: Any) -> float:
        """`raw` in SI: 300.0, "300 m3/day" or "1e-9"; InputError names the known units."""
        if isinstance(raw, int | float) and not isinstance(raw, bool):
            return float(raw)
        match = _QUANTITY.fullmatch(raw) if isinstance(raw, str) else None
        if match is None:
            raise InputError(f"expected {self.article}, got {raw!r}")
        number, unit = match.groups()
        return float(number) * self.scale(unit) if unit else float(number)

    def scale(self, unit: str) -> float:
        """How much of SI one `unit` is; m^3 and m3, day and days are the same."""
        known = UNITS[self.dimension]
        plain = unit.replace("^", "")
        for name in (plain, plain.removesuffix("s")):
            if name in known:
                return known[name]
        raise InputError(f"unknown unit '{unit}' of a {self.dimension}; known are {list(known)}")

    @property
    def article(self) -> str:
        """What is wanted, in words."""
        unit = list(UNITS[self.dimension])[-1]
        article = "an" if self.dimension[0] in "aeiou" else "a"
        return f"{article} {self.dimension}: a number" + (
            f" in SI, or with its unit such as '1 {unit}'" if unit != "%" else ""
        )


@dataclass(frozen=True)
class DeckUnits:
    """One of Eclipse's systems of units: what one of each is in SI.

    Attributes:
        keyword: of the deck.
        names: the unit of each dimension, a key of UNITS[dimension].
    """

    keyword: str
    names: Mapping[str, str]

    def scale(self, dimension: str) -> float:
        """One unit in SI; a number without dimension is "fraction"."""
        return 1.0 if dimension == "fraction" else UNITS[dimension][self.names[dimension]]


METRIC = DeckUnits(
    "METRIC",
    {
        "length": "m",
        "time": "day",
        "pressure": "bar",
        "viscosity": "cP",
        "permeability": "mD",
        "density": "kg/m3",
        "compressibility": "1/bar",
        "rate": "m3/day",
        "volume": "m3",
        "conductance": "cP m3/day/bar",
    },
)
FIELD = DeckUnits(
    "FIELD",
    {
        "length": "ft",
        "time": "day",
        "pressure": "psi",
        "viscosity": "cP",
        "permeability": "mD",
        "density": "lb/ft3",
        "compressibility": "1/psi",
        "rate": "stb/day",
        "volume": "bbl",
        "conductance": "cP bbl/day/psi",
    },
)
LAB = DeckUnits(
    "LAB",
    {
        "length": "cm",
        "time": "hour",
        "pressure": "atm",
        "viscosity": "cP",
        "permeability": "mD",
        "density": "g/cm3",
        "compressibility": "1/atm",
        "rate": "cm3/hour",
        "volume": "cm3",
        "conductance": "cP cm3/hour/atm",
    },
)
DECK_UNITS = {system.keyword: system for system in (METRIC, FIELD, LAB)}


def exact_text(value: float, scale: float) -> str:
    """The shortest decimal x, near value / scale, whose x * scale is `value` to the last bit where there is one.

    So what is written in another unit and read again is the same number.
    """
    quotient = value / scale
    for digits in (6, 12, 15, 16, 17):
        text = f"{quotient:.{digits}g}"
        if float(text) * scale == value:
            return text
    for neighbour in (np.nextafter(quotient, -np.inf), np.nextafter(quotient, np.inf)):
        if neighbour * scale == value:
            return repr(float(neighbour))
    return repr(quotient)
