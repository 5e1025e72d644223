"""A client that asks for much keeps nobody else from little."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack

import httpx
import pytest

from tests.serving.adversary.conftest import Target
from tests.serving.processes import START_SECONDS

pytestmark = pytest.mark.slow
PATH = "/v2/models/shale/generate"
N_STREAMS = 24


def drain(connection: socket.socket) -> None:
    try:
        while connection.recv(1 << 20):
            pass
    except OSError:
        return


def test_many_streams_of_one_leave_anothers_lone_request_its_turn(target: Target) -> None:
    body = b'{"n": 1000000, "seed": 7}'
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {target.greedy}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with ExitStack() as stack, httpx.Client(base_url=target.process.url, timeout=START_SECONDS) as client:
        connections = [stack.enter_context(target.connect()) for _ in range(N_STREAMS)]
        readers = [threading.Thread(target=drain, args=(each,)) for each in connections]
        for connection, reader in zip(connections, readers, strict=True):
            connection.sendall(head + body)
            reader.start()
        end = time.monotonic() + START_SECONDS
        while target.process.metrics()["rockbank_queued_samples"] < 256 and time.monotonic() < end:
            time.sleep(0.05)
        statuses = [client.post(PATH, json={"n": 1}, headers={"X-API-Key": target.lone}).status_code for _ in range(20)]
        assert statuses == [200] * 20
        for connection in connections:
            connection.shutdown(socket.SHUT_RDWR)
        for reader in readers:
            reader.join(START_SECONDS)


def test_a_key_has_as_many_requests_at_once_and_samples_a_minute_as_its_line_says(target: Target) -> None:
    headers = {"X-API-Key": target.narrow}
    with httpx.Client(base_url=target.process.url, headers=headers, timeout=START_SECONDS) as client:
        with target.connect() as held:
            # Its body is still to come.
            held.sendall(
                f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {target.narrow}\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n".encode()
            )
            end = time.monotonic() + START_SECONDS
            while (response := client.get("/v2")).status_code == 200 and time.monotonic() < end:
                time.sleep(0.05)
            assert response.status_code == 429
            assert "has 1 requests under way" in response.text
        while client.get("/v2").status_code == 429 and time.monotonic() < end:
            time.sleep(0.05)
        # More than a minute's are taken from a full bucket, which is then empty for longer.
        assert client.post(PATH, json={"n": 150}).status_code == 200
        response = client.post(PATH, json={"n": 1})
        assert response.status_code == 429
        assert "has used up its 100 samples a minute" in response.text
        assert int(response.headers["retry-after"]) > 1
