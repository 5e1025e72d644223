"""The pressure equation of the sequential iteration, by conjugate gradients.

Factors of an older matrix precondition them, on wide grids a multigrid cycle.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rockbank.flow.kernels.cell_ordering import CellOrdering
from rockbank.flow.kernels.compiled import Cells
from rockbank.flow.kernels.fluxes import connect, quadratic_form, subtract_flux
from rockbank.flow.kernels.well_flow import add_to_cells
from rockbank.flow.linear.pressure_factor import PressureCycle, PressureFactor
from rockbank.flow.steppers.well_state import WellState

# Conjugate-gradient steps of one solution. It is good enough when the last gains less than this part of the power
# that all of them together take out; when that asks for more steps, factors or hierarchy are too old. Of a cycle's many
# steps the last says less about what is left, and on 128 x 128 cells 1e-3 takes three times the steps for nothing.
MAX_STEPS, LITTLE = 3, 1e-3
MAX_CYCLES, LITTLE_BY_CYCLES = 30, 1e-2
# Most steps where `Pressure.little` asks for more, and how many more than with factors or a hierarchy of its own the
# solution may take there before they are too old.
MOST_STEPS, MORE_STEPS = 60, 5
# Widest band of which factors are faster than cycles; of 192 cells both are as fast.
WIDEST_BAND = 160


class Pressure:
    """The linear system of a pressure change dp at given mobilities.

        sum_f c_f (dp_i - dp_j) + slope_i dp_i + sum_p strength_p (dp_i - dbhp) = excess_i

    with dbhp the change that keeps the rate of a well that a rate holds, else 0: symmetric and positive.

    Attributes:
        conductance: c = T m_up of the faces.
        is_accurate: whether the last solution met its tolerance.
        little: what the last step may gain where it has to be less than the above.
        steps: of conjugate gradients, that the last solution took.
        steps_when_new: likewise the first with the factors so far.
    """

    conductance: Float[np.ndarray, " f"]
    is_accurate: bool = True
    little: float | None = None
    steps: int = 0
    steps_when_new: int = 0

    def __init__(self, ordering: CellOrdering, transmissibility: Float[np.ndarray, " f"], wells: WellState) -> None:
        self.ordering, self.transmissibility, self.wells = ordering, transmissibility, wells
        self.conductance = np.empty_like(transmissibility)
        self.factor: PressureFactor | PressureCycle | None = None

    def discard_factors(self) -> None:
        """So that the next solution factorises its own matrix."""
        self.factor = None

    def solve(self, p: Cells, m_w: Cells, m_o: Cells, excess: Cells, slope: Cells | None) -> Cells:
        """The change from `p` that takes `excess` (what flows into each cell, but for faces and wells) away.

        Args:
            p: of the cells, Pa.
            m_w: b_w lam_w of the cells, 1/(Pa s).
            m_o: likewise of oil.
            excess: m^3/s; it is used up.
            slope: derivative of what a cell holds, per time, in its pressure; None is 0.
        """
        ordering = self.ordering
        diagonal = np.zeros_like(p) if slope is None else slope.copy()
        connect(self.transmissibility, ordering.lower, ordering.upper, p, m_w, m_o, self.conductance, diagonal, excess)
        add_to_cells(self.wells.cell, self.wells.inflow(p), excess)
        return self.solve_for(excess, diagonal, slope)

    def solve_for(self, excess: Cells, diagonal: Cells, slope: Cells | None) -> Cells:
        """The same where `conductance` is known, and all that flows into the cells is in `excess`.

        Args:
            excess: m^3/s; it is used up.
            diagonal: of the matrix, but for the wells; likewise.
            slope: see `solve`.
        """
        wells, ordering = self.wells, self.ordering
        add_to_cells(wells.cell, wells.strength, diagonal)
        is_new = self.factor is None
        if self.factor is None:
            kind = PressureFactor if ordering.width <= WIDEST_BAND else PressureCycle
            self.factor = kind(ordering, self.conductance, diagonal, wells.columns(len(diagonal)))
        if self.little is not None:
            dp = self._conjugate_gradients(self.factor, excess, slope, MOST_STEPS, self.little)
            self.steps_when_new = self.steps if is_new else self.steps_when_new
            if self.steps > self.steps_when_new + MORE_STEPS:
                self.discard_factors()
            return dp
        if isinstance(self.factor, PressureCycle):
            return self._conjugate_gradients(self.factor, excess, slope, MAX_CYCLES, LITTLE_BY_CYCLES)
        return self._conjugate_gradients(self.factor, excess, slope, 1 if is_new else MAX_STEPS, LITTLE)

    def _conjugate_gradients(
        self, factor: PressureFactor | PressureCycle, excess: Cells, slope: Cells | None, n_steps: int, little: float
    ) -> Cells:
        """Hestenes and Stiefel 1952; one step is exact where the factors are the matrix's own."""
        ordering, wells = self.ordering, self.wells
        dp, direction, before, taken = np.zeros_like(excess), np.zeros_like(excess), 1.0, 0.0
        self.is_accurate = n_steps == 1
        for step in range(n_steps):
            self.steps = step + 1
            z = factor.solve(excess)
            now = float(excess @ z)
            if not now > 0:  # nothing left, or round-off
                self.is_accurate = True
                break
            direction = z + now / before * direction if step else z
            inflow, power = wells.inflow_change(direction)
            curvature = quadratic_form(self.conductance, ordering.lower, ordering.upper, direction) + power
            if slope is not None:
                curvature += float(slope @ direction**2)
            length, before = now / curvature, now
            direction_p = length * direction
            dp += direction_p
            taken += length * now
            if length * now <= little * taken:
                self.is_accurate = True
            if self.is_accurate or step + 1 == n_steps:
                break
            subtract_flux(self.conductance, ordering.lower, ordering.upper, direction_p, excess)
            add_to_cells(wells.cell, length * inflow, excess)
            if slope is not None:
                excess -= slope * direction_p
        return dp
