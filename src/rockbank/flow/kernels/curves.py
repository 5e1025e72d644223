"""Mobilities of the cells, from Brooks and Corey's curves or from tables."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.equations.curves.relperm import BrooksCorey, Number, SaturationTable
from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.kernels.compiled import Cells, compiled

Curves = Float[np.ndarray, "points columns"]
# Columns of the curves of Brooks and Corey, a row for water and one for oil: residual, 1 / span, exponent, end / mu.
# A table has three: saturation, and both relative permeabilities over their viscosities.
COREY_COLUMNS = 4


def compiled_curves(fluid: Fluid) -> Curves:
    """The relative permeabilities over the viscosities, 1/(Pa s), as the loops take them; of a law or a table only."""
    curves, mu_w, mu_o = fluid.curves, fluid.water.viscosity, fluid.oil.viscosity
    if isinstance(curves, BrooksCorey):
        return corey_rows(curves, mu_w, mu_o)
    assert isinstance(curves, SaturationTable)
    return np.stack([curves.saturation, np.divide(curves.k_water, mu_w), np.divide(curves.k_oil, mu_o)], axis=1)


def corey_rows(curves: BrooksCorey, mu_w: Number = 1.0, mu_o: Number = 1.0) -> Curves:
    """A row for water and one for oil, over the viscosities, Pa s."""
    phases = ((curves.water_curve, mu_w), (curves.oil_curve, mu_o))
    rows = [(curve.residual, 1 / curve.span, curve.exponent, curve.end / mu) for curve, mu in phases]
    return np.array(rows).reshape(2, COREY_COLUMNS)


@compiled
def _corey_at(x: float, per_span: float, exponent: float, end: float) -> tuple[float, float]:
    """end * clamp(x, 0, 1)^exponent and its derivative in the saturation, of which x is 1 / span times as much."""
    if x <= 0.0:
        return 0.0, 0.0
    if x >= 1.0:
        return end, 0.0
    if exponent == 2.0:  # the usual one, at a tenth of the cost of a power
        return end * x * x, 2.0 * end * x * per_span
    return end * x**exponent, exponent * end * x ** (exponent - 1.0) * per_span


@compiled
def mobility_at(s: float, curves: Curves) -> tuple[float, float, float, float]:
    """lam_w, lam_o at water saturation s, and their derivatives; those of `relperm` over the viscosities."""
    if curves.shape[1] == COREY_COLUMNS:
        x_w, x_o = (s - curves[0, 0]) * curves[0, 1], (1.0 - s - curves[1, 0]) * curves[1, 1]
        lam_w, slope_w = _corey_at(x_w, curves[0, 1], curves[0, 2], curves[0, 3])
        lam_o, slope_o = _corey_at(x_o, curves[1, 1], curves[1, 2], curves[1, 3])
        return lam_w, lam_o, slope_w, -slope_o
    last = len(curves) - 1
    if s < curves[0, 0]:
        return curves[0, 1], curves[0, 2], 0.0, 0.0
    if s >= curves[last, 0]:
        return curves[last, 1], curves[last, 2], 0.0, 0.0
    i = 0
    while s >= curves[i + 1, 0]:
        i += 1
    ds, width = s - curves[i, 0], curves[i + 1, 0] - curves[i, 0]
    slope_w, slope_o = (curves[i + 1, 1] - curves[i, 1]) / width, (curves[i + 1, 2] - curves[i, 2]) / width
    return curves[i, 1] + slope_w * ds, curves[i, 2] + slope_o * ds, slope_w, slope_o


@compiled
def mobilities(s: Cells, b_w: Cells, b_o: Cells, curves: Curves, m_w: Cells, m_o: Cells) -> None:
    """m_a = b_a lam_a of every cell, into m_w and m_o."""
    if curves.shape[1] == COREY_COLUMNS and curves[0, 2] == 2.0 and curves[1, 2] == 2.0:
        for i in range(len(s)):  # without branches: 20 times faster
            x_w = min(max((s[i] - curves[0, 0]) * curves[0, 1], 0.0), 1.0)
            x_o = min(max((1.0 - s[i] - curves[1, 0]) * curves[1, 1], 0.0), 1.0)
            m_w[i] = b_w[i] * curves[0, 3] * x_w * x_w
            m_o[i] = b_o[i] * curves[1, 3] * x_o * x_o
        return
    for i in range(len(s)):
        lam_w, lam_o, _, _ = mobility_at(s[i], curves)
        m_w[i] = b_w[i] * lam_w
        m_o[i] = b_o[i] * lam_o
