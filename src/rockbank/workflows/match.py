"""A history match, from a case file to its report; killed at any moment, it goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.markup import escape

from rockbank.core.errors import InputError
from rockbank.core.terminal import progress, terminal
from rockbank.executors.choose import LOCAL, check_executor
from rockbank.matching.io.case_file import load_match_case
from rockbank.matching.methods.interface import EnsembleMethod, Progress
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.methods.workers import Pool, pool
from rockbank.matching.results.compact import compact
from rockbank.matching.results.posterior import (
    POSTERIOR,
    n_runs,
    posterior,
    read_posterior,
    write_posterior,
    write_table,
)
from rockbank.matching.results.report import REPORT, write_report
from rockbank.matching.results.summary import warnings_of
from rockbank.matching.results.verdict import warnings
from rockbank.matching.run import MEMBERS, Run, new_folder
from rockbank.workflows.match_evidence import NO_DATA, planned, reported, spread_now
from rockbank.workflows.match_request import MatchRequest, folder_of, prepare

if TYPE_CHECKING:
    import xarray as xr

    from rockbank.workflows.match_log import MatchLog


def begin(path: Path, request: MatchRequest) -> Path:
    """A new run's folder, with all that it needs; nothing is simulated yet.

    Raises:
        InputError: naming what of the case or of the settings is impossible, or the folder that is there already.
        RegistryError: there is no such generator.
    """
    case = load_match_case(path)
    folder = folder_of(path, case, request)
    for note in case.case.notes:
        terminal.print(f"note: {note}", markup=False)
    with new_folder(folder) as beside:
        run = prepare(path, case, request, beside)
        if not (run.objective.has_flow or run.objective.has_wells):
            terminal.print(f"note: data: {NO_DATA}")
    return folder


def go_on(folder: Path, workers: int | None, executor: str = LOCAL) -> None:
    """Takes all members to their ends, then makes dataset, table and report; what is done is not done again.

    Args:
        folder: of the run; on a cluster its machines have to share it.
        workers: members at a time; None for one a core.
        executor: one of executors.choose.EXECUTORS.

    Raises:
        InputError: the folder holds no run, or an input is not what it was when the run began.
        WorkerLost: a process died.
    """
    check_executor(executor, workers)
    _require_checkpoints(Run(folder))
    try:
        with _held(folder) as run, _logged(run) as log:
            states = run.states()
            left = [i for i, state in enumerate(states) if state is None or state.status == RUNNING]
            if not left and (dataset := reported(run)) is not None:
                finish(run, dataset, log)
                return
            _print_warnings(warnings(planned(run)))
            with pool(Run, {"folder": folder.absolute()}, workers, executor) as processes:
                try:
                    if left and run.ensemble_method is not None:
                        _run_ensemble(run, run.ensemble_method, processes, log)
                    elif left:
                        _run_members(run, processes, left, states, log)
                    finish(run, _gathered(run, processes), log)
                except KeyboardInterrupt:
                    terminal.print("stopping, when the iterations under way are done")
                    raise
    except KeyboardInterrupt as interrupt:
        terminal.print(f"stopped; every iteration is kept, 'rockbank match resume {folder}' goes on")
        raise SystemExit(130) from interrupt


def report(folder: Path, workers: int | None, executor: str = LOCAL, *, is_compact: bool = False) -> None:
    """Dataset, table and report of the members as they are now, be they all ended or not.

    Without their checkpoints the table and the report are made of the dataset that lies there.

    Args:
        folder: of the run.
        workers: processes that simulate; None for one a core.
        executor: one of executors.choose.EXECUTORS.
        is_compact: whether the dataset is written as `compact` makes it.

    Raises:
        InputError: the folder holds no run, or neither checkpoints nor results; or an input is not what it was.
        WorkerLost: a process died.
    """
    check_executor(executor, workers)
    if not Run(folder).has_checkpoints:
        _report_alone(folder, is_compact=is_compact)
        return
    with _held(folder) as run, _logged(run) as log:
        dataset = reported(run)
        if dataset is None:
            with pool(Run, {"folder": folder.absolute()}, workers, executor) as processes:
                dataset = _gathered(run, processes)
        if is_compact:
            dataset = compact(dataset)
            write_posterior(folder, dataset)
        finish(run, dataset, log)


def _report_alone(folder: Path, *, is_compact: bool) -> None:
    """Of results without checkpoints, for which neither the case nor the generator has to be there."""
    if not (folder / POSTERIOR).is_file():
        raise InputError(f"{folder}: holds neither {MEMBERS}/, the checkpoints of its members, nor {POSTERIOR}; "
                         "'dvc pull' brings the results of a run that DVC tracks")  # fmt: skip
    terminal.print(f"{folder} holds results only, without {MEMBERS}/: the report is made of {POSTERIOR}")
    with Run(folder).held():
        dataset = read_posterior(folder)
        if is_compact:
            write_posterior(folder, compact(dataset))
        else:
            write_table(folder, dataset)
        _write_report(folder, dataset)


def _require_checkpoints(run: Run) -> None:
    """InputError where there is nothing to go on from; a run that has just begun has a folder for them."""
    if run.has_checkpoints:
        return
    case, settings = os.path.normpath(run.folder / run.settings.case), run.settings
    has_results = f"it holds results only, which 'rockbank match report {run.folder}' tells; "
    raise InputError(
        f"{run.folder}: {MEMBERS}/, the checkpoints of its members, is not there, so that nothing can be resumed; "
        f"{has_results if (run.folder / POSTERIOR).is_file() else ''}bring {MEMBERS}/ from where the run was made, or "
        f"begin another run, as by 'rockbank match {case} --method {settings.method} --members {settings.members} "
        f"--seed {settings.seed}'"
    )


@contextmanager
def _held(folder: Path) -> Iterator[Run]:
    """A run that no other process works on; all that can be wrong with it is reported before anything runs."""
    run = Run(folder)
    with run.held():
        _ = run.objective, run.max_iterations, run.states()
        yield run


@contextmanager
def _logged(run: Run) -> Iterator[MatchLog]:
    """The run's log, with the members that have ended."""
    # MLflow comes after what is wrong with a run has been reported, and not for results without checkpoints.
    from rockbank.workflows.match_log import logging

    with logging(run) as log:
        for i, state in enumerate(run.states()):
            if state is not None and state.status != RUNNING:
                log.member(i, state)
        yield log


