"""The page of one loaded version: card, scores, where it comes from, samples, drift, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rockbank.generator.card import HASHED
from serving.dashboard.gather import Dashboard, statistics_of
from serving.dashboard.status import ModelStatus, StatisticStatus, VersionStatus
from serving.inference.models import Served
from serving.service import Service
from serving.watch.watch import Window

_N_SCANS = 20


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One statistic of the samples served, window by window.

    Attributes:
        last: of the last window.
        history: the greater of its distances over their limits, oldest first; above 1 is beyond a limit.
    """

    last: StatisticStatus
    history: Sequence[float | None]

    @property
    def now(self) -> float | None:
        """Of the last window."""
        return self.history[-1] if self.history else None


@dataclass(frozen=True, kw_only=True)
class VersionPage:
    """All of the page.

    Attributes:
        model: that it is a version of.
        version: with its card.
        lineage: names and values, from the data to the registry.
        scores: all that the card has, as names and values.
        limits: of the gate that it passed, likewise; empty where the verdict does not say them.
        drift: of each statistic.
        since: end of the first window that is kept; None without one.
        n_windows: that are kept.
        n_window: samples in each.
        files: name, bytes and SHA-256 of what the bundle holds.
        wants_key: whether samples and bundle are for keys.
        is_signed: whether the bundle has a signature.
    """

    model: ModelStatus
    version: VersionStatus
    lineage: Sequence[tuple[str, str]]
    scores: Sequence[tuple[str, float]]
    limits: Mapping[str, float]
    drift: Sequence[Drift]
    since: datetime | None
    n_windows: int
    n_window: int
    files: Sequence[tuple[str, int, str]]
    wants_key: bool
    is_signed: bool


async def version_page(
    service: Service, dashboard: Dashboard, served: Served, verdict: Mapping[str, Any]
) -> VersionPage:
    """What the page of a loaded version shows.

    Args:
        service: that has loaded it.
        dashboard: whose status it is a part of.
        served: the version.
        verdict: of the gate, as verdict.json has it.
    """
    status = await dashboard.status()
    model = next(each for each in status.models if each.name == served.name)
    # Loaded within the second for which a status is kept, it may not be in it yet.
    version = next((each for each in model.versions if each.version == served.version), None)
    if version is None or version.loaded is None:
        version = dashboard.version(service.models.slot(served.name), served)
    windows = list(service.watch.history.get((served.name, served.version), ()))
    return VersionPage(
        model=model,
        version=version,
        lineage=_lineage(served),
        scores=list(_flat(served.card.scores)),
        limits=dict(_flat(verdict.get("limits", {}))),
        drift=_drift(windows),
        since=datetime.fromtimestamp(windows[0].at, UTC) if windows else None,
        n_windows=len(windows),
        n_window=service.settings.statistics_window,
        files=[(name, (served.folder / name).stat().st_size, served.card.files[name]) for name in HASHED],
        wants_key=not service.keys.is_open,
        is_signed=service.signer is not None,
    )


def _lineage(served: Served) -> list[tuple[str, str]]:
    card, entry = served.card, served.entry
    known = {
        "rock": card.family,
        **{f"scan {file}, SHA-256": digest for file, digest in list(card.scans.items())[:_N_SCANS]},
        "data, DVC md5": card.data_md5,
        "code, git commit": card.git_commit,
        "training, MLflow run": entry.run_id,
        "generator of params.yaml": f"{card.generator} ({card.network}, {card.loss})",
        "registered": f"{entry.name}/{entry.version}, {datetime.fromtimestamp(entry.created, UTC):%Y-%m-%d %H:%M}",
    }
    return [(name, value or "not known") for name, value in known.items()]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, float]]:
    """Numbers of nested tables, with the names of the tables before theirs."""
    found: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name.replace('_', ' ')} ")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found.append((f"{before}{name.replace('_', ' ')}", float(value)))
    return found


def _drift(windows: Sequence[Window]) -> list[Drift]:
    if not windows:
        return []
    history = [{each.name: _over(each) for each in statistics_of(window.report)} for window in windows]
    return [
        Drift(last=last, history=[window.get(last.name) for window in history])
        for last in statistics_of(windows[-1].report)
    ]


def _over(statistic: StatisticStatus) -> float | None:
    ratios = [pair[0] / pair[1] for pair in (statistic.wasserstein, statistic.ks) if pair is not None and pair[1] > 0]
    return max(ratios, default=None)
