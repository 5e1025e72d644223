"""Whom a gRPC call is counted for, and how many may be connected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from rockbank.generator.latents import draw_latents
from rockbank.mlops import registry
from serving.grpc.callers import address_of
from serving.keys import make_key
from tests.serving.processes import launch
from tests.serving.test_grpc import LATENT, Start, infer_request, latent, raw_infer, refused, triton_at

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


@pytest.mark.slow
def test_keys_and_rates_are_those_of_http(shale: Path, start_process: Start, tmp_path: Path) -> None:
    key, line = make_key("somebody")
    (tmp_path / "keys").write_text(f"{line}:6\n")
    running = start_process(grpc_port=0, keys_file=tmp_path / "keys")
    good = latent(draw_latents(7, 1, LATENT))
    with triton_at(running) as client:
        assert client.is_server_live()
        with refused("UNAUTHENTICATED", "no key; send"):
            client.infer("shale", good)
        with refused("UNAUTHENTICATED", "the key is not known"):
            client.infer("shale", good, headers={"authorization": "Bearer wrong"})
        with refused("UNAUTHENTICATED", "no key"):
            client.get_model_metadata("shale")
        for headers in ({"authorization": f"Bearer {key}"}, {"x-api-key": key}):
            assert client.infer("shale", good, headers=headers).as_numpy("image").shape == (1, 1, 16, 16)
        with refused("RESOURCE_EXHAUSTED", "has used up its 6 requests a minute"):
            for _ in range(7):
                client.infer("shale", good, headers={"authorization": f"Bearer {key}"})
    metrics = running.metrics()
    assert metrics["rockbank_rejections_total{reason=bad_key}"] == 3
    assert metrics["rockbank_rejections_total{reason=rate_limit}"] == 1


@pytest.mark.slow
def test_samples_of_a_key_are_counted(shale: Path, start_process: Start, tmp_path: Path) -> None:
    key, line = make_key("narrow")
    (tmp_path / "keys").write_text(f"{line}::samples=100\n")
    running = start_process(grpc_port=0, keys_file=tmp_path / "keys")
    with triton_at(running) as client:
        # What was asked for over HTTP is of the same minute.
        answer = httpx.post(f"{running.url}/v2/models/shale/generate", json={"n": 60}, headers={"X-API-Key": key})
        assert answer.status_code == 200
        given = {"headers": {"x-api-key": key}}
        assert client.infer("shale", latent(draw_latents(7, 30, LATENT)), **given).as_numpy("image").shape[0] == 30
        with refused("RESOURCE_EXHAUSTED", "has used up its 100 samples a minute"):
            client.infer("shale", latent(draw_latents(7, 60, LATENT)), **given)
        assert client.get_server_metadata(**given).name == "rockbank"


@pytest.mark.slow
def test_images_of_other_extents_are_counted_by_their_pixels(
    store: Path, generator_folder: Callable[..., Path], tmp_path: Path
) -> None:
    registry.push("shale", generator_folder(endless=True))
    registry.set_alias("shale", registry.CHAMPION, "1")
    running = launch(store, grpc_port=0, samples_per_minute=100)
    try:
        # Each has the pixels of four of the card's own.
        request = infer_request(bytes(4 * 13 * 8 * 18 * 18), [13, 8, 18, 18])
        raw_infer(running.grpc, request)
        with pytest.raises(grpc.RpcError, match="has used up its 100 samples a minute"):
            raw_infer(running.grpc, request)
    finally:
        running.end()
