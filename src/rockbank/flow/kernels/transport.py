"""Transport cell by cell, from upstream to downstream (Natvig and Lie 2008)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled
from rockbank.flow.kernels.curves import Curves, mobility_at

# A cell's own Newton iteration ends with a correction below this: its error is the square of that.
CELL_TOLERANCE = 1e-7
CELL_ITERATIONS = 100
# By how much more than their pressures say fluxes out of a cell may be, on the way to a solution.
MOST_SCALE = 2.0


@compiled
def flow_order(
    flux: Faces,
    lower: CellOf,
    upper: CellOf,
    start: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " 2f"],
    face: Int[np.ndarray, " 2f"],
    waiting: Int[np.ndarray, " n"],
    order: Int[np.ndarray, " n"],
) -> int:
    """Cells in an order that has each behind all that flow into it (Kahn 1962); how many have found a place.

    Fewer than there are cells means that the flow goes round in circles, which no pressure drives.
    """
    waiting[:] = 0
    for f in range(len(flux)):
        if flux[f] > 0.0:
            waiting[upper[f]] += 1
        elif flux[f] < 0.0:
            waiting[lower[f]] += 1
    placed = 0
    for i in range(len(waiting)):
        if waiting[i] == 0:
            order[placed] = i
            placed += 1
    done = 0
    while done < placed:
        i = order[done]
        done += 1
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            if (flux[face[k]] if i < j else -flux[face[k]]) > 0.0:
                waiting[j] -= 1
                if waiting[j] == 0:
                    order[placed] = j
                    placed += 1
    return placed


@compiled
def solve_saturation(
    s: float, capacity: float, out: float, supply: float, b_w: float, b_o: float, curves: Curves
) -> tuple[float, float]:
    """The saturation at which capacity s + out f(s) = supply, with f the water's part of the flow, and that f.

    The left side grows with s: Newton's steps stay between a saturation that is too low and one that is too high (Press
    et al. 2007, sec. 9.4).
    """
    low, high, f = 0.0, 1.0, 0.0
    for _ in range(CELL_ITERATIONS):
        lam_w, lam_o, slope_w, slope_o = mobility_at(s, curves)
        m_w, m_o = b_w * lam_w, b_o * lam_o
        f, slope = 0.0, 0.0
        if m_w > 0.0:
            per_m = 1.0 / (m_w + m_o)
            f = m_w * per_m
            slope = (b_w * slope_w * m_o - m_w * b_o * slope_o) * per_m * per_m
        too_much = capacity * s + out * f - supply
        step = -too_much / (capacity + out * slope)
        if abs(step) < CELL_TOLERANCE:
            return min(max(s + step, 0.0), 1.0), min(max(f + slope * step, 0.0), 1.0)
        if too_much > 0.0:
            high = s
        else:
            low = s
        s = s + step if low < s + step < high else 0.5 * (low + high)
        if high - low < CELL_TOLERANCE * CELL_TOLERANCE:
            break
    return s, f


@compiled
def transport(
    flux: Faces,
    start: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " 2f"],
    face: Int[np.ndarray, " 2f"],
    order: Int[np.ndarray, " n"],
    injected: Cells,
    produced: Cells,
    released: Cells,
    capacity: Cells,
    held: Cells,
    b_w: Cells,
    b_o: Cells,
    connate: float,
    curves: Curves,
    s: Cells,
    water: Cells,
    scale: Cells,
) -> float:
    """Moves the water with a given total flux, cell by cell in the order of the flow; the largest change of s.

        capacity s + f(s) out = held + injected + sum_in f(s_up) flux,    f = m_w / (m_w + m_o)

    with capacity = PV b_w / dt. What leaves a cell, `out`, is what enters it and what it releases: where pressures
    that are not quite those of the mobilities say otherwise, the fluxes out of it are scaled. So no volume is lost.
    Into s, f into `water`, and the scales of the cells' outward fluxes into `scale`.
    """
    largest = 0.0
    for at in range(len(s)):
        i = order[at]
        given, out, supply = produced[i], injected[i] + released[i], held[i] + injected[i]
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            outward = flux[face[k]] if i < j else -flux[face[k]]
            if outward > 0.0:
                given += outward
            else:
                inward = -outward * scale[j]
                out += inward
                supply += inward * water[j]
        scale[i] = min(max(out / given, 0.0), MOST_SCALE) if given > 0.0 else 1.0
        out = scale[i] * given
        if supply <= capacity[i] * connate:  # no water moves here: half of the cells, before it has come through
            new, water[i] = max(supply / capacity[i], 0.0), 0.0
        else:
            new, water[i] = solve_saturation(s[i], capacity[i], out, supply, b_w[i], b_o[i], curves)
        largest = max(largest, abs(new - s[i]))
        s[i] = new
    return largest
