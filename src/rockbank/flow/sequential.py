"""The sequential fully implicit iteration: pressure, then transport in the order of the flow, until both agree.

Its limit is the solution of the fully implicit equations (Jenny, Lee and Tchelepi 2006), without their Newton steps
cut, at a tenth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow import newton
from rockbank.flow.bores import Bores
from rockbank.flow.kernels import (
    COREY_COLUMNS,
    connect,
    factorise,
    fill_band,
    flow,
    flow_order,
    mobilities,
    mobility_at,
    power,
    relieve,
    solve_band,
    transport,
    volume_errors,
)
from rockbank.flow.network import Network, network
from rockbank.flow.options import Options
from rockbank.flow.problem import Parameters, Problem
from rockbank.flow.relperm import BrooksCorey, SaturationTable
from rockbank.flow.residual import Unknowns
from rockbank.flow.trajectory import StepReport, Trajectory

Cells = Float[np.ndarray, " n"]

# Outer iterations of one step; they contract by about 0.15, so that ten digits take a dozen.
MAX_ITERATIONS = 50
# Conjugate-gradient steps of one pressure solve, with the factors of an earlier matrix; the last may do little.
MAX_CG, LITTLE = 3, 1e-4
# The factors are too old where an outer iteration leaves more than this of the last change, and of no use where the
# iteration does not come closer at all.
SLOW, STUCK = 0.4, 0.9
# Least spread of the pressures by which their changes are measured, by the pressure itself.
LEAST_SPREAD = 1e-4


class _NotConverged(RuntimeError):
    """The step is one for Newton's method; says why."""


def applies(problem: Problem) -> str | None:
    """None where the sequential iteration takes the problem, else why not."""
    if problem.fluid.gravity:
        return "gravity acts"
    if problem.fluid.curves.has_capillary_pressure:
        return "capillary pressure acts"
    if not isinstance(problem.fluid.curves, BrooksCorey | SaturationTable):
        return f"curves of the kind {type(problem.fluid.curves).__name__} are not compiled"
    return None


def run(
    problem: Problem, parameters: Parameters, options: Options, *, progress: Callable[[int], None] | None = None
) -> Trajectory:
    """Takes one member through the report steps; Newton's method takes those at which the iteration fails.

    A step has converged when an iteration changes no saturation by more than `options.tolerance`, and no pressure by
    more than that part of the pressures' spread. What is left is less, as the iteration contracts.

    Args:
        problem: one that `applies` has no objection to, with a batch of one.
        parameters: likewise.
        options: of which the tolerance counts, and those of Newton where it has to help.
        progress: is told of every report step done, by a 1.

    Raises:
        NewtonError: Newton's method could not take a step either.
    """
    march = _March(problem, parameters.detach(), options)
    for report in range(len(problem.steps)):
        march.take(report)
        if progress is not None:
            progress(1)
    return march.trajectory()


def compiled_curves(problem: Problem) -> Float[np.ndarray, "points columns"]:
    """The relative permeabilities over the viscosities, as the kernels take them."""
    curves, mu_w, mu_o = problem.fluid.curves, problem.fluid.water.viscosity, problem.fluid.oil.viscosity
    if isinstance(curves, BrooksCorey):
        phases = ((curves.water_curve, mu_w), (curves.oil_curve, mu_o))
        rows = [(curve.residual, curve.span, curve.exponent, curve.end / mu) for curve, mu in phases]
        return np.array(rows).reshape(2, COREY_COLUMNS)
    assert isinstance(curves, SaturationTable)
    columns = curves.saturation, np.divide(curves.k_water, mu_w), np.divide(curves.k_oil, mu_o)
    return np.stack(columns, axis=1)


