"""What Triton does and this service does not, over gRPC: it is refused by its name, and never ignored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb

from tests.serving.processes import service_process
from tests.serving.test_grpc import METHOD, infer_request, raw_infer

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Any]:
    """One service for tests that leave nothing behind in it."""
    with service_process(tmp_path_factory.mktemp("work"), empty_store, grpc_port=0) as running:
        yield running


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("inputs", "shared_memory_region", {"string_param": "latents"}),
        ("inputs", "shared_memory_byte_size", {"int64_param": 16}),
        ("outputs", "shared_memory_region", {"string_param": "images"}),
        ("request", "sequence_id", {"int64_param": 5}),
        ("request", "sequence_id", {"string_param": "five"}),
        ("request", "sequence_start", {"bool_param": True}),
        ("request", "priority", {"uint64_param": 1}),
    ],
)
def test_what_is_not_done_is_refused_and_not_ignored(steady: Any, where: str, name: str, value: dict[str, Any]) -> None:
    request = infer_request(bytes(16), [1, 4])
    request.outputs.add(name="image")
    of = {"request": request, "inputs": request.inputs[0], "outputs": request.outputs[0]}[where]
    of.parameters[name].CopyFrom(pb.InferParameter(**value))
    with pytest.raises(grpc.RpcError, match=rf"\['{name}'\] is not done here; leave it out") as caught:
        raw_infer(steady.grpc, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "value", [{"string_param": "5"}, {"double_param": 0.5}, {"bool_param": True}, {"int64_param": -1}, {}]
)
def test_a_timeout_that_is_no_whole_number_is_refused(steady: Any, value: dict[str, Any]) -> None:
    request = infer_request(bytes(16), [1, 4])
    request.parameters["timeout"].CopyFrom(pb.InferParameter(**value))
    with pytest.raises(grpc.RpcError, match=r"parameters\.timeout: got .*; send whole microseconds") as caught:
        raw_infer(steady.grpc, request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
def test_a_timeout_is_heeded_in_either_kind_of_whole_number(steady: Any, kind: str) -> None:
    request = infer_request(bytes(16), [1, 4])
    request.parameters["timeout"].CopyFrom(pb.InferParameter(**{kind: 1}))
    with pytest.raises(grpc.RpcError, match="not ready in time") as caught:
        raw_infer(steady.grpc, request)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("call", ["SystemSharedMemoryRegister", "SystemSharedMemoryStatus", "CudaSharedMemoryRegister"])
def test_there_is_no_call_for_shared_memory(steady: Any, call: str) -> None:
    with grpc.insecure_channel(steady.grpc) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(METHOD.replace("ModelInfer", call))(b"", timeout=30)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
