"""What the registry has beside what is loaded, for the status page: read now and then, aside from all requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rockbank.mlops import registry
from serving.base.logs import log
from serving.registry.threads import StillBusy, Threads

# Between two reads of a model's versions, while the page is open.
FRESH_SECONDS = 10.0


class VersionCache:
    """The versions of each model as the registry last listed them; empty until it has, and old while it is down."""

    def __init__(self, names: Sequence[str], timeout: float) -> None:
        """Nothing is read yet; a read is given up after `timeout` seconds."""
        self._timeout = timeout
        self._threads = Threads()
        self._versions: dict[str, list[registry.Entry]] = {name: [] for name in names}
        self._read: dict[str, float] = {}
        self._reading: set[asyncio.Task[None]] = set()

    def versions(self, name: str) -> list[registry.Entry]:
        """The versions of a model, newest first, as they were last listed."""
        return self._versions[name]

    def refresh(self) -> None:
        """Begin to read what was read long ago."""
        for name in self._versions:
            if time.monotonic() - self._read.get(name, float("-inf")) > FRESH_SECONDS:
                self._read[name] = time.monotonic()
                task = asyncio.create_task(self._renew(name))
                self._reading.add(task)
                task.add_done_callback(self._reading.discard)

    async def _renew(self, name: str) -> None:
        try:
            self._versions[name] = await self._threads.run(
                f"versions {name}", lambda: registry.versions(name), self._timeout
            )
        except StillBusy:
            return
        # Whatever the registry's client raises: the page goes on with what it had before.
        except Exception as error:
            log.info("the versions of %s could not be read: %s", name, error)
