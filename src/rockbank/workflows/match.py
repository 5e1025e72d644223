"""A history match, from a case file to its report; killed at any moment, it goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

from rockbank.core.errors import InputError
from rockbank.core.files import sha256
from rockbank.core.terminal import progress, terminal
from rockbank.generator.card import CARD
from rockbank.matching.io.case_file import MatchCase, load_match_case
from rockbank.matching.io.fingerprint import fingerprints
from rockbank.matching.methods.state import FAILED, RUNNING, State
from rockbank.matching.methods.workers import News, Pool, Together, pool
from rockbank.matching.problem.objective import Scaling
from rockbank.matching.results.compact import compact
from rockbank.matching.results.posterior import (
    POSTERIOR,
    fingerprint,
    n_runs,
    posterior,
    read_posterior,
    write_posterior,
    write_table,
)
from rockbank.matching.results.report import REPORT, write_report
from rockbank.matching.run import GENERATOR, MEMBERS, Run, Settings, new_folder
from rockbank.mlops import registry
from rockbank.workflows.match_log import MatchLog, logging

_Value = TypeVar("_Value", str, int)
MATCHES = Path("matches")
TERMS = ("flow", "wells")
# Samples of a posterior are what a match is mostly for.
_METHOD = "rml"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command says; None is the case file's.

    Attributes:
        generator: NAME@ALIAS or NAME/VERSION.
        method: one of METHODS.
        members: how many.
        seed: of all their draws.
        terms: of the objective, such as "flow,wells".
        scaling: of its parts.
        iterations: at most; None is the method's own.
        name: of the run's folder within MATCHES; None is made of case and method.
    """

    generator: str | None = None
    method: str | None = None
    members: int | None = None
    seed: int | None = None
    terms: str = ",".join(TERMS)
    scaling: str = "posterior"
    iterations: int | None = None
    name: str | None = None


def begin(path: Path, asked: Asked) -> Path:
    """A new run's folder, with all that it needs; nothing is simulated yet.

    Raises:
        InputError: naming what of the case or of the settings is impossible, or the folder that is there already.
        RegistryError: there is no such generator.
    """
    case = load_match_case(path)
    folder = folder_of(path, case, asked)
    with new_folder(folder) as beside:
        prepare(path, case, asked, beside)
    return folder


def go_on(folder: Path, workers: int) -> None:
    """Takes all members to their ends, then makes dataset, table and report; what is done is not done again.

    Raises:
        InputError: the folder holds no run, or an input is not what it was when the run began.
        WorkerLost: a process died.
    """
    _require_checkpoints(Run(folder))
    try:
        with _held(folder) as run, _logged(run) as log:
            states = run.states()
            left = [i for i, state in enumerate(states) if state is None or state.status == RUNNING]
            if not left and (dataset := _reported(run)) is not None:
                finish(run, dataset, log)
                return
            with pool(Run, {"folder": folder}, workers) as processes:
                try:
                    if left and run.together is not None:
                        _take_together(run, run.together, processes, log)
                    elif left:
                        _take_on(run, processes, left, states, log)
                    finish(run, _gathered(run, processes), log)
                except KeyboardInterrupt:
                    terminal.print("stopping, when the iterations under way are done")
                    raise
    except KeyboardInterrupt as interrupt:
        terminal.print(f"stopped; every iteration is kept, 'rockbank match resume {folder}' goes on")
        raise SystemExit(130) from interrupt


def report(folder: Path, workers: int, *, is_compact: bool = False) -> None:
    """Dataset, table and report of the members as they are now, be they all ended or not.

    Without their checkpoints the table and the report are made of the dataset that lies there.

    Args:
        folder: of the run.
        workers: processes that simulate.
        is_compact: whether the dataset is written as `compact` makes it.

    Raises:
        InputError: the folder holds no run, or neither checkpoints nor results; or an input is not what it was.
        WorkerLost: a process died.
    """
    if not Run(folder).has_checkpoints:
        _report_alone(folder, is_compact=is_compact)
        return
    with _held(folder) as run, _logged(run) as log:
        dataset = _reported(run)
        if dataset is None:
            with pool(Run, {"folder": folder}, workers) as processes:
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
        terminal.print(f"writing {folder / REPORT}")
        write_report(folder, dataset)


def _require_checkpoints(run: Run) -> None:
    """InputError where there is nothing to go on from; a run that has just begun has a folder for them."""
    if run.has_checkpoints:
        return
    case, asked = os.path.normpath(run.folder / run.settings.case), run.settings
    has_results = f"it holds results only, which 'rockbank match report {run.folder}' tells; "
    raise InputError(
        f"{run.folder}: {MEMBERS}/, the checkpoints of its members, is not there, so that nothing can be resumed; "
        f"{has_results if (run.folder / POSTERIOR).is_file() else ''}bring {MEMBERS}/ from where the run was made, or "
        f"begin another run, as by 'rockbank match {case} --method {asked.method} --members {asked.members} "
        f"--seed {asked.seed}'"
    )


@contextmanager
def _held(folder: Path) -> Iterator[Run]:
    """A run that no other process works on; all that can be wrong with it is told before anything runs."""
    run = Run(folder)
    with run.held():
        _ = run.objective, run.n_iterations, run.states()
        yield run


@contextmanager
def _logged(run: Run) -> Iterator[MatchLog]:
    """The run's log, with the members that have ended."""
    with logging(run) as log:
        for i, state in enumerate(run.states()):
            if state is not None and state.status != RUNNING:
                log.member(i, state)
        yield log


def _reported(run: Run) -> xr.Dataset | None:
    """The dataset that lies there, if it is of the members as they are now."""
    if not (run.folder / POSTERIOR).is_file():
        return None
    dataset = read_posterior(run.folder)
    return dataset if dataset.attrs.get("checkpoints_sha256") == fingerprint(run) else None


