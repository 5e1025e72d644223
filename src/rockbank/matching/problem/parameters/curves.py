"""Relative permeabilities by a few numbers: exponents and end points of power laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.equations.curves.relperm import BrooksCorey, Corey, Number
from rockbank.matching.problem.parameterisation import Model
from rockbank.matching.problem.parameters.numbers import Numbers

# Saturations that differ by less are the same.
_SAME = 1e-6
Phase = Literal["water", "oil"]
Part = Literal["exponent", "end", "residual"]


@dataclass(frozen=True, kw_only=True, eq=False)
class CurveNumbers(Numbers):
    """Exponents, end points and residual saturations of Corey's laws.

    Where a residual saturation moves, the other end of its curve stays where it is.

    Attributes:
        parts: phase and part of each number, by its name.
        law: the curves that they belong to, in place of the case's own; None is these.
    """

    parts: Mapping[str, tuple[Phase, Part]]
    law: BrooksCorey | None = None

    def check(self, model: Model) -> None:
        """InputError where the case's curves are no power laws, or its initial water would not follow these."""
        if self.law is None and not isinstance(model.fluid.curves, BrooksCorey):
            name = next(iter(self.parts))
            raise InputError(f"{name}: the case's curves are a table; give the parameter a 'law', the curves that its "
                             "exponents and end points are of")  # fmt: skip
        if model.has_saturation:
            self._require_same_connate(model.fluid.curves.connate)

    def _require_same_connate(self, connate: Number | Float[np.ndarray, " n"]) -> None:
        remedy = "which the case's initial saturation would not follow; give a pressure alone, or leave it out"
        for name, part in self.parts.items():
            if part == ("water", "residual"):
                raise InputError(f"{name}: changes the connate water, {remedy}")
        if self.law is not None and not np.allclose(np.asarray(connate), float(self.law.connate), rtol=0, atol=_SAME):
            raise InputError(f"{next(iter(self.parts))}: its 'law' has a connate water of {float(self.law.connate):g}, "
                             f"{remedy}")  # fmt: skip

    def model(self, variables: Float[Tensor, " n"], model: Model) -> Model:
        """The fluid with other curves."""
        curves = self.law or model.fluid.curves
        assert isinstance(curves, BrooksCorey)
        given: dict[str, dict[str, Tensor]] = {"water": {}, "oil": {}}
        for value, (phase, part) in zip(variables, self.parts.values(), strict=True):
            given[phase][part] = value
        curves = replace(
            curves,
            water_curve=_with(curves.water_curve, given["water"]),
            oil_curve=_with(curves.oil_curve, given["oil"]),
        )
        return replace(model, fluid=replace(model.fluid, curves=curves))


def _with(curve: Corey, given: Mapping[str, Tensor]) -> Corey:
    if "residual" not in given:
        return replace(curve, **given)
    return replace(curve, **given, span=torch.as_tensor(curve.residual + curve.span) - given["residual"])
