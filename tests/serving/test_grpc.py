"""tritonclient[grpc], as it comes, against the real service: the protocol, on the same terms as over HTTP."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient import grpc as triton
from tritonclient import http as triton_http
from tritonclient.grpc import aio as triton_aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from rockbank.client import Client
from rockbank.generator.latents import draw_latents
from serving.grpc_server import GrpcServer
from serving.keys import make_key
from tests.serving.conftest import Serve

pytestmark = pytest.mark.slow
Start = Callable[..., Any]
LATENT = (4,)
METHOD = "/inference.GRPCInferenceService/ModelInfer"


def latent(values: np.ndarray, name: str = "latent") -> list[Any]:
    tensor = triton.InferInput(name, list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    return [tensor]


@contextmanager
def triton_at(running: Any) -> Iterator[Any]:
    client = triton.InferenceServerClient(running.grpc)
    try:
        yield client
    finally:
        client.close()


def refused(code: str, words: str) -> Any:
    return pytest.raises(InferenceServerException, match=rf"\[StatusCode\.{code}\].*{words}")


def raw_infer(address: str, request: Any, **keywords: Any) -> Any:
    """What tritonclient would not let through, by the bare protocol."""
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        return call(request, timeout=30, **keywords)


def infer_request(raw: bytes | None, shape: list[int], **fields: Any) -> Any:
    tensor = pb.ModelInferRequest.InferInputTensor(name="latent", datatype="FP32", shape=shape)
    contents = [] if raw is None else [raw]
    return pb.ModelInferRequest(model_name="shale", inputs=[tensor], raw_input_contents=contents, **fields)


def test_the_protocol_is_that_of_tritonclient(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0)
    latents = draw_latents(7, 37, LATENT)
    with triton_at(running) as client, Client(running.url) as http:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("shale")
        assert client.is_model_ready("shale", "1")
        assert not client.is_model_ready("shale", "2")
        assert not client.is_model_ready("slate")

        server = client.get_server_metadata()
        assert server.name == "rockbank"
        assert server.version
        assert {"model_configuration", "statistics"} <= set(server.extensions)
        model = client.get_model_metadata("shale")
        assert (model.name, list(model.versions), model.platform) == ("shale", ["1"], "onnx_onnxv1")
        ((inputs,), (outputs,)) = model.inputs, model.outputs
        assert (inputs.name, inputs.datatype, list(inputs.shape)) == ("latent", "FP32", [-1, *LATENT])
        assert (outputs.name, outputs.datatype, list(outputs.shape)) == ("image", "FP32", [-1, 1, 16, 16])

        result = client.infer("shale", latent(latents), request_id="mine")
        images = result.as_numpy("image")
        assert result.get_response().id == "mine"
        assert result.get_response().model_version == "1"
        # The very bits of HTTP.
        np.testing.assert_array_equal(images, http.infer("shale", latents))
        answer = client.infer("shale", latent(latents), "1", outputs=[triton.InferRequestedOutput("image")])
        np.testing.assert_array_equal(answer.as_numpy("image"), images)

        metrics = running.metrics()
        served = f"rockbank_requests_total{{method=GRPC,route={METHOD},status=200}}"
        assert metrics[served] == 2
        assert metrics["rockbank_samples_total{model=shale,route=current,version=1}"] == 3 * 37
        assert metrics[f"rockbank_request_seconds_count{{route={METHOD}}}"] == 2
        # The scrape itself.
        assert metrics["rockbank_in_flight"] == 1


def test_awaited_requests_are_answered_together(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0)
    many = [draw_latents(seed, 3, LATENT) for seed in range(16)]

    async def infer() -> list[np.ndarray]:
        async with triton_aio.InferenceServerClient(running.grpc) as client:
            results = await asyncio.gather(*(client.infer("shale", latent(latents)) for latents in many))
            return [result.as_numpy("image") for result in results]

    images = asyncio.run(infer())
    with Client(running.url) as http:
        for latents, got in zip(many, images, strict=True):
            np.testing.assert_array_equal(got, http.infer("shale", latents))


def test_typed_values_are_read_like_raw_ones(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0)
    latents = draw_latents(7, 2, LATENT)
    typed = infer_request(None, [2, 4])
    typed.inputs[0].contents.fp32_contents.extend(latents.ravel().tolist())
    raw = raw_infer(running.grpc, infer_request(latents.tobytes(), [2, 4]))
    assert raw_infer(running.grpc, typed).raw_output_contents == raw.raw_output_contents


def test_what_is_wrong_is_reported_with_a_remedy(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0, max_n=64)
    good = draw_latents(7, 2, LATENT)
    with triton_at(running) as client:
        with refused("NOT_FOUND", "'slate' is not served here; served are"):
            client.infer("slate", latent(good))
        with refused("NOT_FOUND", "version '9' is not loaded; loaded are"):
            client.infer("shale", latent(good), "9")
        with refused("INVALID_ARGUMENT", r"send FP32 of shape \[n, 4\]"):
            client.infer("shale", latent(draw_latents(7, 2, (5,))))
        with refused("INVALID_ARGUMENT", "send one tensor, 'latent'"):
            client.infer("shale", latent(good, "z"))
        with refused("INVALID_ARGUMENT", "has NaN or infinity; send finite numbers"):
            client.infer("shale", latent(np.full((2, 4), np.nan, dtype=np.float32)))
        with refused("INVALID_ARGUMENT", "ask for one tensor, 'image'"):
            client.infer("shale", latent(good), outputs=[triton.InferRequestedOutput("picture")])
        with refused("RESOURCE_EXHAUSTED", "send at most 64 at once"):
            client.infer("shale", latent(draw_latents(7, 65, LATENT)))
        with refused("INVALID_ARGUMENT", "send whole microseconds"):
            client.infer("shale", latent(good), timeout=-1)
        with refused("UNIMPLEMENTED", ""):
            client.get_trace_settings()
        # After all of that it answers.
        assert client.infer("shale", latent(good)).as_numpy("image").shape == (2, 1, 16, 16)


BAD_CONTENTS = (
    (b"", [1, 4], "takes 16 bytes"),
    (bytes(15), [1, 4], "takes 16 bytes"),
    (bytes(16), [2, 4], "takes 32 bytes"),
    (bytes(16), [-1, 4], "has the shape"),
    (bytes(16), [], "has the shape"),
    (bytes(16), [0, 4], "n at least 1"),
    (bytes(16), [1] * 40, "has the shape"),
    (bytes(16), [2**62, 4], "send at most"),
)


def test_contents_that_do_not_fit_their_shape_are_refused(grpc_service: Any) -> None:
    for raw, shape, words in BAD_CONTENTS:
        with pytest.raises(grpc.RpcError) as caught:
            raw_infer(grpc_service.grpc, infer_request(raw, shape))
        assert caught.value.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED), shape
        assert words in caught.value.details(), shape


@pytest.fixture
def grpc_service(shale: Path, start_process: Start) -> Any:
    return start_process(grpc_port=0, max_message_bytes=1024 * 1024)


def test_a_message_is_bounded_and_not_decompressed(grpc_service: Any) -> None:
    # 64 MiB of zeros are 64 KiB on the wire.
    for compression, code in (
        (grpc.Compression.NoCompression, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (grpc.Compression.Gzip, grpc.StatusCode.UNIMPLEMENTED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            raw_infer(grpc_service.grpc, infer_request(bytes(64 * 1024 * 1024), [1, 4]), compression=compression)
        assert caught.value.code() is code
    with triton_at(grpc_service) as client:
        assert client.is_server_live()


def test_a_response_says_what_made_it(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0)
    with grpc.insecure_channel(running.grpc) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        request = infer_request(bytes(16), [1, 4])
        _, done = call.with_call(request, timeout=30, metadata=(("x-request-id", "mine-1"),))
    assert dict(done.initial_metadata())["x-request-id"] == "mine-1"
    metrics = dict(done.trailing_metadata())
    assert metrics["x-rockbank-version"] == "1"
    assert metrics["x-rockbank-data-md5"] == "d41d8cd98f00b204e9800998ecf8427e.dir"
    end = time.monotonic() + 30
    while not any('"request_id": "mine-1"' in line for line in running.lines):
        assert time.monotonic() < end, "the log does not have the request"
        time.sleep(0.05)


def test_deadlines_of_either_side_hold(shale: Path, start_process: Start) -> None:
    # 200 000 samples one by one take seconds: neither asks for longer than it says, nor is it computed to its end.
    running = start_process(grpc_port=0, max_batch=1, max_n=1_000_000, max_buffered_bytes=1024**3, max_queue=1_000_000)
    much = latent(draw_latents(7, 200_000, LATENT))
    with triton_at(running) as client:
        with refused("DEADLINE_EXCEEDED", ""):
            client.infer("shale", much, client_timeout=1.0)
        with refused("DEADLINE_EXCEEDED", "were not ready in time"):
            client.infer("shale", much, timeout=1000)
        assert client.infer("shale", latent(draw_latents(7, 1, LATENT))).as_numpy("image").shape == (1, 1, 16, 16)
    end = time.monotonic() + 30

    def statuses(metrics: Mapping[str, float]) -> dict[str, float]:
        calls = {name: n for name, n in metrics.items() if "requests_total" in name and "GRPC" in name}
        return {name.rpartition("status=")[2]: n for name, n in calls.items()}

    # What was given up on leaves the queue; it is counted after the client has given up.
    while time.monotonic() < end:
        metrics = running.metrics()
        if not metrics["rockbank_queued_samples"] and sum(statuses(metrics).values()) == 3:
            break
        time.sleep(0.05)
    assert metrics["rockbank_queued_samples"] == 0
    assert metrics["rockbank_rejections_total{reason=deadline}"] == 2
    # It was the client's own time, and no failure of the service.
    assert statuses(metrics) == {"408}": 2, "200}": 1}


def test_a_call_that_is_given_up_is_counted_and_computed_no_further(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0, max_n=1_000_000, max_buffered_bytes=1024**3, max_queue=1_000_000)
    with grpc.insecure_channel(running.grpc) as channel:
        call = channel.unary_unary(
            METHOD,
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        waiting = call.future(infer_request(draw_latents(7, 200_000, LATENT).tobytes(), [200_000, 4]), timeout=60)
        end = time.monotonic() + 30
        while not running.metrics()["rockbank_queued_samples"] and time.monotonic() < end:
            time.sleep(0.01)
        waiting.cancel()
        name = "rockbank_rejections_total{reason=client_gone}"
        while not (metrics := running.metrics()).get(name) and time.monotonic() < end:
            time.sleep(0.05)
    assert metrics[name] == 1
    assert metrics["rockbank_queued_samples"] == 0


def test_without_a_port_nothing_listens_and_grpc_is_not_imported(shale: Path, start_process: Start) -> None:
    running = start_process()
    assert running.grpc == ""
    assert httpx.get(f"{running.url}/v2/health/ready").status_code == 200
    code = "import sys, serving.app; print(sorted({'grpc', 'tritonclient', 'torch'} & set(sys.modules)))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_port_that_is_taken_is_reported(shale: Path, start_process: Start) -> None:
    running = start_process(grpc_port=0)
    port = running.grpc.rpartition(":")[2]
    with pytest.raises(AssertionError, match="choose another by ROCKBANK_GRPC_PORT"):
        start_process(grpc_port=port)


def test_extensions_health_and_reflection_are_answered_as_their_own_clients_ask(
    shale: Path, start_process: Start
) -> None:
    running = start_process(grpc_port=0)
    with triton_at(running) as client, triton_http.InferenceServerClient(running.address) as over_http:
        client.infer("shale", latent(draw_latents(1, 3, LATENT)))
        config, theirs = client.get_model_config("shale", as_json=True)["config"], over_http.get_model_config("shale")
        assert config["input"][0]["dims"] == ["4"]
        assert (config["max_batch_size"], config["backend"]) == (theirs["max_batch_size"], theirs["backend"])
        (counted,) = client.get_inference_statistics("shale").model_stats
        (same,) = over_http.get_inference_statistics("shale")["model_stats"]
        assert (counted.inference_count, counted.execution_count) == (3, 1)
        assert (same["inference_count"], same["execution_count"]) == (3, 1)
        (listed,) = client.get_model_repository_index().models
        assert (listed.name, listed.version, listed.state) == ("shale", "1", "READY")
        assert over_http.get_model_repository_index()[0]["state"] == "READY"

    with grpc.insecure_channel(running.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        assert next(health.Watch(health_pb2.HealthCheckRequest())).status == 1
        assert "inference.GRPCInferenceService" in ProtoReflectionDescriptorDatabase(channel).get_services()


def test_health_needs_no_key_and_takes_no_message_and_reflection_needs_one(
    shale: Path, start_process: Start, tmp_path: Path
) -> None:
    key, line = make_key("mine")
    (tmp_path / "keys").write_text(f"{line}\n")
    running = start_process(grpc_port=0, keys_file=tmp_path / "keys")
    with grpc.insecure_channel(running.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        # Of a message that large nothing is unpacked.
        assert health.Check(health_pb2.HealthCheckRequest(service="x" * 10**6)).status == 1
        with pytest.raises(grpc.RpcError) as refusal:
            ProtoReflectionDescriptorDatabase(channel).get_services()
        assert refusal.value.code() == grpc.StatusCode.UNAUTHENTICATED
        call = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
        (answer,) = call(iter([asked]), metadata=[("x-api-key", key)])
        assert b"inference.GRPCInferenceService" in answer


async def test_a_call_counts_for_the_version_that_answers_it_and_leaves_a_trace(
    serve: Serve, shale: Path, collector: tuple[str, list[bytes]]
) -> None:
    endpoint, received = collector
    traceparent = ("traceparent", f"00-{'ab' * 16}-{'cd' * 8}-01")
    async with serve(traces_endpoint=endpoint, grpc_port=0) as running:
        server = GrpcServer(running.service)
        await server.start()
        outcomes = running.service.models.find("shale").outcomes
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            infer = channel.unary_unary(
                METHOD, pb.ModelInferRequest.SerializeToString, pb.ModelInferResponse.FromString
            )
            request = pb.ModelInferRequest(model_name="shale")
            with pytest.raises(grpc.aio.AioRpcError, match="send one tensor"):
                await infer(request)
            # What the client did wrong says nothing of the version.
            assert outcomes.n == 0
            tensor = request.inputs.add(name="latent", datatype="FP32", shape=(1, *LATENT))
            tensor.contents.fp32_contents.extend([0.0] * LATENT[0])
            await infer(request, metadata=(traceparent,))
            # It is compared by those that name none.
            request.model_version = "1"
            await infer(request)
        await server.stop(1.0)
        assert (outcomes.n, outcomes.n_failed) == (1, 0)
    sent = b"".join(received)
    assert b"ModelInfer" in sent
    assert all(part in sent for part in (b"queue", b"compute", b"encode"))
    assert bytes.fromhex("ab" * 16) in sent
