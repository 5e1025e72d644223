"""Bounds for the whole process: what does not fit is told to come later, counted, and nothing of it is kept."""

from __future__ import annotations

import gzip
import time
from contextlib import ExitStack

import httpx
import pytest

from tests.serving.adversary.conftest import MAX_CONNECTIONS, MIB, Target
from tests.serving.processes import START_SECONDS

pytestmark = pytest.mark.slow
INFER = "/v2/models/shale/infer"


def head(target: Target, n_bytes: int) -> bytes:
    return (
        f"POST {INFER} HTTP/1.1\r\nHost: x\r\nX-API-Key: {target.greedy}\r\n"
        "Content-Type: application/octet-stream\r\nInference-Header-Content-Length: 9\r\n"
        f"Content-Length: {n_bytes}\r\n\r\n"
    ).encode()


def until_held(target: Target, n_bytes: int) -> None:
    end = time.monotonic() + START_SECONDS
    while (held := target.process.metrics()["rockbank_held_bytes"]) != n_bytes:
        assert time.monotonic() < end, held
        time.sleep(0.05)


def test_bodies_that_do_not_fit_together_are_told_to_come_later(target: Target) -> None:
    before = target.rejected("busy")
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(target.connect()).sendall(head(target, 60 * MIB))
        until_held(target, 120 * MIB)
        third = stack.enter_context(target.connect())
        third.sendall(head(target, 60 * MIB))
        answer = b""
        while b"ask again after the seconds of Retry-After" not in answer:
            part = third.recv(65536)
            assert part, answer
            answer += part
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer.lower()
        # What fits goes on.
        body = {"n": 1, "seed": 7}
        url, headers = target.process.url + "/v2/models/shale/generate", {"X-API-Key": target.lone}
        assert httpx.post(url, json=body, headers=headers).status_code == 200
    until_held(target, 0)
    assert target.rejected("busy") == before + 1


def test_bombs_are_refused_before_they_are_large(target: Target) -> None:
    bomb = gzip.compress(bytes(63 * MIB))
    headers = {"X-API-Key": target.greedy, "Content-Encoding": "gzip", "Content-Type": "application/octet-stream"}
    headers |= {"Inference-Header-Content-Length": "9"}
    with ExitStack() as stack, httpx.Client(timeout=START_SECONDS) as client:
        # Others leave 16 MiB, into which no bomb fits whole: it would be told to come later, by 503.
        for _ in range(2):
            stack.enter_context(target.connect()).sendall(head(target, 56 * MIB))
        until_held(target, 112 * MIB)
        for _ in range(5):
            response = client.post(target.process.url + INFER, content=bomb, headers=headers)
            assert response.status_code == 413
            assert "100 times as long once decompressed" in response.text
        until_held(target, 112 * MIB)
    until_held(target, 0)


def test_connections_beyond_the_limit_are_told_so_and_counted(target: Target) -> None:
    # Twice as many as there may be, each of which has to be answered: by nothing yet, or by 503.
    with ExitStack() as stack:
        held = [stack.enter_context(target.connect()) for _ in range(MAX_CONNECTIONS)]
        answer = target.exchange(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in answer.lower()
        assert b'"request_id": "' in answer
        # One that ends makes room for another.
        held[0].sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert held[0].recv(65536).startswith(b"HTTP/1.1 200 ")
        assert httpx.get(target.process.url + "/v2/health/live").status_code == 200
    metrics = target.process.metrics()
    assert metrics["rockbank_rejections_total{reason=busy}"] >= 1
    assert metrics["rockbank_requests_total{method=other,route=unmatched,status=503}"] >= 1
    assert metrics["rockbank_connections"] >= 1


def test_the_loops_lag_is_told(target: Target) -> None:
    assert target.process.metrics()["rockbank_loop_lag_seconds_count"] > 0
