"""The compiled inner loops of the sequential iteration: mobilities, the pressure's matrix, transport cell by cell.

Cells are numbered as `Network` numbers them: faces go from the lesser number (`lower`) to the greater (`upper`).
Surface volumes throughout; b_a is the volume at the reference pressure that one volume of phase a takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit
from numba import uint64 as _uint64

Kernel = TypeVar("Kernel", bound=Callable[..., Any])
Cells = Float[np.ndarray, " n"]
Faces = Float[np.ndarray, " f"]
CellOf = Int[np.ndarray, " f"]
Curves = Float[np.ndarray, "points columns"]

# Columns of the curves of Brooks and Corey, a row for water and one for oil: residual, 1 / span, exponent, end / mu.
# A table has three: saturation, and both relative permeabilities over their viscosities.
COREY_COLUMNS = 4
# A cell's own Newton iteration ends with a correction below this: its error is the square of that.
CELL_TOLERANCE = 1e-7
CELL_ITERATIONS = 100
# By how much more than their pressures say fluxes out of a cell may be, on the way to a solution.
MOST_SCALE = 2.0
# In numba's own stubs a type is no function.
uint64 = cast(Callable[[int], Any], _uint64)


def compiled(kernel: Kernel) -> Kernel:
    """For the machine, kept on disk; sums may be reordered, but NaN and infinity stay what they are."""
    fast = {"contract", "reassoc", "nsz", "arcp"}
    return cast(Kernel, njit(cache=True, nogil=True, error_model="numpy", fastmath=fast)(kernel))


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


@compiled
def connect(
    transmissibility: Faces,
    lower: CellOf,
    upper: CellOf,
    p: Cells,
    m_w: Cells,
    m_o: Cells,
    conductance: Faces,
    diagonal: Cells,
    excess: Cells,
) -> None:
    """T m_up of the faces, with m = m_w + m_o; added to the diagonal, and its flux to what flows into the cells."""
    for f in range(len(transmissibility)):
        l, u = lower[f], upper[f]  # noqa: E741
        drop = p[l] - p[u]
        m_l, m_u = m_w[l] + m_o[l], m_w[u] + m_o[u]
        c = transmissibility[f] * (m_l if drop >= 0.0 else m_u)
        conductance[f] = c
        diagonal[l] += c
        diagonal[u] += c
        excess[l] -= c * drop
        excess[u] += c * drop


@compiled
def power(conductance: Faces, lower: CellOf, upper: CellOf, z: Cells) -> float:
    """z^T A z of the faces: what the flow that z drives loses in them."""
    total = 0.0
    for f in range(len(conductance)):
        drop = z[lower[f]] - z[upper[f]]
        total += conductance[f] * drop * drop
    return total


@compiled
def relieve(conductance: Faces, lower: CellOf, upper: CellOf, dp: Cells, excess: Cells) -> None:
    """Takes from what flows into the cells what a change of pressure drives through the faces."""
    for f in range(len(conductance)):
        change = conductance[f] * (dp[lower[f]] - dp[upper[f]])
        excess[lower[f]] -= change
        excess[upper[f]] += change


@compiled
def flow(
    conductance: Faces, lower: CellOf, upper: CellOf, p: Cells, flux: Faces, is_upward: Bool[np.ndarray, " f"]
) -> int:
    """The flux from lower to upper through each face; how many have turned round."""
    turned = 0
    for f in range(len(conductance)):
        flux[f] = conductance[f] * (p[lower[f]] - p[upper[f]])
        upward = flux[f] > 0.0
        turned += upward != is_upward[f]
        is_upward[f] = upward
    return turned


@compiled
def fill_band(
    lower: CellOf, upper: CellOf, conductance: Faces, diagonal: Cells, band: Float[np.ndarray, "n w"]
) -> None:
    """The pressure's matrix by columns: band[j, k] stands in row j + k, column j."""
    band[:] = 0.0
    for i in range(len(diagonal)):
        band[i, 0] = diagonal[i]
    for f in range(len(conductance)):
        band[lower[f], upper[f] - lower[f]] = -conductance[f]


