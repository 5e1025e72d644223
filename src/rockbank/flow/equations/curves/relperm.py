"""Relative permeability and capillary pressure as functions of the water saturation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError

# A parameter of a law; a tensor may require grad.
Number = float | Float[Tensor, "*b"]


class SaturationFunctions(Protocol):
    """What the flow needs to know of rock and fluids together."""

    @property
    def has_capillary_pressure(self) -> bool:
        """Whether the phases' pressures differ."""

    @property
    def connate(self) -> Number | Float[np.ndarray, " n"]:
        """The least water saturation: that of rock which no water has reached; of each cell where they differ."""

    def water(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of water at water saturation s, and its derivative."""

    def oil(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of oil at water saturation s, and its derivative in s."""

    def capillary(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Oil pressure minus water pressure at water saturation s, Pa, and its derivative."""


@dataclass(frozen=True, kw_only=True)
class Corey:
    """One phase's relative permeability as a power law of its own saturation s (Corey 1954).

        k_r = end * clamp((s - residual) / span, 0, 1)^exponent

    The compiled loops have it in `kernels.curves`; tests/flow/kernels/test_curves.py holds both together. Each
    number may be a tensor, one or one for each member, that requires grad.
    """

    residual: Number
    span: Number
    exponent: Number = 2.0
    end: Number = 1.0

    def __post_init__(self) -> None:
        residual, span, exponent, end = (
            torch.as_tensor(of, dtype=torch.float64).detach()
            for of in (self.residual, self.span, self.exponent, self.end)
        )
        # 1 - 0.936 is less than 0.064 in floating point
        if not bool(((residual >= 0) & (residual < 1) & (span > 0) & (span <= 1 - residual + 1e-12)).all()):
            raise InputError(f"relative permeability: got residual {self.residual} and span {self.span}; "
                             "need 0 <= residual, 0 < span, residual + span <= 1")  # fmt: skip
        if not bool(((exponent >= 1) & exponent.isfinite() & (end > 0) & end.isfinite()).all()):
            raise InputError(f"relative permeability: got exponent {self.exponent} and end point {self.end}; "
                             "need an exponent of at least 1 and a positive end point")  # fmt: skip

    def __call__(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """The curve at the phase's own saturation, and its derivative."""
        x = (s - self.residual) / self.span
        inside = (x > 0) & (x < 1)
        x = x.clamp(0.0, 1.0)
        slope = self.end * self.exponent / self.span * x ** (self.exponent - 1)
        return self.end * x**self.exponent, torch.where(inside, slope, torch.zeros_like(slope))


@dataclass(frozen=True, kw_only=True)
class BrooksCorey:
    """Brooks and Corey's (1964) power laws with end points, and optionally their capillary pressure.

        p_c = entry_pressure * S_e^(-1 / pore_index),   S_e = clamp((s - water.residual) / water.span, floor, 1)

    Attributes:
        water_curve: of the water's own saturation.
        oil_curve: of the oil's own saturation, 1 - s.
        entry_pressure: Pa; 0 is no capillary pressure.
        pore_index: Brooks and Corey's lambda.
        floor: least S_e at which p_c is evaluated; it is infinite at 0.
    """

    water_curve: Corey
    oil_curve: Corey
    entry_pressure: float = 0.0
    pore_index: float = 2.0
    floor: float = 0.01

    def __post_init__(self) -> None:
        if not (0 <= self.entry_pressure < math.inf and 0 < self.pore_index < math.inf and 0 < self.floor < 1):
            raise InputError(f"capillary pressure: got entry pressure {self.entry_pressure} Pa, pore index "
                             f"{self.pore_index}, floor {self.floor}; need >= 0, > 0 and in (0, 1)")  # fmt: skip

    @property
    def has_capillary_pressure(self) -> bool:
        """Whether the phases' pressures differ."""
        return self.entry_pressure > 0

    @property
    def connate(self) -> Number:
        """The water's residual saturation."""
        return self.water_curve.residual

    def water(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of water and its derivative."""
        return self.water_curve(s)

    def oil(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of oil and its derivative in the water saturation."""
        k, slope = self.oil_curve(1 - s)
        return k, -slope

    def capillary(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Oil pressure minus water pressure, Pa, and its derivative."""
        curve = self.water_curve
        x = (s - curve.residual) / curve.span
        inside = (x > self.floor) & (x < 1)
        x = x.clamp(self.floor, 1.0)
        p = self.entry_pressure * x ** (-1 / self.pore_index)
        slope = -p / (self.pore_index * curve.span * x)
        return p, torch.where(inside, slope, torch.zeros_like(slope))


@dataclass(frozen=True, kw_only=True)
class SaturationTable:
    """Curves through points, straight in between and flat outside: Eclipse's SWOF.

    Attributes:
        saturation: of water, increasing.
        k_water: relative permeability, not decreasing.
        k_oil: relative permeability, not increasing.
        p_capillary: oil pressure minus water pressure, Pa, not increasing.
    """

    saturation: tuple[float, ...]
    k_water: tuple[float, ...]
    k_oil: tuple[float, ...]
    p_capillary: tuple[float, ...]

    def __post_init__(self) -> None:
        s, n = torch.tensor(self.saturation, dtype=torch.float64), len(self.saturation)
        if n < 2 or not ((s[1:] > s[:-1]).all() and s[0] >= 0 and s[-1] <= 1):
            raise InputError(f"saturation table: got saturations {self.saturation}; give two or more that increase "
                             "within [0, 1]")  # fmt: skip
        for name, values, sign, least in (("k_water", self.k_water, 1, 0.0), ("k_oil", self.k_oil, -1, 0.0),
                                          ("p_capillary", self.p_capillary, -1, -math.inf)):  # fmt: skip
            v = torch.tensor(values, dtype=torch.float64)
            if len(v) != n or not (v.isfinite() & (v >= least)).all() or not (sign * (v[1:] - v[:-1]) >= 0).all():
                raise InputError(f"saturation table: got {name} {values}; give {n} finite numbers of at least {least} "
                                 f"that never {'decrease' if sign > 0 else 'increase'}")  # fmt: skip

    @property
    def has_capillary_pressure(self) -> bool:
        """Whether the phases' pressures differ."""
        return any(self.p_capillary)

    @property
    def connate(self) -> float:
        """The first saturation of the table."""
        return self.saturation[0]

    def water(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of water and its derivative."""
        return self._at(s, self.k_water)

    def oil(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Relative permeability of oil and its derivative in the water saturation."""
        return self._at(s, self.k_oil)

    def capillary(self, s: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
        """Oil pressure minus water pressure, Pa, and its derivative."""
        return self._at(s, self.p_capillary)

    def _at(self, s: Float[Tensor, "*n"], values: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        x, y = s.new_tensor(self.saturation), s.new_tensor(values)
        i = (torch.searchsorted(x, s.contiguous(), right=True) - 1).clamp(0, len(x) - 2)
        slope = (y[1:] - y[:-1])[i] / (x[1:] - x[:-1])[i]
        inside = (s >= x[0]) & (s < x[-1])
        return y[i] + slope * (s.clamp(x[0], x[-1]) - x[i]), torch.where(inside, slope, torch.zeros_like(slope))
