"""Which version is champion: promotion by the gate, and rollback to the champion before."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.mlops import champion_log
from rockbank.mlops.champion_log import State
from rockbank.mlops.registry import (
    CANDIDATE,
    Entry,
    NotRegistered,
    PromotionRefused,
    RegistryError,
    is_known,
    pull,
    resolve,
)
from rockbank.params import GateParams


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
        Overtaken: where another became champion meanwhile; nothing is changed then.
        CardMismatch: where its files are not what its card says.
        StoreError: where the registry does not answer.
        InputError: where the gate knows nothing of its family.
    """
    # Here, since the judge needs the whole of MLflow, and a rollback does with mlflow-skinny.
    from rockbank.mlops.gate import beats_champion

    reference = f"{name}@{CANDIDATE}" if version is None else f"{name}/{version}"
    resolve(reference)
    # Before anything is compared: what becomes champion meanwhile is noticed.
    state, before = _now(name)
    with tempfile.TemporaryDirectory() as temporary:
        entry, card = pull(reference, Path(temporary) / "candidate")
        if card.family not in gates:
            raise InputError(
                f"{reference}: a generator of '{card.family}', which 'gate' of the params has not; "
                f"known are {sorted(gates)}"
            )
        if before is not None and before.version == entry.version:
            return entry, before
        if before is not None:
            _, champion_card = pull(f"{name}/{before.version}", Path(temporary) / "champion")
            refusal = beats_champion(
                card.family, card.gate_scores(), (before.version, champion_card.gate_scores()), gates[card.family]
            )
            if refusal is not None:
                raise PromotionRefused(f"'{name}' version {entry.version} is not promoted: {refusal}")
    champion_log.advance(name, state, entry.version)
    return entry, before


def promote_canary(name: str, version: str) -> tuple[Entry, Entry | None]:
    """Make a version champion that has answered requests beside it, after reading its files and verdict again.

    Its KID may be no worse than the champion's, where both were measured alike; this needs no params.yaml.

    Returns:
        The new champion and the one before it.

    Raises:
        PromotionRefused: where it is ungated or worse.
        Overtaken: where another became champion meanwhile; nothing is changed then.
        CardMismatch: where its files are not what its card says.
        StoreError: where the registry does not answer.
    """
    resolve(f"{name}/{version}")
    state, before = _now(name)
    with tempfile.TemporaryDirectory() as temporary:
        entry, card = pull(f"{name}/{version}", Path(temporary) / "canary")
        if before is not None and before.version == entry.version:
            return entry, before
        if before is not None:
            _, other = pull(f"{name}/{before.version}", Path(temporary) / "champion")
            ours, theirs = card.gate_scores(), other.gate_scores()
            if not ours.differing(theirs) and ours.metrics["kid"] > theirs.metrics["kid"]:
                raise PromotionRefused(
                    f"'{name}' version {version} is not promoted: kid {ours.metrics['kid']:.4g} > "
                    f"{theirs.metrics['kid']:.4g} of the champion, version {before.version}; 'rockbank promote' decides"
                )
    champion_log.advance(name, state, entry.version)
    return entry, before


def rollback(name: str) -> tuple[Entry, Entry | None, tuple[str, ...]]:
    """Give the alias back to the last champion before this one that was not deleted, after verifying its files.

    Returns:
        The champion restored, the one that it replaces, None where that was deleted, and the versions that were passed
        over, since they were deleted.
    """
    state, now = _now(name) if is_known(name) else (champion_log.NONE, None)
    deleted: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        for version in reversed(state.earlier):
            try:
                entry, _ = pull(f"{name}/{version}", Path(temporary) / "previous")
            except NotRegistered:
                deleted.append(version)
                continue
            earlier = state.earlier[: len(state.earlier) - len(deleted) - 1]
            champion_log.advance(name, state, entry.version, earlier)
            return entry, now, tuple(deleted)
    were = f" (deleted: {', '.join(deleted)})" if deleted else ""
    raise RegistryError(f"'{name}' has no earlier champion to go back to{were}; see 'rockbank models {name}'")


def settle(name: str) -> Entry | None:
    """Today's champion, after finishing what a promotion that was killed has left; None where there is none.

    Raises:
        StoreError: where the registry does not answer.
    """
    return _now(name)[1] if is_known(name) else None


def _now(name: str) -> tuple[State, Entry | None]:
    state = champion_log.read(name)
    return state, None if state.champion is None else resolve(f"{name}/{state.champion}")
