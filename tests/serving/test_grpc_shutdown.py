"""How the server for gRPC ends: with that for HTTP, and not after it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.serving.http.test_shutdown import Start, connect, request, until
from tests.serving.processes import START_SECONDS, Process
from tests.serving.test_grpc import METHOD, infer_request, raw_infer

pytestmark = pytest.mark.slow
# Longer than any test waits.
NEVER = 600


def is_unavailable(running: Process) -> bool:
    """Whether a call over a connection of its own is not taken."""
    with grpc.insecure_channel(running.grpc, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(METHOD)(infer_request(bytes(16), [1, 4]).SerializeToString(), timeout=10)
        except grpc.RpcError as error:
            return bool(error.code() is grpc.StatusCode.UNAVAILABLE)
    return False


def test_the_end_is_bounded_and_no_failure(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0, drain_seconds=5)
    raw_infer(running.grpc, infer_request(bytes(16), [1, 4]))
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(30) == 0


def test_who_watches_its_health_reads_that_it_ends_and_does_not_hold_it_up(start_process: Start) -> None:
    running = start_process(grpc_port=0, drain_seconds=NEVER, shutdown_delay_seconds=1)
    with grpc.insecure_channel(running.grpc) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(), timeout=START_SECONDS)
        assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
        running.process.terminate()
        assert [each.status for each in watching] == [health_pb2.HealthCheckResponse.NOT_SERVING]
        assert running.process.wait(START_SECONDS) == 0


def test_no_call_is_taken_while_http_is_being_drained(start_process: Start) -> None:
    running = start_process(grpc_port=0, drain_seconds=NEVER, send_seconds=NEVER, max_n=1_000_000)
    with connect(running, 4096) as stuck:
        stuck.sendall(request(1_000_000))
        stuck.recv(1024)
        assert not is_unavailable(running)
        running.process.terminate()
        until(lambda: is_unavailable(running))
        # The stream over HTTP goes on.
        assert running.process.poll() is None
        stuck.recv(1024)
    assert running.process.wait(START_SECONDS) == 0


def test_a_third_signal_waits_for_no_call_either(start_process: Start) -> None:
    running = start_process(grpc_port=0, drain_seconds=NEVER, deadline_seconds=NEVER, shutdown_delay_seconds=NEVER)
    ended = threading.Event()

    def no_message() -> Iterator[bytes]:
        ended.wait(NEVER)
        yield from ()

    def refuses() -> bool:
        with httpx.Client(base_url=running.url) as client:
            try:
                client.get("/v2/health/live")
            except httpx.ConnectError:
                return True
        return False

    with grpc.insecure_channel(running.grpc) as channel:
        call = channel.stream_unary(METHOD).future(no_message())
        try:
            until(lambda: running.metrics()["rockbank_in_flight"] == 2)
            running.process.terminate()
            until(lambda: httpx.get(f"{running.url}/v2/health/ready").status_code == 503)
            running.process.terminate()
            until(refuses)
            assert running.process.poll() is None
            running.process.terminate()
            assert running.process.wait(START_SECONDS) == 0
            assert call.exception() is not None
        finally:
            ended.set()
