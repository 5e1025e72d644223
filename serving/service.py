"""The service without its HTTP: everything that is started, held and stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from rockbank.core.heap import trim_heap
from serving.base.budget import Budget, Share
from serving.base.clients import CLIENT
from serving.base.errors import NotReady
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.base.scrapes import Scrapes, watch_lag
from serving.base.settings import Settings, SettingsError, renamed_variables, unknown_variables
from serving.dataplane.bundle import Signer
from serving.dataplane.sampling import Sampling
from serving.idempotency import Answers
from serving.inference.models import Models, Served
from serving.inference.thread import ComputeThread
from serving.keys import Keys
from serving.protocol.schemas import MAX_JSON_BYTES
from serving.registry.canaries import Canaries
from serving.registry.follower import Follower
from serving.registry.loading import Loader
from serving.watch.watch import Watch, keep_rerunning

T = TypeVar("T")
# Of a request that is parsed at once: a whole batch of latents takes less.
_INLINE_BYTES = 16_384
# Of an object for a number, times the bytes of its text.
_PARSED = 16
# Of what requests held and hold no more, after which the heap is trimmed.
_TRIM_BYTES, _TRIM_SECONDS = 32 * 1024**2, 5.0


class Service:
    """One service; `create_app` makes it, and its lifespan starts and stops it.

    Attributes:
        settings: as given.
        metrics: of this service alone.
        budget: memory of the requests that are being answered.
        models: what is loaded.
        scrapes: their text.
        parsing: the thread in which requests are parsed.
        keys: who may ask.
        signer: of versions' bundles; None where they are not signed.
        follower: of the registry.
        sampling: from a request's numbers to blocks of samples.
        watch: the samples' statistics.
        canaries: their comparison with the champions.
        answers: to requests with an idempotency key.
        started: seconds since 1970.
        is_draining: whether it is about to stop; it is then not ready.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the keys, and load nothing yet."""
        self.settings = settings
        self.metrics = Metrics()
        self.budget = Budget(settings.memory_bytes, self.metrics.held_bytes)
        self.keys = Keys(
            settings.keys_file, settings.rate_per_minute, settings.samples_per_minute, settings.max_concurrent
        )
        self.signer = None if settings.signing_key_file is None else Signer(settings.signing_key_file)
        self.models = Models(
            settings.models,
            self.metrics,
            canary_weight=settings.canary_weight,
            shadow_fraction=settings.shadow_fraction,
        )
        self.scrapes = Scrapes(self.metrics)
        # One thread: what parses holds the interpreter, and two of them would leave less of it to the loop.
        self.parsing = ThreadPoolExecutor(1, "parse")
        self._compute = ComputeThread()
        self._encode = ThreadPoolExecutor(2, "encode")
        self.watch = Watch(self.metrics, fraction=settings.statistics_fraction, window=settings.statistics_window)
        self.sampling = Sampling(settings, self.models, self.metrics, self.watch, self._encode)
        loader = Loader(settings, self.metrics, self._compute)
        self.follower = Follower(settings, self.models, self.metrics, loader, self._closed)
        self.canaries = Canaries(settings, self.models, self.metrics, self.watch, self.follower)
        self.answers = Answers()
        self.started = time.time()
        self.is_draining = False
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the models, and begin to follow and to watch.

        Raises:
            NothingToServe: where no model could be loaded.
        """
        for name in unknown_variables():
            log.warning("%s: no such setting, and ignored; see Settings in the site that 'make docs' builds", name)
        for old, new in renamed_variables().items():
            log.warning("%s: this setting is now %s; the next version reads the new name alone", old, new)
        await self.follower.start()
        self.watch.start()
        seconds = self.settings.golden_seconds
        self._tasks = [
            asyncio.create_task(keep_rerunning(self.models, self.metrics, self._compute, seconds)),
            asyncio.create_task(self._keep_reading_keys()),
            asyncio.create_task(self.canaries.keep_judging()),
            asyncio.create_task(watch_lag(self.metrics)),
            asyncio.create_task(self._keep_trimming()),
        ]
        if self.keys.is_open:
            log.warning("the service is open: ROCKBANK_KEYS_FILE is not set, and everybody who reaches it may sample")
        for name, slot in self.models.slots.items():
            about = f"version {slot.current.version}" if slot.current else f"nothing yet: {slot.problem}"
            log.info("%s: %s", name, about)

    async def stop(self) -> None:
        """Stop what was started; requests that still wait are refused."""
        self.is_draining = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.follower.stop()
        await self.sampling.stop()
        self.watch.stop()
        for served in self.models.loaded():
            served.close()
        self.parsing.shutdown(wait=False, cancel_futures=True)
        self._compute.stop()
        self._encode.shutdown(wait=False, cancel_futures=True)
        log.info("stopped")

    def check_ready(self) -> None:
        """Raise where it should get no requests.

        Raises:
            NotReady: with the reason.
        """
        if self.is_draining:
            raise NotReady("the service is stopping; ask another")
        if missing := self.models.missing():
            problems = "; ".join(f"{name}: {self.models.slots[name].problem}" for name in missing)
            raise NotReady(f"{missing} not loaded: {problems}; promote a version, or take them out of ROCKBANK_MODELS")

    def count_samples(self, n: float) -> None:
        """Count what the request that is being answered is about to sample.

        Raises:
            RateLimited: where its client's samples of this minute are used up.
        """
        self.keys.count_samples(CLIENT.get(), n)

    async def parsed(self, parse: Callable[[], T], n_bytes: int) -> T:
        """What `parse` makes of a request of `n_bytes`; a long one in the thread for it, in its turn."""
        if n_bytes <= _INLINE_BYTES:
            return parse()
        with Share(self.budget) as share:
            # JSON's numbers are objects for a moment.
            share.add(min(n_bytes, MAX_JSON_BYTES) * _PARSED)
            return await asyncio.get_running_loop().run_in_executor(self.parsing, parse)

    async def _keep_trimming(self) -> None:
        """Give back what large requests have had: the C library would keep it for good."""
        while True:
            await asyncio.sleep(_TRIM_SECONDS)
            if self.budget.peak - self.budget.held > _TRIM_BYTES:
                self.budget.peak = self.budget.held
                await asyncio.to_thread(trim_heap, collect=False)

    def _closed(self, served: Served) -> None:
        self.watch.forget(served)

    async def _keep_reading_keys(self) -> None:
        while True:
            await asyncio.sleep(self.settings.poll_seconds)
            try:
                if self.keys.reload():
                    log.info("the keys file has changed and was read again")
            except SettingsError as error:
                log.error("%s", error)
