"""What a step solves for, and what the equations come to at one state: residual and Jacobian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

Members = Sequence[int]


class _OfMembers:
    """A dataclass of tensors whose first axis is that of the members."""

    def take(self, members: Members) -> Self:
        """That of some members."""
        at, held = list(members), vars(self)
        if all(at == list(range(len(of))) for of in held.values()):
            return self
        return type(self)(**{name: of[at] for name, of in held.items()})

    def put(self, members: Members, some: Self) -> Self:
        """The same with some members in the place of those that were."""
        at, held, new = list(members), vars(self), vars(some)
        if all(at == list(range(len(of))) for of in held.values()):
            return some
        place = torch.as_tensor(at)
        return type(self)(**{name: of.index_copy(0, place.to(of.device), new[name]) for name, of in held.items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class Unknowns(_OfMembers):
    """What a step solves for.

    Attributes:
        pressure: of the oil in the cells, Pa.
        saturation: of water.
        bhp: bottom-hole pressure of the wells, Pa.
    """

    pressure: Float[Tensor, "b n"]
    saturation: Float[Tensor, "b n"]
    bhp: Float[Tensor, "b w"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Step(_OfMembers):
    """A time step of each member, and what holds its wells.

    Attributes:
        length: s.
        kinds: of what holds, the control or its limit: a place in wells.KINDS or problem.CLOSED.
        targets: of the same, Pa or m^3/s (positive).
        head: pressure at the perforations minus the bottom-hole pressure, Pa.
    """

    length: Float[Tensor, " b"]
    kinds: Int[Tensor, "b w"]
    targets: Float[Tensor, "b w"]
    head: Float[Tensor, "b p"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Jacobian(_OfMembers):
    """The derivative of the residual, as blocks `[equation of water, oil][unknown pressure, saturation]`.

    A face adds its blocks to the rows of its left cell and takes them from those of its right one; a perforation
    takes its own from the rows of its cell. The equation of a well is

        control_bhp * bhp + sum_a control_rates_a * (inflow of phase a through its perforations) = +-target

    Attributes:
        diagonal: of the accumulation.
        left: of the fluxes through a face, in the unknowns of its left cell.
        right: likewise in those of its right cell.
        perforation: of the inflow, in pressure and saturation of its cell and in the bottom-hole pressure.
        by_mixture: of the inflow in the part of water in the bore, where that is another unknown: with cross-flow.
        mixture: of that part in pressure and saturation of the perforation's cell, in the bottom-hole pressure and in
            the well index. What follows from both comes on top of `perforation`.
        control_bhp: 1 where a pressure holds the well.
        control_rates: 1 for the phases whose rate holds it.
    """

    diagonal: Float[Tensor, "b n 2 2"]
    left: Float[Tensor, "b f 2 2"]
    right: Float[Tensor, "b f 2 2"]
    perforation: Float[Tensor, "b p 2 3"]
    by_mixture: Float[Tensor, "b p 2"]
    mixture: Float[Tensor, "b p 4"]
    control_bhp: Float[Tensor, "b w"]
    control_rates: Float[Tensor, "b w 2"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Linearised:
    """The equations at one state: the residual, its Jacobian, and the factors of the parameters in it.

        R_a = pore_volume gain_a + sum_f +-transmissibility_f flux_f,a - sum_p well_index_p inflow_p,a

    Attributes:
        cells: residual of water and oil in the cells, m^3/s.
        wells: residual of the wells' equations, Pa or m^3/s.
        rates: of each phase through a well, into the reservoir, m^3/s.
        gain: of each phase in the cells, 1/s.
        flux: of each phase through a face from left to right, 1/s.
        inflow: of each phase through a perforation, 1/s.
        jacobian: in the unknowns at the end of the step.
    """

    cells: Float[Tensor, "b n 2"]
    wells: Float[Tensor, "b w"]
    rates: Float[Tensor, "b w 2"]
    gain: Float[Tensor, "b n 2"]
    flux: Float[Tensor, "b f 2"]
    inflow: Float[Tensor, "b p 2"]
    jacobian: Jacobian


class OfReservoir(NamedTuple):
    """Of both phases in the cells and through the faces, without wells.

    Attributes:
        gain: of the cells, by pore volume, 1/s.
        gain_x: derivatives in pressure and saturation, times pore volume.
        flux: through the faces from left to right, by T, 1/s.
        left: derivatives in (p, s) of the left cell, times T.
        right: likewise in those of the right one.
        residual: what the cells gain and what leaves them through their faces, m^3/s.
    """

    gain: Float[Tensor, "2 b n"]
    gain_x: Float[Tensor, "2 2 b n"]
    flux: Float[Tensor, "2 b f"]
    left: Float[Tensor, "2 2 b f"]
    right: Float[Tensor, "2 2 b f"]
    residual: Float[Tensor, "2 b n"]


class OfPerforations(NamedTuple):
    """Of both phases through the perforations, by WI, and what it depends on.

    Attributes:
        inflow: into the reservoir, 1/s.
        inflow_x: derivatives in pressure and saturation of the cell and in bhp, at given mixtures in the bores.
        by_mixture: that in the part of water in the bore, of wells with cross-flow.
        mixture: of that part, in p, s, bhp and WI of the perforations.
    """

    inflow: Float[Tensor, "2 b p"]
    inflow_x: Float[Tensor, "2 3 b p"]
    by_mixture: Float[Tensor, "2 b p"]
    mixture: Float[Tensor, "4 b p"]
