"""The wells of one member in the sequential iteration: what holds each, and the bottom-hole pressure that follows."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

from rockbank.core.errors import UserError
from rockbank.flow.equations.problem import BHP, OIL, SHUT, WATER, Parameters, Problem
from rockbank.flow.equations.well_controls import MAX_SWITCHES, SLACK, has_same_control, kinds_held
from rockbank.flow.kernels.cell_ordering import CellOrdering
from rockbank.flow.kernels.well_flow import bhp_at_rates, bhp_change, flows_rightly, inflow, inflow_change, strengths


class NoFlowError(UserError, RuntimeError):
    """A well cannot hold its rate at any pressure; says which."""


class WellState:
    """Perforations and bottom-hole pressures.

    Rates are surface volumes of both phases, positive into the reservoir.

    Attributes:
        bhp: Pa.
        held: which wells their limits hold.
        kinds: of what holds each well, a place in wells.KINDS.
        is_rated: whether that is a rate, so that its pressure is unknown.
        cell: of each perforation, by the ordering's numbers.
        head: pressure at each perforation minus the bottom-hole pressure, Pa.
        is_open: which perforations flow.
        strength: m^3/s through each for 1 Pa.
        water_part: of what flows.
    """

    bhp: Float[np.ndarray, " w"]
    held: Bool[np.ndarray, " w"]
    kinds: Int[np.ndarray, " w"]
    is_rated: Bool[np.ndarray, " w"]
    cell: Int[np.ndarray, " p"]
    head: Float[np.ndarray, " p"]
    is_open: Bool[np.ndarray, " p"]
    strength: Float[np.ndarray, " p"]
    water_part: Float[np.ndarray, " p"]

    def __init__(
        self, problem: Problem, parameters: Parameters, ordering: CellOrdering, p: Float[np.ndarray, " n"]
    ) -> None:
        self.problem = problem
        self.targets, self.limits = parameters.targets[0].numpy(), parameters.limits[0].numpy()
        self.cell, self.well = ordering.place[problem.perforation_cell], problem.perforation_well
        self.index = parameters.well_index[0].numpy()
        self.of_well = [np.flatnonzero(self.well == w) for w in range(len(problem.wells))]
        self.sign = np.where(problem.is_injector, 1.0, -1.0)
        self.injects = problem.is_injector[self.well]
        self.head = np.zeros(len(self.cell))
        self.bhp = self._sum(p[self.cell]) / self._sum(np.ones(len(self.cell)))
        self.held = np.zeros(len(self.sign), dtype=bool)

    def _sum(self, values: Float[np.ndarray, " p"]) -> Float[np.ndarray, " w"]:
        return np.bincount(self.well, values, minlength=len(self.sign))

    def begin(self, report: int) -> bool:
        """Goes on to a report step; whether it holds the wells as the one before did."""
        self.held = self.held_at(report)
        self.report, self.switches = report, np.zeros(len(self.held), dtype=int)
        self.has_limits = bool(self.problem.has_limit[report].any())
        if report and self._is_as_before():
            return True
        self._hold()
        return False

    def held_at(self, report: int) -> Bool[np.ndarray, " w"]:
        """Which wells their limits go on to hold as a report step begins."""
        return self.held & has_same_control(self.problem, report) if report else self.held

    def _is_as_before(self) -> bool:
        """Whether controls are those of the step before, and what holds the wells too: limits may have changed."""
        now, targets, kinds = self.report, self.targets, self.problem.kinds
        if not ((kinds[now] == kinds[now - 1]).all() and (targets[now] == targets[now - 1]).all()):
            return False
        of_kinds, bounds = self._bounds(self.held)
        return bool((of_kinds == self.kinds).all() and (bounds == self.bounds).all())

    def _hold(self) -> None:
        self.kinds, self.bounds = self._bounds(self.held)
        self.held = self.held & (self.kinds != SHUT)
        self.is_rated = (self.kinds != BHP) & (self.kinds != SHUT)
        self.is_open = self.kinds[self.well] != SHUT

    def _bounds(self, held: Bool[np.ndarray, " w"]) -> tuple[Int[np.ndarray, " w"], Float[np.ndarray, " w"]]:
        at, targets, limits = self.report, self.targets[self.report], self.limits[self.report]
        most = np.where(self.problem.kinds[at] == BHP, limits, targets)
        kinds = kinds_held(self.problem, np.array([at]), held[None])[0]
        return np.where(most <= 0, SHUT, kinds), np.where(held, limits, targets)

    def set(
        self,
        p: Float[np.ndarray, " n"],
        m_w: Float[np.ndarray, " n"],
        m_o: Float[np.ndarray, " n"],
        fvf_ratio: Float[np.ndarray, " n"],
    ) -> None:
        """Strengths of the open perforations at the cells' mobilities, and the bottom-hole pressures that hold.

        Args:
            p: of the cells, Pa.
            m_w: b_w lam_w of the cells, 1/(Pa s).
            m_o: likewise of oil.
            fvf_ratio: b_w / b_o, by which water displaces oil in front of an injector.
        """
        of, at_rate, total = (self.cell, self.well), *np.empty((2, len(self.sign)))
        self.strength, self.counted, self.water_part = np.empty((3, len(self.cell)))
        strengths(*of, self.injects, self.is_open, self.index, self.kinds, m_w, m_o, fvf_ratio, self.strength,
                  self.counted, self.water_part)  # fmt: skip
        bhp_at_rates(*of, self.is_open, self.counted, self.sign * self.bounds, self.head, p, at_rate, total)
        stuck = np.flatnonzero(self.is_rated & ~(total > 0))
        if stuck.size:
            raise NoFlowError(f"nothing that well '{self.problem.wells[stuck[0]].name}' is to give can move")
        self.bhp = np.where(self.kinds == BHP, self.bounds, np.where(self.is_rated, at_rate, self.bhp))

    def shut_and_open(self, p: Float[np.ndarray, " n"]) -> None:
        """Shuts the perforations that would flow the wrong way at pressures found together, and opens the others.

        Not at pressures of the cells and of the wells from different iterations: where those differ by more than
        what drives a perforation in tight rock, most of them shut for no reason.
        """
        self.is_open = np.empty_like(self.is_open)
        flows_rightly(self.cell, self.well, self.kinds == SHUT, self.sign, self.bhp, self.head, p, self.is_open)

    def close(self, p: Float[np.ndarray, " n"]) -> None:
        """Bottom-hole pressures at which the rates hold to the last digit, where the cells' pressures stay."""
        at_datum = p[self.cell] - self.head
        for w in np.flatnonzero(self.is_rated):
            of, sign = self.of_well[w], self.sign[w]
            order = of[np.argsort(sign * at_datum[of])]  # the first to open comes first
            level = sign * at_datum[order]
            strength = self.counted[order]
            total = np.cumsum(strength)
            u = np.divide(self.bounds[w] + np.cumsum(strength * level), total, out=np.full_like(level, np.inf),
                          where=total > 0)  # fmt: skip
            self.bhp[w] = sign * u[np.argmax(u <= np.append(level[1:], np.inf))]
        self.shut_and_open(p)

    def inflow(self, p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " p"]:
        """Both phases together through each perforation."""
        through = np.empty(len(self.cell))
        inflow(self.cell, self.well, self.strength, self.bhp, self.head, p, through)
        return through

    def change(self, dp: Float[np.ndarray, " n"]) -> Float[np.ndarray, " w"]:
        """Of the bottom-hole pressures, such that rates stay what they are where rates hold."""
        change = np.empty(len(self.sign))
        bhp_change(self.cell, self.well, self.strength, self.is_rated, dp, change)
        return change

    def inflow_change(self, dp: Float[np.ndarray, " n"]) -> tuple[Float[np.ndarray, " p"], float]:
        """What flows into the perforations' cells more when pressures change, and its product with the drop."""
        more = np.empty(len(self.cell))
        return more, inflow_change(self.cell, self.well, self.strength, self.is_rated, dp, more)

    def columns(self, n_cells: int) -> Float[np.ndarray, "k n"]:
        """Of the matrix, for the pressure of each well that a rate holds and that flows."""
        flows = np.flatnonzero(self.is_rated & (self._sum(self.strength) > 0))
        columns = np.zeros((len(flows), n_cells))
        for column, w in zip(columns, flows, strict=True):
            column[self.cell[self.of_well[w]]] = self.strength[self.of_well[w]]
        return columns

    def switch(self, p: Float[np.ndarray, " n"], *, has_converged: bool) -> bool:
        """Gives wells from control to limit or back where what does not hold them is broken; whether it gave any.

        A limit takes over at once the first time; from then on only at a solution, as in Newton's method.
        """
        if not self.has_limits:
            return False
        kinds, bounds = self._bounds(~self.held)
        inflow = self.inflow(p)
        water, oil = self._sum(inflow * self.water_part), self._sum(inflow * (1 - self.water_part))
        flow = np.where(kinds == OIL, 0.0, water) + np.where(kinds == WATER, 0.0, oil)
        passed = np.where(kinds == BHP, self.sign * (self.bhp - bounds), self.sign * flow - bounds)
        broken = (passed > SLACK * np.abs(bounds)) & (kinds != SHUT) & (self.kinds != SHUT)
        at_once = (self.switches == 0) & ~self.held
        given = broken & (at_once | has_converged) & (self.switches < MAX_SWITCHES)
        if not given.any():
            return False
        self.held, self.switches = self.held ^ given, self.switches + given
        self._hold()
        return True

    def note(self) -> str:
        """Which wells their limits hold."""
        held = (well.name for well, is_held in zip(self.problem.wells, self.held, strict=True) if is_held)
        return "; ".join(f"well '{name}' is held by its limit" for name in held)
