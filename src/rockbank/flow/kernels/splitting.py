"""The compiled loops of `SplittingSolver`: a Jacobian's rows, its splitting, and the transposed iteration.

Cells and faces are those of one member, numbered as in `CellOrdering`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.flow.kernels.band import solve_with_wells
from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled


class Row(NamedTuple):
    """An equation of every cell, the water's or the sum of both, with (pressure, saturation) on the first axis.

    Attributes:
        cell: of the accumulation.
        lower: of the fluxes from lower to upper cells, in the lower one's unknowns.
        upper: likewise in the upper one's.
        inflow: through the perforations, in the unknowns of their cells.
        by_bhp: likewise in the bottom-hole pressure.
    """

    cell: Float[np.ndarray, "2 n"]
    lower: Float[np.ndarray, "2 f"]
    upper: Float[np.ndarray, "2 f"]
    inflow: Float[np.ndarray, "2 p"]
    by_bhp: Float[np.ndarray, " p"]


class WellRows(NamedTuple):
    """The wells' equations.

    Attributes:
        place: the cell of each perforation.
        well: its well.
        entries: of the well's equation in the unknowns (pressure, saturation) of the cell.
        by_bhp: of each well's equation in its bottom-hole pressure.
    """

    place: Int[np.ndarray, " p"]
    well: Int[np.ndarray, " p"]
    entries: Float[np.ndarray, "2 p"]
    by_bhp: Float[np.ndarray, " w"]


class Parts(NamedTuple):
    """What the sequential iteration solves with, one after the other: P and T of `SplittingSolver`.

    Attributes:
        conductance: of P: T m of the faces.
        pressure: its diagonal.
        carried: of T: the water that a face lets through by the saturation of its upstream cell, where the total flux
            stays what it is; positive where that is the lower cell.
        transport: its diagonal.
    """

    conductance: Faces
    pressure: Cells
    carried: Faces
    transport: Cells


class Order(NamedTuple):
    """Who lies beside whom, as in `CellOrdering`, and the cells in the order of the flow."""

    lower: CellOf
    upper: CellOf
    start: Int[np.ndarray, " n+1"]
    neighbour: Int[np.ndarray, " 2f"]
    side: Int[np.ndarray, " 2f"]
    cells: Int[np.ndarray, " n"]


class Factors(NamedTuple):
    """Those of P, as in `PressureFactor`."""

    band: Float[np.ndarray, "n w"]
    solved: Float[np.ndarray, "k n"]
    schur: Float[np.ndarray, "k k"]


@compiled
def rows(
    cell: Int[np.ndarray, " n"],
    face: Int[np.ndarray, " f"],
    is_turned: Bool[np.ndarray, " f"],
    diagonal: Float[np.ndarray, "2 2 n"],
    left: Float[np.ndarray, "2 2 f"],
    right: Float[np.ndarray, "2 2 f"],
    perforation: Float[np.ndarray, "2 3 p"],
) -> tuple[Row, Row]:
    """The sum's and the water's, from the blocks of a Jacobian `[water, oil][pressure, saturation]`.

    Args:
        cell: number on the grid of each cell, as in `CellOrdering`.
        face: likewise of the faces.
        is_turned: whose left cell is the upper one.
        diagonal: as in `Jacobian`.
        left: likewise.
        right: likewise.
        perforation: likewise.
    """
    n, n_faces = len(cell), len(face)
    of_cell, lower, upper = np.empty((2, 2, n)), np.empty((2, 2, n_faces)), np.empty((2, 2, n_faces))
    for c in range(2):
        for i in range(n):
            of_cell[1, c, i] = diagonal[0, c, cell[i]]
            of_cell[0, c, i] = of_cell[1, c, i] + diagonal[1, c, cell[i]]
        for k in range(n_faces):
            f = face[k]
            water_l, water_r = left[0, c, f], right[0, c, f]
            sum_l, sum_r = water_l + left[1, c, f], water_r + right[1, c, f]
            if is_turned[k]:
                water_l, water_r, sum_l, sum_r = -water_r, -water_l, -sum_r, -sum_l
            lower[0, c, k], lower[1, c, k], upper[0, c, k], upper[1, c, k] = sum_l, water_l, sum_r, water_r
    both = perforation[0] + perforation[1]
    return (
        Row(of_cell[0], lower[0], upper[0], both[:2], both[2]),
        Row(of_cell[1], lower[1], upper[1], perforation[0, :2], perforation[0, 2]),
    )


@compiled
def split(lower: CellOf, upper: CellOf, place: Int[np.ndarray, " p"], total: Row, water: Row) -> Parts:
    """From the rows of a Jacobian without gravity and capillary pressure.

    A flux F_a = T m_a (p_l - p_u) has T m_a as derivative in the downstream pressure but for the sign, and more in the
    upstream one where compressibility adds to it. What transport with a given total flux F = F_w + F_o carries is

        F df = dF_w - f dF,    f = m_w / (m_w + m_o)

    in the upstream cell's saturation.
    """
    n_faces = len(lower)
    conductance, carried = np.empty(n_faces), np.empty(n_faces)
    pressure, transport = total.cell[0].copy(), water.cell[1].copy()
    for k in range(n_faces):
        l, u = lower[k], upper[k]  # noqa: E741
        m = min(total.lower[0, k], -total.upper[0, k])
        f = min(water.lower[0, k], -water.upper[0, k]) / m if m > 0.0 else 0.0
        conductance[k] = m
        carried[k] = water.lower[1, k] + water.upper[1, k] - f * (total.lower[1, k] + total.upper[1, k])
        pressure[l] += m
        pressure[u] += m
        if carried[k] > 0.0:
            transport[l] += carried[k]
        else:
            transport[u] -= carried[k]
    for k in range(len(place)):
        m, i = total.by_bhp[k], place[k]
        pressure[i] += m
        if m > 0.0:
            transport[i] -= water.inflow[1, k] - water.by_bhp[k] / m * total.inflow[1, k]
    return Parts(conductance, pressure, carried, transport)


@compiled
def iterate(
    order: Order,
    wells: WellRows,
    total: Row,
    water: Row,
    parts: Parts,
    factors: Factors,
    tolerance: float,
    max_iterations: int,
    left: Float[np.ndarray, "2 n"],
    y: Float[np.ndarray, "2 n"],
) -> bool:
    """y of the rows [sum, water] such that nothing is left of the columns (pressure, saturation); whether it found it.

    It has when an iteration changes y by no more than this part of it; what is left on the way is in `left`.
    """
    of_sum, of_water, narrow = np.empty(y.shape[1]), np.empty(y.shape[1]), np.empty(y.shape[1], factors.band.dtype)
    for _ in range(max_iterations):
        _transport_back(order, parts, left[1], of_water)
        _take_row(order.lower, order.upper, wells, water, of_water, left)
        solve_with_wells(factors.band, factors.solved, factors.schur, left[0], narrow, of_sum)
        _take_row(order.lower, order.upper, wells, total, of_sum, left)
        change, size = 0.0, 0.0
        for i in range(len(of_sum)):
            y[0, i] += of_sum[i]
            y[1, i] += of_water[i]
            change += of_sum[i] ** 2 + of_water[i] ** 2
            size += y[0, i] ** 2 + y[1, i] ** 2
        if change <= tolerance**2 * size:
            return True
    return False


@compiled
def _transport_back(order: Order, parts: Parts, given: Cells, y: Cells) -> None:
    """T^T y = given, from the end of the flow to its beginning."""
    for at in range(len(y) - 1, -1, -1):
        i = order.cells[at]
        total = given[i]
        for k in range(order.start[i], order.start[i + 1]):
            j = order.neighbour[k]
            outward = parts.carried[order.side[k]] if i < j else -parts.carried[order.side[k]]
            if outward > 0.0:
                total += outward * y[j]
        y[i] = total / parts.transport[i]


@compiled
def _take_row(
    lower: CellOf, upper: CellOf, wells: WellRows, row: Row, y: Cells, left: Float[np.ndarray, "2 n"]
) -> None:
    """Takes the row's product with its multipliers y from what is left of the columns (pressure, saturation).

    The wells' multipliers follow from y.
    """
    y_w = np.zeros(len(wells.by_bhp))
    for k in range(len(wells.place)):
        y_w[wells.well[k]] += row.by_bhp[k] * y[wells.place[k]] / wells.by_bhp[wells.well[k]]
    for c in range(2):
        for i in range(len(y)):
            left[c, i] -= row.cell[c, i] * y[i]
    for k in range(len(lower)):
        l, u = lower[k], upper[k]  # noqa: E741
        by = y[l] - y[u]
        for c in range(2):
            left[c, l] -= row.lower[c, k] * by
            left[c, u] -= row.upper[c, k] * by
    for k in range(len(wells.place)):
        i = wells.place[k]
        for c in range(2):
            left[c, i] += row.inflow[c, k] * y[i] - wells.entries[c, k] * y_w[wells.well[k]]
