"""Samples block by block, over broken connections and several replicas."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from rockbank.client import AsyncClient, Client, ClientError, RetryPolicy, Unreachable
from rockbank.core.errors import InputError
from tests.client.test_client import BUSY, CUT, HASTY, ORIGIN, SAMPLES, WHOLE, answer, npy, playing

# The header, one sample whole and a part of the next.
ONE = answer(200, npy(SAMPLES)[: 128 + 1024 + 100], ORIGIN, announced=len(npy(SAMPLES)))


def test_blocks_are_the_samples_in_their_order() -> None:
    counts: list[int] = []
    with playing(WHOLE) as part, Client(part.url) as client:
        blocks = list(client.stream("shale", n=3, progress=counts.append))
    np.testing.assert_array_equal(np.concatenate([block.array for block in blocks]), SAMPLES)
    assert (blocks[0].seed, counts[-1]) == (7, 3)


def test_a_broken_stream_goes_on_at_the_next_replica_with_the_same_seed_and_version() -> None:
    with (
        playing(ONE) as first,
        playing(BUSY, WHOLE) as second,
        Client([first.url, second.url], retry=HASTY) as client,
    ):
        blocks = list(client.stream("shale", n=3))
        np.testing.assert_array_equal(np.concatenate([block.array for block in blocks]), SAMPLES)
        assert client.url == second.url
    assert "seed" not in json.loads(first.requests[0][2])
    path, _, body = second.requests[-1]
    assert path == "POST /v2/models/shale/versions/3/generate"
    assert json.loads(body)["seed"] == 7


def test_the_awaited_client_streams_alike() -> None:
    async def take(*urls: str) -> list[np.ndarray]:
        async with AsyncClient(urls, retry=HASTY) as client:
            return [block.array async for block in client.stream("shale", n=3)]

    with playing(CUT) as first, playing(WHOLE) as second:
        arrays = asyncio.run(take(first.url, second.url))
    np.testing.assert_array_equal(np.concatenate(arrays), SAMPLES)


def test_a_replica_that_has_not_been_asked_is_asked_at_once() -> None:
    slow = RetryPolicy(retries=1, first=1000.0, longest=1000.0)
    with playing(WHOLE) as there, Client(["http://127.0.0.1:9", there.url], retry=slow) as client:
        assert client.generate("shale", n=3).array.shape == SAMPLES.shape
        assert client.url == there.url


def test_a_stream_gives_up_after_its_retries_and_refuses_what_is_no_array() -> None:
    with playing(ONE) as part, Client(part.url, retry=HASTY) as client:
        with pytest.raises(Unreachable):
            list(client.stream("shale", n=3))
        assert len(part.requests) == 4
    with (
        playing(answer(200, b"x" * 4000, ORIGIN)) as part,
        Client(part.url) as client,
        pytest.raises(ClientError, match="no array"),
    ):
        list(client.stream("shale"))
    with pytest.raises(InputError, match="no address"):
        Client([])