@compiled
def factorise(band: Float[np.ndarray, "n w"]) -> bool:
    """L L^T in the place of the lower band, 1 / L_jj on its diagonal; false where the matrix is not positive.

    Four columns at a time are taken from those behind them: 3.4 ms in single precision for 8,192 cells and a band of
    64, where one by one takes 7.5 and LAPACK's pbtrf 11. The indices are unsigned because those that may be negative
    keep the innermost loop from becoming vector instructions.
    """
    n, width = band.shape
    flat, w = band.reshape(n * width), uint64(width)
    one, four = uint64(width + 3), uint64(4)  # rows that a column of four may reach, and their number
    two, three = one + one, one + one + one
    taken = np.zeros(4 * (width + 3), dtype=band.dtype)
    for j in range(0, n, 4):
        first, n_columns, n_rows = uint64(j), uint64(min(4, n - j)), uint64(min(width + 3, n - j))
        for q in range(n_columns):
            column, reach = (first + q) * w, min(w, n_rows - q)
            if not flat[column] > 0.0:
                return False
            scale = 1.0 / np.sqrt(flat[column])
            for k in range(reach):
                flat[column + k] *= scale
                taken[q * one + q + k] = flat[column + k]
            for k in range(uint64(1), min(n_columns - q, reach)):
                target, of_row = column + k * w, flat[column + k]
                for i in range(reach - k):
                    flat[target + i] -= of_row * flat[column + k + i]
            flat[column] = scale
        for k in range(four, n_rows):
            f_0, f_1, f_2, f_3 = taken[k], taken[one + k], taken[two + k], taken[three + k]
            target = (first + k) * w
            for i in range(n_rows - k):
                at = k + i
                flat[target + i] -= (
                    f_0 * taken[at] + f_1 * taken[one + at] + f_2 * taken[two + at] + f_3 * taken[three + at]
                )
    return True


@compiled
def solve_band(band: Float[np.ndarray, "n w"], x: Cells) -> None:
    """(L L^T)^-1 x in the place of x."""
    n, width = band.shape
    flat, w = band.reshape(n * width), uint64(width)
    for j in range(n):
        reach, row, column = uint64(min(width, n - j)), uint64(j), uint64(j) * w
        x[row] *= flat[column]
        of_column = x[row]
        for k in range(uint64(1), reach):
            x[row + k] -= of_column * flat[column + k]
    for j in range(n - 1, -1, -1):
        reach, row, column = uint64(min(width, n - j)), uint64(j), uint64(j) * w
        total = x[row]
        for k in range(uint64(1), reach):
            total -= flat[column + k] * x[row + k]
        x[row] = total * flat[column]


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
def _settle(
    s: float, capacity: float, out: float, supply: float, b_w: float, b_o: float, curves: Curves
) -> tuple[float, float]:
    """The saturation at which capacity s + out f(s) = supply, with f the water's part of the flow, and that f.

    The left side grows with s: Newton's steps stay between a saturation that is too low and one that is too high.
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
            new, water[i] = _settle(s[i], capacity[i], out, supply, b_w[i], b_o[i], curves)
        largest = max(largest, abs(new - s[i]))
        s[i] = new
    return largest


@compiled
def volume_errors(
    transmissibility: Faces,
    lower: CellOf,
    upper: CellOf,
    p: Cells,
    m_w: Cells,
    m_o: Cells,
    water: Cells,
    oil: Cells,
) -> None:
    """Adds what the faces carry out of the cells to the residuals of water and oil."""
    for f in range(len(transmissibility)):
        l, u = lower[f], upper[f]  # noqa: E741
        drop = transmissibility[f] * (p[l] - p[u])
        up = l if drop >= 0.0 else u
        water[l] += m_w[up] * drop
        water[u] -= m_w[up] * drop
        oil[l] += m_o[up] * drop
        oil[u] -= m_o[up] * drop
