"""Messages that no client of the protocol would send, made of those it would: each is answered, none is our fault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2 as pb

from tests.serving.adversary.conftest import MIB, Target

pytestmark = pytest.mark.slow
# The same examples in every run, and none cut short by how long it takes.
FUZZ = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# What the sender may have done wrong, or asked too much of; INTERNAL and UNKNOWN would be faults of the service.
ANSWERS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}


def infer_request(*, is_typed: bool = False) -> pb.ModelInferRequest:
    tensor = pb.ModelInferRequest.InferInputTensor(name="latent", datatype="FP32", shape=[2, 4])
    request = pb.ModelInferRequest(model_name="shale", model_version="1", id="mine", inputs=[tensor])
    request.outputs.add(name="image")
    request.parameters["timeout"].int64_param = 10_000_000
    if is_typed:
        request.inputs[0].contents.fp32_contents.extend([0.25] * 8)
    else:
        request.raw_input_contents.append(bytes(32))
    return request


# A good message of every call, by its path.
SEEDS: dict[str, Any] = {
    f"{SERVICE}ServerLive": pb.ServerLiveRequest(),
    f"{SERVICE}ServerReady": pb.ServerReadyRequest(),
    f"{SERVICE}ModelReady": pb.ModelReadyRequest(name="shale", version="1"),
    f"{SERVICE}ServerMetadata": pb.ServerMetadataRequest(),
    f"{SERVICE}ModelMetadata": pb.ModelMetadataRequest(name="shale", version="1"),
    f"{SERVICE}ModelConfig": pb.ModelConfigRequest(name="shale", version="1"),
    f"{SERVICE}ModelStatistics": pb.ModelStatisticsRequest(name="shale", version="1"),
    f"{SERVICE}RepositoryIndex": pb.RepositoryIndexRequest(ready=True),
    "/grpc.health.v1.Health/Check": health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService"),
}
INFERS = (infer_request().SerializeToString(), infer_request(is_typed=True).SerializeToString())
ASKED = tuple(
    each.SerializeToString()
    for each in (
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService"),
    )
)
# Ends of varints, lengths and tags; NaN and infinity.
TELLING = (b"\x00", b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\x2a\x00", b"\x32\x00", b"\x3a\x00", b"\x0b\x0c")
TELLING += (b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x3a\x05abcde", b"\xff\xff\xff\xff\x0f")


@st.composite
def mutated(draw: st.DrawFn, *seeds: bytes) -> bytes:
    """One of the messages after a few changes: a byte, a piece more, one less, one twice, another message after it."""
    message = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 6))):
        where = draw(st.integers(0, len(message)))
        end = draw(st.integers(where, min(len(message), where + 24)))
        match draw(st.sampled_from(("byte", "more", "telling", "less", "twice", "after"))):
            case "byte":
                message[where : where + 1] = bytes([draw(st.integers(0, 255))])
            case "more":
                message[where:where] = draw(st.binary(max_size=24))
            case "telling":
                message[where:where] = draw(st.sampled_from(TELLING))
            case "less":
                del message[where:end]
            case "twice":
                message[where:where] = message[where:end] * draw(st.integers(1, 200))
            case "after":
                message += draw(st.sampled_from(seeds))
    return bytes(message)


@pytest.fixture(scope="module")
def channel(target: Target) -> Iterator[grpc.Channel]:
    """One connection, which the messages come over as they are."""
    with grpc.insecure_channel(target.process.grpc) as opened:
        yield opened


@pytest.fixture(autouse=True)
def whole(target: Target, channel: grpc.Channel) -> Iterator[None]:
    """After each test the service is the same process, answers what is right, and holds no more than before."""
    before = target.memory
    yield
    assert target.process.process.poll() is None
    answer = channel.unary_unary(INFER)(INFERS[0], timeout=30, metadata=(("x-api-key", target.greedy),))
    assert list(pb.ModelInferResponse.FromString(answer).outputs[0].shape) == [2, 1, 16, 16]
    assert httpx.get(target.process.url + "/v2/health/ready").status_code == 200
    assert target.process.metrics()["rockbank_held_bytes"] == 0
    assert target.memory - before < 48 * MIB
    assert not [line for line in target.process.lines if "not foreseen" in line or "Traceback" in line]


def status(channel: grpc.Channel, target: Target, method: str, message: bytes) -> tuple[grpc.StatusCode, str]:
    try:
        channel.unary_unary(method)(message, timeout=30, metadata=(("x-api-key", target.greedy),))
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@FUZZ
@given(message=st.one_of(mutated(*INFERS), mutated(*INFERS), st.binary(max_size=200)))
def test_any_message_to_infer_is_answered(target: Target, channel: grpc.Channel, message: bytes) -> None:
    code, words = status(channel, target, INFER, message)
    assert code in ANSWERS, words
    assert code is grpc.StatusCode.OK or words


@pytest.mark.parametrize("method", SEEDS, ids=lambda path: path.rpartition("/")[2])
def test_any_message_to_any_other_call_is_answered(target: Target, channel: grpc.Channel, method: str) -> None:
    seed = SEEDS[method].SerializeToString()
    assert status(channel, target, method, seed) == (grpc.StatusCode.OK, "")

    @settings(FUZZ, max_examples=40)
    @given(message=st.one_of(mutated(seed, *INFERS), mutated(seed), st.binary(max_size=200)))
    def answered(message: bytes) -> None:
        code, words = status(channel, target, method, message)
        assert code in ANSWERS, words

    answered()


@settings(FUZZ, max_examples=60)
@given(messages=st.lists(st.one_of(mutated(*ASKED), st.binary(max_size=60)), min_size=1, max_size=3))
def test_any_messages_to_reflection_are_answered(target: Target, channel: grpc.Channel, messages: list[bytes]) -> None:
    call = channel.stream_stream(REFLECTION)(iter(messages), timeout=30, metadata=(("x-api-key", target.greedy),))
    with suppress(grpc.RpcError):
        list(call)
    assert call.code() in ANSWERS, call.details()


@settings(FUZZ, max_examples=30)
@given(name=st.from_regex(r"[A-Za-z0-9._-]{1,40}", fullmatch=True), message=st.binary(max_size=60))
def test_a_call_that_is_not_there_is_said_to_be_none(
    target: Target, channel: grpc.Channel, name: str, message: bytes
) -> None:
    assert status(channel, target, f"{SERVICE}No{name}", message)[0] is grpc.StatusCode.UNIMPLEMENTED
