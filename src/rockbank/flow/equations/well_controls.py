"""What holds each well: its control, or the limit that takes over where the control would break it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from rockbank.flow.equations.linearised import Step, Unknowns
from rockbank.flow.equations.places import added, at
from rockbank.flow.equations.problem import BHP, CLOSED, RATE, SHUT, Problem
from rockbank.flow.equations.residual import Equations, held_phases

# By how much a bound must be passed, in parts of it, before it counts: round-off is no reason to switch.
SLACK = 1e-9
# How often a well may change between its control and its limit in one try of a step.
MAX_SWITCHES = 6
# Pressure beyond the cells' at which a well that has to flow but cannot starts anew, Pa; MRST's first guess.
KICK = 5e5


def held_step(
    equations: Equations,
    lengths: Float[np.ndarray, " b"],
    reports: Int[np.ndarray, " b"],
    held: Bool[np.ndarray, "b w"],
    head: Float[Tensor, "b p"],
) -> Step:
    """A step of each member with what holds its wells: their limits where `held`, else their controls.

    A well that may flow at no rate, be that its control or its limit, is closed above its perforations: both phases
    together come to nothing, and without cross-flow it is shut, which is what its equation would mean.
    """
    problem, parameters = equations.problem, equations.parameters
    at = torch.arange(len(reports)), torch.as_tensor(reports)
    targets, limits = parameters.targets[at], parameters.limits[at]
    bounds = torch.where(torch.as_tensor(held, device=targets.device), limits, targets)
    both = problem.kinds[reports], kinds_held(problem, reports, held)
    own, kinds = (torch.as_tensor(of, device=targets.device) for of in both)
    is_closed = (torch.where(own == BHP, limits, targets) <= 0) | (own == SHUT)
    closed = torch.where((own != SHUT) & equations.crosses, CLOSED, SHUT)
    bounds, kinds = torch.where(is_closed, 0.0, bounds), torch.where(is_closed, closed, kinds)
    return Step(length=torch.as_tensor(lengths).to(targets), kinds=kinds, targets=bounds, head=head)


def kinds_held(
    problem: Problem, reports: Int[np.ndarray, " b"], held: Bool[np.ndarray, "b w"]
) -> Int[np.ndarray, "b w"]:
    """Kind of the control, or of its limit where that holds: a pressure limits rates, a rate limits a pressure."""
    kinds = problem.kinds[reports]
    return np.where(held, np.where(kinds == BHP, RATE, BHP), kinds)


def has_same_control(problem: Problem, report: int) -> Bool[np.ndarray, " w"]:
    """Which wells have control and limit of the same kinds in this report step as in the one before."""
    now, before = slice(report, report + 1), slice(report - 1, report)
    limited = problem.has_limit
    same = (problem.kinds[now] == problem.kinds[before]) & limited[now] & limited[before]
    return np.asarray(same[0])


def is_broken(
    equations: Equations, now: Unknowns, rates: Float[Tensor, "b w 2"], step: Step, other: Step
) -> Bool[Tensor, "b w"]:
    """Which wells pass what does not hold them now, their limit or their control (`other`)."""
    flow = (held_phases(other.kinds) * rates).sum(dim=-1)
    passed = torch.where(
        other.kinds == BHP, equations.sign * (now.bhp - other.targets), equations.sign * flow - other.targets
    )
    # Of a closed well, control and limit say the same.
    return (passed > SLACK * other.targets.abs()) & (other.kinds != step.kinds)


def set_wells(equations: Equations, now: Unknowns, before: Unknowns, step: Step) -> Unknowns:
    """Bottom-hole pressures that are known, and those of wells that are to flow but have no way to, put right.

    A rate cannot be met from a pressure at which no perforation flows: the derivative is zero there.
    """
    now = _levelled(equations, now, step)
    is_known = (step.kinds == BHP) | (step.kinds == SHUT)
    known = torch.where(step.kinds == BHP, step.targets, before.bhp)
    places, sign = equations.well.expand(len(known), -1), equations.sign
    beyond = -equations.drawdown(replace(now, bhp=torch.zeros_like(known)), step.head) * sign[equations.well]
    nearest = torch.full_like(known, torch.inf).scatter_reduce(1, places, beyond, "amin")
    furthest = torch.full_like(known, -torch.inf).scatter_reduce(1, places, beyond, "amax")
    has_way = (sign * now.bhp > nearest) | equations.crosses
    open_bhp = torch.where(has_way, now.bhp, sign * (furthest + KICK))
    return replace(now, bhp=torch.where(is_known, known, open_bhp))


def _levelled(equations: Equations, now: Unknowns, step: Step) -> Unknowns:
    """Where nothing is compressible, all pressures moved together to where a well that a pressure holds flows.

    Only those wells say how high the pressures are: as long as all of them are closed, the matrix is singular. What
    the other wells inject or produce says which of them are going to open.
    """
    if not equations.has_free_level:
        return now
    well, sign = equations.well, equations.sign
    is_held, is_rated = at(step.kinds == BHP, well), (step.kinds != BHP) & (step.kinds != SHUT)
    above = sign[well] * (at(step.targets, well) + step.head - at(now.pressure, equations.cell))
    is_level = (is_held & ((above >= 0) | equations.crosses[well])).any(dim=1)
    net = (sign * step.targets * is_rated).sum(dim=1, keepdim=True)
    opens = is_held & (sign[well] * net <= 0)
    by, first = torch.where(opens, above - KICK, -torch.inf).max(dim=1)
    shift = torch.where(is_level | by.isinf(), 0.0, sign[well][first] * by)[:, None]
    return replace(now, pressure=now.pressure + shift, bhp=now.bhp + shift)


def first_state(equations: Equations) -> tuple[Unknowns, Float[Tensor, "b p"]]:
    """The unknowns before the first step, with wells at rest at the mean over their perforations; and its head.

    That is of bores through which flows what the first controls would have flow, were the cells to stay as they are.
    """
    pressure, saturation = equations.parameters.pressure, equations.parameters.saturation
    head = equations.first_head(pressure, saturation)
    none = pressure.new_zeros(len(pressure), len(equations.sign))

    def of_wells(values: Float[Tensor, "b p"]) -> Float[Tensor, "b w"]:
        return added(none, equations.well, values)

    level = at(pressure, equations.cell) - head
    rest = of_wells(level) / of_wells(torch.ones_like(level))
    state = Unknowns(pressure=pressure, saturation=saturation, bhp=rest)
    if not equations.fluid.gravity:
        return state, head
    first = np.zeros(len(pressure), dtype=int)
    step = held_step(equations, np.ones(len(first)), first, np.zeros(rest.shape, dtype=bool), head)
    strength = (held_phases(step.kinds).movedim(-1, 0)[..., equations.well] * equations.strength(state)).sum(dim=0)
    total = of_wells(strength)
    flowing = (equations.sign * step.targets + of_wells(strength * level)) / torch.where(total > 0, total, 1.0)
    bhp = torch.where(step.kinds == BHP, step.targets, torch.where(total > 0, flowing, rest))
    return state, equations.next_head(replace(state, bhp=bhp), step)
