"""The compiled loops of `SplittingSolver`: products with a Jacobian's rows, and transport against the flow.

Cells and faces are those of one member, numbered as `Network` numbers them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels import CellOf, Cells, Faces, compiled


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
def transport_back(
    carried: Faces,
    start: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " 2f"],
    face: Int[np.ndarray, " 2f"],
    order: Int[np.ndarray, " n"],
    diagonal: Cells,
    given: Cells,
    y: Cells,
) -> None:
    """Solves with the transposed transport for y, from the end of the flow to its beginning."""
    for at in range(len(order) - 1, -1, -1):
        i = order[at]
        total = given[i]
        for k in range(start[i], start[i + 1]):
            j = neighbour[k]
            outward = carried[face[k]] if i < j else -carried[face[k]]
            if outward > 0.0:
                total += outward * y[j]
        y[i] = total / diagonal[i]


@compiled
def take_row(lower: CellOf, upper: CellOf, wells: WellRows, row: Row, y: Cells, left: Float[np.ndarray, "2 n"]) -> None:
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
