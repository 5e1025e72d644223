"""Priors of parameters that are numbers, as functions of a standard normal one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Law = Literal["normal", "log-normal", "uniform"]


@dataclass(frozen=True, kw_only=True)
class Prior:
    """The law of a number x, which a standard normal z gives.

        normal: x = a + b z,   log-normal: x = a exp(b z),   uniform: x = a + (b - a) Phi(z)

    Attributes:
        law: one of these.
        a: mean, median, or least value.
        b: standard deviation, that of the logarithm, or greatest value.
    """

    law: Law
    a: float
    b: float

    def of(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """The numbers."""
        if self.law == "normal":
            return self.a + self.b * z
        if self.law == "log-normal":
            return self.a * torch.exp(self.b * z)
        return self.a + (self.b - self.a) * torch.special.ndtr(z)

    def slope(self, z: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
        """Derivatives of the numbers in z."""
        if self.law == "normal":
            return torch.full_like(z, self.b)
        if self.law == "log-normal":
            return self.b * self.of(z)
        return (self.b - self.a) * torch.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)

    @property
    def least(self) -> float:
        """Below which no number lies."""
        return {"normal": -math.inf, "log-normal": 0.0, "uniform": self.a}[self.law]

    def __str__(self) -> str:
        if self.law == "uniform":
            return f"uniform in [{self.a:g}, {self.b:g}]"
        if self.law == "normal":
            return f"normal, mean {self.a:g}, deviation {self.b:g}"
        return f"log-normal, median {self.a:g}, deviation {self.b:g} of the logarithm"
