"""The capillary pressure of the cells, from Brooks and Corey's law or from a table."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.equations.curves.relperm import BrooksCorey, SaturationTable
from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.kernels.compiled import Cells, compiled

# Values of the capillary pressure of Brooks and Corey, in a row; a table has rows of saturation and pressure.
BROOKS_COREY = 5


def compiled_capillary(fluid: Fluid) -> Float[np.ndarray, "points columns"]:
    """The capillary pressure as the loops take it; no rows where there is none."""
    curves = fluid.curves
    if not curves.has_capillary_pressure:
        return np.zeros((0, 2))
    if isinstance(curves, BrooksCorey):
        water = curves.water_curve
        return np.array([[curves.entry_pressure, -1 / curves.pore_index, curves.floor, water.residual, 1 / water.span]])
    assert isinstance(curves, SaturationTable)
    return np.stack([curves.saturation, curves.p_capillary], axis=1)


@compiled
def capillary_at(s: float, table: Float[np.ndarray, "points columns"]) -> tuple[float, float]:
    """Oil pressure minus water pressure at water saturation s, Pa, and its derivative; as in `relperm`."""
    if len(table) == 0:
        return 0.0, 0.0
    if table.shape[1] == BROOKS_COREY:
        entry, power, floor, residual, per_span = table[0]
        x = (s - residual) * per_span
        if x <= floor:
            return entry * floor**power, 0.0
        if x >= 1.0:
            return entry, 0.0
        p = entry * x**power
        return p, p * power * per_span / x
    last = len(table) - 1
    if s < table[0, 0]:
        return table[0, 1], 0.0
    if s >= table[last, 0]:
        return table[last, 1], 0.0
    i = 0
    while s >= table[i + 1, 0]:
        i += 1
    slope = (table[i + 1, 1] - table[i, 1]) / (table[i + 1, 0] - table[i, 0])
    return table[i, 1] + slope * (s - table[i, 0]), slope


@compiled
def capillary_pressures(s: Cells, table: Float[np.ndarray, "points columns"], p_c: Cells) -> None:
    """Of every cell, into p_c."""
    for i in range(len(s)):
        p_c[i], _ = capillary_at(s[i], table)
