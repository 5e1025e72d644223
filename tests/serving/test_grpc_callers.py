"""Whom a gRPC call is counted for, and how many may be connected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.grpc.callers import address_of
from tests.serving.test_grpc import infer_request, raw_infer

NAMED, OTHER = "192.0.2.7", "192.0.2.8"


def test_a_peers_address_is_written_as_over_http() -> None:
    assert address_of("ipv4:127.0.0.1:50000") == "127.0.0.1"
    assert address_of("ipv6:%5B::1%5D:50000") == "::1"
    assert address_of("unix:") == "unix:"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("proxies", "told", "is_taken"),
    [
        # What comes before the last is the client's own word.
        ("127.0.0.0/8", f"198.51.100.9, {NAMED}", False),
        ("127.0.0.0/8", OTHER, True),
        # Nobody believes it: all calls are those of one address.
        ("10.0.0.0/8", OTHER, False),
    ],
)
def test_a_call_counts_for_the_address_that_a_trusted_proxy_tells(
    start_process: Callable[..., Any], proxies: str, told: str, is_taken: bool
) -> None:
    running = start_process(trusted_proxies=proxies, rate_per_minute=2, grpc_port=0)
    request = infer_request(bytes(16), [1, 4])

    def call(forwarded: str) -> None:
        raw_infer(running.grpc, request, metadata=[("x-forwarded-for", forwarded)])

    call(NAMED)
    call(NAMED)
    if is_taken:
        call(told)
    else:
        with pytest.raises(grpc.RpcError) as refused:
            call(told)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.slow
def test_connections_beyond_the_limit_are_not_taken_until_one_ends(start_process: Callable[..., Any]) -> None:
    running = start_process(max_connections=3, grpc_port=0)

    def connected() -> grpc.Channel:
        # Channels of one process share a connection otherwise.
        return grpc.insecure_channel(running.grpc, options=[("grpc.use_local_subchannel_pool", 1)])

    def check(channel: grpc.Channel) -> int:
        return int(health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5).status)

    with ExitStack() as stack:
        held = [stack.enter_context(connected()) for _ in range(3)]
        assert [check(each) for each in held] == [1, 1, 1]
        with connected() as late, pytest.raises(grpc.RpcError):
            check(late)
        held[0].close()
        with connected() as late:
            grpc.channel_ready_future(late).result(timeout=20)
            assert check(late) == 1
