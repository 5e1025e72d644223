"""The service as a process: how it ends, and what slow and vanishing clients do to it."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest

from serving.base.settings import SettingsError
from serving.http.server import bind
from tests import warm
from tests.serving.processes import START_SECONDS, Process
from tests.tiny_generators import tiny_images

Start = Callable[..., Process]
PATH = "/v2/models/shale/generate"


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process is about to do."""
    end = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def request(n: int) -> bytes:
    body = json.dumps({"n": n, "seed": 7}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def connect(process: Process, receive_buffer: int | None = None) -> socket.socket:
    host, port = process.address.split(":")
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(START_SECONDS)
    connection.connect((host, int(port)))
    return connection


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_status_0_after_what_is_being_answered(start_process: Start, number: int) -> None:
    process = start_process(max_n=100_000)
    with httpx.stream("POST", process.url + PATH, json={"n": 20_000, "seed": 7}, timeout=START_SECONDS) as response:
        chunks = response.iter_bytes()
        received = next(chunks)
        process.process.send_signal(number)
        received += b"".join(chunks)
    samples = np.load(io.BytesIO(received))
    assert samples.shape == (20_000, 1, 16, 16)
    np.testing.assert_allclose(samples[-8:], (tiny_images(7, 20_000, 1)[-8:] + 1) / 2, atol=1e-6)
    assert process.process.wait(START_SECONDS) == 0


@pytest.mark.slow
def test_after_the_signal_it_is_not_ready_and_still_answers_until_the_delay_is_over(start_process: Start) -> None:
    process = start_process(shutdown_delay_seconds=3)
    with httpx.Client(base_url=process.url) as client:
        assert client.get("/v2/health/ready").status_code == 200
        process.process.terminate()
        until(lambda: client.get("/v2/health/ready").status_code == 503)
        assert "is stopping" in client.get("/v2/health/ready").json()["error"]
        assert client.get("/v2/health/live").status_code == 200
        answer = client.post(PATH, json={"n": 2})
        assert answer.status_code == 200
        # So that no client sends its next request into a connection that is about to be closed.
        assert answer.headers["connection"] == "close"
    assert process.process.wait(START_SECONDS) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(process.url + "/v2/health/live")


@pytest.mark.slow
def test_a_client_that_takes_nothing_does_not_keep_it_from_ending(start_process: Start) -> None:
    process = start_process(drain_seconds=1, max_n=1_000_000)
    with connect(process, 4096) as stuck:
        stuck.sendall(request(1_000_000))
        stuck.recv(1024)
        process.process.terminate()
        assert process.process.wait(START_SECONDS) == 0


@pytest.mark.slow
def test_under_load_no_request_is_lost_where_clients_heed_that_it_is_not_ready(start_process: Start) -> None:
    process = start_process(shutdown_delay_seconds=4)
    failed: list[str] = []
    n_answered = [0]
    signalled = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=process.url, timeout=START_SECONDS) as client:
            while not signalled.is_set():
                try:
                    response = client.post(PATH, json={"n": 4})
                except httpx.HTTPError as error:
                    failed.append(repr(error))
                    return
                if response.status_code != 200 or len(response.content) != 128 + 4 * 4 * 256:
                    failed.append(response.text)
                n_answered[0] += 1

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    until(lambda: n_answered[0] > 20)
    process.process.terminate()
    # As a load balancer does: what is not ready gets no more.
    until(lambda: httpx.get(process.url + "/v2/health/ready").status_code == 503)
    n_then = n_answered[0]
    until(lambda: n_answered[0] > n_then + 20)
    signalled.set()
    assert process.process.wait(START_SECONDS) == 0
    for client in clients:
        client.join(START_SECONDS)
    assert failed == []


@pytest.mark.slow
def test_a_signal_under_load_breaks_no_request_on_a_connection_that_was_kept(start_process: Start) -> None:
    process = start_process(shutdown_delay_seconds=1)
    host, port = process.address.split(":")
    body = b'{"n": 4}'
    broken: list[str] = []
    n_kept, n_closed, n_refused = [0], [0], [0]

    def ask(connection: http.client.HTTPConnection) -> bool:
        """One request after the other until the service closes the connection; whether it took it at all."""
        try:
            connection.connect()
        except (ConnectionRefusedError, ConnectionResetError):
            return False
        n_answered = 0
        try:
            while True:
                connection.request("POST", PATH, body, {"Host": "x", "Content-Type": "application/json"})
                with connection.getresponse() as response:
                    assert (response.status, len(response.read())) == (200, 128 + 4 * 4 * 256)
                    n_answered += 1
                    if response.will_close:
                        n_closed[0] += 1
                        return True
                n_kept[0] += 1
        except (OSError, http.client.HTTPException, AssertionError) as error:
            # What the system had taken for a port that was then closed is as good as refused.
            if n_answered or not isinstance(error, ConnectionResetError):
                broken.append(repr(error))
            return False

    def keep_asking() -> None:
        end = time.monotonic() + START_SECONDS
        is_taken = True
        while is_taken:
            assert time.monotonic() < end
            with closing(http.client.HTTPConnection(host, int(port), timeout=START_SECONDS)) as connection:
                is_taken = ask(connection)
        n_refused[0] += 1

    clients = [threading.Thread(target=keep_asking) for _ in range(8)]
    for client in clients:
        client.start()
    until(lambda: n_kept[0] > 50)
    assert n_closed[0] == 0
    process.process.terminate()
    assert process.process.wait(START_SECONDS) == 0
    for client in clients:
        client.join(START_SECONDS)
    assert broken == []
    # All were told to go, went on with new connections, and ended with one that was not taken.
    assert n_closed[0] >= 8
    assert n_refused[0] == 8


