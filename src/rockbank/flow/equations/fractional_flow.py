"""The inflection of the fractional flow of water, across which Newton's method overshoots."""

from __future__ import annotations

import torch

from rockbank.flow.equations.cell_curves import CellCurves
from rockbank.flow.equations.fluid import Fluid

# Points of the curve between no water and nothing else.
N_POINTS = 1001


def inflections(fluid: Fluid) -> tuple[float, ...]:
    """Saturations at which the slope of f = lam_w / (lam_w + lam_o) has a maximum within the curve.

    Of a table, whose slope jumps from piece to piece, only the highest counts; of several members the first.
    Curves that differ from cell to cell have none in common.
    """
    if isinstance(fluid.curves, CellCurves):
        return ()
    s = torch.linspace(0.0, 1.0, N_POINTS, dtype=torch.float64)
    with torch.no_grad():
        (water, water_s), (oil, oil_s) = fluid.curves.water(s), fluid.curves.oil(s)
        mu_w, mu_o = fluid.water.viscosity, fluid.oil.viscosity
        slope = (water_s * oil - water * oil_s) / (mu_w * mu_o) / (water / mu_w + oil / mu_o).square()
    slope = slope.reshape(-1, N_POINTS)[0]
    highest = int(slope.nan_to_num(0.0).argmax())
    return (float(s[highest]),) if 0 < highest < N_POINTS - 1 else ()
