"""What each array of a deck may hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Values:
    """What an array may hold in an active cell: its dimension, and the least and the greatest value in SI."""

    dimension: str
    low: float = -math.inf
    high: float = math.inf
    has_low: bool = True

    def hold(self, field: Float[np.ndarray, "..."]) -> Bool[np.ndarray, "..."]:
        """Where the values are such."""
        return ((field >= self.low) if self.has_low else (field > self.low)) & (field <= self.high)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"only {self.low:g} is supported"
        if self.high == math.inf:
            return "it must be positive"
        return f"it must lie in {'[' if self.has_low else '('}{self.low:g}, {self.high:g}]"


_FRACTION = Values("fraction", 0.0, 1.0)
_POSITIVE = {name: Values(name, 0.0, has_low=False) for name in ("length", "permeability", "pressure")}
_ANY = Values("fraction")
# What would change the flow where it is anything else.
ONE, _NONE = Values("fraction", 1.0, 1.0), Values("fraction", 0.0, 0.0)
ARRAYS: Mapping[str, Values] = {
    **dict.fromkeys(("DX", "DY", "DZ"), _POSITIVE["length"]),
    "TOPS": Values("length"),
    **dict.fromkeys(("PERMX", "PERMY", "PERMZ"), _POSITIVE["permeability"]),
    "PORO": _FRACTION,
    "ACTNUM": _ANY,
    "PRESSURE": _POSITIVE["pressure"],
    **dict.fromkeys(("SWAT", "SOIL"), _FRACTION),
    "SGAS": _NONE,
    **dict.fromkeys(("NTG", "MULTX", "MULTY", "MULTZ", "MULTPV"), ONE),
    **dict.fromkeys(("SATNUM", "PVTNUM", "EQLNUM", "ROCKNUM", "ENDNUM"), ONE),
    "FIPNUM": _ANY,
}
