"""The SCHEDULE section: wells, what holds them, and the time steps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from rockbank.flow.eclipse.tuning import tuning_of
from rockbank.flow.eclipse.writer.arrays import AXES, array, given
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import BHP, OIL, RATE, SHUT, WATER, Parameters, Problem
from rockbank.flow.units import METRIC, exact_text


def schedule_section(problem: Problem, parameters: Parameters, options: Options) -> Iterator[str]:
    """SCHEDULE, line by line."""
    yield from ("SCHEDULE", *tuning_of(options, problem.steps), "RPTRST", "  BASIC=2 /", "WELSPECS")
    places = [_place(problem, i) for i in range(len(problem.perforation_cell))]
    for i_well, well in enumerate(problem.wells):
        first = int(np.flatnonzero(problem.perforation_well == i_well)[0])
        i, j, _ = places[first]
        depth = float(problem.grid.depth[problem.perforation_cell[first]]) if well.datum is None else well.datum
        phase = "WATER" if well.kind == "injector" else "OIL"
        crosses = "YES" if well.cross_flow else "NO"
        datum = exact_text(depth, METRIC.scale("length"))
        yield f"  '{well.name}' 'ALL' {i} {j} {datum} {phase} 1* STD SHUT {crosses} /"
    yield from ("/", "COMPDAT")
    indices = parameters.well_index[0].tolist()
    for (i, j, k), i_well, index in zip(places, problem.perforation_well, indices, strict=True):
        well = problem.wells[i_well]
        factor = exact_text(index, METRIC.scale("conductance"))
        yield (f"  '{well.name}' {i} {j} {k} {k} OPEN 1* {factor} "
               f"{exact_text(2 * well.radius, METRIC.scale('length'))} 3* {AXES[well.axis]} /")  # fmt: skip
    yield "/"
    steps = zip(problem.steps, _controls(problem, parameters), strict=True)
    for controls, run in groupby(steps, key=lambda step: step[1]):
        yield from controls
        yield from array("TSTEP", (length for length, _ in run), METRIC.scale("time"))
    yield "END"


def _place(problem: Problem, i: int) -> tuple[int, ...]:
    at = np.unravel_index(problem.grid.cells[problem.perforation_cell[i]], problem.grid.box)
    return tuple(int(index) + 1 for index in at)


def _controls(problem: Problem, parameters: Parameters) -> Iterator[list[str]]:
    """What holds the wells in each report step, as keywords."""
    targets, bounds = (of[0].detach().numpy() for of in (parameters.targets, parameters.limits))
    for kinds, limits, aims in zip(problem.kinds, bounds, targets, strict=True):
        lines = []
        for name, is_injector in (("WCONINJE", True), ("WCONPROD", False)):
            those = [w for w in range(len(problem.wells)) if problem.is_injector[w] == is_injector]
            record = _injection if is_injector else _production
            records = [f"  '{problem.wells[w].name}' {record(int(kinds[w]), aims[w], limits[w])} /" for w in those]
            lines += [name, *records, "/"] if those else []
        yield lines


def _injection(kind: int, target: float, limit: float) -> str:
    if kind == SHUT:
        return "WATER SHUT RATE 0"
    rate, bhp = (target, limit) if kind == RATE else (limit, target)
    return f"WATER OPEN {'RATE' if kind == RATE else 'BHP'} {given(rate, 'rate')} 1* {given(bhp, 'pressure')}"


def _production(kind: int, target: float, limit: float) -> str:
    if kind == SHUT:
        return "SHUT"
    if kind == BHP:
        return f"OPEN BHP 3* {given(limit, 'rate')} 1* {given(target, 'pressure')}"
    rate, bhp = given(target, "rate"), given(limit, "pressure")
    return {
        OIL: f"OPEN ORAT {rate} 4* {bhp}",
        WATER: f"OPEN WRAT 1* {rate} 3* {bhp}",
        RATE: f"OPEN LRAT 3* {rate} 1* {bhp}",
    }[kind]
