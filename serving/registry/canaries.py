"""Canaries that are promoted or given up by their rules; each decision is logged and counted."""

from __future__ import annotations

import asyncio
import time

from rockbank.mlops.promotion import promote_canary
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.base.settings import Settings
from serving.inference.models import Models, Served, Slot
from serving.inference.outcomes import Outcomes
from serving.registry.follower import Follower
from serving.registry.threads import Threads
from serving.watch.canary import Decision, Observed, judge
from serving.watch.watch import Watch


class Canaries:
    """Compares every model's canary with its champion, while it answers a part of the requests."""

    def __init__(self, settings: Settings, models: Models, metrics: Metrics, watch: Watch, follower: Follower) -> None:
        """Nothing is compared yet; `follower` moves what is decided."""
        self._settings = settings
        self._models = models
        self._metrics = metrics
        self._watch = watch
        self._follower = follower
        self._threads = Threads()
        self._since: dict[Served, float] = {}
        self._done: set[Served] = set()

    async def keep_judging(self) -> None:
        """Judge after every poll, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.poll_seconds)
            await self.judge()

    async def judge(self) -> None:
        """Judge every canary that is loaded."""
        for slot in self._models.slots.values():
            if slot.canary is not None and slot.current is not None:
                await self._judge(slot, slot.canary, slot.current)
        loaded = set(self._models.loaded())
        self._since = {each: since for each, since in self._since.items() if each in loaded}
        self._done &= loaded

    async def _judge(self, slot: Slot, canary: Served, champion: Served) -> None:
        if canary in self._done:
            return
        if canary not in self._since:
            self._since[canary] = time.monotonic()
            # Both from now on: what the champion did before says nothing of this load.
            canary.outcomes, champion.outcomes = Outcomes(), Outcomes()
            return
        age = time.monotonic() - self._since[canary]
        decision = judge(self._observed(canary), self._observed(champion), age, self._settings)
        if decision.verdict == "wait":
            log.info("canary %s/%s: %s", canary.name, canary.version, decision.reason)
            return
        self._done.add(canary)
        self._record(canary, decision)
        if decision.verdict == "give_up":
            slot.given_up, slot.canary = canary.version, None
            await self._follower.settle(slot)
        elif self._settings.canary_promotes:
            await self._promote(canary)

    async def _promote(self, canary: Served) -> None:
        try:
            await self._threads.run(
                f"promote {canary.name}",
                lambda: promote_canary(canary.name, canary.version),
                self._settings.load_timeout_seconds,
            )
        # Whatever the registry says: the champion goes on, and so does the canary, until somebody looks.
        except Exception as error:
            refused = Decision(verdict="give_up", rule="registry", reason=f"it is not promoted: {error}")
            self._record(canary, refused)
            return
        self._follower.poll_now()

    def _observed(self, served: Served) -> Observed:
        # A copy: the watch adds to it in a thread of its own.
        reports = [each.report for each in tuple(self._watch.history.get((served.name, served.version), ()))]
        n_nan = sum(report.n_nan for report in reports)
        return Observed(outcomes=served.outcomes, report=reports[-1] if reports else None, n_nan=n_nan)

    def _record(self, canary: Served, decision: Decision) -> None:
        verdict = decision.verdict
        self._metrics.canary_decisions_total.labels(canary.name, canary.version, verdict, decision.rule).inc()
        extra = {"model": canary.name, "version": canary.version, "verdict": verdict, "rule": decision.rule}
        log.warning("canary %s/%s: %s: %s", canary.name, canary.version, verdict, decision.reason, extra=extra)
