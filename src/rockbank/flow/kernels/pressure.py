"""The matrix of the sequential iteration's pressure equation, face by face."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled


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
