"""Which version is champion: promotion by the gate, and rollback to the champion before."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.mlops import store
from rockbank.mlops.registry import (
    CANDIDATE,
    CHAMPION,
    Entry,
    PromotionRefused,
    RegistryError,
    champion,
    pull,
    set_alias,
)
from rockbank.params import GateParams

# A tag of the registered model: the versions that were champion, the latest last.
_HISTORY = "earlier_champions"


def promote(name: str, gates: Mapping[str, GateParams], version: str | None = None) -> tuple[Entry, Entry | None]:
    """Make a version champion, after reading its files, verdict and scores again.

    Args:
        name: the registered model, whatever its family.
        gates: of each family; the candidate's KID is compared with today's champion's by that of its card.
        version: the candidate's; None for the one with the alias `candidate`.

    Returns:
        The new champion and the one before it.

    Raises:
        PromotionRefused: where the version is ungated, or no better than the champion.
        CardMismatch: where its files are not what its card says.
        StoreError: where the registry does not answer.
        InputError: where the gate knows nothing of its family.
    """
    # Here, since the judge needs the whole of MLflow, and a rollback does with mlflow-skinny.
    from rockbank.mlops.gate import beats_champion

    reference = f"{name}@{CANDIDATE}" if version is None else f"{name}/{version}"
    with tempfile.TemporaryDirectory() as temporary:
        entry, card = pull(reference, Path(temporary) / "candidate")
        if card.family not in gates:
            raise InputError(
                f"{reference}: a generator of '{card.family}', which 'gate' of the params has not; "
                f"known are {sorted(gates)}"
            )
        before = champion(name)
        if before is not None and before.version == entry.version:
            return entry, before
        if before is not None:
            _, champion_card = pull(f"{name}/{before.version}", Path(temporary) / "champion")
            refusal = beats_champion(
                name, card.gate_scores(), (before.version, champion_card.gate_scores()), gates[card.family]
            )
            if refusal is not None:
                raise PromotionRefused(f"'{name}' version {entry.version} is not promoted: {refusal}")
    _record(name, entry, [*_history(name), *([before.version] if before else [])])
    return entry, before


def promote_canary(name: str, version: str) -> tuple[Entry, Entry | None]:
    """Make a version champion that has answered requests beside it, after reading its files and verdict again.

    Its KID may be no worse than the champion's, where both were measured alike; this needs no params.yaml.

    Returns:
        The new champion and the one before it.

    Raises:
        PromotionRefused: where it is ungated or worse.
        CardMismatch: where its files are not what its card says.
        StoreError: where the registry does not answer.
    """
    with tempfile.TemporaryDirectory() as temporary:
        entry, card = pull(f"{name}/{version}", Path(temporary) / "canary")
        before = champion(name)
        if before is not None and before.version == entry.version:
            return entry, before
        if before is not None:
            _, other = pull(f"{name}/{before.version}", Path(temporary) / "champion")
            ours, theirs = card.gate_scores(), other.gate_scores()
            if ours.measured_with == theirs.measured_with and ours.metrics["kid"] > theirs.metrics["kid"]:
                raise PromotionRefused(
                    f"'{name}' version {version} is not promoted: kid {ours.metrics['kid']:.4g} > "
                    f"{theirs.metrics['kid']:.4g} of the champion, version {before.version}; 'rockbank promote' decides"
                )
    _record(name, entry, [*_history(name), *([before.version] if before else [])])
    return entry, before


def rollback(name: str) -> tuple[Entry, Entry]:
    """Give the alias back to the champion before this one, after verifying its files.

    Returns:
        The champion restored, and the one that it replaces.
    """
    now = champion(name)
    history = _history(name)
    if now is None or not history:
        raise RegistryError(f"'{name}' has no earlier champion to go back to; see 'rockbank models {name}'")
    with tempfile.TemporaryDirectory() as temporary:
        entry, _ = pull(f"{name}/{history[-1]}", Path(temporary) / "previous")
    _record(name, entry, history[:-1])
    return entry, now


def _record(name: str, entry: Entry, history: list[str]) -> None:
    client = store.client()
    # The history goes first: a crash between the two leaves an alias that still points at the old champion.
    client.set_registered_model_tag(name, _HISTORY, ",".join(history))
    client.set_model_version_tag(name, entry.version, "promoted", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    set_alias(name, CHAMPION, entry.version)


def _history(name: str) -> list[str]:
    tags = store.client().get_registered_model(name).tags
    return [version for version in str(tags.get(_HISTORY, "")).split(",") if version]
