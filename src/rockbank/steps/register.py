"""Bring the generators of a family that passed the gate into the registry."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from rockbank import registry
from rockbank.card import VERDICT
from rockbank.files import read_json, write_json
from rockbank.steps.layout import PIPELINE, Layout, terminal


class NonePassed(RuntimeError):
    """No generator of a family passed the gate."""


def register(family: str, layout: Layout = PIPELINE, *, only: str | None = None, name: str | None = None) -> None:
    """Register every generator of `family` whose verdict is a pass; the one of least KID becomes @candidate.

    Args:
        family: whose verdicts are read.
        layout: where they lie.
        only: one generator of the family, rather than all.
        name: the registered model; None for the family's own.

    Raises:
        NonePassed: with every reason of every verdict.
    """
    verdicts = [read_json(path) for path in sorted(layout.verdict(family, "*").parent.glob("*.json"))]
    verdicts = [verdict for verdict in verdicts if only in (None, verdict["generator"])]
    passed = [verdict for verdict in verdicts if verdict["passed"]]
    if not passed:
        reasons = [f"  {verdict['generator']}: {reason}" for verdict in verdicts for reason in verdict["reasons"]]
        raise NonePassed("\n".join([f"no generator of '{family}' passed the gate", *reasons]))
    entries = []
    for verdict in sorted(passed, key=lambda each: each["metrics"]["kid"]):
        generator = verdict["generator"]
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / generator
            shutil.copytree(layout.export(generator), folder)
            shutil.copyfile(layout.verdict(family, generator), folder / VERDICT)
            entry = registry.push(name or family, folder)
        entries.append(entry)
        terminal.print(f"registered {generator} as {entry.name}/{entry.version}")
    best = entries[0]
    registry.set_alias(best.name, registry.CANDIDATE, best.version)
    terminal.print(f"{best.name}@{registry.CANDIDATE} is version {best.version}")
    write_json(
        layout.registered(family),
        {"versions": {entry.tags["generator"]: entry.version for entry in entries}, "candidate": best.version},
    )
