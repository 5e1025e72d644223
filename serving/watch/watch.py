"""The statistics of served samples and the golden latent, off the way of the requests."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from rockbank.generator.ranges import to_intensity
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.inference.models import Models, Served
from serving.inference.thread import ComputeThread
from serving.watch.statistics import SampleStatistics, WindowReport

# Blocks that wait for the statistics; what comes while they are full is left out.
_N_WAITING = 16
# Samples of a version's own distribution, against which a change of it shows, in windows.
_N_ACCEPTED_WINDOWS = 2
_ACCEPTED_SEED = 2019


# Windows of a version that are kept: of the statistics' last hours.
_N_KEPT = 96


@dataclass(frozen=True, kw_only=True)
class Window:
    """A full window.

    Attributes:
        at: when it was full, seconds since 1970.
        report: what it says.
    """

    at: float
    report: WindowReport


class Watch:
    """Takes a part of the samples served, and reports each full window of a version.

    Attributes:
        reports: of each version's last window.
        history: its last windows, oldest first.
    """

    def __init__(self, metrics: Metrics, *, fraction: float, window: int) -> None:
        """A watch over `fraction` of the samples, in windows of `window`."""
        self._metrics = metrics
        self._fraction = fraction
        self._window = window
        self._owed: dict[Served, float] = {}
        self._queue: queue.Queue[tuple[Served, Float32[np.ndarray, "n c h w"]] | None] = queue.Queue(_N_WAITING)
        self._statistics: dict[Served, SampleStatistics] = {}
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self.reports: dict[tuple[str, str], WindowReport] = {}
        self.history: dict[tuple[str, str], deque[Window]] = {}

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Take nothing more; a window that is being computed is not waited for."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def offer(self, served: Served, intensity: Float32[np.ndarray, "n c h w"]) -> None:
        """Take the part of a block that is due; never waits.

        Args:
            intensity: in [0, 1], of latents drawn without truncation by a seed that nobody chose.
        """
        if served.is_closed:
            return
        owed = self._owed.get(served, 0.0) + self._fraction * len(intensity)
        n = min(int(owed), len(intensity))
        self._owed[served] = owed - n
        if n:
            try:
                # A copy, so that not the whole block is kept.
                self._queue.put_nowait((served, intensity[:n].copy()))
            except queue.Full:
                return

    def forget(self, served: Served) -> None:
        """Of a version that is closed."""
        self._owed.pop(served, None)
        self._statistics.pop(served, None)
        self.reports.pop((served.name, served.version), None)
        self.history.pop((served.name, served.version), None)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            served, intensity = item
            if served.is_closed:
                continue
            try:
                report = self._statistics_of(served).add(intensity)
            # A reference that the statistics cannot read must not end the watch over the other versions.
            except Exception:
                log.exception("the statistics of %s/%s failed", served.name, served.version)
                continue
            if served.is_closed:
                # While it was measured: what was forgotten must not be held again.
                self._statistics.pop(served, None)
            elif report is not None:
                self._expose(served, report)

    def _statistics_of(self, served: Served) -> SampleStatistics:
        if served not in self._statistics:
            images = served.generator.sample(_ACCEPTED_SEED, _N_ACCEPTED_WINDOWS * self._window)
            accepted = np.clip(to_intensity(images, served.card.value_range), 0.0, 1.0)
            statistics = SampleStatistics(served.reference, served.card, window=self._window, accepted=accepted)
            if statistics.problem is not None:
                log.warning("%s/%s: %s", served.name, served.version, statistics.problem)
            self._statistics[served] = statistics
        return self._statistics[served]

    def _expose(self, served: Served, report: WindowReport) -> None:
        version, metrics = (served.name, served.version), self._metrics
        self.reports[version] = report
        self.history.setdefault(version, deque(maxlen=_N_KEPT)).append(Window(at=time.time(), report=report))
        metrics.nan_samples_total.labels(*version).inc(report.n_nan)
        metrics.saturated_fraction.labels(*version).set(report.saturated_fraction)
        for name, statistic in report.statistics.items():
            metrics.statistic_wasserstein.labels(*version, name).set(statistic.distances.wasserstein)
            metrics.statistic_ks.labels(*version, name).set(statistic.distances.ks)
        for name, n_windows in report.windows_over().items():
            metrics.statistic_windows_over.labels(*version, name).set(n_windows)
        if report.diversity_ratio is not None:
            metrics.diversity_ratio.labels(*version).set(report.diversity_ratio)


async def rerun_golden(models: Models, metrics: Metrics, thread: ComputeThread) -> None:
    """Run the golden latent of every loaded version again, and expose how far it is from its card."""
    for served in models.loaded():
        version = (served.name, served.version)
        try:
            difference = await thread.run(served.generator.golden_difference)
        # A session that fails does not give its golden sample either; the other versions are run all the same.
        except Exception:
            log.exception("%s/%s: the golden latent could not be run", *version)
            difference = float("inf")
        if served.is_closed:
            continue
        tolerance = served.generator.golden_tolerance
        metrics.golden_max_difference.labels(*version).set(difference)
        metrics.golden_mismatch.labels(*version).set(difference > tolerance)
        if difference > tolerance:
            log.error("%s/%s: the golden sample differs by %.3g > %.3g", *version, difference, tolerance)


async def keep_rerunning(models: Models, metrics: Metrics, thread: ComputeThread, seconds: float) -> None:
    """`rerun_golden` every `seconds`."""
    while True:
        await asyncio.sleep(seconds)
        await rerun_golden(models, metrics, thread)
