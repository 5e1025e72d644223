"""Report steps cut into shorter ones before a run: lengths that no iteration changes, so that gradients hold."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import groupby

import numpy as np
from jaxtyping import Float, Int

from rockbank.core.errors import InputError
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import Parameters, Problem
from rockbank.flow.equations.trajectory import StepReport, Trajectory

# What is left of a report step is halved rather than leave less than half a step over.
_ALMOST = 1.5
_MOST = 1_000_000


def step_sizes(
    steps: Float[np.ndarray, " t"], options: Options
) -> tuple[Float[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """Lengths of the steps within the report steps, s, and the report step of each.

    The first is at most `options.first_step`, each other at most `options.growth` times the longest before, none longer
    than `options.largest_step`.

    Raises:
        InputError: there are more than a million.
    """
    longest = math.inf if options.largest_step is None else options.largest_step
    following = math.inf if options.first_step is None else options.first_step
    lengths, reports = [], []
    for report, whole in enumerate(steps):
        left = float(whole)
        while left > 0:
            length = min(following, longest)
            if length < left < _ALMOST * length:
                length = left / 2
            length = left if left - length <= 1e-9 * whole else length
            lengths.append(length)
            reports.append(report)
            if len(lengths) > _MOST:
                raise InputError(f"options: got first_step {options.first_step} s, largest_step {options.largest_step} "
                                 f"s, which make more than {_MOST} steps; give longer ones")  # fmt: skip
            following, left = max(following, options.growth * length), left - length
    return np.array(lengths), np.array(reports)


def refined(problem: Problem, parameters: Parameters, options: Options) -> tuple[Problem, Parameters]:
    """The problem with the steps of `step_sizes` in the place of its report steps, which each step's `report` names."""
    if options.first_step is None and options.largest_step is None:
        return problem, parameters
    lengths, report = step_sizes(problem.steps, options)
    finer = replace(
        problem, steps=lengths, report=report, kinds=problem.kinds[report], has_limit=problem.has_limit[report]
    )
    return finer, replace(parameters, targets=parameters.targets[:, report], limits=parameters.limits[:, report])


def by_report(trajectory: Trajectory, report: Int[np.ndarray, " k"]) -> Trajectory:
    """The run of a refined problem as one of its report steps."""
    whole = [
        [made for _, made in of] for _, of in groupby(zip(report, trajectory.reports, strict=True), lambda of: of[0])
    ]
    reports = tuple(
        StepReport(
            method="newton" if any(of.method == "newton" for of in made) else made[0].method,
            iterations=sum(of.iterations for of in made),
            n_steps=sum(of.n_steps for of in made),
            n_planned=len(made),
            residual=made[-1].residual,
            note="; ".join(dict.fromkeys(of.note for of in made if of.note)),
        )
        for made in whole
    )
    return replace(trajectory, report=report[trajectory.report], reports=reports)
