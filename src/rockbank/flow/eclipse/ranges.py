"""What each array of a deck may hold, and what it holds where nothing is said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Values:
    """What an array may hold in an active cell: its dimension, and the least and the greatest value in SI.

    Attributes:
        default: where no value is given; None is that one has to be.
    """

    dimension: str
    low: float = -math.inf
    high: float = math.inf
    has_low: bool = True
    default: float | None = None

    def hold(self, field: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
        """Where the values are such."""
        return ((field >= self.low) if self.has_low else (field > self.low)) & (field <= self.high)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"only {self.low:g} is supported"
        if self.high == math.inf:
            return f"it must be {f'{self.low:g} or more' if self.has_low else 'positive'}"
        return f"it must lie in {'[' if self.has_low else '('}{self.low:g}, {self.high:g}]"


_FRACTION = Values("fraction", 0.0, 1.0)
_POSITIVE = {name: Values(name, 0.0, has_low=False) for name in ("length", "pressure")}
_ANY = Values("fraction")
_REGION = Values("fraction", 1.0, default=1.0)
# By axis: of the face behind a cell, and of that before it.
MULTIPLIERS = (("MULTX", "MULTX-"), ("MULTY", "MULTY-"), ("MULTZ", "MULTZ-"))
# Those of which EDIT may say more than GRID.
EDITED = ("MULTPV", *sum(MULTIPLIERS, ()))
REGIONS = ("SATNUM", "PVTNUM", "EQLNUM", "ROCKNUM")
# Of all that number regions.
REGION_ARRAYS = (*REGIONS, "FIPNUM", "MULTNUM", "FLUXNUM", "OPERNUM")
# What would change the flow where it is anything else.
ONE, _NONE = Values("fraction", 1.0, 1.0, default=1.0), Values("fraction", 0.0, 0.0)
# The cells' own end points of their curves, each with what it is in `EndPoints`; where none is given the table's holds.
END_POINTS: Mapping[str, str] = {
    "SWL": "connate",
    "SWCR": "critical",
    "SWU": "most",
    "SOWCR": "residual_oil",
    "KRW": "k_water",
    "KRWR": "k_water_residual",
    "KRO": "k_oil",
    "KRORW": "k_oil_critical",
    "PCW": "p_capillary",
}
ARRAYS: Mapping[str, Values] = {
    **dict.fromkeys(("DX", "DY", "DZ"), _POSITIVE["length"]),
    "TOPS": Values("length"),
    **dict.fromkeys(("PERMX", "PERMY", "PERMZ"), Values("permeability", 0.0)),
    "PORO": _FRACTION,
    "ACTNUM": Values("fraction", default=1.0),
    "PRESSURE": _POSITIVE["pressure"],
    **dict.fromkeys(("SWAT", "SOIL"), _FRACTION),
    **dict.fromkeys(("SGAS", "RS", "RV"), _NONE),
    **dict.fromkeys(("NTG", *EDITED), Values("fraction", 0.0, default=1.0)),
    **dict.fromkeys(REGIONS, _REGION),
    "ENDNUM": ONE,
    **dict.fromkeys(("SWL", "SWCR", "SWU", "SOWCR", "SWATINIT"), _FRACTION),
    **dict.fromkeys(("KRW", "KRWR", "KRO", "KRORW"), Values("fraction", 0.0)),
    "PCW": Values("pressure"),
    # Of gas, which there is none of.
    **dict.fromkeys(("SGL", "SGCR", "SGU", "SOGCR", "KRG", "KRGR", "KRORG", "PCG"), Values("fraction")),
    # Of these only operations on regions make use.
    **dict.fromkeys(("FIPNUM", "MULTNUM", "FLUXNUM", "OPERNUM"), Values("fraction", default=1.0)),
}

VECTORS = ("DXV", "DYV", "DZV")
# Each with what it does to which array where a region has a number, or else to a box.
_OF_BOXES = ("EQUALS", "COPY", "MULTIPLY", "ADD", "MINVALUE", "MAXVALUE")
OF_REGIONS = {"EQUALREG": "EQUALS", "COPYREG": "COPY", "MULTIREG": "MULTIPLY", "ADDREG": "ADD"}
# With arithmetic between two arrays.
ARITHMETIC = ("OPERATE", "OPERATER")
OPERATIONS = (*_OF_BOXES, *OF_REGIONS, *ARITHMETIC)
