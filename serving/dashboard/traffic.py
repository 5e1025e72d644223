"""Rates and latencies of the last minutes, read from the service's own metrics for its status page."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.samples import Sample

from serving.base.monitoring import Metrics
from serving.dashboard.status import Measure

TICK_SECONDS = 5.0
# Of a curve on the page: five minutes.
N_HISTORY = 60
# Of a value "now": a minute.
N_NOW = 12
# What samples; reads of the page, the metrics and the health are not traffic.
_SAMPLING = ("generate", "samples", "infer", "ModelInfer")
_TILES = "/tiles/"
# The answers that are the service's own fault: HTTP's, and gRPC's.
FAILURES = ("500", "502", "503", "504", "UNKNOWN", "INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED")
# A histogram's counts up to and with each bound, in ascending order of the bounds.
Buckets = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The counters at one moment.

    Attributes:
        at: on the monotonic clock.
        requests: answered by the routes that sample.
        failures: those of them that the service answered with a status of 500 or more.
        samples: computed.
        rejections: by reason.
        seconds: of the requests of the routes that sample.
        queued: samples, now.
    """

    at: float
    requests: float = 0.0
    failures: float = 0.0
    samples: float = 0.0
    rejections: Mapping[str, float] = field(default_factory=dict)
    seconds: Buckets = ()
    queued: float = 0.0


def exposed(metric: Counter | Gauge | Histogram, suffix: str = "") -> list[Sample]:
    """What a metric exposes under names that end with `suffix`."""
    return [each for family in metric.collect() for each in family.samples if each.name.endswith(suffix)]


def read(metrics: Metrics) -> Reading:
    """The counters now."""
    answered = [each for each in exposed(metrics.requests_total, "_total") if _samples(each.labels["route"])]
    return Reading(
        at=time.monotonic(),
        requests=sum(each.value for each in answered),
        failures=sum(each.value for each in answered if each.labels["status"] in FAILURES),
        samples=sum(each.value for each in exposed(metrics.samples_total, "_total")),
        rejections={each.labels["reason"]: each.value for each in exposed(metrics.rejections_total, "_total")},
        seconds=_sum(buckets for route, buckets in histograms(metrics).items() if _samples(route)),
        queued=sum(each.value for each in exposed(metrics.queued_samples)),
    )


def histograms(metrics: Metrics) -> dict[str, Buckets]:
    """The latencies of each route that has had requests."""
    found: dict[str, list[tuple[float, float]]] = {}
    for each in exposed(metrics.request_seconds, "_bucket"):
        found.setdefault(each.labels["route"], []).append((float(each.labels["le"]), each.value))
    return {route: tuple(buckets) for route, buckets in found.items()}


def quantile(buckets: Buckets, q: float) -> float | None:
    """A quantile of a histogram, linear within its bucket; None where it is empty.

    Where it lies beyond the last finite bound it is that bound, as Prometheus' histogram_quantile has it.
    """
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    rank, low, below = q * total, 0.0, 0.0
    for bound, count in buckets:
        if count >= rank and count > below:
            return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        if not math.isinf(bound):
            low = bound
        below = count
    return low


class Traffic:
    """Readings at even intervals; each curve of the page is the differences between them."""

    def __init__(self, metrics: Metrics) -> None:
        """Begin with a first reading."""
        self._metrics = metrics
        self._readings: deque[Reading] = deque([read(metrics)], maxlen=N_HISTORY + N_NOW + 1)

    async def follow(self) -> None:
        """Take a reading every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            # In a thread: a request does not wait until the others are counted.
            await asyncio.to_thread(self.tick)

    def tick(self) -> None:
        """Take a reading."""
        self._readings.append(read(self._metrics))

    def measures(self) -> list[Measure]:
        """The quantities of the page's strip."""
        readings = [*list(self._readings), read(self._metrics)]
        spans = [(readings[max(0, i - N_NOW)], readings[i]) for i in range(1, len(readings))][-N_HISTORY:]
        latencies = [_between(*span) for span in spans]
        refused = [_rate(span, lambda reading: sum(reading.rejections.values())) for span in spans]
        return [
            _measure("Requests", "/s", [_rate(span, lambda reading: reading.requests) for span in spans]),
            _measure("Samples", "/s", [_rate(span, lambda reading: reading.samples) for span in spans]),
            _measure("Median latency", "ms", [_milliseconds(quantile(each, 0.5)) for each in latencies]),
            _measure("99 % latency", "ms", [_milliseconds(quantile(each, 0.99)) for each in latencies]),
            _measure("Samples queued", "", [last.queued for _, last in spans]),
            _measure("Not served", "/min", [60 * each for each in refused]),
        ]

    def failing(self) -> tuple[int, int]:
        """Requests of the last minutes that failed by the service's own fault, and all of them."""
        first, last = self._readings[0], read(self._metrics)
        return int(last.failures - first.failures), int(last.requests - first.requests)

    def routes(self) -> list[tuple[str, int, float | None, float | None]]:
        """Of each route that has had requests: its requests, their median and 99th percentile in seconds."""
        found = sorted(histograms(self._metrics).items(), key=lambda each: -each[1][-1][1])
        return [
            (route, int(buckets[-1][1]), quantile(buckets, 0.5), quantile(buckets, 0.99))
            for route, buckets in found
            if buckets[-1][1] > 0
        ]

    def rejections(self) -> dict[str, int]:
        """Requests not served since the start, by reason, where there are any."""
        counts = read(self._metrics).rejections
        return {reason: int(count) for reason, count in sorted(counts.items()) if count}


def _samples(route: str) -> bool:
    return route.rsplit("/", 1)[-1] in _SAMPLING or _TILES in route


def _measure(name: str, unit: str, history: Sequence[float | None]) -> Measure:
    return Measure(name=name, value=history[-1] if history else None, unit=unit, history=history)


def _rate(span: tuple[Reading, Reading], count: Callable[[Reading], float]) -> float:
    first, last = span
    return max(0.0, count(last) - count(first)) / max(1e-3, last.at - first.at)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def _sum(histograms: Iterable[Buckets]) -> Buckets:
    """All in one; they have the same bounds, in the same order."""
    return tuple((same[0][0], sum(count for _, count in same)) for same in zip(*histograms, strict=True))


def _between(first: Reading, last: Reading) -> Buckets:
    """The histogram of the requests between two readings."""
    if not first.seconds:
        return last.seconds
    return tuple(
        (bound, count - before) for (bound, count), (_, before) in zip(last.seconds, first.seconds, strict=True)
    )
