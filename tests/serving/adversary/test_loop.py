"""What costs much is done beside the event loop: whoever asks for little is answered meanwhile."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import httpx
import numpy as np
import pytest

from tests.serving.adversary.conftest import MIB, Target
from tests.serving.adversary.test_unkeyed import call
from tests.serving.processes import START_SECONDS

pytestmark = pytest.mark.slow
INFER = "/v2/models/shale/infer"
# Of an answer to a probe. A loop that parses, unpacks or draws by itself needed 6.4 s and more of each load here.
MOST_SECONDS = 3.0


@contextmanager
def live_meanwhile(target: Target) -> Iterator[None]:
    """A probe after the other, each of which has to be answered soon, while the block loads the service."""
    seconds: list[float] = []
    problems: list[str] = []
    is_over = threading.Event()

    def probe() -> None:
        with httpx.Client(base_url=target.process.url, timeout=START_SECONDS) as client:
            while not is_over.is_set() or not seconds:
                start = time.monotonic()
                try:
                    if (answer := client.get("/v2/health/live")).status_code != 200:
                        problems.append(answer.text)
                except httpx.HTTPError as error:
                    problems.append(repr(error))
                seconds.append(time.monotonic() - start)
                is_over.wait(0.02)

    prober = threading.Thread(target=probe)
    prober.start()
    try:
        yield
    finally:
        is_over.set()
        prober.join(START_SECONDS)
    assert problems == []
    assert max(seconds) < MOST_SECONDS


def post_all(target: Target, bodies: list[bytes], at_once: int, **headers: str) -> list[httpx.Response]:
    headers |= {"X-API-Key": target.greedy}
    opened = httpx.Client(base_url=target.process.url, headers=headers, timeout=START_SECONDS)
    with opened as client, ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(lambda body: client.post(INFER, content=body), bodies))


def json_body(n: int) -> bytes:
    values = np.random.default_rng(7).normal(size=4 * n).tolist()
    return json.dumps({"inputs": [{"name": "latent", "shape": [n, 4], "datatype": "FP32", "data": values}]}).encode()


def test_large_bodies_of_json_hold_up_no_probe(target: Target) -> None:
    bodies = [json_body(n) for n in (25_000, 48_000)]
    assert [MIB < len(body) < 4 * MIB for body in bodies] == [True, True]
    with live_meanwhile(target):
        answers = post_all(target, bodies * 10, 10, **{"Content-Type": "application/json"})
    # In turn one that may come, and one that is too large for JSON.
    assert 200 in {each.status_code for each in answers[::2]} <= {200, 429, 503}
    assert {each.status_code for each in answers[1::2]} <= {413, 503}


def test_bombs_hold_up_no_probe(target: Target) -> None:
    bomb = gzip.compress(bytes(63 * MIB))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    with live_meanwhile(target):
        answers = post_all(target, [bomb] * 40, 20, **headers)
    assert {each.status_code for each in answers} <= {413, 503}
    assert 413 in {each.status_code for each in answers}


def test_scrapers_hold_up_no_probe(target: Target) -> None:
    def scrape(_: int) -> int:
        return sum("rockbank_connections " in httpx.get(target.process.url + "/metrics").text for _ in range(10))

    with live_meanwhile(target), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(scrape, range(4))) == [10] * 4


def test_large_calls_without_a_key_hold_up_no_probe(target: Target) -> None:
    message = bytes(60 * MIB)
    with live_meanwhile(target), ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: call(target, message), range(10)))
    assert {code for code, _ in answers} == {grpc.StatusCode.UNAUTHENTICATED}
