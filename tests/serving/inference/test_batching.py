"""Requests share batches and nothing else: not their bits, their deadlines, their failures or their end."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.generator.card import ModelCard
from rockbank.generator.latents import draw_latents
from serving.base.clients import CLIENT, Client
from serving.base.errors import DeadlineExceeded, NotReady, QueueFull
from serving.base.monitoring import Metrics
from serving.inference.batching import Batcher
from serving.inference.session import Generator
from serving.inference.thread import ComputeThread

LONG = 30.0


class Gated(Generator):
    """The tiny generator, whose batches wait at a gate and are written down."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, ModelCard.load(folder), threads=1)
        self.gate = threading.Event()
        self.gate.set()
        self.sizes: list[int] = []

    def run(self, latents: Any) -> Any:
        if hasattr(self, "gate"):
            self.gate.wait(LONG)
            self.sizes.append(len(latents))
        return super().run(latents)


@pytest.fixture
def generator(generator_folder: Callable[..., Path]) -> Iterator[Gated]:
    gated = Gated(generator_folder())
    yield gated
    gated.gate.set()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make(generator: Gated, metrics: Metrics) -> Iterator[Callable[..., Batcher]]:
    thread = ComputeThread()
    yield lambda max_wait=0.0, max_queue=64: Batcher(generator, thread, metrics, max_wait=max_wait, max_queue=max_queue)
    generator.gate.set()
    thread.stop()


def latents(seed: int, n: int) -> Any:
    return draw_latents(seed, n, (4,))


