"""Pressures that no reservoir has, which the equations take nevertheless."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from rockbank.flow.equations.problem import Problem
from rockbank.flow.equations.trajectory import Trajectory
from rockbank.flow.units import BAR

# Rock breaks at some 0.2 bar a metre of depth, and the deepest wells reach some 10 km.
HIGHEST = 2000 * BAR


def with_notes(problem: Problem, trajectory: Trajectory) -> Trajectory:
    """The run with a note at the step where each implausible pressure is furthest off."""
    reports = list(trajectory.reports)
    for step, note in _implausible(problem, trajectory):
        i = int(trajectory.report[step] - trajectory.report[0])
        reports[i] = replace(reports[i], note="; ".join(filter(None, [reports[i].note, note])))
    return replace(trajectory, reports=tuple(reports))


def _implausible(problem: Problem, trajectory: Trajectory) -> Iterator[tuple[int, str]]:
    """The place of the step, and what to say."""
    bhp, cells = trajectory.bhp.cpu().numpy(), trajectory.pressure[1:].cpu().numpy()
    for w, well in enumerate(problem.wells):
        limit = "max_bhp" if well.kind == "injector" else "min_bhp"
        for step, word, p in _extremes(bhp[:, w]):
            yield step, (f"well '{well.name}': its bottom-hole pressure {word} to {p / BAR:.4g} bar; give its rate a "
                         f"limit ({limit}), or look at its index")  # fmt: skip
    for step, word, p in _extremes(cells.min(axis=1)) + _extremes(cells.max(axis=1)):
        place = problem.grid.place(int(np.abs(cells[step] - p).argmin()))
        yield step, f"the pressure in cell {place} {word} to {p / BAR:.4g} bar; limit what the wells take or give"


def _extremes(pressure: np.ndarray) -> list[tuple[int, str, float]]:
    """Where a pressure is furthest below zero and above what is plausible."""
    low, high = int(pressure.argmin()), int(pressure.argmax())
    found = [(low, "falls", float(pressure[low]))] if pressure[low] < 0 else []
    return found + ([(high, "rises", float(pressure[high]))] if pressure[high] > HIGHEST else [])
