"""Newton's method on the fully implicit equations, with steps cut where it fails, which then grow again."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from rockbank.flow.equations.linearised import Linearised, Step, Unknowns
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import BHP, CLOSED, SHUT, Parameters, Problem
from rockbank.flow.equations.residual import Equations
from rockbank.flow.equations.trajectory import NewtonError, StoppedError, Trajectory
from rockbank.flow.equations.well_controls import (
    MAX_SWITCHES,
    first_state,
    has_same_control,
    held_step,
    is_broken,
    set_wells,
)
from rockbank.flow.linear.choose import equations_for, solver_for
from rockbank.flow.steppers.member_state import MemberState, StepError, StepTaken
from rockbank.flow.units import DAY

# Of a well's rate at cnv = 1e-3: MRST's 1 m^3/day, and which part of a small target, or of that where it is 0.
WELL_RATE, WELL_PART = 1 / DAY, 0.01


def run(
    problem: Problem,
    parameters: Parameters,
    options: Options,
    *,
    start: Unknowns | None = None,
    head: Float[Tensor, "b p"] | None = None,
    held: Bool[np.ndarray, "b w"] | None = None,
    reports: range | None = None,
    progress: Callable[[int], None] | None = None,
    says: Callable[[str], None] | None = None,
) -> list[Trajectory]:
    """Takes every member through the report steps: all of them at once, each at its own pace.

    Args:
        problem: of all members.
        parameters: likewise.
        options: tolerances of Newton, and the linear solver.
        start: the state before the first step; None is the initial one.
        head: of the bores during it, Pa; None is what the initial state makes it.
        held: which wells their limits hold at first; None is none.
        reports: the report steps to take; None is all.
        progress: called with the number of report steps done since its last call.
        says: called after every iteration with a few words about how things stand.

    Raises:
        StoppedError: Ctrl-C, where there is one member and a report step is done.
        NewtonError: a step did not converge, cut as often as it may be.
    """
    equations = equations_for(problem, parameters)
    initial, first_head = first_state(equations)
    head = first_head if head is None else head
    start = initial if start is None else start
    held = np.zeros(start.bhp.shape, dtype=bool) if held is None else held
    stepper = TimeStepper(
        equations, options, start, head, held, range(len(problem.steps)) if reports is None else reports
    )
    try:
        while under_way := [i for i, member in enumerate(stepper.states) if member.report < stepper.reports.stop]:
            done = stepper.iterate(under_way)
            if says is not None:
                says(stepper.standing())
            if progress is not None and done:
                progress(done)
    except KeyboardInterrupt as interrupt:
        if len(stepper.states) > 1 or not stepper.states[0].reports:
            raise
        raise StoppedError(stepper.states[0].trajectory(start)) from interrupt
    return [member.trajectory(start.take([i])) for i, member in enumerate(stepper.states)]


class TimeStepper:
    """Where the members stand, the unknowns of all of them, and the iteration that moves them on."""

    def __init__(
        self,
        equations: Equations,
        options: Options,
        start: Unknowns,
        head: Float[Tensor, "b p"],
        held: Bool[np.ndarray, "b w"],
        reports: range,
    ) -> None:
        self.equations, self.options, self.reports = equations, options, reports
        self.solver = solver_for(equations.problem, options.solver, start.pressure.device)
        self.before, self.now, self.head = start, start, head
        self.n_iterations = 0
        self._tries: tuple[tuple[int, int, int, bytes], ...] | None = None
        self._held: tuple[Step, Step]
        self.states = [MemberState(2**options.max_cuts, reports.start, of) for of in held]

    def standing(self) -> str:
        """Time of the slowest member, s, and the iterations of all, in words."""
        steps = self.equations.problem.steps
        days = min(steps[: of.report].sum() + steps[of.report : of.report + 1].sum() * (1 - of.left / of.whole)
                   for of in self.states) / DAY  # fmt: skip
        said = f"day {days:.6g}, {self.n_iterations} Newton"
        linear = getattr(self.solver, "n_iterations", 0)
        return f"{said} and {linear} linear iterations" if linear else f"{said} iterations"

    def iterate(self, members: list[int]) -> int:
        """One iteration of each member, at the end of which its step has converged, failed or come closer.

        Returns:
            how many report steps it ended.
        """
        before_it = sum(self.states[i].report for i in members)
        equations, before = self.equations.take(members), self.before.take(members)
        step, other = self._steps(equations, members)
        now = set_wells(equations, self.now.take(members), before, step)
        here = equations.linearise(now, before, step)
        errors = self._errors(equations, here, step)
        broken = is_broken(equations, now, here.rates, step, other).cpu().numpy()
        self.now, moving = self.now.put(members, now), []
        for k, i in enumerate(members):
            member, error = self.states[i], errors[k]
            has_converged = member.iteration > 0 and error.allowed <= 1
            # A limit takes over at once the first time. From then on a well changes hands at a solution only: on the
            # way to one, the pressure around a well that has just done so says nothing.
            at_once = (member.switches == 0) & ~member.held & (member.iteration > 0)
            switching = broken[k] & (at_once | has_converged) & (member.switches < MAX_SWITCHES)
            if switching.any():
                member.switch(switching)
            elif has_converged:
                self._accept(i, now.take([k]), step.take([k]), error, broken[k])
            elif member.iteration == self.options.max_iterations or not math.isfinite(error.allowed):
                self._cut(i, error)
            else:
                moving.append(k)
        if moving:
            tolerance = min(self.states[members[k]].forcing(errors[k].allowed) for k in moving)
            self._move([members[k] for k in moving], now.take(moving), here, moving, tolerance)
        return sum(self.states[i].report for i in members) - before_it

    def _steps(self, equations: Equations, members: list[int]) -> tuple[Step, Step]:
        """What holds the wells now, and the other of control and limit; the same until a member tries another step."""
        states = [self.states[i] for i in members]
        tries = tuple((i, of.report, of.parts, of.held.tobytes()) for i, of in zip(members, states, strict=True))
        if self._tries != tries:
            reports, held = np.array([of.report for of in states]), np.array([of.held for of in states])
            lengths = equations.problem.steps[reports] * [of.parts / of.whole for of in states]
            head = self.head[members]
            self._tries = tries
            self._held = (held_step(equations, lengths, reports, held, head),
                          held_step(equations, lengths, reports, ~held, head))  # fmt: skip
        return self._held

    def _errors(self, equations: Equations, here: Linearised, step: Step) -> list[StepError]:
        """MRST's criteria: every cell's error, that of all cells together, and the wells' rates."""
        options, pv = self.options, equations.parameters.pore_volume
        in_cells = (here.cells.abs() * step.length[:, None, None] / pv[..., None]).amax(dim=-1)
        together = here.cells.sum(dim=1).abs().amax(dim=-1) * step.length / pv.sum(dim=1)
        target = step.targets.where(step.kinds != CLOSED, WELL_RATE)
        may_be = options.cnv / 1e-3 * (WELL_PART * target).clamp(max=WELL_RATE)
        of_well, well = (here.wells.abs() / may_be.where(step.kinds != SHUT, torch.inf)).max(dim=-1)
        cnv, cell = in_cells.max(dim=-1)
        allowed = torch.stack([cnv / options.cnv, together / options.mb, of_well]).amax(dim=0)
        each = zip(*(of.tolist() for of in (allowed, cnv, cell, of_well, well)), strict=True)
        return [StepError(*of) for of in each]

    def _move(self, members: list[int], now: Unknowns, here: Linearised, places: list[int], tolerance: float) -> None:
        """Newton's update, each saturation by max_ds at most."""
        factor = self.solver.factor(self.equations.problem, here.jacobian.take(places))
        cells, wells = factor.solve(here.cells[places][..., None], here.wells[places][..., None], tolerance)
        dp, ds = cells[..., 0].unbind(dim=-1)
        ds = ds.clamp(-self.options.max_ds, self.options.max_ds)
        moved = Unknowns(
            pressure=now.pressure - dp,
            saturation=(now.saturation - ds).clamp(0.0, 1.0),
            bhp=now.bhp - wells[..., 0],
        )
        self.now = self.now.put(members, moved)
        self.n_iterations += len(members)
        for i in members:
            self.states[i].iteration += 1
            self.states[i].n_iterations += 1

    def _accept(self, i: int, state: Unknowns, step: Step, error: StepError, broken: Bool[np.ndarray, " w"]) -> None:
        member, problem = self.states[i], self.equations.problem
        length = problem.steps[member.report] * member.parts / member.whole
        kinds = step.kinds[0].cpu().numpy()
        held = np.where(kinds == CLOSED, problem.kinds[member.report] == BHP, member.held & (kinds != SHUT))
        member.taken.append(
            StepTaken(length=length, report=member.report, state=state, head=step.head, kinds=kinds, held=held)
        )
        if problem.fluid.gravity:
            self.head = self.head.index_copy(0, torch.as_tensor([i], device=self.head.device),
                                             self.equations.take([i]).next_head(state, step))  # fmt: skip
            self._tries = None
        last, self.before = self.before.take([i]), self.before.put([i], state)
        member.is_extrapolated = False
        member.left -= member.parts
        if (
            member.iteration <= self.options.max_iterations // 2
            and member.left
            and member.left % (2 * member.parts) == 0
        ):
            member.parts *= 2  # what made it hard is over
        if not member.left:
            member.end_report(error.cnv, _note(problem, held, broken))
            if member.report < self.reports.stop:
                held = held & has_same_control(problem, member.report)
        member.try_step(held)
        if not problem.fluid.is_cocurrent and len(member.taken) > 1 and member.report < self.reports.stop:
            following = problem.steps[member.report] * member.parts / member.whole
            if (problem.kinds[member.report] == problem.kinds[member.taken[-1].report]).all():
                member.is_extrapolated = True
                self.now = self.now.put([i], _extrapolated(last, state, min(following / length, 1.0)))

    def _cut(self, i: int, error: StepError) -> None:
        member = self.states[i]
        if member.is_extrapolated:  # the last state may be a better beginning
            member.is_extrapolated = False
        elif member.parts == 1:
            raise NewtonError(self._failure(i, error))
        else:
            member.parts //= 2
        self.now = self.now.put([i], self.before.take([i]))
        member.try_step(member.first_held)

    def _failure(self, i: int, error: StepError) -> str:
        member, problem = self.states[i], self.equations.problem
        begin, end = (problem.steps[:n].sum() / DAY for n in (member.report, member.report + 1))
        place = np.unravel_index(problem.grid.cells[error.cell], problem.grid.box)[: len(problem.grid.shape)]
        of_member = f" of member {i}" if len(self.states) > 1 else ""
        why = "take shorter report steps, or raise max_iterations or max_cuts"
        if error.of_well > 1:
            why += f"; or well '{problem.wells[error.well].name}' cannot meet its target, and needs a limit"
        if self._has_no_pressure(i):
            why = "a limit leaves no well under 'bhp' and nothing is compressible, so that the matrix is singular"
        elif not math.isfinite(error.allowed):
            why = ("the numbers ceased to be finite; look for pressures out of all proportion: give rates a limit, and "
                   "compressible fluids a reference pressure near the reservoir's")  # fmt: skip
        return (
            f"report step {problem.report[member.report] + 1}{of_member} (day {begin:.6g} to {end:.6g}) does not "
            f"converge in {member.iteration} iterations, cut into {member.whole} steps; mass-balance error of "
            f"{error.cnv:.3g} pore volumes in cell {tuple(int(at) for at in place)}: {why}"
        )

    def _has_no_pressure(self, i: int) -> bool:
        """Whether nothing says how high the pressures are; by round-off, a direct solver may solve even that."""
        equations = self.equations.take([i])
        return equations.has_free_level and not bool((self._steps(equations, [i])[0].kinds == BHP).any())


def _extrapolated(before: Unknowns, now: Unknowns, part: float) -> Unknowns:
    """Where the next step starts its iteration: the change of the last once more, or that part of it."""
    pressure, saturation, bhp = (torch.lerp(getattr(before, name), getattr(now, name), 1 + part)
                                 for name in ("pressure", "saturation", "bhp"))  # fmt: skip
    return Unknowns(pressure=pressure, saturation=saturation.clamp(0.0, 1.0), bhp=bhp)


def _note(problem: Problem, held: Bool[np.ndarray, " w"], broken: Bool[np.ndarray, " w"]) -> str:
    """What the user should know of the wells at the end of a report step."""
    said = ((held, "is held by its limit"), (broken, "changed too often between its control and its limit"))
    return "; ".join(
        f"well '{well.name}' {what}"
        for of, what in said
        for well, holds in zip(problem.wells, of, strict=True)
        if holds
    )