@pytest.mark.slow
def test_a_client_that_goes_in_mid_stream_ends_its_computation_and_is_counted(start_process: Start) -> None:
    process = start_process(max_n=1_000_000)
    with connect(process, 4096) as connection:
        connection.sendall(request(1_000_000))
        connection.recv(1024)
    until(lambda: process.metrics().get("rockbank_rejections_total{reason=client_gone}", 0) == 1)
    metrics = process.metrics()
    # It is the request for the metrics itself that is being answered.
    assert metrics["rockbank_in_flight"] == 1
    assert metrics["rockbank_queued_samples"] == 0
    assert metrics["rockbank_samples_total{model=shale,route=current,version=1}"] < 100_000
    n_before = metrics["rockbank_batch_samples_count"]
    assert httpx.post(process.url + PATH, json={"n": 1}).status_code == 200
    assert process.metrics()["rockbank_batch_samples_count"] == n_before + 1


@pytest.mark.slow
def test_a_slow_client_holds_up_nobody_takes_no_memory_and_is_cut_off(start_process: Start) -> None:
    process = start_process(max_n=1_000_000, send_seconds=1)
    with connect(process, 4096) as slow:
        slow.sendall(request(1_000_000))
        slow.recv(1024)
        for _ in range(20):
            assert httpx.post(process.url + PATH, json={"n": 2}).status_code == 200
        # A block computed, one sent, one ahead; what was computed for the others is 40 more.
        assert process.metrics()["rockbank_samples_total{model=shale,route=current,version=1}"] < 5_000
        until(lambda: process.metrics().get("rockbank_rejections_total{reason=slow_client}", 0) == 1)
        until(lambda: process.metrics()["rockbank_in_flight"] == 1)


@pytest.mark.slow
def test_a_body_that_does_not_come_is_given_up(start_process: Start) -> None:
    process = start_process(deadline_seconds=0.3)
    with connect(process) as connection:
        connection.sendall(request(1)[:-3])
        received = b""
        while not received.endswith(b"}"):
            received += connection.recv(65536)
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"send less, or faster" in received


@pytest.mark.slow
def test_its_log_is_json_with_the_requests_id(start_process: Start) -> None:
    process = start_process()
    httpx.post(process.url + PATH, json={"n": 2}, headers={"X-Request-Id": "mine-7"})
    until(lambda: any("mine-7" in line for line in process.lines))
    records = [json.loads(line) for line in process.lines]
    (own,) = [record for record in records if record.get("request_id") == "mine-7"]
    assert own["message"] == f"POST {PATH} 200"
    assert own["route"] == "/v2/models/{name}/generate"
    assert own["level"] == "INFO"
    assert own["milliseconds"] > 0
    assert any("loaded shale/1" in record["message"] for record in records)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_it_starts_ends_it_with_status_0(tmp_path: Path, number: int) -> None:
    root = Path(__file__).parents[3]
    # A registry that takes the connection and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as registry:
        registry.settimeout(START_SECONDS)
        uri = f"http://127.0.0.1:{registry.getsockname()[1]}"
        given = {"ROCKBANK_TRACKING_URI": uri, "ROCKBANK_PORT": "0", "ROCKBANK_ALIAS_TIMEOUT_SECONDS": "60"}
        environment = {**os.environ, **given, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"}
        process = warm.Process(["-m", "serving"], tmp_path, environment)
        try:
            connection, _ = registry.accept()
            with connection:
                process.send_signal(number)
                said, logged = process.communicate(timeout=START_SECONDS)
        finally:
            process.kill()
            process.wait(START_SECONDS)
    assert process.returncode == 0, logged
    assert said == "ended before it served\n"
    assert "Traceback" not in logged


@pytest.mark.slow
def test_nothing_to_serve_is_one_line_and_status_1(store: Path) -> None:
    from tests.serving.processes import launch

    with pytest.raises(AssertionError, match=r"ended with 1: (.|\n)*error nothing to serve: shale@champion") as caught:
        launch(store)
    assert "Traceback" not in str(caught.value)


def test_a_port_that_is_taken_is_reported(tmp_path: Path) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port} cannot be listened on: .* by --port"):
            bind("127.0.0.1", port)


def test_a_host_that_is_none_is_reported() -> None:
    with pytest.raises(SettingsError, match="or by --host"):
        bind("no.such.host.invalid", 0)
