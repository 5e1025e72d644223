"""The simulator as one differentiable function of rock, wells and controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.adjoint.cell_states import CellStates, no_states
from rockbank.flow.adjoint.observables import jacobian, observe
from rockbank.flow.adjoint.sweep import Run
from rockbank.flow.equations.fluid import Fluid, tensor_fields
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.plausibility import with_notes
from rockbank.flow.equations.problem import BHP, Parameters, Problem, State, discretise, first_steps
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.trajectory import StepReport, StoppedError, Trajectory
from rockbank.flow.equations.wells import Schedule, Well
from rockbank.flow.linear.choose import takes_all_members
from rockbank.flow.members import each_member
from rockbank.flow.steppers import newton
from rockbank.flow.steppers.step_sizes import by_report, refined

__all__ = ["CellStates", "Options", "Result", "check", "jacobian", "simulate"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """What a run shows, after each report step; rates are surface volumes into the reservoir (producers' negative).

    There is an axis of members where rock, well indices, controls or initial state have one.

    Attributes:
        bhp: bottom-hole pressures, Pa.
        water_rate: m^3/s.
        oil_rate: m^3/s.
        time: at the end of each report step, s.
        states: pressures (Pa) and saturations of cells, in the order of `CellStates`.
        trajectories: of each member, the steps taken and their states.
    """

    bhp: Float[Tensor, "*b t w"]
    water_rate: Float[Tensor, "*b t w"]
    oil_rate: Float[Tensor, "*b t w"]
    time: Float[np.ndarray, " t"]
    states: Float[Tensor, "*b n"]
    trajectories: tuple[Trajectory, ...]

    @property
    def reports(self) -> tuple[tuple[StepReport, ...], ...]:
        """Of each member, how each report step converged."""
        return tuple(trajectory.reports for trajectory in self.trajectories)


class InterruptedRunError(KeyboardInterrupt):
    """Ctrl-C during a run.

    Attributes:
        result: of the report steps that were done.
    """

    def __init__(self, result: Result) -> None:
        super().__init__(f"stopped after {len(result.time)} report steps")
        self.result = result


def simulate(
    rock: Rock,
    fluid: Fluid,
    wells: Sequence[Well],
    schedule: Schedule,
    *,
    initial: State,
    states: CellStates | None = None,
    options: Options | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    says: Callable[[str], None] | None = None,
) -> Result:
    """Runs a model, or a batch of them, through its schedule.

    The observables are differentiable in the rock's permeability and porosity, the wells' indices, the controls'
    targets and limits, the initial state, and the numbers of the fluid and of its curves, by the discrete adjoint of
    the steps really taken; `jacobian` takes all their derivatives in one sweep.

    Args:
        rock: permeability and porosity of one model, or of a batch.
        fluid: water and oil.
        wells: with names that differ.
        schedule: controls of them all.
        initial: what the cells hold at first.
        states: pressures and saturations of cells that are observables too; None is of no cell.
        options: method and tolerances; None is `Options()`.
        workers: threads that share the members out among them, of the run and of its gradients.
        progress: called with the number of report steps done since its last call, of all members together.
        says: called as often as there is something new, with time and iterations in words.

    Raises:
        InterruptedRunError: Ctrl-C during a run of one member, with the result so far; states of later report steps are
            left out.
        InputError: the input does not fit together, or no pressure is given where nothing is compressible.
        NewtonError: a step does not converge.
    """
    options = options or Options()
    whole, parameters = check(rock, fluid, wells, schedule, initial=initial, options=options)
    states = no_states() if states is None else states
    states.check(len(whole.steps), whole.grid.n_cells)
    problem, parameters = refined(whole, parameters, options)
    if progress is not None:
        progress = _of_reports(progress, len(whole.steps) / len(problem.steps))
    has_members = _has_members(rock, fluid, wells, schedule, initial)
    try:
        trajectories = _trace(problem, parameters, options, workers, progress, says)
    except StoppedError as stopped:
        done = len(stopped.trajectory.reports)
        n = int(np.append(problem.report, len(whole.steps))[done])
        if not n:
            raise
        problem, parameters = first_steps(problem, parameters, n)
        whole = replace(whole, steps=whole.steps[:n])
        trajectories, states = [stopped.trajectory.first(len(problem.steps))], states.before(n)
        result = _result(whole, problem, parameters, trajectories, states, options, workers, has_members=has_members)
        raise InterruptedRunError(result) from stopped
    return _result(whole, problem, parameters, trajectories, states, options, workers, has_members=has_members)


def _result(
    whole: Problem,
    problem: Problem,
    parameters: Parameters,
    trajectories: Sequence[Trajectory],
    states: CellStates,
    options: Options,
    workers: int,
    *,
    has_members: bool,
) -> Result:
    """Of a run of the problem `whole`, or of `problem`, which is the same with its report steps cut."""
    report = problem.report
    ends = np.flatnonzero(np.diff(report, append=len(whole.steps)))
    run = Run(problem=problem, trajectories=trajectories, options=options, workers=workers,
              states=states.at_steps(ends))  # fmt: skip
    *of_wells, of_cells = observe(run, parameters)
    seen = (*(of[:, torch.as_tensor(ends, device=of.device)] for of in of_wells), of_cells)
    bhp, water_rate, oil_rate, shown = (of if has_members else of[0] for of in seen)
    return Result(
        bhp=bhp,
        water_rate=water_rate,
        oil_rate=oil_rate,
        time=np.cumsum(whole.steps),
        states=shown,
        trajectories=tuple(with_notes(whole, by_report(trajectory, report)) for trajectory in run.trajectories),
    )


def check(
    rock: Rock, fluid: Fluid, wells: Sequence[Well], schedule: Schedule, *, initial: State, options: Options
) -> tuple[Problem, Parameters]:
    """The numbered problem and its parameters, of which nothing is left that `simulate` would refuse.

    Raises:
        InputError: the input does not fit together, the method does not apply, or no pressure is given where nothing is
            compressible.
    """
    problem, parameters = discretise(rock, fluid, wells, schedule, initial)
    _require_pressure_level(problem, parameters)
    device = parameters.pore_volume.device
    if options.method == "sequential" and (refusal := _sequential_refusal(problem, device)) is not None:
        raise InputError(f"options: method 'sequential' does not apply: {refusal}; use 'auto' or 'newton'")
    return problem, parameters


def _sequential_refusal(problem: Problem, device: torch.device) -> str | None:
    """None where the sequential iteration takes the problem, else why not."""
    # Its compiler takes a second to import, which Newton's runs need not.
    from rockbank.flow.steppers import sequential

    return sequential.applies(problem) if device.type == "cpu" else "it runs on the CPU"


def _trace(
    problem: Problem,
    parameters: Parameters,
    options: Options,
    workers: int,
    progress: Callable[[int], None] | None,
    says: Callable[[str], None] | None,
) -> list[Trajectory]:
    """Every member through the report steps, by the method that the options ask for or that applies."""
    parameters, device = parameters.detach(), parameters.pore_volume.device
    refusal = None
    if options.method != "newton":
        refusal = _sequential_refusal(problem, device)
        if refusal is None:
            from rockbank.flow.steppers import sequential

            if options.method == "auto":
                refusal = sequential.is_slower(problem)
        if refusal is None:

            def iterated(i: int) -> Trajectory:
                return sequential.run(problem, parameters.member(i), options, progress=progress, says=says)

            return each_member(iterated, parameters.n_members, workers)
    if takes_all_members(problem, options.solver, device):
        trajectories = newton.run(problem, parameters, options, progress=progress, says=says)
    else:

        def solved(i: int) -> Trajectory:
            return newton.run(problem, parameters.member(i), options, progress=progress, says=says)[0]

        trajectories = each_member(solved, parameters.n_members, workers)
    return trajectories if refusal is None else [_noted(trajectory, refusal) for trajectory in trajectories]


def _of_reports(progress: Callable[[int], None], per_step: float) -> Callable[[int], None]:
    """Takes counts of steps, and tells those of report steps."""
    steps, reported = 0, 0

    def count(n: int) -> None:
        nonlocal steps, reported
        steps += n
        if (new := round(steps * per_step) - reported) > 0:
            reported += new
            progress(new)

    return count


def _noted(trajectory: Trajectory, refusal: str) -> Trajectory:
    """Every report says why Newton made it."""
    reports = [replace(of, note="; ".join(filter(None, [f"newton: {refusal}", of.note]))) for of in trajectory.reports]
    return replace(trajectory, reports=tuple(reports))


def _has_members(rock: Rock, fluid: Fluid, wells: Sequence[Well], schedule: Schedule, initial: State) -> bool:
    """Whether anything was given with an axis of members."""
    n_axes = len(rock.grid.shape)
    fields = (*rock.components, rock.porosity, initial.pressure, initial.saturation)
    controls = [control for well in wells for control in schedule.of(well.name)]
    series = [*(well.index for well in wells), *(of for each in controls for of in (each.target, each.limit))]
    given = ((n_axes, fields), (1, [*series, *rock.of_cells_and_faces]), (0, tensor_fields(fluid).values()))
    return any(isinstance(of, Tensor) and of.ndim > n for n, tensors in given for of in tensors)


def _require_pressure_level(problem: Problem, parameters: Parameters) -> None:
    """InputError where the level of the pressure is undetermined: nothing is compressible, no well holds a pressure."""
    fluid, grid = problem.fluid, problem.grid
    gives_way = np.broadcast_to(np.asarray(problem.rock_compressibility) > 0, grid.n_cells)
    if gives_way.all() or any(phase.is_compressible for pair in fluid.liquids for phase in pair):
        return
    left, right = grid.faces[(parameters.transmissibility > 0).all(dim=0).cpu().numpy()].T
    n_parts, part = connected_components(coo_array((np.ones(len(left)), (left, right)), shape=(grid.n_cells,) * 2))
    for report, kinds in enumerate(problem.kinds):
        holds = (kinds == BHP)[problem.perforation_well]
        alone = np.setdiff1d(np.arange(n_parts), np.union1d(part[problem.perforation_cell[holds]], part[gives_way]))
        if alone.size:
            place = grid.place(int(np.flatnonzero(part == alone[0])[0]))
            raise InputError(
                f"schedule: in report step {report + 1} no well under 'bhp' reaches cell {place}, and neither rock nor "
                "fluids are compressible, so that nothing says how high its pressure is; put a well there under "
                "'bhp', or give rock or fluid a compressibility"
            )
