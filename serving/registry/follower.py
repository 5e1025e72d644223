"""Follows the registry: what an alias names is loaded, checked and swapped in; on any failure the old one stays."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rockbank.core.heap import trim_heap
from rockbank.mlops import registry, store
from rockbank.mlops.failures import StoreError
from serving.base.errors import LoadRefused, NothingToServe, NotReady
from serving.base.logs import log
from serving.base.monitoring import Metrics
from serving.base.settings import Settings
from serving.inference.models import Models, Served, Slot
from serving.registry.loading import Loader
from serving.registry.threads import Threads

# The first read opens the store, which for sqlite checks its schema.
_FIRST_READ_SECONDS = 30.0
# A version that was refused is tried again after this, then after twice that, up to the longest.
_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 10.0, 300.0
# A stream of many samples is answered to its end by the version that began it; who takes longer is cut off.
_LONGEST_ANSWER_SECONDS = 600.0


class Follower:
    """Polls the aliases, and moves the models' slots."""

    def __init__(
        self, settings: Settings, models: Models, metrics: Metrics, loader: Loader, closed: Callable[[Served], None]
    ) -> None:
        """A follower that has read nothing yet; it calls `closed` with a version that is no longer loaded."""
        self._settings = settings
        self._models = models
        self._metrics = metrics
        self._loader = loader
        self._closed = closed
        self._threads = Threads()
        self._poll_now = {name: asyncio.Event() for name in models.slots}
        self._following: list[asyncio.Task[None]] = []
        self._retiring: set[asyncio.Task[None]] = set()
        # (model, version) -> when it may be tried again, and the wait after that
        self._refused: dict[tuple[str, str], tuple[float, float]] = {}
        for slot in models.slots.values():
            self._expose(slot)

    async def start(self) -> None:
        """Load what the aliases name, or else what was served last, and go on following.

        Raises:
            NothingToServe: where no model could be loaded, with what is wrong for each.
        """
        store.connect(self._settings.tracking_uri, timeout=self._settings.alias_timeout_seconds)
        for slot in self._models.slots.values():
            # What was rolled back from before the last end stays away.
            _, slot.held_back = self._loader.remembered(slot.reference)
            await self._guarded(slot, _FIRST_READ_SECONDS)
            if slot.current is None:
                await self._load_remembered(slot)
        if len(self._models.missing()) == len(self._models.slots):
            problems = "; ".join(f"{slot.reference}: {slot.problem}" for slot in self._models.slots.values())
            raise NothingToServe(f"nothing to serve: {problems}; 'make run' makes and registers generators")
        # Each by itself, so that a load that hangs keeps no other model from being followed.
        self._following = [asyncio.create_task(self._run(slot)) for slot in self._models.slots.values()]

    async def stop(self) -> None:
        """Follow no longer."""
        tasks = [*self._following, *self._retiring]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def poll_now(self) -> None:
        """Read the aliases now, and try refused versions again."""
        self._refused.clear()
        for event in self._poll_now.values():
            event.set()

    async def _run(self, slot: Slot) -> None:
        poll_now = self._poll_now[slot.name]
        while True:
            try:
                async with asyncio.timeout(self._settings.poll_seconds):
                    await poll_now.wait()
            except TimeoutError:
                pass
            poll_now.clear()
            await self._guarded(slot)

    async def _guarded(self, slot: Slot, timeout: float | None = None) -> None:
        before = set(slot.loaded().values())
        try:
            await self._follow(slot, timeout or self._settings.alias_timeout_seconds)
        # The last handler: whatever a version raises, the follower goes on, and so does the old version.
        except Exception as error:
            self._failed(slot, slot.reference, str(error) or type(error).__name__, "unexpected")
            log.exception("following %s failed", slot.reference)
        finally:
            for dropped in before - set(slot.loaded().values()):
                self._retire(dropped)
            await self.note(slot.name)

    async def _follow(self, slot: Slot, timeout: float) -> None:
        entry = await self._resolve_alias(slot, slot.reference, timeout)
        if entry is not None:
            await self._follow_champion(slot, entry)
        for part, alias, is_on in (
            ("canary", self._settings.canary_alias, self._settings.canary_weight > 0),
            ("shadow", self._settings.shadow_alias, self._settings.shadow_fraction > 0),
        ):
            if is_on and slot.current is not None:
                await self._follow_beside(slot, part, f"{slot.name}@{alias}", timeout)

    async def _resolve_alias(self, slot: Slot, reference: str, timeout: float) -> registry.Entry | None:
        """The version that `reference` names; None where the registry does not answer, or the champion is none."""
        is_own = reference == slot.reference
        try:
            entry = await self._threads.run(f"resolve {reference}", lambda: registry.resolve(reference), timeout)
        # A store that is gone has said nothing of its champion.
        except registry.NoStore as error:
            if slot.current is None:
                slot.problem = str(error)
            else:
                self._unanswered(slot, reference, str(error))
            return None
        except registry.NotRegistered as error:
            if not is_own:
                raise
            slot.alias_read, slot.alias_version, slot.problem = time.monotonic(), None, str(error)
            slot.behind_since = None
            self._metrics.has_champion.labels(slot.name).set(0)
            return None
        except (StoreError, registry.RegistryError, TimeoutError, OSError) as error:
            self._unanswered(slot, reference, str(error) or f"no answer in {timeout:g} s")
            return None
        if is_own:
            slot.alias_read, slot.alias_version = time.monotonic(), entry.version
            self._metrics.has_champion.labels(slot.name).set(1)
        return entry

    def _unanswered(self, slot: Slot, reference: str, text: str) -> None:
        log.warning("%s could not be read: %s", reference, text)
        if reference == slot.reference:
            slot.problem = f"the registry does not answer: {text}"

    async def _follow_champion(self, slot: Slot, entry: registry.Entry) -> None:
        if slot.held_back not in (None, entry.version):
            slot.held_back = None
        if slot.current is not None and slot.current.version == entry.version:
            slot.behind_since, slot.problem = None, None
            return
        if slot.behind_since is None:
            slot.behind_since = time.monotonic()
        if slot.held_back == entry.version:
            slot.problem = f"version {entry.version} was rolled back from, and is not served until the alias moves"
            return
        served = await self._ensure_loaded(slot, entry)
        if served is None:
            return
        # What was rolled back by hand while this one was being loaded is not overruled.
        if slot.held_back == entry.version:
            return
        self._models.swap(served)
        if slot.canary is served:
            slot.canary = None
        if slot.shadow is served:
            slot.shadow = None
        slot.behind_since, slot.problem = None, None
        log.info("%s is answered by version %s", slot.name, entry.version)

    async def _follow_beside(self, slot: Slot, part: str, reference: str, timeout: float) -> None:
        try:
            entry = await self._resolve_alias(slot, reference, timeout)
        except registry.NotRegistered:
            setattr(slot, part, None)
            return
        if entry is None:
            return
        # What was rolled back from does not come in again by another door.
        if entry.version == slot.held_back or (slot.current is not None and slot.current.version == entry.version):
            setattr(slot, part, None)
            return
        if part == "canary" and slot.given_up not in (None, entry.version):
            slot.given_up = None
        if part == "canary" and entry.version == slot.given_up:
            return
        now: Served | None = getattr(slot, part)
        if now is None or now.version != entry.version:
            served = await self._ensure_loaded(slot, entry)
            if served is not None:
                setattr(slot, part, served)

    async def _ensure_loaded(self, slot: Slot, entry: registry.Entry) -> Served | None:
        """The version, loaded already or now; None where it is refused."""
        for served in slot.loaded().values():
            if served.version == entry.version:
                return served
        key, now = (entry.name, entry.version), time.monotonic()
        not_before, wait = self._refused.get(key, (0.0, _RETRY_SECONDS))
        if now < not_before:
            return None
        try:
            timeout = self._settings.load_timeout_seconds
            served = await self._threads.run(f"load {slot.name}", lambda: self._loader.load(entry), timeout)
        except (LoadRefused, TimeoutError) as error:
            self._refused[key] = (time.monotonic() + wait, min(2 * wait, _LONGEST_RETRY_SECONDS))
            reason = error.reason if isinstance(error, LoadRefused) else "timeout"
            text = str(error) or f"it was not loaded in {timeout:g} s; see ROCKBANK_LOAD_TIMEOUT_SECONDS"
            self._failed(slot, f"{entry.name}/{entry.version}", text, reason)
            return None
        self._refused.pop(key, None)
        self._loader.expose(served)
        return served

    async def _load_remembered(self, slot: Slot) -> None:
        entry, _ = self._loader.remembered(slot.reference)
        if entry is None:
            return
        log.warning("%s: starting with version %s from the cache: %s", slot.name, entry.version, slot.problem)
        problem = slot.problem
        served = await self._ensure_loaded(slot, entry)
        if served is not None:
            self._models.swap(served)
            self._metrics.has_champion.labels(slot.name).set(1)
            slot.problem = problem

    async def find_or_load(self, name: str, version: str) -> Served:
        """A version for a job that began with it; where no slot has it, it is closed once no job needs it.

        Raises:
            NotFound: where the model is not served here.
            NotReady: where the version cannot be loaded, with the reason.
        """
        slot, reference = self._models.slot(name), f"{name}/{version}"
        for served in slot.loaded().values():
            if served.version == version:
                return served
        seconds = self._settings.load_timeout_seconds
        try:
            served = await self._threads.run(
                f"load {reference}", lambda: self._loader.load(registry.resolve(reference)), seconds
            )
        except (LoadRefused, StoreError, registry.RegistryError, TimeoutError, OSError) as error:
            raise NotReady(f"{reference} cannot be loaded: {str(error) or f'no answer in {seconds:g} s'}") from error
        self._loader.expose(served)
        self._retire(served)
        return served

    async def note(self, name: str) -> None:
        """Write down which version answers and which was rolled back from, where the cache has something else.

        At every read of the alias: what could not be written, as on a full disk, is written once there is room.
        """
        slot = self._models.slot(name)
        if slot.current is None or slot.noted == (now := (slot.current.version, slot.held_back)):
            return
        entry = slot.current.entry
        try:
            await asyncio.to_thread(self._loader.remember, slot.reference, entry, slot.held_back)
            slot.noted = now
        except OSError as error:
            log.error("%s is served, but the cache cannot be written: %s", slot.name, error)

    def _failed(self, slot: Slot, what: str, text: str, reason: str) -> None:
        slot.problem = f"{what} is not served: {text}"
        self._metrics.load_failures_total.labels(slot.name, reason).inc()
        log.error("%s", slot.problem, extra={"reason": reason})

    def _retire(self, served: Served) -> None:
        task = asyncio.create_task(self._drain(served))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _drain(self, served: Served) -> None:
        """Close a version once the requests that it is answering are answered, and the jobs are done that need it."""
        until = time.monotonic() + max(self._settings.deadline_seconds, _LONGEST_ANSWER_SECONDS)
        # First a while, for requests that have been given to it and have not begun.
        await asyncio.sleep(0.1)
        while served.jobs or ((served.users or not served.is_idle) and time.monotonic() < until):
            await asyncio.sleep(0.1)
        slot = self._models.slots[served.name]
        if served in slot.loaded().values():
            return
        served.close()
        served.is_closed = True
        self._closed(served)
        if served.version not in _versions(slot):
            self._metrics.unloaded(served.name, served.version)
            # With what is about to be swapped in.
            await asyncio.to_thread(self._loader.prune, served.name, lambda: _versions(slot) | {slot.alias_version})
        log.info("closed %s/%s", served.name, served.version)
        # Its session goes with the last name for it.
        del served
        await asyncio.to_thread(trim_heap)

    def _expose(self, slot: Slot) -> None:
        started = time.monotonic()
        name = slot.name
        self._metrics.has_champion.labels(name).set(0)
        self._metrics.swaps_total.labels(name)
        self._metrics.alias_age_seconds.labels(name).set_function(
            lambda: time.monotonic() - (started if slot.alias_read is None else slot.alias_read)
        )
        self._metrics.alias_behind_seconds.labels(name).set_function(
            lambda: 0.0 if slot.behind_since is None else time.monotonic() - slot.behind_since
        )


def _versions(slot: Slot) -> set[str | None]:
    return {each.version for each in slot.loaded().values()}
