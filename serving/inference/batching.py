"""Dynamic batching: latents of many requests, computed together, each request on its own terms."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from serving.base.clients import CLIENT, Client
from serving.base.errors import DeadlineExceeded, NotReady, QueueFull
from serving.base.monitoring import Metrics
from serving.inference.session import Computes
from serving.inference.turns import Turns


@dataclass(eq=False)
class _Item:
    """Latents of one request, and the images that have been computed of them."""

    latents: Float32[np.ndarray, "n *latent"]
    future: asyncio.Future[Float32[np.ndarray, "n c h w"]]
    arrived: float
    deadline: float
    client: Client
    finish: float
    taken: int = 0
    parts: list[Float32[np.ndarray, "b c h w"]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Latents that no batch has taken yet."""
        return len(self.latents) - self.taken

    def add(self, part: Float32[np.ndarray, "b c h w"]) -> None:
        """Images of its next latents; with the last of them the request is answered."""
        self.parts.append(part)
        if not self.future.done() and sum(map(len, self.parts)) == len(self.latents):
            # One part goes out as it is: at saturation with full batches nothing is copied.
            self.future.set_result(self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts))


class Batcher:
    """A bounded queue before one generator, whose clients have their turns.

    A full batch goes at once, also while another is computed. One that is not full goes when nothing is computed; if
    the batch before it held several requests, not before `max_wait` after its first one, since more are likely then,
    and a lone client never waits. A request whose client left, or whose deadline
    has passed, is taken out of the queue without a computation.
    """

    def __init__(
        self,
        generator: Computes,
        executor: Executor,
        metrics: Metrics,
        *,
        max_wait: float,
        max_queue: int,
    ) -> None:
        """A batcher that computes in `executor`.

        Args:
            executor: of one thread, shared by all batchers, so that batches do not fight for the cores.
            max_wait: seconds.
            max_queue: samples.
        """
        self.generator = generator
        self._executor = executor
        self._metrics = metrics
        self._max_wait = max_wait
        self._max_queue = max_queue
        self._size = generator.buckets[-1]
        # By their turns.
        self._queue: list[_Item] = []
        self._turns = Turns()
        self._n_queued = 0
        self._computing: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._n_requests_last = 0
        self._closed = False
        # A first guess; every batch corrects it.
        self._seconds_per_sample = 0.01

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._queue and not self._computing

    async def run(
        self, latents: Float32[np.ndarray, "n *latent"], deadline: float, *, is_begun: bool = False
    ) -> Float32[np.ndarray, "n c h w"]:
        """Images in the network's range.

        Args:
            latents: of any number.
            deadline: on the clock of `time.monotonic`.
            is_begun: whether a part of the answer is with the client already, or has been computed; it is then not
                refused for those who came later. Such a request has one block in the queue, and none begins while the
                queue is full.

        Raises:
            QueueFull: where they do not fit into the queue.
            DeadlineExceeded: where they are not computed in time.
            NotReady: where the version is no longer served.
        """
        if self._closed:
            raise NotReady("this version is no longer served; ask again without a version")
        n = len(latents)
        client = CLIENT.get()
        # An empty queue takes any request: what is larger than the queue would otherwise be refused for ever.
        is_full = self._queue and self._n_queued + n > self._max_queue
        if is_full and self._n_queued_of(client) + n > self._max_queue / self._n_clients(client) and not is_begun:
            raise QueueFull(
                f"{self._n_queued} samples are waiting and the queue takes {self._max_queue}; ask again after the "
                "seconds of Retry-After, or for less at once",
                retry_after=self._n_queued * self._seconds_per_sample,
            )
        future = asyncio.get_running_loop().create_future()
        item = _Item(latents, future, time.monotonic(), deadline, client, self._turns.finish(client, n))
        insort(self._queue, item, key=_finish)
        self._count(n)
        self._dispatch()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                return await item.future
        except TimeoutError:
            raise DeadlineExceeded(
                "the samples were not ready in time; ask for less at once, or when there is less to do"
            ) from None
        finally:
            self._forget(item)

    def _n_queued_of(self, client: Client) -> int:
        return sum(item.left for item in self._queue if item.client.name == client.name)

    def _n_clients(self, client: Client) -> int:
        """Who wants a share of the queue: one who fills it leaves room for another's first requests."""
        return len({item.client.name for item in self._queue} | {client.name})

    def close(self) -> None:
        """Take nothing more; what waits is refused."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for item in list(self._queue):
            if not item.future.done():
                item.future.set_exception(NotReady("the service is stopping; ask another, or again in a while"))
            self._forget(item)

    def _forget(self, item: _Item) -> None:
        if item in self._queue:
            self._queue.remove(item)
            self._count(-item.left)

    def _count(self, n: int) -> None:
        self._n_queued += n
        self._metrics.queued_samples.inc(n)

    def _dispatch(self) -> None:
        """Start the batches that may start now, and see to it that the others will."""
        while self._n_queued and len(self._computing) < 2 and not self._closed:
            full = self._n_queued >= self._size
            if not full and self._computing:
                return
            if not full and (rest := self._rest_of_wait()) > 0:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(rest, self._wait_over)
                return
            self._start()

    def _rest_of_wait(self) -> float:
        if self._n_requests_last <= 1:
            return 0.0
        return self._queue[0].arrived + self._max_wait - time.monotonic()

    def _wait_over(self) -> None:
        self._timer = None
        if self._n_queued and not self._computing and not self._closed:
            self._start()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, latents = self._take()
        task = asyncio.get_running_loop().create_task(self._compute(batch, latents))
        self._computing.add(task)

    def _take(self) -> tuple[list[tuple[_Item, int]], Float32[np.ndarray, "b *latent"]]:
        """The next latents in their turn, of as many requests as fit; a request may be cut between two batches."""
        batch: list[tuple[_Item, int]] = []
        pieces: list[Float32[np.ndarray, "b *latent"]] = []
        free, now = self._size, time.monotonic()
        while self._queue and free:
            item = self._queue[0]
            n = min(item.left, free)
            self._turns.serve(item.finish)
            if item.taken == 0:
                self._metrics.queue_seconds.observe(now - item.arrived)
            pieces.append(item.latents[item.taken : item.taken + n])
            item.taken += n
            batch.append((item, n))
            free -= n
            self._count(-n)
            if not item.left:
                self._queue.pop(0)
        self._n_requests_last = len(batch)
        return batch, pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    async def _compute(self, batch: Sequence[tuple[_Item, int]], latents: Float32[np.ndarray, "b *latent"]) -> None:
        loop = asyncio.get_running_loop()
        try:
            images, seconds = await loop.run_in_executor(self._executor, self._timed, latents)
        # Whatever it is, it is the answer to those who wait for this batch, and to nobody else.
        except Exception as error:
            for item, _ in batch:
                if not item.future.done():
                    item.future.set_exception(error)
            return
        finally:
            current = asyncio.current_task()
            if current is not None:
                self._computing.discard(current)
            self._dispatch()
        self._seconds_per_sample += 0.2 * (seconds / len(latents) - self._seconds_per_sample)
        self._metrics.compute_seconds.observe(seconds)
        self._metrics.batch_samples.observe(len(latents))
        start = 0
        for item, n in batch:
            item.add(images[start : start + n])
            start += n

    def _timed(self, latents: Float32[np.ndarray, "b *latent"]) -> tuple[Float32[np.ndarray, "b c h w"], float]:
        start = time.perf_counter()
        images = self.generator.run(latents)
        return images, time.perf_counter() - start


def _finish(item: _Item) -> float:
    return item.finish
