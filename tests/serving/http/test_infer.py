"""tritonclient, unmodified, finds a server of its protocol; what it gets is what the graph gives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

from rockbank.generator.card import ONNX
from rockbank.generator.latents import draw_latents
from rockbank.generator.sampler import open_session
from rockbank.mlops import registry
from tests.serving.conftest import Serve
from tests.serving.processes import Process, service_process
from tests.tiny_generators import write_generator


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Process]:
    """One service for all tests here: they leave nothing behind in it."""
    with service_process(tmp_path_factory.mktemp("work"), empty_store, max_n=200) as running:
        yield running


@pytest.fixture
def client(process: Process) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(process.address) as opened:
        yield opened


def latent(values: np.ndarray, *, binary: bool = True) -> triton.InferInput:
    tensor = triton.InferInput("latent", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values, binary_data=binary)
    return tensor


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Callable[[np.ndarray], np.ndarray]:
    """What bare onnxruntime gives."""
    folder = write_generator(tmp_path_factory.mktemp("generator"), weights_seed=1)
    session = open_session(folder / ONNX, threads=1)
    return lambda latents: session.run(None, {"latent": latents})[0]


def test_the_server_and_the_model_are_live_and_ready(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("shale")
    assert client.is_model_ready("shale", "1")
    assert not client.is_model_ready("shale", "9")
    assert not client.is_model_ready("granite")


def test_the_metadata_describe_server_and_model(client: triton.InferenceServerClient) -> None:
    server = client.get_server_metadata()
    assert server["name"] == "rockbank"
    assert "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("shale")
    assert model["versions"] == ["1"]
    assert model["inputs"] == [{"name": "latent", "datatype": "FP32", "shape": [-1, 4]}]
    assert model["outputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 16, 16]}]
    assert client.get_model_metadata("shale", "1") == model


@pytest.mark.parametrize("binary_in", [True, False], ids=["bytes in", "json in"])
@pytest.mark.parametrize("binary_out", [True, False, None], ids=["bytes out", "json out", "left open"])
def test_images_come_back_to_the_bit_however_they_are_requested(
    client: triton.InferenceServerClient,
    expected: Callable[[np.ndarray], np.ndarray],
    binary_in: bool,
    binary_out: bool | None,
) -> None:
    latents = draw_latents(7, 5, (4,))
    outputs = None if binary_out is None else [triton.InferRequestedOutput("image", binary_data=binary_out)]
    result = client.infer("shale", [latent(latents, binary=binary_in)], outputs=outputs, request_id="mine")
    image = result.as_numpy("image")
    assert image.dtype == np.float32
    np.testing.assert_array_equal(image, expected(latents))
    response = result.get_response()
    assert (response["model_name"], response["model_version"], response["id"]) == ("shale", "1", "mine")


def test_more_than_a_batch_comes_back_in_order(
    client: triton.InferenceServerClient, expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    latents = draw_latents(8, 100, (4,))
    image = client.infer("shale", [latent(latents)], model_version="1").as_numpy("image")
    np.testing.assert_array_equal(image, expected(latents))


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_a_compressed_request_is_read(
    client: triton.InferenceServerClient, expected: Callable[[np.ndarray], np.ndarray], algorithm: str
) -> None:
    latents = draw_latents(9, 3, (4,))
    result = client.infer("shale", [latent(latents)], request_compression_algorithm=algorithm)
    np.testing.assert_array_equal(result.as_numpy("image"), expected(latents))


def test_requests_at_once_get_each_its_own(process: Process, expected: Callable[[np.ndarray], np.ndarray]) -> None:
    with triton.InferenceServerClient(process.address, concurrency=8) as client:
        batches = [(draw_latents(seed, 1 + seed % 5, (4,))) for seed in range(40)]
        pending = [client.async_infer("shale", [latent(latents)]) for latents in batches]
        for latents, each in zip(batches, pending, strict=True):
            np.testing.assert_array_equal(each.get_result().as_numpy("image"), expected(latents))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((1, 5), np.float32), r"shape \[1, 5\]; send FP32 of shape \[n, 4\]"),
        (np.full((2, 4), np.nan, np.float32), "latent 0 has NaN or infinity"),
        (np.zeros((201, 4), np.float32), "holds 201 latents; send at most 200"),
    ],
    ids=["shape", "NaN", "too many"],
)
def test_what_is_wrong_is_reported_as_by_triton(
    client: triton.InferenceServerClient, values: np.ndarray, message: str
) -> None:
    with pytest.raises(triton.InferenceServerException, match=message):
        client.infer("shale", [latent(values)])


def test_another_type_is_reported(client: triton.InferenceServerClient) -> None:
    tensor = triton.InferInput("latent", [1, 4], "FP64")
    tensor.set_data_from_numpy(np.zeros((1, 4)))
    with pytest.raises(triton.InferenceServerException, match="'latent' is FP64; send FP32"):
        client.infer("shale", [tensor])


def shared(kind: Any) -> tuple[Any, Any]:
    """A tensor that lies in shared memory, of a client's library, and an output that is to be put there."""
    tensor, output = kind.InferInput("latent", [1, 4], "FP32"), kind.InferRequestedOutput("image")
    tensor.set_shared_memory("latents", 16)
    output.set_shared_memory("images", 1024)
    return tensor, output


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"inputs": [shared(triton)[0]]},
            r"parameters of 'latent': \['shared_memory_byte_size', 'shared_memory_region'\]",
        ),
        (
            {"outputs": [shared(triton)[1]]},
            r"parameters of 'image': \['shared_memory_byte_size', 'shared_memory_region'\]",
        ),
        (
            {"sequence_id": 5, "sequence_start": True},
            r"parameters: \['sequence_id', 'sequence_start'\] is not done here",
        ),
        ({"sequence_id": "five"}, r"parameters: \['sequence_id'\] is not done here"),
        ({"priority": 1}, r"parameters: \['priority'\] is not done here; leave it out"),
    ],
    ids=["shared input", "shared output", "sequence", "sequence of text", "priority"],
)
def test_what_is_not_done_is_refused_and_not_ignored(
    client: triton.InferenceServerClient, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(triton.InferenceServerException, match=words) as caught:
        client.infer("shale", **({"inputs": [latent(np.zeros((1, 4), np.float32))]} | given))
    assert caught.value.status() == "400"


def test_an_unknown_model_is_reported_with_those_that_there_are(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match=r"'granite' is not served here; served are \['shale'\]"):
        client.infer("granite", [latent(np.zeros((1, 4), np.float32))])


def test_the_protocols_timeout_is_the_requests_deadline(client: triton.InferenceServerClient) -> None:
    with pytest.raises(triton.InferenceServerException, match="not ready in time") as caught:
        client.infer("shale", [latent(np.zeros((1, 4), np.float32))], timeout=1)
    assert caught.value.status() == "408"


def test_the_response_names_what_made_it(process: Process) -> None:
    body = {"inputs": [{"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": [[0.1, 0.2, 0.3, 0.4]]}]}
    response = httpx.post(f"{process.url}/v2/models/shale/infer", json=body)
    assert response.headers["x-rockbank-version"] == "1"
    assert "x-rockbank-seed" not in response.headers
    assert response.json()["outputs"][0]["shape"] == [1, 1, 16, 16]


def test_flat_data_and_data_nested_as_the_shape_says_are_the_same(process: Process) -> None:
    values = np.arange(8.0).reshape(2, 4) / 10
    answers = []
    for data in (values.tolist(), values.ravel().tolist()):
        body = {"inputs": [{"name": "latent", "shape": [2, 4], "datatype": "FP32", "data": data}]}
        answers.append(httpx.post(f"{process.url}/v2/models/shale/infer", json=body).json()["outputs"])
    assert answers[0] == answers[1]


def test_head_is_answered_where_get_is_with_its_headers_and_no_body(process: Process) -> None:
    with httpx.Client(base_url=process.url) as client:
        for path in (
            "/v2",
            "/v2/models",
            "/v2/models/shale",
            "/v2/health/live",
            "/v2/health/ready",
            "/openapi.json",
            "/",
        ):
            got, head = client.get(path), client.head(path)
            assert head.status_code == got.status_code == 200
            assert head.content == b""
            assert head.headers["content-type"] == got.headers["content-type"]
            # The page tells the time.
            assert path == "/" or head.headers["content-length"] == str(len(got.content))
        assert client.head("/metrics").status_code == 200
        missing = client.head("/v2/models/nosuch")
        assert (missing.status_code, missing.content) == (404, b"")
        refused = client.head("/v2/models/shale/infer")
        assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        assert 'method="HEAD",route="/v2/models",status="200"' in client.get("/metrics").text


async def test_a_promotion_is_seen_by_the_next_request(shale: Path, serve: Serve) -> None:
    body = {"inputs": [{"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}]}

    def image(response: httpx.Response) -> Any:
        return json.loads(response.content)["outputs"][0]["data"]

    async with serve() as running:
        first = await running.client.post("/v2/models/shale/infer", json=body)
        registry.set_alias("shale", registry.CHAMPION, "2")
        await running.service.follower._guarded(running.service.models.slot("shale"))
        second = await running.client.post("/v2/models/shale/infer", json=body)
        assert [each.headers["x-rockbank-version"] for each in (first, second)] == ["1", "2"]
        assert image(first) != image(second)
        old = await running.client.post("/v2/models/shale/versions/1/infer", json=body)
        assert image(old) == image(first)
