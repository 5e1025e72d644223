"""Saturation functions as tables, which is all that a deck can hold."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow.equations.curves.relperm import BrooksCorey, SaturationFunctions, SaturationTable

# About how many rows SWOF has; k_r to the second power is then straight to 3e-6.
N_ROWS = 600


def as_table(curves: SaturationFunctions) -> SaturationTable:
    """The curves as a table: as they are, or sampled between the water's least saturation and 1."""
    if isinstance(curves, SaturationTable):
        return curves
    low, ends = curves.connate, {curves.connate, 1.0}
    if isinstance(curves, BrooksCorey):
        water, oil = curves.water_curve, curves.oil_curve
        kinks = [water.residual + water.span, 1 - oil.residual, 1 - oil.residual - oil.span]
        kinks += [water.residual + curves.floor * water.span] if curves.has_capillary_pressure else []
        ends |= {kink for kink in kinks if low < kink < 1.0}
    # Round-off would make two points of one.
    corners = np.unique(np.array(sorted(ends)).round(12))
    s = np.unique(
        np.concatenate(
            [_rows(*piece, n=round(N_ROWS * (piece[1] - piece[0]) / (1 - low))) for piece in pairwise(corners)]
        )
    )
    at = torch.as_tensor(s)
    return SaturationTable(
        saturation=tuple(map(float, s)),
        k_water=tuple(curves.water(at)[0].tolist()),
        k_oil=tuple(curves.oil(at)[0].tolist()),
        p_capillary=tuple(curves.capillary(at)[0].tolist()),
    )


def _rows(low: float, high: float, *, n: int) -> Float[np.ndarray, " m"]:
    """From low to high, closer at the ends: there a mobility comes from nothing, and straight pieces overrate it."""
    s = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, max(n, 2)))) / 2
    return np.asarray(np.concatenate([[low], s[1:-1].round(9), [high]]))
