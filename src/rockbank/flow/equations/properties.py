"""Water and oil in some places, at a pressure and a saturation: volumes, mobilities, and their slopes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.flow.equations.curves.cell_curves import CellCurves
from rockbank.flow.equations.fluid import Fluid

OfPhases = Float[Tensor, "2 b n"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Phases:
    """Water and oil: pressures, b, mass density rho b, and m = b k_r / mu, with slopes in pressure and saturation.

    Those of the pressures in the pressure are 1, of b and rho in the saturation 0.
    """

    p: OfPhases
    p_s: OfPhases
    b: OfPhases
    b_p: OfPhases
    m: OfPhases
    m_p: OfPhases
    m_s: OfPhases

    def at(self, places: Int[Tensor, " f"]) -> Phases:
        """In some of the places."""
        return Phases(**{name: of[..., places] for name, of in vars(self).items()})


class Properties:
    """What the fluids are like in some places.

    Args:
        fluid: with numbers of members as columns.
        cells: the places, by the numbers of their cells; None is all cells.
        device: of the tensors.
    """

    def __init__(self, fluid: Fluid, device: torch.device, cells: Int[np.ndarray, " n"] | None = None) -> None:
        self.fluid, self.curves = fluid, fluid.curves
        if cells is not None and isinstance(fluid.curves, CellCurves):
            self.curves = fluid.curves.at(cells)
        region = None if fluid.regions is None else fluid.regions.region
        self._region = region if cells is None or region is None else region[cells]
        regions = [] if self._region is None else [self._region == i for i in range(len(fluid.liquids))]
        self._places = [torch.as_tensor(np.flatnonzero(of), device=device) for of in regions]
        self.density = self._densities(device)
        if fluid.is_plain:
            self._viscosity, self._c, self._reference = (
                _of_phases(getattr(fluid.water, name), getattr(fluid.oil, name), device)
                for name in ("viscosity", "compressibility", "reference_pressure")
            )
        self.is_compressible = any(phase.is_compressible for pair in fluid.liquids for phase in pair)

    def _densities(self, device: torch.device) -> Float[Tensor, "2 #b #n"]:
        of_regions = [_of_phases(water.density, oil.density, device) for water, oil in self.fluid.liquids]
        if self._region is None:
            return of_regions[0]
        n_members = max(of.shape[1] for of in of_regions)
        columns = torch.cat([of.expand(2, n_members, 1) for of in of_regions], dim=-1)
        return columns[..., torch.as_tensor(self._region, device=device)]

    def volumes(self, p: Float[Tensor, "b n"]) -> tuple[OfPhases, OfPhases]:
        """B, and its derivative in pressure."""
        if not self.is_compressible:
            return p.new_ones(2, *p.shape), p.new_zeros(2, *p.shape)
        if self.fluid.is_plain:
            b = (self._c * (p - self._reference)).exp()
            return b, self._c * b
        b, b_p, _, _ = self._at(p)
        return b, b_p

    def phases(self, p: Float[Tensor, "b n"], s: Float[Tensor, "b n"]) -> Phases:
        """All of it."""
        none, (k, k_s, p_c, p_cs) = torch.zeros_like(p), self._of_saturation(s)
        if self.fluid.is_plain:
            b, b_p = self.volumes(p)
            per_mu = b / self._viscosity
            m = per_mu * k
            m_p = self._c * m
        else:
            b, b_p, per_mu, per_mu_p = self._at(p)
            m, m_p = per_mu * k, per_mu_p * k
        return Phases(p=torch.stack([p - p_c, p]), p_s=torch.stack([-p_cs, none]), b=b, b_p=b_p, m=m, m_p=m_p,
                      m_s=per_mu * k_s)  # fmt: skip

    def _of_saturation(self, s: Float[Tensor, "b n"]) -> tuple[OfPhases, OfPhases, Tensor, Tensor]:
        """Relative permeabilities and the capillary pressure, each before its slopes."""
        k, k_s = map(torch.stack, zip(self.curves.water(s), self.curves.oil(s), strict=True))
        return k, k_s, *self._capillary(s)

    def _capillary(self, s: Float[Tensor, "b n"]) -> tuple[Float[Tensor, "b n"], Float[Tensor, "b n"]]:
        """Oil pressure minus water pressure, Pa, before its slope."""
        none = torch.zeros_like(s)
        return self.curves.capillary(s) if self.curves.has_capillary_pressure else (none, none)

    def _at(self, p: Float[Tensor, "b n"]) -> tuple[OfPhases, ...]:
        """See Phase.at: of each place by the liquids of its region."""
        if self._region is None:
            each = [phase.at(p) for phase in self.fluid.liquids[0]]
            return tuple(torch.stack([of.expand_as(p) for of in pair]) for pair in zip(*each, strict=True))
        found = p.new_zeros(4, 2, *p.shape)
        for pair, places in zip(self.fluid.liquids, self._places, strict=True):
            own = p[..., places]
            values = torch.stack([torch.stack([of.expand_as(own) for of in phase.at(own)]) for phase in pair], dim=1)
            found = found.index_copy(-1, places, values)
        return tuple(found)


def _of_phases(water: float | Tensor, oil: float | Tensor, device: torch.device) -> Float[Tensor, "2 #b 1"]:
    columns = [torch.as_tensor(of, dtype=torch.float64, device=device).reshape(-1, 1) for of in (water, oil)]
    return torch.stack([of.expand(max(map(len, columns)), 1) for of in columns])
