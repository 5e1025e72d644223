"""The fluids: oil and water."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rockbank.core.errors import InputError
from rockbank.flow.equations.relperm import SaturationFunctions

GRAVITY = 9.80665


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A liquid of constant viscosity and compressibility.

        b(p) = exp(c (p - reference)),   density at p = density * b(p)

    b is the volume at the reference that one volume at p takes: 1 / B of the deck's formation volume factor.

    Attributes:
        viscosity: Pa s.
        density: kg/m^3 at the reference pressure, which is also that of the surface rates.
        compressibility: 1/Pa.
        reference_pressure: Pa.
    """

    viscosity: float
    density: float
    compressibility: float = 0.0
    reference_pressure: float = 1.0e5

    def __post_init__(self) -> None:
        for name, unit, usual in (("viscosity", "Pa s", "1 cP is 1e-3 Pa s"), ("density", "kg/m^3", "water has 1000")):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"fluid: got {name} {getattr(self, name)} {unit}; it must be positive ({usual})")
        if not 0 <= self.compressibility < 1e-6:
            raise InputError(f"fluid: got compressibility {self.compressibility} 1/Pa; give 0 or some 1e-10 1/Pa")
        if not math.isfinite(self.reference_pressure):
            raise InputError(f"fluid: got reference pressure {self.reference_pressure} Pa; give that of the density")


@dataclass(frozen=True, kw_only=True)
class Fluid:
    """Water and oil, and how they share the pores.

    Attributes:
        water: the wetting phase.
        oil: the other.
        curves: relative permeabilities and capillary pressure.
        gravity: m/s^2 downwards; 0 leaves it out.
    """

    water: Phase
    oil: Phase
    curves: SaturationFunctions
    gravity: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.gravity < 100:
            raise InputError(f"fluid: got gravity {self.gravity} m/s^2; give 0 to leave it out, or {GRAVITY}")

    @property
    def is_cocurrent(self) -> bool:
        """Whether both phases always flow the same way: no gravity, no capillary pressure."""
        return self.gravity == 0 and not self.curves.has_capillary_pressure
