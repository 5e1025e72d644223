"""The deck as a whole, and its sections but SCHEDULE."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.eclipse.schedule.dates import MONTHS
from rockbank.flow.eclipse.tables import as_table
from rockbank.flow.eclipse.text import require_deck_names
from rockbank.flow.eclipse.writer.arrays import AXES, array, boxed, natural, scattered
from rockbank.flow.eclipse.writer.schedule import schedule_section
from rockbank.flow.equations.curves.cell_curves import CellCurves
from rockbank.flow.equations.curves.pressure_table import PressureTable
from rockbank.flow.equations.fluid import Phase
from rockbank.flow.equations.problem import Parameters, Problem, discretise
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Schedule
from rockbank.flow.simulate import simulate
from rockbank.flow.units import BAR, METRIC, exact_text

# OPM Flow cannot take exact incompressibility; 1e-9 per bar changes a volume by 1e-7 over 100 bar.
LEAST_COMPRESSIBILITY = 1e-9 / BAR
# A second moves no front.
_INSTANT = 1.0
_VECTORS = ("WBHP", "WWPR", "WOPR", "WLPR", "WWCT", "WWIR", "WWPT", "WOPT", "WWIT")
_FIELD_VECTORS = ("FOPR", "FWPR", "FLPR", "FWIR", "FOPT", "FWPT", "FLPT", "FWIT", "FWCT", "FPR", "FOE")


def write_deck(path: Path, case: Case, *, least_compressibility: float = LEAST_COMPRESSIBILITY) -> None:
    """Write the deck of a case, whole or not at all.

    The deck is METRIC, with the initial state cell by cell, and well indices as connection factors.
    Numbers come back from it to the last bit where their unit lets them. Curves that are no table are
    sampled (`as_table`). A deck cannot leave gravity out: `flow_options` leave it out of OPM Flow's run.

    Args:
        path: of the deck.
        case: of one member.
        least_compressibility: 1/Pa, in place of less in the fluids; 0 leaves them as they are. Where nothing was
            compressible before, the initial pressure is then that of the first instant (`at_first_instant`).

    Raises:
        InputError: for a batch of several members.
    """
    _, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    n_members = len(parameters.pore_volume)
    if n_members != 1:
        raise InputError(f"{path}: got {n_members} members; a deck has one, write each by itself")
    require_writable(case)
    case = at_first_instant(case) if least_compressibility else case
    problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    parts = [
        *_runspec(case, problem),
        *_grid(case.rock),
        *_props(case, least_compressibility),
        *_solution(problem, parameters),
        *_summary(),
        *schedule_section(problem, parameters, case.options),
    ]
    write_text(path, "\n".join(parts) + "\n")


def require_writable(case: Case) -> None:
    """InputError where a deck cannot hold the case's names, or its grid of corner points is not written."""
    require_deck_names([well.name for well in case.wells])
    if case.rock.grid.half_factors is not None:
        raise InputError("the grid has corner points, of which no deck is written; use the deck that they come from")
    if case.rock.grid.aquifers is not None or case.rock.added_transmissibility is not None:
        raise InputError(
            "cells are linked across the grid, of which no deck is written; use the deck that they come from"
        )
    if isinstance(case.rock.compressibility, np.ndarray) or isinstance(case.rock.reference_pressure, np.ndarray):
        raise InputError("the rock's compressibility differs from cell to cell, of which no deck is written; use the "
                         "deck that it comes from")  # fmt: skip
    if case.fluid.regions is not None or isinstance(case.fluid.curves, CellCurves):
        raise InputError("liquids or curves differ from cell to cell, of which no deck is written; use the deck that "
                         "they come from")  # fmt: skip


def at_first_instant(case: Case) -> Case:
    """The case with the pressure of its first instant, where nothing in it is compressible; else the case itself.

    What is not compressible forgets its initial pressure at once. OPM Flow, to which it has to be slightly
    compressible, would meet a shock that shuts producers or shows in the curves.
    """
    fluid = case.fluid
    if np.any(case.rock.compressibility) or fluid.water.is_compressible or fluid.oil.is_compressible:
        return case
    controls = {well.name: case.schedule.of(well.name)[0] for well in case.wells}
    first = {name: replace(control, target=_first(control.target)) for name, control in controls.items()}
    schedule = Schedule(steps=(_INSTANT,), controls=first)
    with torch.no_grad():
        result = simulate(case.rock, fluid, case.wells, schedule, initial=case.initial, options=case.options)
    grid, pressure = case.rock.grid, result.trajectories[0].pressure[-1]
    box = torch.full((grid.is_active.size,), float(pressure[0]), dtype=torch.float64)
    box[grid.cells] = pressure
    return replace(case, initial=replace(case.initial, pressure=box.reshape(grid.shape)))


def _first(target: float | torch.Tensor) -> float | torch.Tensor:
    return target[..., :1] if isinstance(target, torch.Tensor) and target.ndim else target


def flow_options(case: Case) -> list[str]:
    """Options of OPM Flow with which it solves the deck's equations as this simulator does, stiff ones too."""
    return ["--linear-solver=cpr", *(["--enable-gravity=false"] if case.fluid.gravity == 0 else [])]


