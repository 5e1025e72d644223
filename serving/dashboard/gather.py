"""What the status page shows, gathered from the service on request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rockbank.generator.card import HEADLINE, headline
from rockbank.generator.windows import tile_shape
from rockbank.mlops.registry import Entry
from serving.dashboard.alerts import alerts
from serving.dashboard.render import Page
from serving.dashboard.status import (
    CorrelationStatus,
    LoadedStatus,
    ModelStatus,
    StatisticStatus,
    Status,
    SwapStatus,
    VersionStatus,
)
from serving.dashboard.traffic import Traffic, exposed
from serving.inference.models import Served, Slot
from serving.registry.versions import VersionCache
from serving.service import Service
from serving.watch.statistics import DIVERSITY, WindowReport

# However many readers there are, the service is read once in this time.
_KEPT_SECONDS = 1.0
_N_VERSIONS = 6
_N_SWAPS = 12
_S2 = "s2_"


class Dashboard:
    """The status page of one service."""

    def __init__(self, service: Service) -> None:
        """Nothing is gathered before a request, but for the traffic."""
        self._service = service
        self.page = Page()
        self._traffic = Traffic(service.metrics)
        self.version_cache = VersionCache(service.settings.names, service.settings.alias_timeout_seconds)
        self._kept: tuple[float, Status] | None = None
        self._gathering = asyncio.Lock()
        self._parts: tuple[Status, dict[str, str]] | None = None
        self._following: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take readings of the traffic."""
        self._following = asyncio.create_task(self._traffic.follow())

    async def stop(self) -> None:
        """Take no more readings."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.gather(self._following, return_exceptions=True)

    async def html(self) -> str:
        """The page."""
        return await asyncio.to_thread(self.page.render, await self.status())

    async def parts(self) -> dict[str, str]:
        """What changes of it."""
        status = await self.status()
        if self._parts is None or self._parts[0] is not status:
            self._parts = status, await asyncio.to_thread(self.page.parts, status)
        return self._parts[1]

    def version(self, slot: Slot, served: Served) -> VersionStatus:
        """One loaded version, as it is now."""
        roles = tuple(part for part, each in slot.loaded().items() if each is served)
        return self._version(slot, served.entry, served, roles)

    async def status(self) -> Status:
        """How things stand."""
        async with self._gathering:
            now = time.monotonic()
            if self._kept is None or now - self._kept[0] > _KEPT_SECONDS:
                self.version_cache.refresh()
                # In a thread, as the rest of the page is made: nobody's samples wait for it.
                self._kept = now, await asyncio.to_thread(self._gather)
            return self._kept[1]

    def _gather(self) -> Status:
        service = self._service
        slots = service.models.slots.values()
        return Status(
            now=datetime.now(UTC),
            started=datetime.fromtimestamp(service.started, UTC),
            is_ready=not service.is_draining and not service.models.missing(),
            wants_key=not service.keys.is_open,
            max_n=service.settings.max_n,
            alerts=alerts(service, self._traffic.failing()),
            traffic=self._traffic.measures(),
            routes=self._traffic.routes(),
            rejections=self._traffic.rejections(),
            models=[self._model(slot) for slot in slots],
            swaps=[
                SwapStatus(
                    at=datetime.fromtimestamp(swap.at, UTC),
                    model=swap.model,
                    before=swap.before,
                    after=swap.after,
                    why=_why(swap.is_rollback, swap.before, service.models.slots[swap.model].reference),
                )
                for swap in list(service.models.swaps)[:_N_SWAPS]
            ],
        )

    def _model(self, slot: Slot) -> ModelStatus:
        settings, current = self._service.settings, slot.current
        report = None if current is None else self._service.watch.reports.get((current.name, current.version))
        versions = self._versions(slot)
        return ModelStatus(
            name=slot.name,
            alias=slot.reference.split("@", 1)[1],
            problem=slot.problem,
            versions=versions[:_N_VERSIONS],
            n_more=max(0, len(versions) - _N_VERSIONS),
            correlation=None if current is None else _correlation(current, report),
            statistics=[] if report is None else statistics_of(report),
            n_window=settings.statistics_window,
        )

    def _versions(self, slot: Slot) -> list[VersionStatus]:
        """Those that are loaded, the one that answers first, then the others of the registry."""
        entries = {entry.version: entry for entry in self.version_cache.versions(slot.name)}
        roles: dict[Served, list[str]] = {}
        for role, served in slot.loaded().items():
            roles.setdefault(served, []).append(role)
        loaded = [
            self._version(slot, entries.get(served.version, served.entry), served, tuple(played))
            for served, played in roles.items()
        ]
        here = {served.version for served in roles}
        return [*loaded, *(self._version(slot, entry) for entry in entries.values() if entry.version not in here)]

    def _version(
        self, slot: Slot, entry: Entry, served: Served | None = None, roles: tuple[str, ...] = ()
    ) -> VersionStatus:
        followed = slot.reference.split("@", 1)[1]
        # The follower reads the alias more often than the registry's list is read.
        aliases = {alias for alias in entry.aliases if alias != followed}
        if slot.alias_version == entry.version:
            aliases.add(followed)
        card = None if served is None else served.card
        return VersionStatus(
            version=entry.version,
            roles=roles,
            aliases=tuple(sorted(aliases)),
            created=datetime.fromtimestamp(entry.created, UTC),
            generator=card.generator if card is not None else entry.tags.get("generator", ""),
            scores=headline(card.scores) if card is not None else _tagged(entry.tags),
            run_id=entry.run_id,
            data_md5=card.data_md5 if card is not None else entry.tags.get("data_md5"),
            # What is loaded has been checked against its verdict.
            gate="passed" if served is not None else entry.tags.get("gate", "not known"),
            loaded=None if served is None else self._loaded(served),
        )

    def _loaded(self, served: Served) -> LoadedStatus:
        metrics, version = self._service.metrics, (served.name, served.version)
        return LoadedStatus(
            card=served.card,
            provider=served.generator.provider,
            batches=served.generator.buckets,
            n_samples=int(
                sum(s.value for s in exposed(metrics.samples_total, "_total") if _version_of(s.labels) == version)
            ),
            golden=sum(s.value for s in exposed(metrics.golden_max_difference) if _version_of(s.labels) == version),
            tile_side=tile_shape(served.card)[1] if served.card.lattice is not None else None,
            golden_holds=not any(s.value for s in exposed(metrics.golden_mismatch) if _version_of(s.labels) == version),
        )


def as_json(status: Status) -> dict[str, Any]:
    """The status as JSON has it: moments in ISO 8601, cards without what is not on the page."""
    plain: dict[str, Any] = _plain(asdict(status))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value


def _version_of(labels: Mapping[str, str]) -> tuple[str, str]:
    return labels["model"], labels["version"]


def _why(is_rollback: bool, before: str | None, reference: str) -> str:
    if is_rollback:
        return "rolled back"
    return "at the start" if before is None else f"{reference} names it"


def _tagged(tags: Mapping[str, str]) -> dict[str, float]:
    scores = {}
    for metric in HEADLINE:
        try:
            scores[metric] = float(tags[metric])
        except (KeyError, ValueError):
            continue
    return scores


def _correlation(served: Served, report: WindowReport | None) -> CorrelationStatus | None:
    """None where the reference does not have it: a version of an older release."""
    curves = served.reference.get("two_point", {})
    if not {"lags", "mean", "std"} <= set(curves):
        return None
    at_lags = {} if report is None else {k: v for k, v in report.statistics.items() if k.startswith(_S2)}
    return CorrelationStatus(
        lags=curves["lags"],
        mean=curves["mean"],
        std=curves["std"],
        served={int(name.removeprefix(_S2)): (each.mean, each.std) for name, each in at_lags.items()},
        voxel_size=served.card.voxel_size,
    )


def statistics_of(report: WindowReport) -> list[StatisticStatus]:
    """A window's statistics, and its diversity where it was measured."""
    rows = [
        StatisticStatus(
            name=f"S2 at lag {name.removeprefix(_S2)}" if name.startswith(_S2) else name.replace("_", " "),
            served=each.mean,
            rock=each.reference_mean,
            wasserstein=(each.distances.wasserstein, each.limits.wasserstein),
            ks=(each.distances.ks, each.limits.ks),
            n_over=each.windows_over,
        )
        for name, each in report.statistics.items()
    ]
    if report.diversity_ratio is not None:
        rows.append(
            StatisticStatus(
                name=DIVERSITY,
                served=report.diversity_ratio,
                rock=1.0,
                wasserstein=None,
                ks=None,
                n_over=report.diversity_windows_under,
            )
        )
    return rows
