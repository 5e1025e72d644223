"""What flows through the perforations of the sequential iteration, in one pass each, over the arrays of `WellState`."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.flow.equations.problem import OIL, WATER
from rockbank.flow.kernels.compiled import Cells, compiled

CellOf = Int[np.ndarray, " p"]
WellOf = Int[np.ndarray, " p"]
Perforations = Float[np.ndarray, " p"]
Wells = Float[np.ndarray, " w"]


@compiled
def strengths(
    cell: CellOf,
    well: WellOf,
    injects: Bool[np.ndarray, " p"],
    is_open: Bool[np.ndarray, " p"],
    index: Perforations,
    kinds: Int[np.ndarray, " w"],
    m_w: Cells,
    m_o: Cells,
    fvf_ratio: Cells,
    strength: Perforations,
    counted: Perforations,
    water_part: Perforations,
) -> None:
    """m^3/s for 1 Pa through each perforation; what of it counts for its well, were it open; the part of water in it.

    Args:
        cell: of each perforation.
        well: likewise.
        injects: whether its well does, so that water displaces both phases.
        is_open: whether anything flows.
        index: of the wells, m^3.
        kinds: of what holds each well; the rate of one phase counts that alone.
        m_w: b_w lam_w of the cells, 1/(Pa s).
        m_o: likewise of oil.
        fvf_ratio: b_w / b_o.
        strength: result.
        counted: likewise.
        water_part: likewise.
    """
    for k in range(len(cell)):
        i, kind = cell[k], kinds[well[k]]
        water, oil = m_w[i], m_o[i]
        if injects[k]:
            water, oil = water + fvf_ratio[i] * oil, 0.0
        both = water + oil
        water_part[k] = water / both if both > 0.0 else 0.0
        strength[k] = index[k] * both if is_open[k] else 0.0
        part = 1.0 - water_part[k] if kind == OIL else (water_part[k] if kind == WATER else 1.0)
        counted[k] = index[k] * both * part


@compiled
def bhp_at_rates(
    cell: CellOf,
    well: WellOf,
    is_open: Bool[np.ndarray, " p"],
    counted: Perforations,
    rates: Wells,
    head: Perforations,
    p: Cells,
    bhp: Wells,
    total: Wells,
) -> None:
    """Bottom-hole pressures at which wells would have those rates, Pa, and by how much these grow with them.

    Args:
        cell: of each perforation.
        well: likewise.
        is_open: whether anything flows.
        counted: see `strengths`.
        rates: into the reservoir, m^3/s.
        head: of each perforation, Pa.
        p: of the cells, Pa.
        bhp: result.
        total: likewise.
    """
    bhp[:], total[:] = rates, 0.0
    for k in range(len(cell)):
        if is_open[k]:
            bhp[well[k]] += counted[k] * (p[cell[k]] - head[k])
            total[well[k]] += counted[k]
    bhp /= total


@compiled
def inflow(
    cell: CellOf, well: WellOf, strength: Perforations, bhp: Wells, head: Perforations, p: Cells, through: Perforations
) -> None:
    """Both phases together through each perforation, m^3/s."""
    for k in range(len(cell)):
        through[k] = strength[k] * (bhp[well[k]] + head[k] - p[cell[k]])


@compiled
def bhp_change(
    cell: CellOf, well: WellOf, strength: Perforations, is_rated: Bool[np.ndarray, " w"], dp: Cells, change: Wells
) -> None:
    """Of the bottom-hole pressures with those of the cells, where a rate holds the well: the mean by strength, Pa."""
    total = np.zeros(len(is_rated))
    change[:] = 0.0
    for k in range(len(cell)):
        change[well[k]] += strength[k] * dp[cell[k]]
        total[well[k]] += strength[k]
    for w in range(len(is_rated)):
        change[w] = change[w] / total[w] if is_rated[w] and total[w] > 0.0 else 0.0


@compiled
def inflow_change(
    cell: CellOf,
    well: WellOf,
    strength: Perforations,
    is_rated: Bool[np.ndarray, " w"],
    dp: Cells,
    more: Perforations,
) -> float:
    """What flows `more` into the perforations' cells, m^3/s; its product with the drop that drives it, Pa m^3/s."""
    change, power = np.empty(len(is_rated)), 0.0
    bhp_change(cell, well, strength, is_rated, dp, change)
    for k in range(len(cell)):
        drop = change[well[k]] - dp[cell[k]]
        more[k] = strength[k] * drop
        power += more[k] * drop
    return power


@compiled
def add_to_cells(cell: CellOf, values: Perforations, field: Cells) -> None:
    """Adds to the cells' field what comes through their perforations."""
    for k in range(len(cell)):
        field[cell[k]] += values[k]


@compiled
def injected_and_produced(
    cell: CellOf, injects: Bool[np.ndarray, " p"], through: Perforations, injected: Cells, produced: Cells
) -> None:
    """Into the cells by injectors and out of them by producers, m^3/s; what flows the wrong way counts as nothing."""
    injected[:] = 0.0
    produced[:] = 0.0
    for k in range(len(cell)):
        if injects[k]:
            injected[cell[k]] += max(through[k], 0.0)
        else:
            produced[cell[k]] += max(-through[k], 0.0)


@compiled
def flows_rightly(
    cell: CellOf,
    well: WellOf,
    is_shut: Bool[np.ndarray, " w"],
    sign: Wells,
    bhp: Wells,
    head: Perforations,
    p: Cells,
    rightly: Bool[np.ndarray, " p"],
) -> None:
    """Which perforations of wells that are not shut would flow the way of the sign: 1 is into the reservoir."""
    for k in range(len(cell)):
        w = well[k]
        drop = bhp[w] + head[k] - p[cell[k]]
        rightly[k] = drop * sign[w] >= 0.0 and not is_shut[w]
