"""What flows through the faces, and the matrix of the pressure equation that it makes: loops face by face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled


@compiled
def upstream(drop: float, lower: int, upper: int) -> int:
    """The cell from which a drop of pressure drives both phases, whose mobilities count."""
    return lower if drop >= 0.0 else upper


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
        up = upstream(drop, l, u)
        c = transmissibility[f] * (m_w[up] + m_o[up])
        conductance[f] = c
        diagonal[l] += c
        diagonal[u] += c
        excess[l] -= c * drop
        excess[u] += c * drop


@compiled
def quadratic_form(conductance: Faces, lower: CellOf, upper: CellOf, z: Cells) -> float:
    """z^T A z, of the faces' part of the matrix A."""
    total = 0.0
    for f in range(len(conductance)):
        drop = z[lower[f]] - z[upper[f]]
        total += conductance[f] * drop * drop
    return total


@compiled
def subtract_flux(conductance: Faces, lower: CellOf, upper: CellOf, dp: Cells, excess: Cells) -> None:
    """Subtracts the flux that a change of pressure drives out through the faces from what flows into the cells."""
    for f in range(len(conductance)):
        change = conductance[f] * (dp[lower[f]] - dp[upper[f]])
        excess[lower[f]] -= change
        excess[upper[f]] += change


@compiled
def flow(
    conductance: Faces, lower: CellOf, upper: CellOf, p: Cells, flux: Faces, is_upward: Bool[np.ndarray, " f"]
) -> int:
    """The flux from lower to upper through each face; how many have changed their direction."""
    turned = 0
    for f in range(len(conductance)):
        flux[f] = conductance[f] * (p[lower[f]] - p[upper[f]])
        upward = flux[f] > 0.0
        turned += upward != is_upward[f]
        is_upward[f] = upward
    return turned


@compiled
def add_face_fluxes(
    transmissibility: Faces,
    lower: CellOf,
    upper: CellOf,
    p: Cells,
    m_w: Cells,
    m_o: Cells,
    water: Cells,
    oil: Cells,
) -> None:
    """Adds what leaves the cells through the faces, T m_up (p_l - p_u), to the residuals of water and oil."""
    for f in range(len(transmissibility)):
        l, u = lower[f], upper[f]  # noqa: E741
        drop = transmissibility[f] * (p[l] - p[u])
        up = upstream(drop, l, u)
        water[l] += m_w[up] * drop
        water[u] -= m_w[up] * drop
        oil[l] += m_o[up] * drop
        oil[u] -= m_o[up] * drop
