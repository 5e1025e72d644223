"""What the cells hold of each phase during a step of the sequential iteration."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from rockbank.flow.equations.problem import Problem
from rockbank.flow.kernels.compiled import Cells


class Accumulation:
    """Capacities for each phase at the pressures so far, and what was held before the step.

    Attributes:
        dt: length of the step, s.
        pore_volume: at the reference pressure, m^3.
        water: PV b_w / dt: what a cell full of water holds, by the step's length, m^3/s.
        oil: likewise.
        held_water: of that, what the cells held before the step.
        held_oil: likewise.
        b_w: volume at the reference pressure of one volume of water.
        b_o: likewise of oil.
        fvf_ratio: b_w / b_o.
    """

    dt: float
    water: Cells
    oil: Cells
    held_water: Cells
    held_oil: Cells

    def __init__(self, problem: Problem, pore_volume: Cells, cell: Int[np.ndarray, " n"]) -> None:
        """With pore volumes in the order of the cells whose numbers on the grid are `cell`."""
        phases, n = (problem.fluid.water, problem.fluid.oil), len(pore_volume)
        self.problem, self.pore_volume = problem, pore_volume
        self.c_r, self.p_r = (np.broadcast_to(np.asarray(of, dtype=float), n)[cell]
                              for of in (problem.rock_compressibility, problem.rock_reference))  # fmt: skip
        self.c_w, self.c_o = (self.c_r + phase.compressibility for phase in phases)
        self.is_rigid = not (self.c_w.any() or self.c_o.any())
        self.b_w = self.b_o = self.fvf_ratio = np.ones_like(pore_volume)

    def begin(self, dt: float, p: Cells, s: Cells) -> None:
        """Starts a step from what the cells hold."""
        self.dt = dt
        self.water = self.oil = self.pore_volume / dt
        self.update_pressure(p)
        self.held_water, self.held_oil = self.water * s, self.oil * (1 - s)

    def update_pressure(self, p: Cells) -> None:
        """Goes on to other pressures."""
        if self.is_rigid:
            return
        phases = (self.problem.fluid.water, self.problem.fluid.oil)
        self.b_w, self.b_o = (np.exp(phase.compressibility * (p - phase.reference_pressure)) for phase in phases)
        self.fvf_ratio = self.b_w / self.b_o
        pores = self.pore_volume / self.dt * np.exp(self.c_r * (p - self.p_r))
        self.water, self.oil = pores * self.b_w, pores * self.b_o

    def excess(self, s: Cells) -> Cells:
        """By how much less the cells hold than before, of both phases together, m^3/s."""
        if self.is_rigid:  # exactly: the saturations' sum is 1
            return np.zeros_like(s)
        return np.asarray(self.held_water - self.water * s + self.held_oil - self.oil * (1 - s))

    def slope(self, s: Cells) -> Cells | None:
        """Derivative of what they hold in the pressure; None is 0."""
        return None if self.is_rigid else self.c_w * self.water * s + self.c_o * self.oil * (1 - s)