def finish(run: Run, dataset: xr.Dataset, log: MatchLog) -> None:
    """The report of a dataset, and both in MLflow."""
    terminal.print(f"writing {run.folder / REPORT}")
    write_report(run.folder, dataset)
    log.results(run.folder, dataset)


def prepare(path: Path, case: MatchCase, asked: Asked, folder: Path) -> Run:
    """A run in an empty folder, whose generator fits its case."""
    reference = _required("generator", asked.generator, case.generator, "such as channels@champion")
    terms = [term.strip() for term in asked.terms.split(",") if term.strip()]
    unknown = [term for term in terms if term not in TERMS]
    if unknown:
        raise InputError(f"--terms: got '{unknown[0]}'; known are {list(TERMS)}")
    settings = Settings(
        case=_seen_from(folder, path),
        case_sha256=sha256(path),
        inputs=fingerprints(case),
        generator=reference,
        method=asked.method or case.method or _METHOD,
        members=_required("members", asked.members, case.members, "such as 100"),
        seed=case.seed if asked.seed is None else asked.seed,
        flow="flow" in terms,
        wells="wells" in terms,
        scaling=cast(Scaling, asked.scaling),
        iterations=asked.iterations,
    )
    entry, _ = registry.pull(reference, folder / GENERATOR)
    name, card_sha256 = f"{entry.name}/{entry.version}", sha256(folder / GENERATOR / CARD)
    run = Run.create(folder, replace(settings, generator=name, generator_sha256=card_sha256))
    _ = run.objective, run.n_iterations
    if run.together is not None:
        run.together.check(run.objective, run.settings.members)
    return run


def _seen_from(folder: Path, case: Path) -> str:
    """A project that is cloned or moved takes its runs along with their cases; other case files stay where they are."""
    folder, case = folder.resolve(), case.resolve()
    return os.path.relpath(case, folder) if case.is_relative_to(folder.parents[1]) else str(case)


def _required(name: str, given: _Value | None, of_case: _Value | None, example: str) -> _Value:
    value = of_case if given is None else given
    if value is None:
        raise InputError(
            f"--{name}: is given neither here nor in the case file's section 'matching'; give one, {example}"
        )
    return value


def folder_of(path: Path, case: MatchCase, asked: Asked) -> Path:
    """Of a new run: that of its name, or the next one of its case and method."""
    if asked.name is not None:
        if not asked.name or Path(asked.name).name != asked.name or asked.name.startswith("."):
            raise InputError(f"--name: got '{asked.name}'; give the name of a folder within {MATCHES}")
        return MATCHES / asked.name
    first = MATCHES / f"{path.stem}-{asked.method or case.method or _METHOD}"
    folder, n = first, 1
    while folder.exists():
        n += 1
        folder = first.with_name(f"{first.name}-{n}")
    return folder


def _take_on(
    run: Run,
    processes: Pool,
    left: Sequence[int],
    states: Sequence[State | None],
    log: MatchLog,
) -> None:
    n_iterations = run.n_iterations
    totals = _totals(states)
    part = {i: (state.n_iterations / n_iterations if state else 0.0) for i, state in enumerate(states) if i in left}
    failed = sum(state is not None and state.status == FAILED for state in states)
    n_ended = len(states) - len(left)
    with progress("matching", len(states), n_ended + sum(min(each, 0.99) for each in part.values())) as advance:

        def tell(news: News) -> None:
            nonlocal failed
            if np.isfinite(news.total):
                totals[news.member] = news.total
            has_ended = news.status != RUNNING
            # Members that end early make the time left a little too long until they do.
            now = 1.0 if has_ended else min(news.iteration / n_iterations, 0.99)
            failed += news.status == FAILED
            advance(now - min(part[news.member], 0.99), _says(totals, failed))
            part[news.member] = now
            if has_ended:
                state = State.load(run.checkpoint(news.member))
                log.member(news.member, state)
                _tell_failure(news.member, state)

        processes.members(left, tell)


def _take_together(run: Run, method: Together, processes: Pool, log: MatchLog) -> None:
    n_members = run.settings.members
    with progress("matching", n_members) as advance:

        def each(function: Callable[[Any, Any], Any], arguments: Sequence[Any]) -> list[Any]:
            answers = processes.each(function, arguments, lambda: advance(1 / (run.n_iterations + 1)))
            now = run.states()
            advance(0, _says(_totals(now), sum(state is not None and state.status == FAILED for state in now)))
            return answers

        states = method.run(run, n_members, run.settings.seed, each)
        advance(n_members)  # fewer assimilations may do than are allowed
    for i, state in enumerate(states):
        log.member(i, state)
        _tell_failure(i, state)


def _totals(states: Sequence[State | None]) -> dict[int, float]:
    return {i: state.last.parts.total for i, state in enumerate(states) if state is not None and state.records}


def _tell_failure(member: int, state: State) -> None:
    if state.status == FAILED:
        terminal.print(f"member {member} failed: {state.reason}", markup=False)


def _says(totals: Mapping[int, float], failed: int) -> str:
    values = list(totals.values())
    said = f"best {min(values):.4g}, median {np.median(values):.4g}" if values else ""
    return f"{said}{f', {failed} failed' if failed else ''}"


def _gathered(run: Run, processes: Pool) -> xr.Dataset:
    """The dataset, written, with its table."""
    with progress("simulating what is reported", n_runs(run)) as advance:

        def each(function: Callable[[Run, Any], Any], arguments: Sequence[Any]) -> list[Any]:
            return processes.each(function, arguments, advance)

        dataset = posterior(run, each)
    write_posterior(run.folder, dataset)
    return dataset