def soon() -> float:
    return time.monotonic() + LONG


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread is about to bring about."""
    async with asyncio.timeout(LONG):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_request_gets_its_own_images_to_the_bit(make: Callable[..., Batcher], generator: Gated) -> None:
    batcher = make()
    sizes = [1, 5, 16, 3, 40, 7]
    # Others are there first, so that the requests after them are cut and put together.
    generator.gate.clear()
    tasks = [asyncio.create_task(batcher.run(latents(i, n), soon())) for i, n in enumerate(sizes)]
    await asyncio.sleep(0)
    generator.gate.set()
    images = await asyncio.gather(*tasks)
    for i, n in enumerate(sizes):
        np.testing.assert_array_equal(images[i], generator.sample(i, n))


async def test_what_comes_while_a_batch_is_computed_is_computed_together(
    make: Callable[..., Batcher], generator: Gated
) -> None:
    batcher = make()
    generator.gate.clear()
    tasks = [asyncio.create_task(batcher.run(latents(i, 2), soon())) for i in range(9)]
    await asyncio.sleep(0)
    generator.gate.set()
    await asyncio.gather(*tasks)
    # The first goes alone, since nothing else was there when it came; the others fill one batch.
    assert generator.sizes == [2, 16]


async def test_after_a_shared_batch_the_next_one_waits_for_companions(
    make: Callable[..., Batcher], generator: Gated
) -> None:
    batcher = make(max_wait=LONG / 2)
    generator.gate.clear()
    tasks = [asyncio.create_task(batcher.run(latents(i, 1), soon())) for i in range(3)]
    await asyncio.sleep(0)
    generator.gate.set()
    await asyncio.gather(*tasks)
    assert generator.sizes == [1, 2]
    one = asyncio.create_task(batcher.run(latents(0, 8), soon()))
    await asyncio.sleep(0.05)
    assert not one.done()
    await batcher.run(latents(1, 8), soon())
    await one
    assert generator.sizes == [1, 2, 16]


async def test_a_lone_request_never_waits_for_company(make: Callable[..., Batcher]) -> None:
    batcher = make(max_wait=10 * LONG)
    for seed in range(3):
        assert len(await batcher.run(latents(seed, 1), soon())) == 1


async def test_who_comes_while_a_large_request_is_computed_is_next(
    make: Callable[..., Batcher], generator: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher, right = make(max_queue=512), generator.run
    batches: list[Any] = []
    monkeypatch.setattr(generator, "run", lambda batch: (batches.append(batch), right(batch))[1])
    generator.gate.clear()
    large = batcher.submit(latents(1, 320), soon())
    # Two batches of it are with the thread.
    CLIENT.set(Client(name="lone"))
    lone = batcher.submit(latents(2, 1), soon())
    generator.gate.set()
    images = await large, await lone
    assert [latents(2, 1)[0].tolist() in batch.tolist() for batch in batches].index(True) == 2
    for seed, image in enumerate(images, 1):
        np.testing.assert_array_equal(image, generator.sample(seed, len(image)))


async def test_a_full_queue_refuses_with_the_time_to_come_back(make: Callable[..., Batcher], generator: Gated) -> None:
    batcher = make(max_queue=16)
    generator.gate.clear()
    # One is computed, four are the full batch that goes next, four fill the queue.
    tasks = [asyncio.create_task(batcher.run(latents(i, 4), soon())) for i in range(9)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="16 samples are waiting and the queue takes 16") as refused:
        await batcher.run(latents(9, 1), soon())
    assert int(refused.value.headers["Retry-After"]) >= 1
    generator.gate.set()
    assert [len(images) for images in await asyncio.gather(*tasks)] == [4] * 9


async def test_what_has_begun_is_not_broken_off_by_a_full_queue(make: Callable[..., Batcher], generator: Gated) -> None:
    batcher = make(max_queue=16)
    generator.gate.clear()
    tasks = [asyncio.create_task(batcher.run(latents(i, 4), soon())) for i in range(9)]
    await asyncio.sleep(0)
    begun = asyncio.create_task(batcher.run(latents(9, 4), soon(), is_begun=True))
    await asyncio.sleep(0)
    with pytest.raises(QueueFull, match="20 samples are waiting"):
        await batcher.run(latents(10, 1), soon())
    generator.gate.set()
    assert [len(images) for images in await asyncio.gather(*tasks, begun)] == [4] * 10


async def test_a_request_larger_than_the_queue_is_taken_where_nothing_waits(make: Callable[..., Batcher]) -> None:
    assert len(await make(max_queue=16).run(latents(1, 100), soon())) == 100


async def test_a_deadline_ends_its_own_request_and_no_other(make: Callable[..., Batcher], generator: Gated) -> None:
    batcher = make()
    generator.gate.clear()
    first = asyncio.create_task(batcher.run(latents(1, 1), soon()))
    patient = asyncio.create_task(batcher.run(latents(2, 2), soon()))
    await asyncio.sleep(0)
    with pytest.raises(DeadlineExceeded, match="were not ready in time"):
        await batcher.run(latents(3, 4), time.monotonic() + 0.05)
    generator.gate.set()
    await asyncio.gather(first, patient)
    # What was given up is not computed.
    assert generator.sizes == [1, 2]


async def test_a_client_that_goes_is_taken_out_and_holds_up_nobody(
    make: Callable[..., Batcher], generator: Gated, metrics: Metrics
) -> None:
    batcher = make()
    generator.gate.clear()
    first = asyncio.create_task(batcher.run(latents(1, 1), soon()))
    gone = asyncio.create_task(batcher.run(latents(2, 30), soon()))
    other = asyncio.create_task(batcher.run(latents(3, 3), soon()))
    # A full batch of the one that goes is on its way already; the rest of it never is.
    await until(lambda: batcher._n_queued == 17)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    generator.gate.set()
    images = await asyncio.gather(first, other)
    np.testing.assert_array_equal(images[1], generator.sample(3, 3))
    assert generator.sizes[:3] == [1, 16, 3]
    assert metrics.registry.get_sample_value("rockbank_queued_samples") == 0


async def test_a_batch_that_fails_fails_its_own_requests_and_the_next_go_on(
    make: Callable[..., Batcher], generator: Gated, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = make()
    right = generator.run

    def fails(latents: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(generator, "run", fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        await batcher.run(latents(1, 40), soon())
    monkeypatch.setattr(generator, "run", right)
    assert len(await batcher.run(latents(1, 3), soon())) == 3
    assert batcher.idle


async def test_a_closed_one_answers_what_waits_and_takes_nothing_more(
    make: Callable[..., Batcher], generator: Gated
) -> None:
    batcher = make()
    generator.gate.clear()
    first = asyncio.create_task(batcher.run(latents(1, 1), soon()))
    waiting = asyncio.create_task(batcher.run(latents(2, 1), soon()))
    await until(lambda: batcher._n_queued == 1)
    batcher.close()
    with pytest.raises(NotReady):
        await waiting
    with pytest.raises(NotReady):
        await batcher.run(latents(3, 1), soon())
    generator.gate.set()
    assert len(await first) == 1


async def test_batches_and_waits_are_counted(make: Callable[..., Batcher], metrics: Metrics) -> None:
    batcher = make()
    await batcher.run(latents(1, 20), soon())
    value = metrics.registry.get_sample_value
    assert value("rockbank_batch_samples_sum") == 20
    assert value("rockbank_batch_samples_count") == 2
    assert value("rockbank_compute_seconds_count") == 2
    assert value("rockbank_queue_seconds_count") == 1
