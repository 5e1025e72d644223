"""What Prometheus scrapes, made off the loop: one at a time, and at most a quarter of the time."""

from __future__ import annotations

import asyncio
import time

from serving.base.monitoring import OPENMETRICS, Metrics

# Of the time; making it holds the interpreter, which samples need.
_PART = 0.25


class Scrapes:
    """The metrics' text, which whoever asks at the same time shares; none is older than its request."""

    def __init__(self, metrics: Metrics) -> None:
        """Of `metrics`."""
        self._metrics = metrics
        # By what is accepted: the text or OpenMetrics.
        self._next: dict[str, asyncio.Task[tuple[bytes, str]]] = {}
        self._making = asyncio.Lock()
        self._not_before = 0.0

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """The text as of a moment after the call, and its type."""
        kind = OPENMETRICS if OPENMETRICS in accept else ""
        if kind not in self._next:
            self._next[kind] = asyncio.create_task(self._make(kind))
        return await asyncio.shield(self._next[kind])

    async def _make(self, kind: str) -> tuple[bytes, str]:
        async with self._making:
            await asyncio.sleep(self._not_before - time.monotonic())
            # Who asks from now on wants the next.
            del self._next[kind]
            start = time.monotonic()
            text = await asyncio.to_thread(self._metrics.exposition, kind)
            end = time.monotonic()
            self._not_before = end + (end - start) * (1 / _PART - 1)
            return text


async def watch_lag(metrics: Metrics, seconds: float = 0.1) -> None:
    """Observe how much later than set the loop wakes a timer, until cancelled: what blocks it shows here."""
    while True:
        start = time.monotonic()
        await asyncio.sleep(seconds)
        metrics.loop_lag_seconds.observe(max(0.0, time.monotonic() - start - seconds))
