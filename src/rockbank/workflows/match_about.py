"""What a match would do, and how far it is, in words."""

from __future__ import annotations

import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.flow.units import DAY
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.methods.interface import MEMBER_ERRORS
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, status_in_words
from rockbank.matching.methods.table import counted
from rockbank.matching.results.diagnostics import ensembles, evidence, loss_history, of_members
from rockbank.matching.results.posterior import POSTERIOR, TABLE, read_posterior
from rockbank.matching.results.report import REPORT
from rockbank.matching.results.summary import warnings_of
from rockbank.matching.results.verdict import spread_of_prior, warnings
from rockbank.matching.run import MEMBERS, Run, require_new
from rockbank.workflows.match_evidence import NO_DATA, latents_now, planned, reached, reported, spread_now
from rockbank.workflows.match_request import TERMS, MatchRequest, folder_of, prepare


def about(path: Path, request: MatchRequest, workers: int) -> dict[str, str]:
    """What would be run, in words, with the time of one forward run; nothing is written."""
    case = load_match_case(path)
    folder = folder_of(path, case, request)
    require_new(folder)
    with tempfile.TemporaryDirectory() as temporary:
        run = prepare(path, case, request, Path(temporary))
        warned = _numbered(warnings(planned(run)))
        return {
            **_about_case(case),
            **_about_run(run),
            **warned,
            "time": _estimate(run, workers),
            "folder": str(folder),
        }


def status(folder: Path) -> tuple[list[tuple[str, ...]], dict[str, str]]:
    """A row for each member that has begun, and what there is to say.

    A row is number, status, iterations, objective, J, accuracy and cost.
    """
    run = Run(folder)
    settings, note = run.settings, {}
    if run.has_checkpoints or not (folder / POSTERIOR).is_file():
        states = run.states()
        ends = [(None, "") if state is None else (state.status, state.reason) for state in states]
        rows = [_row(run, i, state) for i, state in enumerate(states) if state is not None]
        spread, whole, z = spread_now(states), reported(run), latents_now(states)
        warned = warnings(reached(run, states)) if whole is None else warnings_of(whole)
    else:
        dataset = read_posterior(folder)
        ends = list(zip(dataset.status.values.tolist(), dataset.reason.values.tolist(), strict=True))
        rows = _rows_of_results(dataset)
        spread, warned = evidence(dataset, ensembles(dataset)[-1]).spread, warnings_of(dataset)
        z = of_members(dataset, "z", ensembles(dataset)[-1]).values
    if not run.has_checkpoints:
        note = {"checkpoints": f"none, there are results only: 'report' works, 'resume' needs {MEMBERS}/"}
    counts = Counter(status for status, _ in ends)
    return rows, {
        "run": f"{settings.method} of {Path(settings.case).name}{_with(settings.generator)}, seed {settings.seed}",
        **_of_parameters(settings.parameters, z),
        "iterations": _limit(run),
        "members": ", ".join(
            f"{n} {'not begun' if name is None else status_in_words(name, n)}" for name, n in counts.items()
        ),
        **({} if spread is None else {"spread": f"{spread:.2g} of the prior's"}),
        **_numbered(warned),
        **{f"member {i} failed": reason for i, (status, reason) in enumerate(ends) if status == FAILED},
        **note,
        "results": ", ".join(name for name in (POSTERIOR, TABLE, REPORT) if (folder / name).is_file()) or "none yet",
    }


def _with(generator: str) -> str:
    return f" with {generator}" if generator else ""


def _of_parameters(sizes: Mapping[str, int], z: Float[np.ndarray, "m n"]) -> dict[str, str]:
    """Their names, how many numbers each has, and how far these spread over the members by the prior's."""
    said, first = [], 0
    for name, n in sizes.items():
        spread = spread_of_prior(z[:, first : first + n]) if len(z) > 1 else None
        said.append(f"{name} ({n}{'' if spread is None else f', spread {spread:.2g}'})")
        first += n
    return {"parameters": ", ".join(said)} if said else {}


def _numbered(warned: Sequence[str]) -> dict[str, str]:
    return {f"warning {i}" if len(warned) > 1 else "warning": each for i, each in enumerate(warned, 1)}


def _limit(run: Run) -> str:
    """What a member may make at most."""
    kind = run.spec.iteration
    return "none" if kind is None else f"{counted(run.max_iterations, kind)} at most"


def _rows_of_results(dataset: xr.Dataset) -> list[tuple[str, ...]]:
    """Of members whose checkpoints are not there."""
    totals = loss_history(dataset)
    iterations = dataset.history_iterations.transpose("member", "iterate").values
    rows: list[tuple[str, ...]] = []
    for i, status in enumerate(dataset.status.values.tolist()):
        known = np.flatnonzero(np.isfinite(totals[i]))
        if not len(known):
            rows.append((str(i), status_in_words(status), "", "", "", "", ""))
            continue
        last = known[-1]
        at = dataset.isel(member=i, iterate=last)
        of_data = (float(at.history_time_mean), float(at.history_accuracy))
        rows.append(_in_words(i, status, iterations[i, last], totals[i, last], of_data, float(at.history_cost)))
    return rows