def finish(run: Run, dataset: xr.Dataset, log: MatchLog) -> None:
    """The report of a dataset, and both in MLflow."""
    _write_report(run.folder, dataset)
    log.results(run.folder, dataset)


def _write_report(folder: Path, dataset: xr.Dataset) -> None:
    terminal.print(f"writing {folder / REPORT}")
    write_report(folder, dataset)
    _print_warnings(warnings_of(dataset))


def _print_warnings(warned: Sequence[str]) -> None:
    for each in warned:
        terminal.print(f"[bold red]warning[/] {escape(each)}")


def _run_members(
    run: Run,
    processes: Pool,
    left: Sequence[int],
    states: Sequence[State | None],
    log: MatchLog,
) -> None:
    limit = max(run.max_iterations, 1)
    totals = _totals(states)
    part = {i: run.n_iterations(state) / limit for i, state in enumerate(states) if i in left}
    failed = sum(state is not None and state.status == FAILED for state in states)
    n_ended = len(states) - len(left)
    with progress("matching", len(states), n_ended + sum(min(each, 0.99) for each in part.values())) as advance:

        def on_progress(to: Progress) -> None:
            nonlocal failed
            if np.isfinite(to.total):
                totals[to.member] = to.total
            has_ended = to.status != RUNNING
            # Members that end early make the time left a little too long until they do.
            now = 1.0 if has_ended else min(run.spec.n_iterations(to.i_iterate, to.cost) / limit, 0.99)
            failed += to.status == FAILED
            advance(now - min(part[to.member], 0.99), _says(totals, failed))
            part[to.member] = now
            if has_ended:
                state = State.load(run.checkpoint(to.member))
                log.member(to.member, state)
                _print_failure(to.member, state)

        processes.members(left, on_progress)


def _run_ensemble(run: Run, method: EnsembleMethod, processes: Pool, log: MatchLog) -> None:
    n_members = run.settings.members
    with progress("matching", n_members) as advance:

        def parallel_map(function: Callable[[Any, Any], Any], arguments: Sequence[Any]) -> list[Any]:
            answers = processes.map(function, arguments, lambda: advance(1 / (run.max_iterations + 1)))
            now = run.states()
            n_failed = sum(state is not None and state.status == FAILED for state in now)
            advance(0, _says(_totals(now), n_failed, spread_now(now)))
            return answers

        states = method.run(run, n_members, run.settings.seed, parallel_map)
        advance(n_members)  # fewer assimilations may do than are allowed
    for i, state in enumerate(states):
        log.member(i, state)
        _print_failure(i, state)


def _totals(states: Sequence[State | None]) -> dict[int, float]:
    return {i: state.last.parts.total for i, state in enumerate(states) if state is not None and state.records}


def _print_failure(member: int, state: State) -> None:
    if state.status == FAILED:
        terminal.print(f"member {member} failed: {state.reason}", markup=False)


def _says(totals: Mapping[int, float], failed: int, spread: float | None = None) -> str:
    values = list(totals.values())
    said = f"best {min(values):.4g}, median {np.median(values):.4g}" if values else ""
    of_prior = "" if spread is None else f", spread {spread:.2g} of the prior's"
    return f"{said}{of_prior}{f', {failed} failed' if failed else ''}"


def _gathered(run: Run, processes: Pool) -> xr.Dataset:
    """The dataset, written, with its table."""
    with progress("simulating what is reported", n_runs(run)) as advance:

        def parallel_map(function: Callable[[Run, Any], Any], arguments: Sequence[Any]) -> list[Any]:
            return processes.map(function, arguments, advance)

        dataset = posterior(run, parallel_map)
    write_posterior(run.folder, dataset)
    return dataset
