"""The fully implicit equations by the compiled loops: what is left of them in the cells."""

from __future__ import annotations

from rockbank.flow.kernels.cell_ordering import CellOrdering
from rockbank.flow.kernels.compiled import Cells, Faces
from rockbank.flow.kernels.fluxes import add_face_fluxes
from rockbank.flow.kernels.well_flow import add_to_cells
from rockbank.flow.steppers.accumulation import Accumulation
from rockbank.flow.steppers.well_state import WellState


def residuals(
    ordering: CellOrdering,
    transmissibility: Faces,
    accumulation: Accumulation,
    wells: WellState,
    p: Cells,
    s: Cells,
    m_w: Cells,
    m_o: Cells,
) -> tuple[Cells, Cells]:
    """Mass-balance errors of water and oil in the cells, m^3/s: `Equations` for co-current flow.

        R_a = (PV b_a s_a - (PV b_a s_a)_before) / dt + sum_f T_f (b_a lam_a)_up (p_l - p_u) - sum_p q_a

    Args:
        ordering: whose numbers of cells and faces all arrays have.
        transmissibility: m^3.
        accumulation: at `p`, with what the cells held before the step.
        wells: at `p` and the mobilities.
        p: Pa.
        s: of water.
        m_w: b_w lam_w, 1/(Pa s).
        m_o: likewise of oil.
    """
    water = accumulation.water * s - accumulation.held_water
    oil = accumulation.oil * (1 - s) - accumulation.held_oil
    add_face_fluxes(transmissibility, ordering.lower, ordering.upper, p, m_w, m_o, water, oil)
    inflow = wells.inflow(p)
    add_to_cells(wells.cell, -inflow * wells.water_part, water)
    add_to_cells(wells.cell, -inflow * (1 - wells.water_part), oil)
    return water, oil
