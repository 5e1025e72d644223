"""A match in MLflow: one run for all of it, and one nested in it for each member."""

from __future__ import annotations

import base64
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.markup import escape

from rockbank.core.files import read_json, write_json
from rockbank.core.provenance import git_commit
from rockbank.core.terminal import terminal
from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.status import FAILED, status_in_words
from rockbank.matching.methods.table import MethodSpec
from rockbank.matching.results.posterior import POSTERIOR, TABLE
from rockbank.matching.results.report import REPORT
from rockbank.matching.results.summary import summary
from rockbank.matching.run import Run
from rockbank.mlops import tracking

EXPERIMENT = "history matching"
LOGGED = "mlflow.json"
_PICTURE = re.compile(r'<section id="(\w+)">.*?;base64,([^"]+)"', re.DOTALL)
_NOTE = """**What came of it:** open a run; under *Artifacts* lies its report.html, under *Model metrics* how it ended.

Each run is one match, and the runs nested in it are its members, with the parts of the objective at each iterate.
"""


class MatchLog:
    """The match's run in the tracking store; where the store fails the match goes on, and the terminal says so once."""

    def __init__(self, folder: Path, run: tracking.Run | None, spec: MethodSpec) -> None:
        self._path, self._run, self._spec, self._has_warned = folder / LOGGED, run, spec, False

    def member(self, i: int, state: State) -> None:
        """A member that has ended, once; what of it was logged before a kill is not logged again."""
        self._tolerate(lambda parent: self._log_member(parent, i, state))

    def results(self, folder: Path, dataset: xr.Dataset) -> None:
        """What the match came to: report, table, dataset, pictures and headline numbers."""
        self._tolerate(lambda parent: _log_results(parent, folder, dataset))

    def _log_member(self, parent: tracking.Run, i: int, state: State) -> None:
        logged = read_json(self._path)
        known = logged["members"].get(str(i), {})
        if known.get("is_whole") and tracking.exists(known["run_id"]):
            return
        child = tracking.existing(known["run_id"]) if known else None
        if child is None:
            child = parent.child(f"member {i}")
            self._note(logged, i, child, is_whole=False)
        done = child.last_step("iterations")
        child.log_series({k: _metrics(self._spec, k, record) for k, record in enumerate(state.records) if k > done})
        child.tag({"member": str(i), "status": status_in_words(state.status), "reason": state.reason or None})
        child.end(failed=state.status == FAILED)
        self._note(logged, i, child, is_whole=True)

    def _note(self, logged: dict[str, Any], i: int, child: tracking.Run, *, is_whole: bool) -> None:
        logged["members"][str(i)] = {"run_id": child.run_id, "is_whole": is_whole}
        write_json(self._path, logged)

    def _tolerate(self, log: Callable[[tracking.Run], None]) -> None:
        if self._run is None:
            return
        try:
            log(self._run)
        except tracking.Unreachable as error:
            if not self._has_warned:
                _warn(error)
            self._has_warned = True


@contextmanager
def logging(run: Run) -> Iterator[MatchLog]:
    """The run's log: a new one, or that of the run before it was killed."""
    stack, parent = ExitStack(), None
    try:
        parent = stack.enter_context(_started(run))
    except tracking.Unreachable as error:
        _warn(error)
    try:
        yield MatchLog(run.folder, parent, run.spec)
    except BaseException as error:
        _close(stack, error)
        raise
    _close(stack, None)


def _close(stack: ExitStack, error: BaseException | None) -> None:
    try:
        stack.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
    except tracking.Unreachable as unreachable:
        if unreachable is not error:
            _warn(unreachable)


@contextmanager
def _started(run: Run) -> Iterator[tracking.Run]:
    path, settings = run.folder / LOGGED, run.settings
    logged = read_json(path) if path.is_file() else {"run_id": None, "members": {}}
    params = {key: value for key, value in asdict(settings).items() if key != "inputs"}
    with tracking.start(EXPERIMENT, run.folder.name, params, resume=logged["run_id"], note=_NOTE) as parent:
        if parent.run_id != logged["run_id"]:
            write_json(path, {"run_id": parent.run_id, "members": {}})
            name, _, number = settings.generator.partition("/")
            parent.tag(
                {
                    "generator": name or None,
                    "generator_version": number or None,
                    "generator_sha256": run.card_sha256 if run.has_generator else None,
                    "case": run.case.case.title,
                    "method": settings.method,
                    "git_commit": git_commit(),
                }
            )
        yield parent


def _metrics(spec: MethodSpec, i_iterate: int, record: Record) -> Mapping[str, float]:
    parts = {name: part for name, part in asdict(record.parts).items() if not np.isnan(part)}
    n_iterations = spec.n_iterations(i_iterate, record.cost)
    return {"iterations": n_iterations, "total": record.parts.total, **parts, "cost": record.cost.runs}


def _log_results(parent: tracking.Run, folder: Path, dataset: xr.Dataset) -> None:
    numbers = summary(dataset)
    parent.score({key: float(numbers[key]) for key in ("done", "failed", "running")})
    parent.tag({"warning": "; ".join(numbers["warnings"]) or None})
    for ensemble, mine in numbers["ensembles"].items():
        flat = {key: value[1] if isinstance(value, list) else value for key, value in mine.items()}
        parent.score({f"{ensemble} {key}": float(value) for key, value in flat.items() if value is not None})
    for name in (REPORT, TABLE, POSTERIOR):
        parent.file(folder / name)
    # Out of the report, for drawing them again takes as long as the report.
    with tempfile.TemporaryDirectory() as temporary:
        for name, png in _PICTURE.findall((folder / REPORT).read_text(encoding="utf-8")):
            path = Path(temporary) / f"{name}.png"
            path.write_bytes(base64.b64decode(png))
            parent.file(path)


def _warn(error: Exception) -> None:
    terminal.print(f"note: MLflow does not answer: {escape(str(error))}; the match goes on, 'rockbank match report' "
                   "logs what is missing")  # fmt: skip