class _Storage:
    """What the cells can hold of each phase, m^3/s for a whole pore volume in this step, and what they held before."""

    def __init__(self, problem: Problem, pore_volume: Cells) -> None:
        fluid = problem.fluid
        self.problem, self.pore_volume = problem, pore_volume
        self.slopes = [problem.rock_compressibility + phase.compressibility for phase in (fluid.water, fluid.oil)]
        self.is_rigid = not any(self.slopes)
        self.b_w = self.b_o = self.swap = np.ones(len(pore_volume))

    def begin(self, dt: float, p: Cells, s: Cells) -> None:
        """Starts a step from what the cells hold."""
        self.dt = dt
        self.water = self.oil = self.pore_volume / dt
        self.press(p)
        self.held_water, self.held_oil = self.water * s, self.oil * (1 - s)

    def press(self, p: Cells) -> None:
        """Goes on to other pressures."""
        if self.is_rigid:
            return
        problem, phases = self.problem, (self.problem.fluid.water, self.problem.fluid.oil)
        self.b_w, self.b_o = (np.exp(of.compressibility * (p - of.reference_pressure)) for of in phases)
        self.swap = self.b_w / self.b_o
        pores = self.pore_volume / self.dt * np.exp(problem.rock_compressibility * (p - problem.rock_reference))
        self.water, self.oil = pores * self.b_w, pores * self.b_o

    def excess(self, s: Cells) -> Cells:
        """What the cells hold less than before, of both phases together."""
        if self.is_rigid:  # exactly: both saturations are 1 together
            return np.zeros_like(s)
        return self.held_water - self.water * s + self.held_oil - self.oil * (1 - s)

    def slope(self, s: Cells) -> Cells:
        """Derivative of what they hold in the pressure."""
        return self.slopes[0] * self.water * s + self.slopes[1] * self.oil * (1 - s)


class _Factor:
    """The Cholesky factors of a pressure matrix, with the wells under rates eliminated (Woodbury)."""

    def __init__(self, net: Network, conductance: Float[np.ndarray, " f"], diagonal: Cells, bores: Bores) -> None:
        self.band = np.empty((len(diagonal), net.width))
        fill_band(net.lower, net.upper, conductance, diagonal, self.band)
        if not factorise(self.band):
            raise _NotConverged("the pressure's matrix is not positive")
        rated = np.flatnonzero(bores.is_rated & (np.bincount(bores.well, bores.strength, len(bores.bhp)) > 0))
        columns = np.zeros((len(rated), len(diagonal)))
        for column, w in zip(columns, rated, strict=True):
            of = bores.well == w
            column[bores.cell[of]] = bores.strength[of]
        self.solved = columns.copy()
        for column in self.solved:
            solve_band(self.band, column)
        total = columns.sum(axis=1)
        schur = np.diag(total) - columns @ self.solved.T
        if not (np.diag(schur) > 1e-12 * total).all():
            raise _NotConverged("no well holds the pressure")
        self.schur = np.linalg.inv(schur)

    def solve(self, excess: Cells) -> Cells:
        """A pressure change that takes about that excess away."""
        dp = excess.copy()
        solve_band(self.band, dp)
        if len(self.schur):
            dp += (self.schur @ (self.solved @ excess)) @ self.solved
        return dp


