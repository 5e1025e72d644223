"""Calls that may block for long, each in a thread that nothing waits for at the end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class StillBusy(TimeoutError):
    """The call before has not come back."""


class Threads:
    """Runs blocking calls; a call that hangs holds up neither the loop, nor the others, nor the end of the process."""

    def __init__(self) -> None:
        """No calls yet."""
        self._running: dict[str, Future[object]] = {}

    async def run(self, lane: str, call: Callable[[], T], timeout: float) -> T:
        """The result of `call`.

        Args:
            lane: one call at a time; so a registry that hangs costs one thread, not one for each read of it.
            timeout: seconds; the thread goes on after it.

        Raises:
            StillBusy: where the call before is still in this lane.
            TimeoutError: where it did not come back in time.
        """
        before = self._running.get(lane)
        if before is not None and not before.done():
            raise StillBusy(f"{lane}: the call before has not come back")
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(call())
            # It is raised again where the result is awaited.
            except BaseException as error:
                future.set_exception(error)

        self._running[lane] = future  # type: ignore[assignment]
        threading.Thread(target=work, name=lane, daemon=True).start()
        return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), timeout)
