"""A liquid as a table of pressures: Eclipse's PVDO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class PressureTable:
    """b and b / mu through points, straight in between and beyond, as OPM Flow has 1 / B and 1 / (B mu).

    Attributes:
        pressure: increasing, Pa.
        b: volume at the reference that one volume takes there, never decreasing: 1 / B.
        per_viscosity: b by the viscosity, 1/(Pa s).
    """

    pressure: tuple[float, ...]
    b: tuple[float, ...]
    per_viscosity: tuple[float, ...]

    def __post_init__(self) -> None:
        p, b, m = (np.array(of, dtype=float) for of in vars(self).values())
        if not len(p) == len(b) == len(m) >= 2 or not (np.isfinite([p, b, m]).all() and (np.diff(p) > 0).all()):
            raise InputError(f"pressure table: got pressures {self.pressure}; give two or more that increase, and as "
                             "many volumes and viscosities")  # fmt: skip
        if not ((b > 0).all() and (m > 0).all() and (np.diff(b) >= 0).all()):
            raise InputError(f"pressure table: got b {self.b} and b / mu {self.per_viscosity}; both must be positive, "
                             "and b may not decrease with pressure")  # fmt: skip

    @property
    def is_compressible(self) -> bool:
        """Whether b changes."""
        return self.b[-1] > self.b[0]

    def at(self, p: Float[Tensor, "*n"]) -> tuple[Float[Tensor, "*n"], ...]:
        """B and its derivative, b / mu and its derivative."""
        x = p.new_tensor(self.pressure)
        i = (torch.searchsorted(x, p.detach().contiguous(), right=True) - 1).clamp(0, len(x) - 2)
        found = []
        for values in (self.b, self.per_viscosity):
            y = p.new_tensor(values)
            slope = ((y[1:] - y[:-1]) / (x[1:] - x[:-1]))[i]
            found += [y[i] + slope * (p - x[i]), slope]
        return tuple(found)

    def at_rest(self, p0: float, weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Pressure below p0 by the weight (Pa at b = 1) of a column: of integral of dp / b = weight, piece by piece."""
        x, y = np.array(self.pressure), np.array(self.b)
        slope = np.diff(y) / np.diff(x)
        straight = np.where(slope > 0, slope, 1.0)
        passed = np.where(slope > 0, np.log(y[1:] / y[:-1]) / straight, np.diff(x) / y[:-1])
        knots = np.concatenate([[0.0], np.cumsum(passed)])

        def piece(values: Float[np.ndarray, " n"], of: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
            return np.clip(np.searchsorted(of, values, side="right") - 1, 0, len(slope) - 1)

        i = int(piece(np.array([p0]), x)[0])
        first = knots[i] + (np.log1p(slope[i] * (p0 - x[i]) / y[i]) / slope[i] if slope[i] else (p0 - x[i]) / y[i])
        j = piece(first + weight, knots)
        rest = first + weight - knots[j]
        return np.asarray(x[j] + y[j] * np.where(slope[j] > 0, np.expm1(straight[j] * rest) / straight[j], rest))