class _March:
    """One member: its state, and the iteration that takes it through the steps."""

    def __init__(self, problem: Problem, parameters: Parameters, options: Options) -> None:
        self.problem, self.parameters, self.options = problem, parameters, options
        self.net = net = network(problem.grid)
        self.transmissibility = parameters.transmissibility[0].numpy()[net.face]
        self.curves = compiled_curves(problem)
        connate = problem.fluid.curves.connate
        # Below it no water moves; in a table whose first point has it mobile there is no such saturation.
        self.immobile = connate if mobility_at(connate, self.curves)[0] == 0 else -1.0
        self.p, self.s = problem.pressure[0].numpy()[net.cell], problem.saturation[0].numpy()[net.cell]
        self.bores = Bores(problem, parameters, net, self.p)
        self.storage = _Storage(problem, parameters.pore_volume[0].numpy()[net.cell])
        n, n_faces = len(self.p), len(net.face)
        self.m_w, self.m_o, self.diagonal, self.excess, self.water = np.zeros((5, n))
        self.injected, self.produced = np.zeros((2, n))
        self.conductance, self.flux = np.zeros((2, n_faces))
        self.is_upward = np.zeros(n_faces, dtype=np.bool_)
        self.order, self.waiting = np.arange(n, dtype=np.int32), np.empty(n, dtype=np.int32)
        self.factor: _Factor | None = None
        self.knows_flux = False
        self.taken: list[Trajectory] = []

    def take(self, report: int) -> None:
        """One report step."""
        begun = self.p, self.s, self.bores.bhp.copy(), self.bores.held
        try:
            iterations = self._step(report)
        except _NotConverged as failure:
            self._take_by_newton(report, begun, str(failure))
            return
        note = self.bores.note()
        converged = StepReport(
            method="sequential", iterations=iterations, n_steps=1, residual=self._residual(), note=note
        )
        place = self.net.place
        self.taken.append(
            Trajectory(
                steps=self.problem.steps[report : report + 1],
                report=np.array([report]),
                pressure=torch.from_numpy(np.stack([begun[0][place], self.p[place]])),
                saturation=torch.from_numpy(np.stack([begun[1][place], self.s[place]])),
                bhp=torch.from_numpy(self.bores.bhp[None].copy()),
                kinds=self.bores.kinds[None],
                held_by_limit=self.bores.held[None],
                reports=(converged,),
            )
        )

    def _step(self, report: int) -> int:
        """Iterates to the end of a report step; the iterations that it took."""
        dt, storage = self.problem.steps[report], self.storage
        same_wells = self.bores.begin(report)
        storage.begin(dt, self.p, self.s)
        self.p, self.s = self.p.copy(), self.s.copy()
        if same_wells and self.knows_flux:
            self._move_water()  # with the flow of the step before: a start closer to the end than where it begins
        last, is_fresh = np.inf, False
        for iteration in range(1, MAX_ITERATIONS + 1):
            change = max(self._press(), self._move_water())
            if not np.isfinite(change):
                raise _NotConverged("the iteration went astray")
            has_converged = change <= self.options.tolerance
            if self.bores.switch(self.p, has_converged=has_converged):
                self.factor, last = None, np.inf
            elif has_converged:
                self._set_wells()
                return iteration
            elif change > STUCK * last or (change > SLOW * last and not is_fresh):
                self.factor, is_fresh = None, True
            last = change
        raise _NotConverged(f"{MAX_ITERATIONS} iterations still change {change:.2g}")

    def _set_wells(self) -> None:
        mobilities(self.s, self.storage.b_w, self.storage.b_o, self.curves, self.m_w, self.m_o)
        self.bores.open(self.p, self.m_w, self.m_o, self.storage.swap)

    def _press(self) -> float:
        """Pressures, and the flow that they drive, at the saturations so far; the largest change by the spread."""
        net, bores, p = self.net, self.bores, self.p
        self._set_wells()
        self.excess[:], self.diagonal[:] = self.storage.excess(self.s), self.storage.slope(self.s)
        connect(self.transmissibility, net.lower, net.upper, p, self.m_w, self.m_o, self.conductance, self.diagonal,
                self.excess)  # fmt: skip
        storage_slope = self.storage.slope(self.s)
        np.add.at(self.excess, bores.cell, bores.inflow(p))
        np.add.at(self.diagonal, bores.cell, bores.strength)
        dp = self._relieved(storage_slope)
        spread = max(p.max() - p.min(), LEAST_SPREAD * np.abs(p).max())
        self.p = p + dp
        bores.bhp = bores.bhp + bores.follow(dp)[0]
        self.storage.press(self.p)
        turned = flow(self.conductance, net.lower, net.upper, self.p, self.flux, self.is_upward)
        if turned or not self.knows_flux:
            self._order_cells()
        inflow = bores.inflow(self.p)
        self.injected[:], self.produced[:] = 0.0, 0.0
        np.add.at(self.injected, bores.cell, np.where(bores.injects, inflow, 0.0))
        np.add.at(self.produced, bores.cell, np.where(bores.injects, 0.0, -inflow))
        self.knows_flux = True
        return float(np.abs(dp).max() / spread)

    def _order_cells(self) -> None:
        net = self.net
        flow_order(self.flux, net.lower, net.upper, net.start, net.neighbour, net.side, net.sign, self.waiting,
                   self.order)  # fmt: skip

    def _relieved(self, slope: Cells) -> Cells:
        """The pressure change that takes the excess away, by conjugate gradients with the factors at hand."""
        net, bores = self.net, self.bores
        is_exact = self.factor is None
        if self.factor is None:
            self.factor = _Factor(net, self.conductance, self.diagonal, bores)
        dp, direction = np.zeros_like(self.p), np.zeros_like(self.p)
        before, gained = 1.0, 0.0
        for _ in range(MAX_CG):
            z = self.factor.solve(self.excess)
            now = float(self.excess @ z)
            if not now > 0:
                break
            direction = z + now / before * direction if gained else z
            dbhp, of_wells = bores.follow(direction)
            drop = dbhp[bores.well] - direction[bores.cell]
            curvature = power(self.conductance, net.lower, net.upper, direction) + float(
                slope @ direction**2 + of_wells @ drop
            )
            length = now / curvature
            dp += length * direction
            gained += length * now
            if is_exact or length * now <= LITTLE * gained:
                break
            relieve(self.conductance, net.lower, net.upper, length * direction, self.excess)
            self.excess -= length * slope * direction
            np.add.at(self.excess, bores.cell, length * of_wells)
            before = now
        return dp

    def _move_water(self) -> float:
        """Saturations with the flow so far; their largest change."""
        net, storage = self.net, self.storage
        return transport(self.flux, net.start, net.neighbour, net.side, net.sign, self.order, self.injected,
                         self.produced, storage.water, storage.held_water, storage.b_w, storage.b_o, self.immobile,
                         self.curves, self.s, self.water)  # fmt: skip

    def _residual(self) -> float:
        """The largest volume error of a phase in a cell, by its pore volume."""
        storage, bores, s = self.storage, self.bores, self.s
        water = storage.water * s - storage.held_water
        oil = storage.oil * (1 - s) - storage.held_oil
        volume_errors(self.transmissibility, self.net.lower, self.net.upper, self.p, self.m_w, self.m_o, water, oil)
        inflow = bores.inflow(self.p)
        np.subtract.at(water, bores.cell, inflow * bores.water_part)
        np.subtract.at(oil, bores.cell, inflow * (1 - bores.water_part))
        return float(max((np.abs(of) / storage.pore_volume).max() for of in (water, oil)) * storage.dt)

    def _take_by_newton(self, report: int, begun: tuple[Cells, Cells, np.ndarray, np.ndarray], why: str) -> None:
        place = self.net.place
        p, s, bhp, held = begun
        start = Unknowns(
            pressure=torch.from_numpy(p[place])[None],
            saturation=torch.from_numpy(s[place])[None],
            bhp=torch.from_numpy(bhp)[None],
        )
        (taken,) = newton.run(
            self.problem, self.parameters, self.options, start=start, held=held[None], reports=range(report, report + 1)
        )
        (made,) = taken.reports
        note = "; ".join(filter(None, [f"newton: {why}", made.note]))
        self.taken.append(replace(taken, reports=(replace(made, note=note),)))
        self.p, self.s = taken.pressure[-1].numpy()[self.net.cell], taken.saturation[-1].numpy()[self.net.cell]
        self.bores.bhp, self.bores.held = taken.bhp[-1].numpy().copy(), taken.held_by_limit[-1]
        self.factor, self.knows_flux = None, False

    def trajectory(self) -> Trajectory:
        """All steps taken."""
        taken = self.taken
        return Trajectory(
            steps=np.concatenate([of.steps for of in taken]),
            report=np.concatenate([of.report for of in taken]),
            pressure=torch.cat([taken[0].pressure[:1], *(of.pressure[1:] for of in taken)]),
            saturation=torch.cat([taken[0].saturation[:1], *(of.saturation[1:] for of in taken)]),
            bhp=torch.cat([of.bhp for of in taken]),
            kinds=np.concatenate([of.kinds for of in taken]),
            held_by_limit=np.concatenate([of.held_by_limit for of in taken]),
            reports=tuple(report for of in taken for report in of.reports),
        )
