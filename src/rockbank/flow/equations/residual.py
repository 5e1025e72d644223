"""The discrete equations of two-phase flow, and their derivatives in closed form."""

from __future__ import annotations

from copy import copy

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.flow.equations.linearised import (
    Jacobian,
    Linearised,
    Members,
    OfPerforations,
    OfReservoir,
    Step,
    Unknowns,
)
from rockbank.flow.equations.places import added, at, last
from rockbank.flow.equations.problem import BHP, CLOSED, OIL, RATE, SHUT, WATER, Parameters, Problem
from rockbank.flow.equations.properties import Phases, Properties
from rockbank.flow.equations.wellbore.cross_flow import water_part
from rockbank.flow.equations.wellbore.heads import Wellbores, heads


class Equations:
    """Fully implicit finite volumes with two-point fluxes and upwind mobilities (Aziz and Settari 1979, ch. 5).

        R_a = (PV b_a s_a - (PV b_a s_a)_before) / dt + sum_f T_f (b_a lam_a)_up (Phi_a,l - Phi_a,r) - sum_p q_a
        q_a = WI (b_a lam_a) (bhp + head - p)    out of a producer's perforation; water into an injector's likewise,
                                                 with lam_w + lam_o, as it displaces both

    in m^3/s at the reference pressures, a = water, oil; PV = pv exp(c_r (p - ref)), b_a and lam_a see `fluid.Phase`.
    Held are the tensors of one batch of members on one device; the indices are built once. Inside, phases and the
    numbers of a block are on the first axes: torch takes five times as long for interleaved ones. The sequential
    iteration has the same equations in compiled loops (`steppers.mass_balance`), which
    tests/flow/steppers/test_mass_balance.py holds against these, cell by cell.
    """

    def __init__(self, problem: Problem, parameters: Parameters) -> None:
        self.problem, self.parameters = problem, parameters
        device = parameters.pore_volume.device

        def tensor(values: np.ndarray) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values), device=device)

        self.left, self.right = tensor(problem.grid.faces.T)
        self.cell, self.well = tensor(problem.perforation_cell), tensor(problem.perforation_well)
        self.is_injector = tensor(problem.is_injector)
        self.sign = torch.where(self.is_injector, 1.0, -1.0).double()  # of the flow into the reservoir
        self.crosses = tensor(problem.crosses)
        self.bores = Wellbores.of(problem, device)
        depth = tensor(problem.grid.depth)
        self.c_r, self.p_r = (of if isinstance(of, float | int) else tensor(of)
                              for of in (problem.rock_compressibility, problem.rock_reference))  # fmt: skip
        self.has_soft_rock = bool(np.any(problem.rock_compressibility))
        self.g_dz = problem.fluid.gravity * (depth[self.left] - depth[self.right])
        self._set_fluid()

    def _set_fluid(self) -> None:
        self.fluid = self.problem.fluid_of(self.parameters)
        self.in_cells, self.in_perforations = self._properties(), self._properties(self.problem.perforation_cell)
        self.has_free_level = not (self.in_cells.is_compressible or self.has_soft_rock)

    def _properties(self, cells: Int[np.ndarray, " n"] | None = None) -> Properties:
        """In those cells, or in all."""
        return Properties(self.fluid, self.parameters.pore_volume.device, cells)

    def take(self, members: Members) -> Equations:
        """Those of some members."""
        parameters = self.parameters.take(members)
        return self if parameters is self.parameters else self.with_parameters(parameters)

    def with_parameters(self, parameters: Parameters) -> Equations:
        """The same with other parameters."""
        other = copy(self)
        other.parameters = parameters
        if self.problem.fluid_fields:
            other._set_fluid()
        return other

    def linearise(self, now: Unknowns, before: Unknowns, step: Step) -> Linearised:
        """The residual at `now` and all its derivatives, in one pass."""
        wi, phases = self.parameters.well_index, self.in_cells.phases(now.pressure, now.saturation)
        reservoir = self._reservoir(phases, now, before, step)
        inflow, inflow_x, inflow_mix, mix_x = self._perforations(phases.at(self.cell), now, step)
        jacobian = Jacobian(
            diagonal=last(reservoir.gain_x),
            left=last(reservoir.left),
            right=last(reservoir.right),
            perforation=last(wi * inflow_x),
            by_mixture=last(wi * inflow_mix),
            mixture=last(mix_x),
            control_bhp=((step.kinds == BHP) | (step.kinds == SHUT)).double(),
            control_rates=held_phases(step.kinds),
        )
        into = wi * inflow
        rates = self._rates(into)
        held = torch.where(step.kinds == BHP, step.targets, self.sign * step.targets)
        held = torch.where(step.kinds == SHUT, before.bhp, held)
        return Linearised(
            cells=last(added(reservoir.residual, self.cell, -into)),
            wells=jacobian.control_bhp * now.bhp + (jacobian.control_rates * rates).sum(dim=-1) - held,
            rates=rates,
            gain=last(reservoir.gain),
            flux=last(reservoir.flux),
            inflow=last(inflow),
            jacobian=jacobian,
        )

    def before(self, before: Unknowns, step: Step) -> tuple[Float[Tensor, "b n 2 2"], Float[Tensor, "b w"]]:
        """dR / d(unknowns before the step): of what the cells held, and of the pressure that a shut well keeps."""
        per_time = self.parameters.pore_volume / step.length[:, None]
        filled, filled_p = self._filled(before.pressure, *self.in_cells.volumes(before.pressure))
        return last(-per_time * _stored(before, filled, filled_p)[1]), -(step.kinds == SHUT).double()

    def rates(self, now: Unknowns, step: Step) -> Float[Tensor, "b w 2"]:
        """Water and oil through each well, into the reservoir, m^3/s."""
        return self._rates(self.parameters.well_index * self._inflow(now, step))

    def _rates(self, inflow: Float[Tensor, "2 b p"]) -> Float[Tensor, "b w 2"]:
        return last(added(inflow.new_zeros(*inflow.shape[:-1], len(self.sign)), self.well, inflow))

    def first_head(self, pressure: Float[Tensor, "b n"], saturation: Float[Tensor, "b n"]) -> Float[Tensor, "b p"]:
        """Of the bores before anything flows, at the pressures of the cells, Pa."""
        p = at(pressure, self.cell)
        is_closed = torch.zeros(len(p), len(self.sign), dtype=torch.bool, device=p.device)
        return self._head(p, p, p.new_zeros(2, *p.shape), pressure, saturation, is_closed)

    def next_head(self, now: Unknowns, step: Step) -> Float[Tensor, "b p"]:
        """Of the bores during the step after this one, which ended at `now`, from what flowed then, Pa."""
        datum = at(now.bhp, self.well)
        outflow = -self.parameters.well_index * self._inflow(now, step)
        is_closed = step.kinds == CLOSED
        return self._head(datum + step.head, datum, outflow, now.pressure, now.saturation, is_closed)

    def _head(
        self,
        bore: Float[Tensor, "b p"],
        datum: Float[Tensor, "b p"],
        outflow: Float[Tensor, "2 b p"],
        pressure: Float[Tensor, "b n"],
        saturation: Float[Tensor, "b n"],
        is_closed: Bool[Tensor, "b w"],
    ) -> Float[Tensor, "b p"]:
        if not self.fluid.gravity:
            return torch.zeros_like(bore)
        # A producer that has not flowed yet is filled with what its cells would give.
        m = self._in_perforations(pressure, saturation).m
        m = self.parameters.well_index * m / m.sum(dim=0)
        is_still = ~added((outflow != 0).any(dim=0).double().new_zeros(len(bore), len(self.sign)), self.well,
                          (outflow != 0).any(dim=0).double()).bool()  # fmt: skip
        outflow = torch.where(at(is_still, self.well) & ~self.is_injector[self.well], m, outflow)
        above = self.bores.above(bore, datum)
        return heads(self.bores, gravity=self.fluid.gravity, density=self.in_perforations.density, outflow=outflow,
                     volume=self.in_perforations.volumes((bore + above) / 2)[0], is_closed=is_closed)  # fmt: skip

    def drawdown(self, now: Unknowns, head: Float[Tensor, "b p"]) -> Float[Tensor, "b p"]:
        """Pressure in the bore above that of the cell at each perforation, Pa."""
        return at(now.bhp, self.well) + head - at(now.pressure, self.cell)

    def is_open(self, now: Unknowns, step: Step) -> Bool[Tensor, "b p"]:
        """Which perforations flow: not those of a shut well, nor without cross-flow those of the wrong direction."""
        flows = (self.drawdown(now, step.head) * self.sign[self.well] >= 0) | self.crosses[self.well]
        return flows & (at(step.kinds, self.well) != SHUT)

    def stored(self, now: Unknowns) -> Float[Tensor, "2 b n"]:
        """What a cell holds of each phase, at the reference pressures, by its pore volume at the rock's."""
        filled, filled_p = self._filled(now.pressure, *self.in_cells.volumes(now.pressure))
        return _stored(now, filled, filled_p)[0]

    def _filled(
        self, p: Float[Tensor, "b n"], b: Float[Tensor, "2 b n"], b_p: Float[Tensor, "2 b n"]
    ) -> tuple[Float[Tensor, "2 b n"], Float[Tensor, "2 b n"]]:
        """What pores full of one phase hold of it, by their volume at the rock's reference; derivative in pressure."""
        if not self.has_soft_rock:
            return b, b_p
        pores = (self.c_r * (p - self.p_r)).exp()
        return b * pores, (b_p + self.c_r * b) * pores

    def _reservoir(self, phases: Phases, now: Unknowns, before: Unknowns, step: Step) -> OfReservoir:
        """What cells gain and faces let through."""
        pv, t_f, dt = self.parameters.pore_volume, self.parameters.transmissibility, step.length[:, None]
        stored, stored_x = _stored(now, *self._filled(now.pressure, phases.b, phases.b_p))
        gain = (stored - self.stored(before)) / dt
        flux, left, right = self._flux(phases)
        through = t_f * flux
        residual = added(added(pv * gain, self.left, through), self.right, -through)
        return OfReservoir(gain, pv / dt * stored_x, flux, t_f * left, t_f * right, residual)

    def _flux(
        self, phases: Phases
    ) -> tuple[Float[Tensor, "2 b f"], Float[Tensor, "2 2 b f"], Float[Tensor, "2 2 b f"]]:
        """Of both phases through the faces, by T, and derivatives in (p, s) of the left and of the right cell."""
        drop, drop_l, drop_r = self._drop(phases)
        is_left = drop >= 0
        up = torch.where(is_left, self.left, self.right).expand(2, -1, -1)
        m, m_p, m_s = (of.gather(-1, up) for of in (phases.m, phases.m_p, phases.m_s))
        flux = m * drop
        by_mobility = torch.stack([m_p * drop, m_s * drop], dim=1)
        from_left, m = by_mobility * is_left[:, None], m[:, None]
        return flux, m * drop_l + from_left, m * drop_r + (by_mobility - from_left)

    def _drop(
        self, phases: Phases
    ) -> tuple[Float[Tensor, "2 b f"], Float[Tensor, "2 2 b f"], Float[Tensor, "2 2 b f"]]:
        """Phi_l - Phi_r of both phases, and derivatives in (p, s) of the left and of the right cell.

        What is the same everywhere has axes of length 1: in co-current flow that saves half the time of a residual.
        """
        p, p_s, left, right = phases.p, phases.p_s, self.left, self.right
        if self.fluid.is_cocurrent:
            slope = p.new_tensor([1.0, 0.0])[None, :, None, None]
            return at(p[:1], left) - at(p[:1], right), slope, -slope
        # Of the column between two cells, by the mean of their densities.
        rho, rho_p = (self.in_cells.density * of for of in (phases.b, phases.b_p))
        drop = at(p, left) - at(p, right) - self.g_dz / 2 * (at(rho, left) + at(rho, right))
        drop_l = torch.stack([1 - self.g_dz / 2 * at(rho_p, left), at(p_s, left)], dim=1)
        return drop, drop_l, -torch.stack([1 + self.g_dz / 2 * at(rho_p, right), at(p_s, right)], dim=1)

    def strength(self, now: Unknowns) -> Float[Tensor, "2 b p"]:
        """Of both phases through the perforations for 1 Pa, without cross-flow, m^3/s."""
        phases = self._in_perforations(now.pressure, now.saturation)
        injects = self.is_injector[self.well].expand_as(phases.b[0])
        return self.parameters.well_index * self._mobile(phases, injects, torch.ones_like(phases.b[0]))[0]

    def _mobile(
        self, phases: Phases, enters: Bool[Tensor, "b p"], part: Float[Tensor, "b p"]
    ) -> tuple[Float[Tensor, "2 b p"], Float[Tensor, "2 b p"], Float[Tensor, "2 b p"], Float[Tensor, "2 b p"]]:
        """b k_r / mu of what flows through the perforations, its slopes in saturation, `part` and pressure.

        What enters the cells displaces both phases, of a mixture with that part of water.
        """
        b, share = phases.b, torch.stack([part, 1 - part])
        volume = (share / b).sum(dim=0)
        mixed = share / volume
        lam, lam_s = (phases.m / b).sum(dim=0), (phases.m_s / b).sum(dim=0)
        lam_p = ((phases.m_p - phases.m * phases.b_p / b) / b).sum(dim=0)
        by_part = (b.new_tensor([[[1.0]], [[-1.0]]]) - mixed * (1 / b[0] - 1 / b[1])) / volume
        swells = (share * phases.b_p / b**2).sum(dim=0) / volume
        return (
            torch.where(enters, lam * mixed, phases.m),
            torch.where(enters, lam_s * mixed, phases.m_s),
            torch.where(enters, lam * by_part, 0.0),
            torch.where(enters, (lam_p + lam * swells) * mixed, phases.m_p),
        )

    def _in_perforations(self, pressure: Float[Tensor, "b n"], saturation: Float[Tensor, "b n"]) -> Phases:
        return self.in_perforations.phases(at(pressure, self.cell), at(saturation, self.cell))

    def _inflow(self, now: Unknowns, step: Step) -> Float[Tensor, "2 b p"]:
        """Of both phases through the perforations, by WI."""
        (m, _, _, _), drop = self._through(self._in_perforations(now.pressure, now.saturation), now, step)
        return m * drop

    def _perforations(self, phases: Phases, now: Unknowns, step: Step) -> OfPerforations:
        """What flows through the perforations, in whose cells the phases are such."""
        (m, m_s, by_part, m_p), drop = self._through(phases, now, step)
        inflow_x = torch.stack([m_p * drop - m, m_s * drop, m], dim=1)
        if not self.problem.has_cross_flow:
            none = torch.zeros_like(drop)
            return OfPerforations(m * drop, inflow_x, none.expand(2, -1, -1), none.expand(4, -1, -1))
        by_mixture = by_part * drop * self.crosses[self.well]
        return OfPerforations(m * drop, inflow_x, by_mixture, self._mixture(now, step))

    def _through(self, phases: Phases, now: Unknowns, step: Step) -> tuple[tuple[Tensor, ...], Float[Tensor, "b p"]]:
        """What `_mobile` gives in the open perforations, and the drop of pressure that drives it."""
        drop, is_open = self.drawdown(now, step.head), self.is_open(now, step)
        enters, part = self.is_injector[self.well].expand_as(drop), torch.ones_like(drop)
        if self.problem.has_cross_flow:
            crosses = self.crosses[self.well]
            enters = torch.where(crosses, drop > 0, enters)
            mixture = self._water_part(phases, drop * is_open, self.parameters.well_index)
            part = torch.where(crosses, at(mixture, self.well), part)
        return tuple(of * is_open for of in self._mobile(phases, enters, part)), drop

    def _water_part(
        self, phases: Phases, drop: Float[Tensor, "b p"], index: Float[Tensor, "b p"]
    ) -> Float[Tensor, "b w"]:
        return water_part(well=self.well, is_injector=self.is_injector, drop=drop, index=index, m=phases.m, b=phases.b)

    def _mixture(self, now: Unknowns, step: Step) -> Float[Tensor, "4 b p"]:
        """Derivatives of the part of water in the bores in p, s, bhp and WI of the perforations."""
        is_open = self.is_open(now, step)
        leaves = [of.detach().requires_grad_() for of in (
            at(now.pressure, self.cell), at(now.saturation, self.cell), at(now.bhp, self.well),
            self.parameters.well_index)]  # fmt: skip
        with torch.enable_grad():
            p, s, bhp, index = leaves
            mixture = self._water_part(self.in_perforations.phases(p, s), (bhp + step.head - p) * is_open, index)
            return torch.stack(torch.autograd.grad((mixture * self.crosses).sum(), leaves))


def _stored(
    now: Unknowns, filled: Float[Tensor, "2 b n"], filled_p: Float[Tensor, "2 b n"]
) -> tuple[Float[Tensor, "2 b n"], Float[Tensor, "2 2 b n"]]:
    """What the cells hold of both phases, and derivatives in pressure and saturation."""
    part = torch.stack([now.saturation, 1 - now.saturation])
    by_s = filled * filled.new_tensor([[[1.0]], [[-1.0]]])
    return filled * part, torch.stack([filled_p * part, by_s], dim=1)


def held_phases(kinds: Int[Tensor, "b w"]) -> Float[Tensor, "b w 2"]:
    """1 for the phases (water, oil) whose rates make up what holds the well, 0 for the others."""
    both = (kinds == RATE) | (kinds == CLOSED)
    return torch.stack([both | (kinds == a) for a in (WATER, OIL)], dim=-1).double()
