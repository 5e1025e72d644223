"""Register the generators of a family that passed the gate."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rockbank.core.errors import UserError
from rockbank.core.files import read_json, write_json
from rockbank.core.paths import PIPELINE, ProjectPaths
from rockbank.core.terminal import terminal
from rockbank.generator.card import VERDICT
from rockbank.mlops import registry
from rockbank.mlops.registry import Entry
from rockbank.stages.training_run import find_or_make_run, log_scores


class NonePassed(UserError, RuntimeError):
    """No generator of a family passed the gate."""


def register(
    family: str, generators: Sequence[str], paths: ProjectPaths = PIPELINE, *, name: str | None = None
) -> None:
    """Register each of a family's generators whose verdict is a pass; the one of least KID becomes @candidate.

    Each that has a verdict, a pass or not, has its MLflow run afterwards: the one that trained these weights here,
    or one made from the history that was pulled with them.

    Args:
        family: of rock.
        generators: those of the family; one without a verdict is left out.
        paths: where the verdicts lie.
        name: the registered model; None for the family's own.

    Raises:
        NonePassed: with every limit that each verdict misses.
    """
    given = {each: path for each in generators if (path := paths.verdict(family, each)).is_file()}
    if not given:
        raise NonePassed(f"no generator of '{family}' has a verdict; run 'dvc pull' or 'dvc repro'")
    verdicts = [read_json(path) for path in given.values()]
    runs = {}
    for verdict in verdicts:
        run = find_or_make_run(verdict["generator"], paths)
        log_scores(run, verdict["generator"], paths)
        runs[verdict["generator"]] = run.run_id
    refusals = [_refusal(verdict, given[verdict["generator"]]) for verdict in verdicts if not verdict["passed"]]
    passed = [verdict for verdict in verdicts if verdict["passed"]]
    if not passed:
        raise NonePassed("\n".join([f"no generator of '{family}' passed the gate", *refusals]))
    for refusal in refusals:
        terminal.print(refusal)
    passed.sort(key=lambda each: each["metrics"]["kid"])
    entries = [_push(name or family, verdict, runs[verdict["generator"]], paths) for verdict in passed]
    best = entries[0]
    registry.set_alias(best.name, registry.CANDIDATE, best.version)
    terminal.print(f"{best.name}@{registry.CANDIDATE} is version {best.version}")
    write_json(
        paths.registered(family),
        {"versions": {entry.tags["generator"]: entry.version for entry in entries}, "candidate": best.version},
    )


def _refusal(verdict: Mapping[str, Any], path: Path) -> str:
    """One line: what is missed; the reasons in full, with what to do, are in the verdict's file."""
    missed = [reason.partition(";")[0].partition(" (params.yaml:")[0] for reason in verdict["reasons"]]
    return f"refused {verdict['generator']}: {', '.join(missed)}; {path} has what to do"


def _push(name: str, verdict: dict[str, Any], run_id: str, paths: ProjectPaths) -> Entry:
    generator = verdict["generator"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / generator
        shutil.copytree(paths.export(generator), folder)
        shutil.copyfile(paths.verdict(verdict["family"], generator), folder / VERDICT)
        entry = registry.push(name, folder, run_id)
    terminal.print(f"registered {generator} as {entry.name}/{entry.version}")
    return entry
