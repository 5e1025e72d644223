"""What the cells gain and what flows through the faces where gravity or capillary pressure act."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.kernels.compiled import compiled

Phases = Float[np.ndarray, "2 n"]
OfFaces = Float[np.ndarray, "2 2 f"]


@compiled
def phase_fluxes(
    left: Int[np.ndarray, " f"],
    right: Int[np.ndarray, " f"],
    p: Phases,
    p_s: Phases,
    rho: Phases,
    rho_p: Phases,
    m: Phases,
    m_p: Phases,
    m_s: Phases,
    half_g_dz: Float[np.ndarray, " f"],
    transmissibility: Float[np.ndarray, " f"],
    flux: Float[np.ndarray, "2 f"],
    by_left: OfFaces,
    by_right: OfFaces,
    residual: Phases,
) -> None:
    """m_up (Phi_l - Phi_r) of water and oil, and T times its derivatives in (p, s) of the left and the right cell.

    Args:
        left: cell of each face.
        right: likewise.
        p: pressures of the phases, Pa.
        p_s: derivatives in the saturation; those in p are 1.
        rho: densities, kg/m^3.
        rho_p: their derivatives in the pressure.
        m: b k_r / mu, 1/(Pa s); upstream of the drop in potential it counts.
        m_p: its derivatives in the pressure.
        m_s: those in the saturation.
        half_g_dz: half of gravity by the left cell's depth less the right one's, m^2/s^2.
        transmissibility: T, m^3.
        flux: result.
        by_left: likewise.
        by_right: likewise.
        residual: of the cells, to which what leaves them is added, m^3/s.
    """
    for a in range(2):
        for f in range(len(left)):
            l, r, lifts = left[f], right[f], half_g_dz[f]  # noqa: E741
            drop = p[a, l] - p[a, r] - lifts * (rho[a, l] + rho[a, r])
            is_left = drop >= 0.0
            up = l if is_left else r
            flux[a, f] = m[a, up] * drop
            through = transmissibility[f] * m[a, up]
            by_p, by_s = transmissibility[f] * m_p[a, up] * drop, transmissibility[f] * m_s[a, up] * drop
            by_left[a, 0, f] = through * (1.0 - lifts * rho_p[a, l]) + (by_p if is_left else 0.0)
            by_left[a, 1, f] = through * p_s[a, l] + (by_s if is_left else 0.0)
            by_right[a, 0, f] = -through * (1.0 + lifts * rho_p[a, r]) + (0.0 if is_left else by_p)
            by_right[a, 1, f] = -through * p_s[a, r] + (0.0 if is_left else by_s)
            residual[a, l] += through * drop
            residual[a, r] -= through * drop


@compiled
def gains(
    s: Float[np.ndarray, " n"],
    s_before: Float[np.ndarray, " n"],
    filled: Phases,
    filled_p: Phases,
    filled_before: Phases,
    pore_volume: Float[np.ndarray, " n"],
    length: float,
    gain: Phases,
    gain_x: Float[np.ndarray, "2 2 n"],
    residual: Phases,
) -> None:
    """What the cells gain of both phases, by pore volume, and pore volume times its derivatives in (p, s).

    Args:
        s: saturation of water.
        s_before: at the beginning of the step.
        filled: what pores full of one phase hold of it, by their volume at the rock's reference.
        filled_p: its derivatives in the pressure.
        filled_before: at the beginning of the step.
        pore_volume: m^3.
        length: of the step, s.
        gain: result, 1/s.
        gain_x: likewise.
        residual: likewise, pore volume times gain, m^3/s.
    """
    for a in range(2):
        for i in range(len(s)):
            part, before = (s[i], s_before[i]) if a == 0 else (1.0 - s[i], 1.0 - s_before[i])
            per = pore_volume[i] / length
            gain[a, i] = (filled[a, i] * part - filled_before[a, i] * before) / length
            gain_x[a, 0, i] = per * filled_p[a, i] * part
            gain_x[a, 1, i] = per * filled[a, i] if a == 0 else -per * filled[a, i]
            residual[a, i] = pore_volume[i] * gain[a, i]
