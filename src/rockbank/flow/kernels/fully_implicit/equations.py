"""The fully implicit equations as compiled loops, on the processor."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.flow.equations.linearised import OfPerforations, OfReservoir, Step, Unknowns
from rockbank.flow.equations.properties import Phases, Properties
from rockbank.flow.equations.residual import Equations
from rockbank.flow.kernels.fully_implicit.perforations import inflow_at_mixtures, mixtures
from rockbank.flow.kernels.fully_implicit.reservoir import gains, phase_fluxes
from rockbank.flow.kernels.fully_implicit.saturation_curves import CompiledProperties


class CompiledEquations(Equations):
    """The equations of `equations.residual`, which takes over where torch is to differentiate them."""

    _before: tuple[Tensor, Properties, Tensor] | None = None

    def _properties(self, cells: Int[np.ndarray, " n"] | None = None) -> Properties:
        return CompiledProperties(self.fluid, self.parameters.pore_volume.device, cells)

    def _reservoir(self, phases: Phases, now: Unknowns, before: Unknowns, step: Step) -> OfReservoir:
        density, (n_members, n_cells) = self.in_cells.density, now.pressure.shape
        if any(of.requires_grad for of in (phases.p, phases.b, phases.m, density)):
            return super()._reservoir(phases, now, before, step)
        pore_volume, transmissibility = (of.expand(n_members, -1).numpy() for of in (
            self.parameters.pore_volume, self.parameters.transmissibility))  # fmt: skip
        filled, filled_p = self._filled(now.pressure, phases.b, phases.b_p)
        filled_before = self._filled_before(before.pressure)
        of = OfReservoir(
            gain=density.new_empty(2, n_members, n_cells),
            gain_x=density.new_empty(2, 2, n_members, n_cells),
            flux=density.new_empty(2, n_members, len(self.left)),
            # Face by face, as the iterative solver goes through them.
            left=density.new_empty(n_members, len(self.left), 2, 2).movedim((2, 3), (0, 1)),
            right=density.new_empty(n_members, len(self.left), 2, 2).movedim((2, 3), (0, 1)),
            residual=density.new_empty(2, n_members, n_cells),
        )
        given = [each.numpy() for each in (phases.p, phases.p_s, density * phases.b, density * phases.b_p, phases.m,
                                           phases.m_p, phases.m_s)]  # fmt: skip
        half_g_dz = (self.g_dz / 2).numpy()
        for i in range(n_members):
            gain, gain_x, flux, left, right, residual = (each[..., i, :].numpy() for each in of)
            gains(now.saturation[i].numpy(), before.saturation[i].numpy(), filled[:, i].numpy(), filled_p[:, i].numpy(),
                  filled_before[:, i].numpy(), pore_volume[i], float(step.length[i]), gain, gain_x,
                  residual)  # fmt: skip
            p, p_s, rho, rho_p, m, m_p, m_s = (each[:, i] for each in given)
            phase_fluxes(self.left.numpy(), self.right.numpy(), p, p_s, rho, rho_p, m, m_p, m_s, half_g_dz,
                         transmissibility[i], flux, left, right, residual)  # fmt: skip
        return of

    def _filled_before(self, pressure: Float[Tensor, "b n"]) -> Float[Tensor, "2 b n"]:
        """What pores full of one phase held of it; the same in all iterations of a step."""
        if self._before is None or self._before[0] is not pressure or self._before[1] is not self.in_cells:
            filled, _ = self._filled(pressure, *self.in_cells.volumes(pressure))
            self._before = pressure, self.in_cells, filled
        return self._before[2]

    def _inflow(self, now: Unknowns, step: Step) -> Float[Tensor, "2 b p"]:
        phases = self._in_perforations(now.pressure, now.saturation)
        if self._is_traced(phases, now, step):
            return super()._inflow(now, step)
        return self._perforations(phases, now, step).inflow

    def _perforations(self, phases: Phases, now: Unknowns, step: Step) -> OfPerforations:
        if self._is_traced(phases, now, step):
            return super()._perforations(phases, now, step)
        index = self.parameters.well_index.expand_as(step.head)
        drop, is_open, shape = self.drawdown(now, step.head), self.is_open(now, step), index.shape
        of = OfPerforations(*(torch.empty(*axes, *shape, dtype=index.dtype) for axes in ((2,), (2, 3), (2,), (4,))))
        well, is_injector, crosses = (each.numpy() for each in (self.well, self.is_injector, self.crosses))
        part = np.ones(len(is_injector))
        for i in range(len(drop)):
            opens, by = is_open[i].numpy(), drop[i].numpy()
            b, b_p, m, m_p, m_s = (
                each[:, i].numpy() for each in (phases.b, phases.b_p, phases.m, phases.m_p, phases.m_s)
            )
            inflow, inflow_x, by_mixture, slopes = (each[..., i, :].numpy() for each in of)
            slopes[:] = 0.0
            if self.problem.has_cross_flow:
                mixtures(well, is_injector, crosses, opens, by, index[i].numpy(), b, b_p, m, m_p, m_s, part, slopes)
            inflow_at_mixtures(well, is_injector, crosses, opens, by, part, b, b_p, m, m_p, m_s, inflow, inflow_x,
                               by_mixture)  # fmt: skip
        return of

    def _is_traced(self, phases: Phases, now: Unknowns, step: Step) -> bool:
        """Whether torch is to differentiate what flows through the perforations."""
        given = (phases.b, phases.m, now.pressure, now.bhp, step.head, self.parameters.well_index)
        return any(of.requires_grad for of in given)
