"""Derivatives that have no closed form here: torch differentiates the equations themselves, at the states of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.well_controls import first_state


@dataclass(frozen=True, kw_only=True, eq=False)
class OfHead:
    """Derivatives of m functions of the next step's heads in what the heads come from.

    Attributes:
        pressure: of the cells.
        saturation: likewise.
        bhp: of the wells.
        head: of the step before.
    """

    pressure: Float[Tensor, "b n m"]
    saturation: Float[Tensor, "b n m"]
    bhp: Float[Tensor, "b w m"]
    head: Float[Tensor, "b p m"]


def pulled_through_head(
    equations: Equations, now: Unknowns, step: Step, of_next: Float[Tensor, "b p m"]
) -> tuple[OfHead, Float[Tensor, "b p m"], Float[Tensor, "b k m"]]:
    """Through `Equations.next_head`: in the state, in the well indices, and in the numbers of the fluid."""
    names = ("well_index", "fluid")
    leaves = _leaves(
        now.pressure, now.saturation, now.bhp, step.head, *(getattr(equations.parameters, of) for of in names)
    )
    pressure, saturation, bhp, head, well_index, fluid = leaves
    with torch.enable_grad():
        tracked = equations.with_parameters(replace(equations.parameters, well_index=well_index, fluid=fluid))
        state = Unknowns(pressure=pressure, saturation=saturation, bhp=bhp)
        found = tracked.next_head(state, replace(step, head=head))
    *of_state, of_index, of_fluid = _pulled_back([found], leaves, [of_next])
    return OfHead(**dict(zip(("pressure", "saturation", "bhp", "head"), of_state, strict=True))), of_index, of_fluid


def pulled_through_start(
    equations: Equations, of_bhp: Float[Tensor, "b w m"], of_head: Float[Tensor, "b p m"]
) -> dict[str, Tensor]:
    """Through the wells' state before the first step, by the name of the parameter."""
    names = ("pressure", "saturation", "well_index", "targets", "fluid")
    leaves = _leaves(*(getattr(equations.parameters, name) for name in names))
    with torch.enable_grad():
        parameters = replace(equations.parameters, **dict(zip(names, leaves, strict=True)))
        state, head = first_state(equations.with_parameters(parameters))
    return dict(zip(names, _pulled_back([state.bhp, head], leaves, [of_bhp, of_head]), strict=True))


def in_fluid(
    equations: Equations,
    before: Unknowns,
    now: Unknowns,
    step: Step,
    *,
    lam: Float[Tensor, "b n 2 m"],
    lam_w: Float[Tensor, "b w m"],
    through: Float[Tensor, "b p 2 m"],
) -> Float[Tensor, "b k m"]:
    """dJ / dtheta at fixed states minus lam^T dR / dtheta, for the numbers theta of the fluid."""
    leaves = _leaves(equations.parameters.fluid)
    with torch.enable_grad():
        tracked = equations.with_parameters(replace(equations.parameters, fluid=leaves[0]))
        here = tracked.linearise(now, before, step)
        into = equations.parameters.well_index[..., None] * here.inflow
    return _pulled_back([here.cells, here.wells, into], leaves, [-lam, -lam_w, through])[0]


def _leaves(*tensors: Tensor) -> list[Tensor]:
    return [of.detach().clone().requires_grad_() for of in tensors]


def _pulled_back(outputs: Sequence[Tensor], leaves: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Derivatives in the leaves, with the axis of functions last; all functions at once."""
    traced = [(of, by) for of, by in zip(outputs, given, strict=True) if of.requires_grad]
    found: Sequence[Tensor | None] = [None] * len(leaves)
    m = given[0].shape[-1]
    if traced and m:
        found = torch.autograd.grad(
            [of for of, _ in traced],
            leaves,
            [by.movedim(-1, 0) for _, by in traced],
            is_grads_batched=True,
            allow_unused=True,
        )
    return [leaf.new_zeros(*leaf.shape, m) if of is None else of.movedim(0, -1)
            for of, leaf in zip(found, leaves, strict=True)]  # fmt: skip
