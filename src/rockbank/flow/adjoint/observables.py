"""The observables of a run as differentiable functions of its parameters, for torch's autograd."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from rockbank.flow.adjoint.sweep import Gradients, Run, swept_back
from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.problem import Parameters
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.trajectory import Trajectory
from rockbank.flow.members import each_member

# Right-hand sides of one sweep: each takes the memory of a few states of the cells.
MOST_AT_ONCE = 512
# Of `observe`.
_N_OUTPUTS = 4


def observe(
    run: Run, parameters: Parameters
) -> tuple[Float[Tensor, "b t w"], Float[Tensor, "b t w"], Float[Tensor, "b t w"], Float[Tensor, "b n"]]:
    """Bottom-hole pressure (Pa), water and oil rate (m^3/s, into the reservoir) after each report step, and the states.

    They are differentiable in the parameters; each costs a solve with the transposed Jacobian a step taken, all
    those requested together one factorisation a step.
    """
    return _Observables.apply(run, *parameters.tensors())  # type: ignore[no-any-return]


def jacobian(outputs: Float[Tensor, "*o"], inputs: Sequence[Float[Tensor, "..."]]) -> tuple[Tensor, ...]:
    """Derivatives of every output in every input, by one backward sweep with all outputs as right-hand sides.

    Of more than MOST_AT_ONCE outputs, such as a map's, so many go at a time.

    Args:
        outputs: of `simulate`, or computed from its observables.
        inputs: that require grad.

    Returns:
        For each input a tensor of the shape of the outputs, then its own.
    """
    n, rows = outputs.numel(), []
    for at in range(0, max(n, 1), MOST_AT_ONCE):
        one_each = outputs.new_zeros(min(MOST_AT_ONCE, n - at), n)
        one_each.diagonal(at).fill_(1.0)
        each = one_each.reshape(-1, *outputs.shape)
        rows.append(torch.vmap(lambda one: torch.autograd.grad(outputs, list(inputs), one, retain_graph=True))(each))
    return tuple(torch.cat(of).reshape(*outputs.shape, *of[0].shape[1:]) for of in zip(*rows, strict=True))


class _Observables(torch.autograd.Function):
    """The observables of a run that has been, with the adjoint as their derivative."""

    @staticmethod
    def forward(run: Run, *parameters: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        equations = Equations(run.problem, Parameters(*parameters))

        def observed(i: int) -> tuple[Tensor, Tensor]:
            return _observed(equations.take([i]), run.trajectories[i])

        each = each_member(observed, len(run.trajectories), run.workers)
        bhp, rates = (torch.stack(of) for of in zip(*each, strict=True))
        states = torch.stack([run.states.of(trajectory) for trajectory in run.trajectories])
        return bhp, rates[..., 0].clone(), rates[..., 1].clone(), states

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.run, *parameters = inputs
        ctx.save_for_backward(*parameters)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_Adjoint.apply(ctx.run, *cotangents, *ctx.saved_tensors)


class _Adjoint(torch.autograd.Function):
    """The gradients from the cotangents of pressures of wells, rates and states: vmap makes one sweep of many."""

    @staticmethod
    def forward(run: Run, *given: Tensor) -> Gradients:
        gradients = swept_back(run, [of[..., None] for of in given[:_N_OUTPUTS]], Parameters(*given[_N_OUTPUTS:]))
        return tuple(of[..., 0] for of in gradients)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> None:
        raise RuntimeError("the adjoint has no derivative of its own; differentiate `simulate` once only")

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], run: Run, *given: Tensor) -> tuple[Gradients, tuple[int, ...]]:
        cotangents = [of[..., None].expand(*of.shape, info.batch_size) if dim is None else of.movedim(dim, -1)
                      for of, dim in zip(given[:_N_OUTPUTS], in_dims[1 : 1 + _N_OUTPUTS], strict=True)]  # fmt: skip
        gradients = swept_back(run, cotangents, Parameters(*given[_N_OUTPUTS:]))
        return tuple(of.movedim(-1, 0) for of in gradients), (0,) * len(gradients)


def _observed(equations: Equations, trajectory: Trajectory) -> tuple[Float[Tensor, "t w"], Float[Tensor, "t w 2"]]:
    """Of one member: its states after the report steps are a batch."""
    ends = trajectory.ends
    bhp = trajectory.bhp[ends]
    now = Unknowns(pressure=trajectory.pressure[ends + 1], saturation=trajectory.saturation[ends + 1], bhp=bhp)
    kinds = torch.as_tensor(trajectory.kinds[ends], device=bhp.device)
    step = Step(length=bhp[:, 0], kinds=kinds, targets=bhp, head=trajectory.head[ends])
    return bhp, equations.rates(now, step)
