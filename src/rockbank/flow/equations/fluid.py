"""The fluids: oil and water."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.relperm import Number, SaturationFunctions

GRAVITY = 9.80665
T = TypeVar("T")


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

    Each number may be a tensor, one or one for each member, that requires grad.
    """

    viscosity: Number
    density: Number
    compressibility: Number = 0.0
    reference_pressure: float = 1.0e5

    def __post_init__(self) -> None:
        for name, unit, usual in (("viscosity", "Pa s", "1 cP is 1e-3 Pa s"), ("density", "kg/m^3", "water has 1000")):
            values = torch.as_tensor(getattr(self, name)).detach()
            if not bool(((values > 0) & values.isfinite()).all()):
                raise InputError(f"fluid: got {name} {getattr(self, name)} {unit}; it must be positive ({usual})")
        compressibility = torch.as_tensor(self.compressibility).detach()
        if not bool(((compressibility >= 0) & (compressibility < 1e-6)).all()):
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


def tensor_fields(of: Any, within: str = "") -> dict[str, Tensor]:
    """The numbers of a fluid, or of a part of it, that are tensors, by names such as `water.viscosity`."""
    found: dict[str, Tensor] = {}
    for field in fields(of):
        value, name = getattr(of, field.name), within + field.name
        if isinstance(value, Tensor):
            found[name] = value
        elif is_dataclass(value):
            found |= tensor_fields(value, f"{name}.")
    return found


def with_fields(of: T, values: Mapping[str, float | Tensor]) -> T:
    """The same with other numbers, by those names, that have been checked."""
    changed = copy(of)
    for name, value in values.items():
        own, _, rest = name.partition(".")
        part = with_fields(getattr(changed, own), {rest: value}) if rest else value
        object.__setattr__(changed, own, part)  # replace() would check columns of members as numbers
    return changed
