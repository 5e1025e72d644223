"""The gate's verdict on one exported generator."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from rockbank.core.files import sha256, write_json
from rockbank.core.paths import PIPELINE, ProjectPaths
from rockbank.core.terminal import terminal
from rockbank.generator.card import CARD, GateScores, ModelCard
from rockbank.mlops import registry
from rockbank.mlops.gate import Verdict, judge
from rockbank.params import GateParams


def gate(
    generator: str, limits: Mapping[str, GateParams], paths: ProjectPaths = PIPELINE, *, against: str | None = None
) -> Verdict:
    """Judge the exported `generator` and write the verdict, a pass or not, with every reason.

    Args:
        generator: whose export is judged.
        limits: of each family.
        paths: where the export lies.
        against: the registered model with whose champion it is compared. None weighs the limits alone: a verdict
            that travels with its generator knows nothing of the registry where it arrives; `promote` compares there.
    """
    folder = paths.export(generator)
    card = ModelCard.load(folder)
    card.verify(folder)
    verdict = judge(
        generator,
        card.family,
        card.gate_scores(),
        limits[card.family],
        card_sha256=sha256(folder / CARD),
        champion=None if against is None else _champion(against),
    )
    write_json(paths.verdict(card.family, generator), verdict.to_json())
    terminal.print(f"{generator}: {'passed' if verdict.passed else 'refused'}")
    for line in (*verdict.reasons, *verdict.notes):
        terminal.print(f"  {line}")
    return verdict


def _champion(name: str) -> tuple[str, GateScores] | None:
    champion = registry.champion(name)
    if champion is None:
        return None
    with tempfile.TemporaryDirectory() as temporary:
        _, card = registry.pull(f"{name}/{champion.version}", Path(temporary) / "champion")
    return champion.version, card.gate_scores()
