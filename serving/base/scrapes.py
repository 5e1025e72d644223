"""What Prometheus scrapes, made off the loop: one at a time, and at most a quarter of the time."""

from __future__ import annotations

import asyncio
import time

from serving.base.monitoring import Metrics

# Of the time; making it holds the interpreter, which samples need.
_PART = 0.25


class Scrapes:
    """The metrics' text, which whoever asks at the same time shares; none is older than its request."""

    def __init__(self, metrics: Metrics, *, is_open: bool = False) -> None:
        """Of `metrics`, as Prometheus' text or as OpenMetrics has it."""
        self._text = metrics.openmetrics if is_open else metrics.exposition
        self._next: asyncio.Task[bytes] | None = None
        self._making = asyncio.Lock()
        self._not_before = 0.0

    async def text(self) -> bytes:
        """The text, as of a moment after the call."""
        if self._next is None:
            self._next = asyncio.create_task(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> bytes:
        async with self._making:
            await asyncio.sleep(self._not_before - time.monotonic())
            # Who asks from now on wants the next.
            self._next = None
            start = time.monotonic()
            text = await asyncio.to_thread(self._text)
            end = time.monotonic()
            self._not_before = end + (end - start) * (1 / _PART - 1)
            return text


async def watch_lag(metrics: Metrics, seconds: float = 0.1) -> None:
    """Observe how much later than asked the loop wakes a timer, until cancelled: what blocks it shows here."""
    while True:
        start = time.monotonic()
        await asyncio.sleep(seconds)
        metrics.loop_lag_seconds.observe(max(0.0, time.monotonic() - start - seconds))
