"""Run one case of the flow simulator, and write what was requested."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import replacing_together, require_apart, require_writable
from rockbank.core.terminal import progress, terminal
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import load_case
from rockbank.flow.eclipse.restart_writer import restart_paths, write_restart
from rockbank.flow.eclipse.summary import WellCurves
from rockbank.flow.eclipse.summary_writer import unsmry_path, write_summary
from rockbank.flow.eclipse.text import require_deck_names
from rockbank.flow.eclipse.writer import require_writable as require_writable_deck
from rockbank.flow.eclipse.writer import write_deck
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import discretise
from rockbank.flow.results.balance import Balance, balance
from rockbank.flow.results.netcdf import to_dataset, write_results
from rockbank.flow.results.plot import save_picture
from rockbank.flow.simulate import InterruptedRunError, Result, simulate
from rockbank.flow.units import DAY


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where to write what; None is not written.

    Attributes:
        results: the NetCDF file.
        picture: a PNG.
        deck: an Eclipse deck of the case.
        summary: an Eclipse summary's SMSPEC.
        restart: whether to write EGRID, INIT and UNRST too, beside the results.
    """

    results: Path
    picture: Path | None = None
    deck: Path | None = None
    summary: Path | None = None
    restart: bool = False

    @property
    def paths(self) -> list[Path]:
        """All that is written."""
        values = None if self.summary is None else unsmry_path(self.summary)
        named = [self.results, self.picture, self.deck, self.summary, values]
        return [path for path in named if path is not None] + (
            list(restart_paths(self.results)) if self.restart else []
        )

    def __post_init__(self) -> None:
        for option, path, suffix in (
            ("--output", self.results, ".nc"),
            ("--picture", self.picture, ".png"),
            ("--deck", self.deck, ".data"),
        ):
            if path is not None and path.suffix.lower() != suffix:
                raise InputError(f"{option}: got '{path}'; use a name that ends in {suffix}")

    def check(self, case: Case) -> None:
        """InputError for what could not be written after the run of a case, or would replace what it was read from."""
        for path in self.paths:
            require_writable(path)
        require_apart(self.paths, case.files)
        if self.deck is not None:
            require_writable_deck(case)
        if self.summary is not None or self.restart:
            require_deck_names([well.name for well in case.wells])


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A run and what it took.

    Attributes:
        case: that was run.
        result: of the run.
        volumes: that went in and out.
        seconds: of CPU time, without reading and writing.
        written: the files.
        stopped: after how many report steps Ctrl-C ended it; empty where nothing did.
    """

    case: Case
    result: Result
    volumes: Balance
    seconds: float
    written: tuple[Path, ...]
    stopped: str = ""


def load(path: Path, *, method: str | None = None, tolerance: float | None = None) -> Case:
    """The case of a file, under other options where they are given; InputError names the option."""
    case = load_case(path)
    if method is None and tolerance is None:
        return case
    given = {"method": method, "tolerance": tolerance}
    options = vars(case.options) | {key: value for key, value in given.items() if value is not None}
    return replace(case, options=Options(**options))


def simulated(case: Case) -> Result:
    """A run of the case behind a progress bar; InterruptedRunError at Ctrl-C has what is done."""
    with progress(case.title, len(case.schedule.steps)) as advance:
        return simulate(
            case.rock,
            case.fluid,
            case.wells,
            case.schedule,
            initial=case.initial,
            options=case.options,
            progress=advance,
            says=lambda text: advance(0, text),
        )


def run(case: Case, outputs: Outputs) -> Simulated:
    """Simulate the case behind a progress bar, and write the outputs, all of them or none."""
    problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    begin = time.process_time()
    stopped = ""
    try:
        result = simulated(case)
    except InterruptedRunError as interrupt:
        result, n = interrupt.result, len(interrupt.result.time)
        stopped = f"stopped by Ctrl-C after {n} of {len(case.schedule.steps)} report steps"
        case = replace(case, schedule=case.schedule.first(n), notes=(*case.notes, stopped))
        problem, parameters = discretise(case.rock, case.fluid, case.wells, case.schedule, case.initial)
    seconds = time.process_time() - begin
    volumes = balance(problem, parameters, result.trajectories[0])
    terminal.print("writing", ", ".join(map(str, outputs.paths)))
    dataset = to_dataset(case, result, volumes)
    with replacing_together(outputs.paths) as besides:
        beside = dict(zip(outputs.paths, besides, strict=True))
        write_results(beside[outputs.results], dataset)
        if outputs.picture is not None:
            save_picture(beside[outputs.picture], dataset)
        if outputs.deck is not None:
            write_deck(beside[outputs.deck], case)
        if outputs.summary is not None:
            write_summary(
                beside[outputs.summary],
                _curves(case, result),
                volumes=volumes.injected,
                history=case.history,
                box=case.rock.grid.box,
                start=case.date_of_start,
            )
        if outputs.restart:
            write_restart(beside[outputs.results], case, problem, parameters, result.trajectories[0])
    return Simulated(
        case=case, result=result, volumes=volumes, seconds=seconds, written=tuple(outputs.paths), stopped=stopped
    )


def _curves(case: Case, result: Result) -> WellCurves:
    return WellCurves(
        time=result.time,
        wells=tuple(well.name for well in case.wells),
        bhp=result.bhp.numpy(),
        water_rate=result.water_rate.numpy(),
        oil_rate=result.oil_rate.numpy(),
    )


def about_case(case: Case) -> dict[str, str]:
    """What will be run, in words."""
    grid, steps = case.rock.grid, np.asarray(case.schedule.steps)
    n_cells = grid.is_active.size
    inactive = f", {grid.n_cells} of them active" if grid.n_cells < n_cells else ""
    wells = ", ".join(f"{well.name} ({well.kind}, {len(well.cells)})" for well in case.wells)
    return {
        "case": case.title,
        "cells": f"{' x '.join(map(str, grid.shape))} = {n_cells}{inactive}",
        "wells (perforations)": wells,
        "report steps": f"{len(steps)}, {steps.sum() / DAY:g} days",
    }


def about_run(done: Simulated) -> dict[str, str]:
    """How it went, in words."""
    trajectory = done.result.trajectories[0]
    reports = trajectory.reports
    methods = [report.method for report in reports]
    counts = ", ".join(f"{name} {methods.count(name)}" for name in dict.fromkeys(methods))
    cut = [str(i) for i, report in enumerate(reports, start=1) if report.n_steps > report.n_planned]
    notes = Counter(report.note for report in reports if report.note)
    return {
        "method (report steps)": counts,
        "steps taken": f"{len(trajectory.steps)}, report steps cut: {', '.join(cut) or 'none'}",
        "iterations": str(sum(report.iterations for report in reports)),
        "mass-balance error": f"{done.volumes.mass_balance_error:.1e} of the pore volume",
        "oil recovered": f"{100 * done.volumes.recovery:.1f} % of {done.volumes.in_place[0, 1]:.4g} m3",
        "CPU time": f"{done.seconds:.2f} s",
        **({"notes (report steps)": "\n".join(f"{note} ({n})" for note, n in notes.items())} if notes else {}),
    }


def about_steps(done: Simulated) -> list[tuple[str, ...]]:
    """A row for each report step: number, day, method, iterations, steps, residual, note."""
    return [
        (
            str(i),
            f"{end / DAY:g}",
            report.method,
            str(report.iterations),
            str(report.n_steps),
            f"{report.residual:.1e}",
            report.note,
        )
        for i, (end, report) in enumerate(zip(done.result.time, done.result.reports[0], strict=True), start=1)
    ]
