"""What flows through the perforations, and what it depends on: perforation by perforation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.flow.kernels.compiled import compiled

OfPhases = Float[np.ndarray, "2 p"]
OfPerforations = Float[np.ndarray, " p"]
OfWells = Float[np.ndarray, " w"]

# Newton steps to the composition of an injector's bore, which is nearly linear in it.
_ITERATIONS = 8


@compiled
def _leaving(
    k: int, water: float, b: OfPhases, b_p: OfPhases, m: OfPhases, m_p: OfPhases, m_s: OfPhases
) -> tuple[float, float, float, float, float]:
    """What a bore drives into the cell of perforation k, in volumes in place.

    Args: as those of `inflow_at_mixtures`; `water`, the part of water in the bore by surface volume.

    Returns:
        lam, the total mobility of the cell, and its derivatives in (p, s); the volume that one volume at the surface
        of what is in the bore takes, and its derivative in p.
    """
    lam, lam_p, lam_s, volume, volume_p = 0.0, 0.0, 0.0, 0.0, 0.0
    for a in range(2):
        share, per = water if a == 0 else 1.0 - water, 1.0 / b[a, k]
        lam += m[a, k] * per
        lam_p += (m_p[a, k] - m[a, k] * b_p[a, k] * per) * per
        lam_s += m_s[a, k] * per
        volume += share * per
        volume_p -= share * b_p[a, k] * per * per
    return lam, lam_p, lam_s, volume, volume_p


@compiled
def inflow_at_mixtures(
    well: Int[np.ndarray, " p"],
    is_injector: Bool[np.ndarray, " w"],
    crosses: Bool[np.ndarray, " w"],
    is_open: Bool[np.ndarray, " p"],
    drop: OfPerforations,
    part: OfWells,
    b: OfPhases,
    b_p: OfPhases,
    m: OfPhases,
    m_p: OfPhases,
    m_s: OfPhases,
    inflow: OfPhases,
    inflow_x: Float[np.ndarray, "2 3 p"],
    by_mixture: OfPhases,
) -> None:
    """What flows of both phases by WI, and derivatives in (p, s, bhp) and in the part of water; see `_mobile` there.

    Args:
        well: of each perforation.
        is_injector: of each well.
        crosses: whether the well may have cross-flow.
        is_open: whether anything may flow.
        drop: pressure in the bore above that of the cells, Pa.
        part: which part of what a bore that crosses holds is water, by surface volume.
        b: volume at the reference pressure of one volume in the cells.
        b_p: its derivatives in the pressure.
        m: b k_r / mu in the cells, 1/(Pa s).
        m_p: its derivatives in the pressure.
        m_s: those in the saturation.
        inflow: result.
        inflow_x: likewise.
        by_mixture: likewise.
    """
    for k in range(len(well)):
        w = well[k]
        by_mixture[0, k] = by_mixture[1, k] = 0.0
        if not is_open[k]:
            inflow[0, k] = inflow[1, k] = 0.0
            inflow_x[:, :, k] = 0.0
            continue
        if not (drop[k] > 0.0 if crosses[w] else is_injector[w]):
            for a in range(2):
                inflow[a, k] = m[a, k] * drop[k]
                inflow_x[a, 0, k] = m_p[a, k] * drop[k] - m[a, k]
                inflow_x[a, 1, k] = m_s[a, k] * drop[k]
                inflow_x[a, 2, k] = m[a, k]
            continue
        water = part[w] if crosses[w] else 1.0
        lam, lam_p, lam_s, volume, volume_p = _leaving(k, water, b, b_p, m, m_p, m_s)
        by_part = 1.0 / b[0, k] - 1.0 / b[1, k]
        for a in range(2):
            mixed = (water if a == 0 else 1.0 - water) / volume
            through = lam * mixed
            inflow[a, k] = through * drop[k]
            inflow_x[a, 0, k] = (lam_p - lam * volume_p / volume) * mixed * drop[k] - through
            inflow_x[a, 1, k] = lam_s * mixed * drop[k]
            inflow_x[a, 2, k] = through
            if crosses[w]:
                by_mixture[a, k] = lam * ((1.0 if a == 0 else -1.0) - mixed * by_part) / volume * drop[k]


@compiled
def mixtures(
    well: Int[np.ndarray, " p"],
    is_injector: Bool[np.ndarray, " w"],
    crosses: Bool[np.ndarray, " w"],
    is_open: Bool[np.ndarray, " p"],
    drop: OfPerforations,
    index: OfPerforations,
    b: OfPhases,
    b_p: OfPhases,
    m: OfPhases,
    m_p: OfPhases,
    m_s: OfPhases,
    part: OfWells,
    slopes: Float[np.ndarray, "4 p"],
) -> None:
    """`equations.wellbore.cross_flow.water_part` of the wells that cross, and its derivatives in (p, s, bhp, WI).

    Args:
        well: of each perforation.
        is_injector: of each well.
        crosses: whether the well may have cross-flow; the others have only water in them.
        is_open: whether anything may flow.
        drop: pressure in the bore above that of the cells, Pa.
        index: of the wells, m^3.
        b: volume at the reference pressure of one volume in the cells.
        b_p: its derivatives in the pressure.
        m: b k_r / mu in the cells, 1/(Pa s).
        m_p: its derivatives in the pressure.
        m_s: those in the saturation.
        part: result.
        slopes: added to.
    """
    n_wells = len(is_injector)
    all_in, oil_in, oil = np.zeros(n_wells), np.zeros(n_wells), np.zeros(n_wells)
    for k in range(len(well)):
        if is_open[k] and crosses[well[k]] and drop[k] < 0.0:
            all_in[well[k]] -= index[k] * (m[0, k] + m[1, k]) * drop[k]
            oil_in[well[k]] -= index[k] * m[1, k] * drop[k]
    out, slope, left = np.zeros(n_wells), np.zeros(n_wells), np.zeros(n_wells)
    for iteration in range(_ITERATIONS + 1):
        out[:], slope[:] = 0.0, 0.0
        for k in range(len(well)):
            w = well[k]
            if is_open[k] and crosses[w] and is_injector[w] and drop[k] > 0.0:
                leaving = index[k] * (m[0, k] / b[0, k] + m[1, k] / b[1, k]) * drop[k]
                swelling = 1.0 / b[1, k] - 1.0 / b[0, k]
                per = 1.0 / (1.0 / b[0, k] + oil[w] * swelling)
                out[w] += leaving * per
                slope[w] -= leaving * per * per * swelling
        for w in range(n_wells):  # x_o X - I_o, and its derivative in x_o
            left[w] = oil[w] * out[w] - oil_in[w]
            slope[w] = out[w] + oil[w] * slope[w]
            slope[w] = slope[w] if slope[w] > 0.0 else 1.0
            if iteration < _ITERATIONS:
                oil[w] = min(max(oil[w] - left[w] / slope[w], 0.0), 1.0)
    gives = is_injector & (out > all_in)
    for w in range(n_wells):
        of_bore = oil_in[w] / all_in[w] if all_in[w] > 0.0 else (0.0 if is_injector[w] else 1.0)
        part[w] = 1.0 - (oil[w] - left[w] / slope[w] if gives[w] else of_bore)
    for k in range(len(well)):
        w = well[k]
        if not (is_open[k] and crosses[w]):
            continue
        if drop[k] < 0.0 and (gives[w] or all_in[w] > 0.0):  # what enters the bore
            x, per = (1.0, 1.0 / slope[w]) if gives[w] else (part[w], 1.0 / all_in[w])
            # d(I_o) x_w - d(I_w) x_o of a bore that all of it fills; of one that gives more, d(I_o).
            other = 0.0 if gives[w] else 1.0 - part[w]
            of_m = x * m[1, k] - other * m[0, k]
            of_m_p, of_m_s = x * m_p[1, k] - other * m_p[0, k], x * m_s[1, k] - other * m_s[0, k]
            slopes[0, k] -= per * index[k] * (of_m - of_m_p * drop[k])
            slopes[1, k] += per * index[k] * of_m_s * drop[k]
            slopes[2, k] += per * index[k] * of_m
            slopes[3, k] += per * of_m * drop[k]
        if drop[k] > 0.0 and gives[w]:  # what leaves it
            lam, lam_p, lam_s, volume, volume_p = _leaving(k, 1.0 - oil[w], b, b_p, m, m_p, m_s)
            per = oil[w] / (slope[w] * volume)
            slopes[0, k] += per * index[k] * (lam_p * drop[k] - lam - lam * drop[k] * volume_p / volume)
            slopes[1, k] += per * index[k] * lam_s * drop[k]
            slopes[2, k] += per * index[k] * lam
            slopes[3, k] += per * lam * drop[k]
