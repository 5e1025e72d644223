"""Curves of a law or a table in all cells at once: one pass, and one search, for all of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.curves.relperm import BrooksCorey, SaturationTable
from rockbank.flow.equations.fluid import tensor_fields
from rockbank.flow.equations.properties import OfPhases, Properties
from rockbank.flow.kernels.compiled import compiled
from rockbank.flow.kernels.curves import Curves, corey_rows, mobility_at


@compiled
def table_at(
    s: Float[np.ndarray, " n"],
    points: Float[np.ndarray, " points"],
    values: Float[np.ndarray, "curves points"],
    found: Float[np.ndarray, "curves n"],
    slope: Float[np.ndarray, "curves n"],
) -> None:
    """Straight between the points and flat outside, with the slopes, as `relperm.SaturationTable` has it.

    The search begins where that for the cell before ended, which is mostly a neighbour.
    """
    k, last = 0, len(points) - 1
    for i in range(len(s)):
        inside = points[0] <= s[i] < points[last]
        at = s[i]  # min and max would make a number of NaN
        if at < points[0]:
            at = points[0]
        elif at > points[last]:
            at = points[last]
        while k > 0 and at < points[k]:
            k -= 1
        while k < last - 1 and at >= points[k + 1]:
            k += 1
        ds, width = at - points[k], points[k + 1] - points[k]
        for c in range(len(values)):
            by = (values[c, k + 1] - values[c, k]) / width
            found[c, i] = values[c, k] + by * ds
            slope[c, i] = by if inside else 0.0


@compiled
def corey_at(
    s: Float[np.ndarray, " n"], curves: Curves, k: Float[np.ndarray, "2 n"], k_s: Float[np.ndarray, "2 n"]
) -> None:
    """Relative permeabilities of water and oil, with the slopes, as `relperm.BrooksCorey` has them."""
    for i in range(len(s)):
        k[0, i], k[1, i], k_s[0, i], k_s[1, i] = mobility_at(s[i], curves)


class CompiledProperties(Properties):
    """The fluids with the curves of laws and tables compiled, on the processor."""

    def _of_saturation(self, s: Float[Tensor, "b n"]) -> tuple[OfPhases, OfPhases, Tensor, Tensor]:
        if s.requires_grad:
            return super()._of_saturation(s)
        if isinstance(self.curves, BrooksCorey) and not tensor_fields(self.curves):
            k, k_s = np.empty((2, 2, s.numel()))
            corey_at(s.reshape(-1).numpy(), corey_rows(self.curves), k, k_s)
            curve, by = (torch.from_numpy(of.reshape(2, *s.shape)) for of in (k, k_s))
            return curve, by, *self._capillary(s)
        if not isinstance(self.curves, SaturationTable):
            return super()._of_saturation(s)
        table = self.curves
        values = np.array([table.k_water, table.k_oil, table.p_capillary])
        found, slope = np.empty((2, 3, s.numel()))
        table_at(s.reshape(-1).numpy(), np.array(table.saturation), values, found, slope)
        curve, by = (torch.from_numpy(of.reshape(3, *s.shape)) for of in (found, slope))
        return curve[:2], by[:2], curve[2], by[2]
