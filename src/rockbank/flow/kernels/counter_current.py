"""Flow and transport where gravity or capillary pressure may drive the phases against each other."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.flow.kernels.capillary import capillary_at
from rockbank.flow.kernels.compiled import CellOf, Cells, Faces, compiled
from rockbank.flow.kernels.curves import Curves, mobility_at

# A cell's own Newton iteration, which halves its bracket where it has to.
CELL_ITERATIONS = 100


@compiled
def add_phase_fluxes(
    transmissibility: Faces,
    half_g_dz: Faces,
    lower: CellOf,
    upper: CellOf,
    p: Cells,
    p_c: Cells,
    rho_w: Cells,
    rho_o: Cells,
    m_w: Cells,
    m_o: Cells,
    water: Cells,
    oil: Cells,
    diagonal: Cells,
    conductance: Faces,
    flux: Faces,
    drive: Faces,
) -> None:
    """Adds what leaves the cells, T m_a,up (Phi_a,l - Phi_a,u), to the residuals; and what pressure and transport need.

    Args:
        transmissibility: T of the faces, m^3.
        half_g_dz: half of gravity by the lower cell's depth less the upper one's, m^2/s^2.
        lower: cell of each face.
        upper: likewise.
        p: of the oil, Pa.
        p_c: capillary pressures, Pa.
        rho_w: density of water, kg/m^3.
        rho_o: of oil.
        m_w: b_w lam_w, 1/(Pa s).
        m_o: likewise of oil.
        water: residual, m^3/s; added to.
        oil: likewise.
        diagonal: of the pressure's matrix; added to.
        conductance: T (m_w,up + m_o,up), each upstream of its own potential; result.
        flux: of both phases together, from lower to upper, m^3/s; result.
        drive: T by how much more the water is driven from lower to upper than the oil; result.
    """
    for f in range(len(transmissibility)):
        l, u = lower[f], upper[f]  # noqa: E741
        drop = p[l] - p[u]
        drop_w = drop - (p_c[l] - p_c[u]) - half_g_dz[f] * (rho_w[l] + rho_w[u])
        drop_o = drop - half_g_dz[f] * (rho_o[l] + rho_o[u])
        through_w = transmissibility[f] * (m_w[l] if drop_w >= 0.0 else m_w[u])
        through_o = transmissibility[f] * (m_o[l] if drop_o >= 0.0 else m_o[u])
        f_w, f_o = through_w * drop_w, through_o * drop_o
        water[l] += f_w
        water[u] -= f_w
        oil[l] += f_o
        oil[u] -= f_o
        c = through_w + through_o
        diagonal[l] += c
        diagonal[u] += c
        conductance[f] = c
        flux[f] = f_w + f_o
        drive[f] = transmissibility[f] * (-half_g_dz[f] * (rho_w[l] + rho_w[u] - rho_o[l] - rho_o[u]))


@compiled
def add_flux(conductance: Faces, lower: CellOf, upper: CellOf, dp: Cells, flux: Faces) -> None:
    """Adds what a change of pressure drives from lower to upper."""
    for f in range(len(flux)):
        flux[f] += conductance[f] * (dp[lower[f]] - dp[upper[f]])


@compiled
def water_flux(u: float, g: float, w_i: float, o_i: float, w_j: float, o_j: float) -> tuple[float, bool, bool]:
    """Water from cell i to j with a given flux u of both phases, and whether water and oil leave i.

        F_w = m_w / (m_w + m_o) (u + m_o g),   each mobility upstream of its phase (Brenier and Jaffre 1991)

    with g = T (Phi_w's drop - Phi_o's drop). One phase always flows the way in which both u and g drive it; which way
    the other does follows from its mobility.
    """
    if g >= 0.0:
        if u >= 0.0:
            water_out, oil_out = True, u - w_i * g >= 0.0
        else:
            oil_out, water_out = False, u + o_j * g >= 0.0
    elif u >= 0.0:
        oil_out, water_out = True, u + o_i * g >= 0.0
    else:
        water_out, oil_out = False, u - w_j * g >= 0.0
    w, o = w_i if water_out else w_j, o_i if oil_out else o_j
    if w == 0.0:
        return 0.0, water_out, oil_out
    return w / (w + o) * (u + o * g), water_out, oil_out


@compiled
def _excess(
    i: int,
    s: float,
    flux: Faces,
    drive: Faces,
    transmissibility: Faces,
    start: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " 2f"],
    face: Int[np.ndarray, " 2f"],
    b_w: float,
    b_o: float,
    curves: Curves,
    table: Float[np.ndarray, "points columns"],
    produced: float,
    p_c: Cells,
    m_w: Cells,
    m_o: Cells,
    out: Float[np.ndarray, " 2f"],
) -> tuple[float, float]:
    """What leaves cell i as water at saturation s, through each face (into `out`) and well; and its slope in s."""
    lam_w, lam_o, slope_w, slope_o = mobility_at(s, curves)
    w, o, w_s, o_s = b_w * lam_w, b_o * lam_o, b_w * slope_w, b_o * slope_o
    pc, pc_s = capillary_at(s, table)
    has_pc = len(table) > 0
    total, slope = 0.0, 0.0
    for k in range(start[i], start[i + 1]):
        j, f = neighbour[k], face[k]
        sign = 1.0 if i < j else -1.0
        u, g, g_s = sign * flux[f], sign * drive[f], 0.0
        if has_pc:
            g -= transmissibility[f] * (pc - p_c[j])
            g_s = -transmissibility[f] * pc_s
        through, water_out, oil_out = water_flux(u, g, w, o, m_w[j], m_o[j])
        out[k] = through
        total += through
        a, b = (w if water_out else m_w[j]), (o if oil_out else m_o[j])
        if a + b > 0.0:
            per = 1.0 / (a + b)
            if water_out:
                slope += w_s * b * (u + b * g) * per * per
            if oil_out:
                slope += o_s * a * (a * g - u) * per * per
            slope += a * b * per * g_s
    if produced > 0.0 and w > 0.0:
        per = 1.0 / (w + o)
        total += produced * w * per
        slope += produced * (w_s * o - w * o_s) * per * per
    return total, slope


@compiled
def find_due(
    flux: Faces,
    drive: Faces,
    transmissibility: Faces,
    lower: CellOf,
    upper: CellOf,
    supply: Cells,
    produced: Cells,
    capacity: Cells,
    tolerance: float,
    s: Cells,
    p_c: Cells,
    m_w: Cells,
    m_o: Cells,
    is_due: Bool[np.ndarray, " n"],
) -> None:
    """Which cells' equations of transport leave more than `tolerance` of their pores; see `transport_both_ways`."""
    for i in range(len(s)):
        supply[i] -= capacity[i] * s[i]
        if produced[i] > 0.0 and m_w[i] > 0.0:
            supply[i] -= produced[i] * m_w[i] / (m_w[i] + m_o[i])
    for f in range(len(flux)):
        l, u = lower[f], upper[f]  # noqa: E741
        if m_w[l] == 0.0 and m_w[u] == 0.0:
            continue
        g = drive[f] - transmissibility[f] * (p_c[l] - p_c[u])
        through, _, _ = water_flux(flux[f], g, m_w[l], m_o[l], m_w[u], m_o[u])
        supply[l] -= through
        supply[u] += through
    for i in range(len(s)):
        is_due[i] = abs(supply[i]) > tolerance * capacity[i]