def _runspec(case: Case, problem: Problem) -> Iterator[str]:
    nx, ny, nz = problem.grid.box
    per_well = np.bincount(problem.perforation_well).max()
    date = case.date_of_start
    n_rows = len(as_table(case.fluid.curves).saturation)
    yield from (f"-- {note}" for note in _notes(case))
    # OPM Flow fails at a single quote even here, and two dashes begin a comment.
    title = re.sub(r"['\"/]|--+", "", case.title).strip() or "untitled"
    yield from ("RUNSPEC", "TITLE", f"  {title}", "DIMENS", f"  {nx} {ny} {nz} /", "OIL", "WATER")
    yield from ("METRIC", "START", f"  {date.day} '{MONTHS[date.month - 1]}' {date.year} {date:%H:%M:%S} /")
    yield from ("TABDIMS", f"  1 1 {n_rows} {n_rows} /", "EQLDIMS", "  /")
    yield from ("WELLDIMS", f"  {len(problem.wells)} {per_well} 1 {len(problem.wells)} /", "UNIFOUT", "")


def _notes(case: Case) -> Iterator[str]:
    yield f"Run OPM Flow with {' '.join(flow_options(case))}"
    if case.fluid.gravity == 0:
        yield "Gravity is left out, which a deck cannot say."


def _grid(rock: Rock) -> Iterator[str]:
    grid = rock.grid
    nx, ny, _ = grid.box
    yield from ("GRID", "INIT")
    for axis, sizes in zip(AXES, grid.sizes, strict=True):
        yield from array(f"D{axis}V", sizes, METRIC.scale("length"))
    yield from ("TOPS", f"  {nx * ny}*{exact_text(grid.top, METRIC.scale('length'))} /")
    if not grid.is_active.all():
        yield from array("ACTNUM", natural(grid.is_active.astype(float)), 1.0)
    k = list(rock.components)
    for axis, component in zip(AXES, k * 3 if len(k) == 1 else k, strict=True):
        yield from array(f"PERM{axis}", boxed(grid, component), METRIC.scale("permeability"))
    yield from array("PORO", boxed(grid, rock.porosity), 1.0)
    for name, values in _multipliers(rock):
        yield from array(name, natural(values.reshape(grid.box)), 1.0)
    yield ""


def _multipliers(rock: Rock) -> Iterator[tuple[str, Float[np.ndarray, " m"]]]:
    """NTG, MULTPV and the multipliers of the faces behind the cells, of the whole box."""
    grid = rock.grid
    for name, factor in (("NTG", rock.net_to_gross), ("MULTPV", rock.pore_multiplier)):
        if factor is not None:
            values = np.ones(grid.is_active.size)
            values[grid.cells] = factor.detach().cpu().numpy().reshape(-1)
            yield name, values
    if rock.face_multiplier is not None:
        factors = rock.face_multiplier.detach().cpu().numpy().reshape(-1)
        for axis in range(3):
            of_axis = grid.face_axis == axis
            values = np.ones(grid.is_active.size)
            values[grid.cells[grid.faces[of_axis, 0]]] = factors[of_axis]
            yield f"MULT{AXES[axis]}", values


def _props(case: Case, least_compressibility: float) -> Iterator[str]:
    fluid, rock = case.fluid, case.rock
    table = as_table(fluid.curves)
    yield from ("PROPS", "SWOF")
    scales = (1.0, 1.0, 1.0, METRIC.scale("pressure"))
    columns = (table.saturation, table.k_water, table.k_oil, table.p_capillary)
    for row in zip(*columns, strict=True):
        yield "  " + " ".join(exact_text(value, scale) for value, scale in zip(row, scales, strict=True))
    yield "/"
    yield from ("PVTW", f"  {_liquid(fluid.water, least_compressibility)} /")
    if fluid.oil.table is None:
        yield from ("PVCDO", f"  {_liquid(fluid.oil, least_compressibility)} /")
    else:
        yield from ("PVDO", *_dead_oil(fluid.oil.table), "/")
    oil, water = (exact_text(float(phase.density), METRIC.scale("density")) for phase in (fluid.oil, fluid.water))
    # The third is gas, which there is none of.
    yield from ("DENSITY", f"  {oil} {water} 1 /")
    reference = exact_text(float(rock.reference_pressure), METRIC.scale("pressure"))
    yield from (
        "ROCK",
        f"  {reference} {exact_text(float(rock.compressibility), METRIC.scale('compressibility'))} /",
        "",
    )


def _liquid(phase: Phase, least_compressibility: float) -> str:
    at, volume_factor = phase.reference_pressure, 1.0
    compressibility = max(float(phase.compressibility), least_compressibility)
    if not phase.is_plain:
        # One pressure is that of both volume factor and viscosity.
        volume_factor = math.exp(compressibility * (at - phase.viscosity_pressure))
        at = phase.viscosity_pressure
    numbers = ((at, "pressure"), (volume_factor, "fraction"), (compressibility, "compressibility"),
               (float(phase.viscosity), "viscosity"), (float(phase.viscosibility), "compressibility"))  # fmt: skip
    return " ".join(exact_text(value, METRIC.scale(dimension)) for value, dimension in numbers)


def _dead_oil(table: PressureTable) -> Iterator[str]:
    for p, b, per_mu in zip(table.pressure, table.b, table.per_viscosity, strict=True):
        yield (f"  {exact_text(p, METRIC.scale('pressure'))} {exact_text(1 / b, 1.0)} "
               f"{exact_text(b / per_mu, METRIC.scale('viscosity'))}")  # fmt: skip


def _solution(problem: Problem, parameters: Parameters) -> Iterator[str]:
    grid = problem.grid
    yield "SOLUTION"
    yield from array("PRESSURE", scattered(grid, parameters.pressure[0]), METRIC.scale("pressure"))
    yield from (*array("SWAT", scattered(grid, parameters.saturation[0]), 1.0), "")


def _summary() -> Iterator[str]:
    yield "SUMMARY"
    yield from _FIELD_VECTORS
    for name in _VECTORS:
        yield from (name, "/")
    yield ""
