"""The fluids: oil and water."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.pressure_table import PressureTable
from rockbank.flow.equations.curves.relperm import Number, SaturationFunctions

GRAVITY = 9.80665
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A liquid of constant compressibility, whose viscosity may change with pressure; or one of a table.

        b(p) = exp(c (p - reference)),   density at p = density * b(p)
        b / mu (p) = b(p_mu) E((c - c_mu) (p - p_mu)) / viscosity,   E(y) = 1 + y + y^2 / 2

    b is the volume at the reference that one volume at p takes: 1 / B of the deck's formation volume factor. The second
    line, Eclipse's of PVTW and PVCDO, holds where the viscosibility c_mu is not 0; else mu is the viscosity.

    Attributes:
        viscosity: Pa s.
        density: kg/m^3 at the reference pressure, which is also that of the surface rates.
        compressibility: 1/Pa.
        reference_pressure: Pa.
        viscosibility: relative change of the viscosity with pressure, 1/Pa.
        viscosity_pressure: Pa, at which the viscosity is what it is.
        table: in place of viscosity, compressibility and viscosibility; None is that they hold.

    Each number may be a tensor, one or one for each member, that requires grad.
    """

    viscosity: Number
    density: Number
    compressibility: Number = 0.0
    reference_pressure: float = 1.0e5
    viscosibility: Number = 0.0
    viscosity_pressure: float = 1.0e5
    table: PressureTable | None = None

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
        viscosibility = torch.as_tensor(self.viscosibility).detach()
        if not bool((viscosibility.abs() < 1e-6).all()) or not math.isfinite(self.viscosity_pressure):
            raise InputError(f"fluid: got viscosibility {self.viscosibility} 1/Pa at {self.viscosity_pressure} Pa; "
                             "give 0 or some 1e-10 1/Pa, and the pressure of the viscosity")  # fmt: skip

    @property
    def is_plain(self) -> bool:
        """Whether compressibility and viscosity are constant."""
        return self.table is None and not isinstance(self.viscosibility, Tensor) and self.viscosibility == 0

    @property
    def is_compressible(self) -> bool:
        """Whether its volume changes with pressure."""
        if self.table is not None:
            return self.table.is_compressible
        return bool((torch.as_tensor(self.compressibility) > 0).any())

    def at(self, p: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], ...]:
        """B and its derivative in pressure, b / mu and its derivative; numbers of members are columns."""
        if self.table is not None:
            return self.table.at(p)
        c, mu = (torch.as_tensor(of, dtype=p.dtype, device=p.device) for of in (self.compressibility, self.viscosity))
        b = (c * (p - self.reference_pressure)).exp()
        if self.is_plain:
            return b, c * b, b / mu, c * b / mu
        change, y = c - self.viscosibility, (c - self.viscosibility) * (p - self.viscosity_pressure)
        per = (c * (self.viscosity_pressure - self.reference_pressure)).exp() / mu
        return b, c * b, per * (1 + y + y**2 / 2), per * change * (1 + y)

    def at_rest(self, p0: float, weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Pressure below p0 by the weight (Pa at b = 1) of a column at rest: dp = b(p) dw."""
        if self.table is not None:
            return self.table.at_rest(p0, weight)
        c = float(self.compressibility)
        lies = weight * np.exp(c * (p0 - self.reference_pressure))
        return np.asarray(p0 + lies if c == 0 else p0 - np.log1p(-c * lies) / c)


@dataclass(frozen=True, kw_only=True, eq=False)
class LiquidRegions:
    """Where other liquids are than the first ones: Eclipse's PVTNUM.

    Attributes:
        liquids: water and oil of each further region; their numbers are no tensors.
        region: of each active cell: 0 has the fluid's own water and oil, k has `liquids[k - 1]`.
    """

    liquids: tuple[tuple[Phase, Phase], ...]
    region: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if any(tensor_fields(phase) for pair in self.liquids for phase in pair):
            raise InputError("fluid: got a tensor in a further region of liquids; only those of the first may be such")
        if self.region.size and not 0 <= self.region.min() <= self.region.max() <= len(self.liquids):
            raise InputError(f"fluid: got regions {self.region.min()} to {self.region.max()} of liquids; there are 0 "
                             f"to {len(self.liquids)}")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fluid:
    """Water and oil, and how they share the pores.

    Attributes:
        water: the wetting phase.
        oil: the other.
        curves: relative permeabilities and capillary pressure.
        gravity: m/s^2 downwards; 0 leaves it out.
        regions: where other liquids are; None is nowhere.
    """

    water: Phase
    oil: Phase
    curves: SaturationFunctions
    gravity: float = 0.0
    regions: LiquidRegions | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.gravity < 100:
            raise InputError(f"fluid: got gravity {self.gravity} m/s^2; give 0 to leave it out, or {GRAVITY}")

    @property
    def is_cocurrent(self) -> bool:
        """Whether both phases always flow the same way: no gravity, no capillary pressure."""
        return self.gravity == 0 and not self.curves.has_capillary_pressure

    @property
    def liquids(self) -> tuple[tuple[Phase, Phase], ...]:
        """Water and oil of each region."""
        return ((self.water, self.oil), *(() if self.regions is None else self.regions.liquids))

    @property
    def is_plain(self) -> bool:
        """Whether both liquids are the same everywhere, of constant compressibility and viscosity."""
        return self.regions is None and self.water.is_plain and self.oil.is_plain


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