@compiled
def transport_both_ways(
    flux: Faces,
    drive: Faces,
    transmissibility: Faces,
    start: Int[np.ndarray, " n+1"],
    neighbour: Int[np.ndarray, " 2f"],
    face: Int[np.ndarray, " 2f"],
    orders: Int[np.ndarray, "2 n"],
    supply: Cells,
    produced: Cells,
    capacity: Cells,
    b_w: Cells,
    b_o: Cells,
    curves: Curves,
    table: Float[np.ndarray, "points columns"],
    tolerance: float,
    max_sweeps: int,
    s: Cells,
    p_c: Cells,
    m_w: Cells,
    m_o: Cells,
    is_due: Bool[np.ndarray, " n"],
    first: Float[np.ndarray, " 2f"],
    last: Float[np.ndarray, " 2f"],
) -> int:
    """Moves the water with given fluxes of both phases together, cell by cell in the orders of the phases' potentials.

        capacity s + sum_f F_w(s, s_j) + produced f(s) = supply,    supply = held before the step + injected

    F_w grows with the saturation of its own cell and falls with that of the other, so that sweeps over the cells, each
    of which solves its own equation, converge from everywhere (Ortega and Rheinboldt 1970, sec. 13.5). Where both
    phases flow the same way one sweep is enough; after it, cells are solved again whose neighbours have changed the
    flux between them.

    Returns:
        sweeps; more than `max_sweeps` means that they did not converge.
    """
    n = len(s)
    for sweep in range(max_sweeps):
        found = False
        for at in range(n):
            i = orders[sweep % 2, at]
            if not is_due[i]:
                continue
            is_due[i] = False
            allowed = tolerance * capacity[i]
            total, slope = _excess(i, s[i], flux, drive, transmissibility, start, neighbour, face, b_w[i], b_o[i],
                                   curves, table, produced[i], p_c, m_w, m_o, first)  # fmt: skip
            too_much = capacity[i] * s[i] + total - supply[i]
            if abs(too_much) <= allowed:
                continue
            found = True
            low, high, x = 0.0, 1.0, s[i]
            for _ in range(CELL_ITERATIONS):
                if too_much > 0.0:
                    high = x
                else:
                    low = x
                to = x - too_much / (capacity[i] + slope)
                x = to if low < to < high else 0.5 * (low + high)
                total, slope = _excess(i, x, flux, drive, transmissibility, start, neighbour, face, b_w[i], b_o[i],
                                       curves, table, produced[i], p_c, m_w, m_o, last)  # fmt: skip
                too_much = capacity[i] * x + total - supply[i]
                if abs(too_much) <= allowed or high - low < 1e-15:
                    break
            s[i] = x
            lam_w, lam_o, _, _ = mobility_at(x, curves)
            m_w[i], m_o[i] = b_w[i] * lam_w, b_o[i] * lam_o
            p_c[i], _ = capillary_at(x, table)
            for k in range(start[i], start[i + 1]):
                if abs(last[k] - first[k]) > 0.2 * tolerance * capacity[neighbour[k]]:
                    is_due[neighbour[k]] = True
        if not found:
            return sweep + 1
    return max_sweeps + 1
