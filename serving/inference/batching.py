"""Dynamic batching: latents of many requests, computed together, each request on its own terms."""

from __future__ import annotations

import asyncio
import time
from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from serving.base.clients import CLIENT, Client
from serving.base.errors import DeadlineExceeded, NotReady, QueueFull
from serving.base.monitoring import Metrics
from serving.inference.session import Computes
from serving.inference.statistics import InferenceStatistics
from serving.inference.thread import ComputeThread
from serving.inference.turns import Turns

Images = Float32[np.ndarray, "b c h w"]
Finish = Callable[[Images], Images]


@dataclass(eq=False)
class _Item:
    """Latents of one request, and the images that have been computed of them."""

    latents: Float32[np.ndarray, "n *latent"]
    future: asyncio.Future[Images]
    arrived: float
    client: Client
    turn: float
    finish: Finish | None
    context: Any = None
    begun: float = 0.0
    infer_seconds: float = 0.0
    finish_seconds: float = 0.0
    taken: int = 0
    parts: list[Images] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Latents that no batch has taken yet."""
        return len(self.latents) - self.taken

    def add(self, part: Images) -> bool:
        """Images of its next latents; whether they were the last, with which the request is answered."""
        self.parts.append(part)
        if not self.future.done() and sum(map(len, self.parts)) == len(self.latents):
            # One part goes out as it is: at saturation with full batches nothing is copied.
            self.future.set_result(self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts))
            return True
        return False


class Batcher:
    """A bounded queue before one generator, whose clients have their turns.

    A full batch goes at once, also while another is computed. One that is not full goes when nothing is computed; if
    the batch before it held several requests, not before `max_wait` after its first one, since more are likely then,
    and a lone client never waits. A request whose client left, or whose deadline
    has passed, is taken out of the queue without a computation.

    Attributes:
        generator: that computes.
        statistics: of its requests and batches.
    """

    def __init__(
        self,
        generator: Computes,
        thread: ComputeThread,
        metrics: Metrics,
        *,
        max_wait: float,
        max_queue: int,
    ) -> None:
        """A batcher that computes in `thread`, which all batchers share.

        Args:
            max_wait: seconds.
            max_queue: samples.
        """
        self.generator = generator
        self.statistics = InferenceStatistics()
        self._thread = thread
        self._metrics = metrics
        self._max_wait = max_wait
        self._max_queue = max_queue
        self._size = generator.buckets[-1]
        # By their turns.
        self._queue: list[_Item] = []
        self._turns = Turns()
        self._n_queued = 0
        self._n_computing = 0
        self._timer: asyncio.TimerHandle | None = None
        self._n_requests_last = 0
        self._closed = False
        # A first guess; every batch corrects it.
        self._seconds_per_sample = 0.01

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is computed."""
        return not self._queue and not self._n_computing

    async def run(
        self, latents: Float32[np.ndarray, "n *latent"], deadline: float, *, is_begun: bool = False
    ) -> Images:
        """Images in the network's range; arguments and errors are those of `submit`."""
        return await self.submit(latents, deadline, is_begun=is_begun)

    def submit(
        self,
        latents: Float32[np.ndarray, "n *latent"],
        deadline: float,
        *,
        is_begun: bool = False,
        finish: Finish | None = None,
    ) -> asyncio.Future[Images]:
        """Images to come; who no longer wants them cancels the future.

        Args:
            latents: of any number.
            deadline: on the clock of `time.monotonic`.
            is_begun: whether a part of the answer is with the client already, or has been computed; it is then not
                refused for those who came later. Such a request has one block in the queue, and none begins while the
                queue is full.
            finish: what is done to the images where they were computed, in the same thread; None for the network's
                own range.

        Raises:
            QueueFull: where they do not fit into the queue.
            NotReady: where the version is no longer served; also by the future.
            DeadlineExceeded: by the future, where they are not computed in time.
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
        loop, now = asyncio.get_running_loop(), time.monotonic()
        turn, context = self._turns.finish(client, n), self._metrics.spans.context()
        item = _Item(latents, loop.create_future(), now, client, turn, finish, context)
        insort(self._queue, item, key=_turn)
        self._count(n)
        timer = loop.call_later(max(0.0, deadline - now), _expire, item.future)
        item.future.add_done_callback(partial(self._ended, item, timer))
        self._dispatch()
        return item.future

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

    def _ended(self, item: _Item, timer: asyncio.TimerHandle, future: asyncio.Future[Images]) -> None:
        timer.cancel()
        # Its failure is raised where it is awaited; nobody else has to hear of it.
        if future.cancelled() or future.exception() is not None:
            self._forget(item)
            self.statistics.fail.add(time.monotonic() - item.arrived)

    def _forget(self, item: _Item) -> None:
        if item.left and item in self._queue:
            self._queue.remove(item)
            self._count(-item.left)

    def _count(self, n: int) -> None:
        self._n_queued += n
        self._metrics.queued_samples.inc(n)

    def _dispatch(self) -> None:
        """Start the batches that may start now, and see to it that the others will."""
        while self._n_queued and self._n_computing < 2 and not self._closed:
            full = self._n_queued >= self._size
            if not full and self._n_computing:
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
        if self._n_queued and not self._n_computing and not self._closed:
            self._start()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, latents = self._take()
        self._n_computing += 1
        self._thread.submit(partial(self._compute, batch, latents), partial(self._computed, batch))

    def _take(self) -> tuple[list[tuple[_Item, int]], Float32[np.ndarray, "b *latent"]]:
        """The next latents in their turn, of as many requests as fit; a request may be cut between two batches."""
        batch: list[tuple[_Item, int]] = []
        pieces: list[Float32[np.ndarray, "b *latent"]] = []
        free, now = self._size, time.monotonic()
        while self._queue and free:
            item = self._queue[0]
            n = min(item.left, free)
            self._turns.serve(item.turn - (item.left - n) / item.client.weight)
            if item.taken == 0:
                self._metrics.queue_seconds.observe(now - item.arrived)
                item.begun = now
                self._metrics.spans.add("queue", item.arrived, now, item.context)
            pieces.append(item.latents[item.taken : item.taken + n])
            item.taken += n
            batch.append((item, n))
            free -= n
            self._count(-n)
            if not item.left:
                self._queue.pop(0)
        self._n_requests_last = len(batch)
        return batch, pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _compute(
        self, batch: Sequence[tuple[_Item, int]], latents: Float32[np.ndarray, "b *latent"]
    ) -> tuple[list[Images], float, float]:
        """In the thread: each request's images of this batch, and the seconds of computing and of finishing them."""
        start = time.perf_counter()
        images = self.generator.run(latents)
        computed = time.perf_counter()
        parts, first = [], 0
        for item, n in batch:
            part = images[first : first + n]
            parts.append(part if item.finish is None else item.finish(part))
            first += n
        return parts, computed - start, time.perf_counter() - computed

    def _computed(
        self, batch: Sequence[tuple[_Item, int]], result: tuple[list[Images], float, float], error: BaseException | None
    ) -> None:
        self._n_computing -= 1
        self._dispatch()
        # Whatever it is, it is the answer to those who wait for this batch, and to nobody else.
        if error is not None:
            for item, _ in batch:
                if not item.future.done():
                    item.future.set_exception(error)
            return
        parts, seconds, finish_seconds = result
        n_samples = sum(n for _, n in batch)
        self._seconds_per_sample += 0.2 * (seconds / n_samples - self._seconds_per_sample)
        self._metrics.compute_seconds.observe(seconds)
        self._metrics.batch_samples.observe(n_samples)
        self.statistics.computed(n_samples, seconds, finish_seconds)
        for (item, _), part in zip(batch, parts, strict=True):
            item.infer_seconds += seconds
            item.finish_seconds += finish_seconds
            if item.add(part):
                now = time.monotonic()
                self.statistics.answered(
                    now - item.arrived,
                    queue=item.begun - item.arrived,
                    infer=item.infer_seconds,
                    output=item.finish_seconds,
                )
                self._metrics.spans.add("compute", item.begun, now, item.context, samples=len(item.latents))


def _expire(future: asyncio.Future[Images]) -> None:
    if not future.done():
        text = "the samples were not ready in time; ask for less at once, or when there is less to do"
        future.set_exception(DeadlineExceeded(text))


def _turn(item: _Item) -> float:
    return item.turn
