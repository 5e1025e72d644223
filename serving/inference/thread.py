"""The thread in which batches are computed, one after the other."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from serving.base.logs import log

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]


class ComputeThread:
    """Calls what is put into its queue; one thread, since batches of several models would only fight for the cores.

    A call's way there and back is one queue and one wake-up of the loop, without the futures and locks of an executor.
    """

    def __init__(self) -> None:
        """Begin to wait for calls."""
        self._queue: SimpleQueue[tuple[asyncio.AbstractEventLoop, Callable[[], Any], Done] | None] = SimpleQueue()
        threading.Thread(target=self._work, name="compute", daemon=True).start()

    def submit(self, call: Callable[[], Any], done: Done) -> None:
        """Have `done` called in this loop with the result of `call`, or with what it raised."""
        self._queue.put((asyncio.get_running_loop(), call, done))

    async def run(self, call: Callable[[], T]) -> T:
        """The result of `call`, in its turn."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(call, done)
        return await future

    def stop(self) -> None:
        """Take nothing more; what was put in before is still computed, and nobody waits for it."""
        self._queue.put(None)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            loop, call, done = item
            result, failure = None, None
            try:
                result = call()
            # It is the answer to those who wait for this call, and to nobody else.
            except BaseException as error:
                failure = error
            try:
                loop.call_soon_threadsafe(done, result, failure)
            except RuntimeError as error:
                log.debug("the loop ended before a computation: %s", error)
            # Neither images nor a version are held while nothing is computed.
            del item, call, done, result, failure
