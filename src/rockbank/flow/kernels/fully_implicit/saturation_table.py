"""Curves of a table in all cells at once: one search for all of them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.curves.relperm import SaturationTable
from rockbank.flow.equations.properties import OfPhases, Properties
from rockbank.flow.kernels.compiled import compiled


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


class CompiledProperties(Properties):
    """The fluids with a table's curves compiled, on the processor."""

    def _of_saturation(self, s: Float[Tensor, "b n"]) -> tuple[OfPhases, OfPhases, Tensor, Tensor]:
        if not isinstance(self.curves, SaturationTable) or s.requires_grad:
            return super()._of_saturation(s)
        table = self.curves
        values = np.array([table.k_water, table.k_oil, table.p_capillary])
        found, slope = np.empty((2, 3, s.numel()))
        table_at(s.reshape(-1).numpy(), np.array(table.saturation), values, found, slope)
        curve, by = (torch.from_numpy(of.reshape(3, *s.shape)) for of in (found, slope))
        return curve[:2], by[:2], curve[2], by[2]