def _row(run: Run, i: int, state: State) -> tuple[str, ...]:
    if not state.records:
        return str(i), status_in_words(state.status), "", "", "", "", ""
    parts, cost = state.last.parts, state.last.cost.runs
    return _in_words(i, state.status, run.n_iterations(state), parts.total, (parts.time_mean, parts.accuracy), cost)


def _in_words(
    i: int, status: str, n_iterations: float, total: float, of_data: tuple[float, float], cost: float
) -> tuple[str, ...]:
    shown = ("" if np.isnan(each) else f"{each:.3g}" for each in of_data)
    return str(i), status_in_words(status), f"{n_iterations:.0f}", f"{total:.5g}", *shown, f"{cost:.5g}"


def _about_case(case: MatchCase) -> dict[str, str]:
    of, seen = case.case, case.observations
    counts = Counter(zip(seen.well, seen.quantity, strict=True))
    n_maps = len({time for time, of in zip(seen.time, seen.quantity, strict=True) if of == "saturation"})
    on_maps = f"on {n_maps} map{'' if n_maps == 1 else 's'}"
    observed = ", ".join(
        f"{n} {quantity} {f'of {well}' if well else on_maps}" for (well, quantity), n in counts.items()
    )
    n_sand = int(case.facies.is_sand.sum())
    ahead = f", then {sum(case.forecast) / DAY:g} of forecast" if case.forecast else ""
    return {
        "case": of.title,
        "cells": " x ".join(map(str, of.rock.grid.shape)),
        "report steps": f"{len(of.schedule.steps)}, {sum(of.schedule.steps) / DAY:g} days{ahead}",
        "observations": f"{len(seen)}: {observed}" if counts else "none",
        "wells' facies": f"{len(case.facies.cells)} cells, {n_sand} of them sand",
        "truth": "known" if case.has_truth else "not known",
        **({"notes": "\n".join(of.notes)} if of.notes else {}),
    }


def _about_run(run: Run) -> dict[str, str]:
    settings, groups = run.settings, run.objective.rock.groups
    terms = [name for name, counts in zip(TERMS, (settings.flow, settings.wells), strict=True) if counts]
    generator, named = {}, {}
    if run.has_generator:
        of_latent = "" if run.case.unknowns else f", a latent of {run.objective.n_latent} numbers"
        softened = "" if settings.edges is None else f", its edges softened to {settings.edges:g} a cell"
        generator = {"generator": f"{settings.generator} ({run.card.generator}){of_latent}{softened}"}
    if run.case.unknowns:
        named = {"parameters": "\n".join(f"{each.name}: {each.n_latent}, {each.prior}" for each in groups)}
    has_data = run.objective.has_flow or run.objective.has_wells
    return {
        **generator,
        **named,
        **({} if has_data else {"data": NO_DATA}),
        "method": f"{settings.method}: {run.spec.help}",
        "iterations": _limit(run),
        "members": f"{settings.members}, seed {settings.seed}",
        "terms": f"{', '.join([*terms, 'prior'])}; scaling: {settings.scaling}",
    }


def _estimate(run: Run, workers: int) -> str:
    z = run.member(0).z
    seconds = 0.0
    # The first run compiles what is not compiled yet.
    for _ in range(2):
        begin = time.perf_counter()
        try:
            run.objective.evaluate(z, with_run=True)
        except MEMBER_ERRORS as error:
            return f"not known, the first member's rock cannot be simulated: {error}"
        seconds = time.perf_counter() - begin
    # Without the flow only what is reported is simulated, start and end.
    has_flow = run.objective.has_flow
    n_iterations = run.max_iterations if has_flow else 0
    n_runs = 2 + has_flow + n_iterations * run.iteration_cost.runs
    members = run.settings.members
    n_busy = min(workers, members)
    on = "one core" if n_busy == 1 else f"{n_busy} cores"
    kind = run.spec.iteration
    until = f", if every member takes {counted(n_iterations, kind)}" if kind is not None and n_iterations > 1 else ""
    total = hours(members, workers, n_runs, seconds)
    return f"a forward run takes {seconds:.2g} s; all of it about {total:.2g} hours on {on}{until}"


def hours(members: int, workers: int, n_runs: float, seconds: float) -> float:
    """How long all members take, each of them `n_runs` of so many seconds on one worker."""
    return math.ceil(members / workers) * n_runs * seconds / 3600
