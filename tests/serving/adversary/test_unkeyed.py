"""What a call without a key costs: nothing of its message is taken, and what is taken of others is bounded."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.serving.adversary.conftest import MIB, Target

pytestmark = pytest.mark.slow
SERVICE = "/inference.GRPCInferenceService/"
METHOD = f"{SERVICE}ModelInfer"


def call(target: Target, message: bytes, key: str | None = None, method: str = METHOD) -> tuple[Any, str]:
    """The status of a call of these bytes, and its words."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    metadata = (("x-api-key", key),) if key else ()
    with grpc.insecure_channel(target.process.grpc, options=options) as channel:
        try:
            channel.unary_unary(method)(message, timeout=60, metadata=metadata)
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_large_calls_without_a_key_are_refused_before_they_are_taken(target: Target) -> None:
    before, message = target.memory, bytes(60 * MIB)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: call(target, message), range(10)))
    assert {code for code, _ in answers} == {grpc.StatusCode.UNAUTHENTICATED}
    # Ten windows of HTTP/2, where ten messages and their parts were 1.5 GB.
    assert target.memory - before < 48 * MIB


def test_a_probe_that_says_much_is_answered_unread(target: Target) -> None:
    before = target.memory
    assert call(target, bytes(60 * MIB), method=f"{SERVICE}ServerLive")[0] is grpc.StatusCode.OK
    assert target.memory - before < 16 * MIB


TENSOR = pb.ModelInferRequest.InferInputTensor(name="latent", datatype="FP32", shape=[1, 4])
NAMES = pb.ModelInferRequest(model_name="shale").SerializeToString()
# Unpacked, each would take many times its bytes.
LONG = {
    "empty inputs": NAMES + b"\x2a\x00" * MIB,
    "empty outputs": NAMES + b"\x32\x00" * MIB,
    "empty raw contents": NAMES + b"\x3a\x00" * MIB,
    "empty contents of an input": NAMES + b"\x2a" + b"\x80\x80\x80\x01" + b"\x2a\x00" * MIB,
    "empty values of an input": NAMES + b"\x2a\x85\x80\x80\x01" + b"\x2a\x80\x80\x80\x01" + b"\x32\x00" * MIB,
    "values that are not packed": (
        NAMES + b"\x2a\x85\x80\x80\x01" + b"\x2a\x80\x80\x80\x01" + b"\x35\0\0\0\0" * 419_430 + b"\x32\x00"
    ),
    "a long name": NAMES + b"\x1a\x80\x80\x80\x01" + b"x" * 2 * MIB,
}  # fmt: skip


@pytest.mark.parametrize("name", LONG)
def test_a_message_of_many_parts_is_refused_before_it_is_unpacked(target: Target, name: str) -> None:
    before = target.memory
    code, words = call(target, LONG[name], target.greedy)
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, words
    assert "bytes of a message besides its values" in words
    assert target.memory - before < 16 * MIB


@pytest.mark.parametrize("message", [b"\x0f", b"\x2a\x05", b"\xff" * 20, b"\x2a\x02\x2a\x05", NAMES[:-2]])
def test_what_is_no_protobuf_is_a_bad_request(target: Target, message: bytes) -> None:
    assert call(target, message, target.greedy)[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_typed_values_may_be_many(target: Target) -> None:
    request = pb.ModelInferRequest(model_name="shale", inputs=[TENSOR])
    request.inputs[0].shape[0] = 2_000
    request.inputs[0].contents.fp32_contents.extend([0.5] * 8_000)
    assert call(target, request.SerializeToString(), target.greedy) == (grpc.StatusCode.OK, "")
