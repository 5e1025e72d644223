"""Two replicas of Ray Serve: tritonclient's protocol, the same bits on both, and an update without an answer lost."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tritonclient import http as triton

from rockbank.generator.latents import draw_latents
from serving.base.settings import SettingsError

ray_serve = pytest.importorskip("ray.serve", reason="the extra 'ray' is not installed")


@pytest.fixture
def deployed(shale: Path) -> Iterator[Any]:
    """Deploys the service with these arguments, and gives its address."""
    from benchmarks.executors import two_nodes
    from serving.on_ray import build

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    usual = {"models": "shale", "tracking_uri": f"sqlite:///{shale}/mlflow.db", "cache": str(shale / "cache"),
             "replicas": "2", "poll_seconds": "3600", "statistics_fraction": "0", "log_level": "WARNING"}  # fmt: skip

    def deploy(**given: str) -> str:
        ray_serve.run(build(usual | given), name="rockbank", route_prefix="/")
        return f"127.0.0.1:{port}"

    with two_nodes():
        ray_serve.start(http_options={"host": "127.0.0.1", "port": port})
        try:
            yield deploy
        finally:
            ray_serve.shutdown()


def infer(address: str, latents: np.ndarray) -> np.ndarray:
    with triton.InferenceServerClient(address) as client:
        tensor = triton.InferInput("latent", latents.shape, "FP32")
        tensor.set_data_from_numpy(latents)
        image: np.ndarray = client.infer("shale", [tensor]).as_numpy("image")
    return image


@pytest.mark.slow
def test_replicas_give_the_same_bits_an_update_loses_no_answer_and_more_than_may_wait_get_503(deployed: Any) -> None:
    address = deployed()
    with triton.InferenceServerClient(address) as client:
        assert client.is_server_ready()
        assert client.is_model_ready("shale")
        metadata = client.get_model_metadata("shale")
        assert client.get_model_config("shale")["input"][0]["name"] == metadata["inputs"][0]["name"] == "latent"
    latents = draw_latents(7, 3, tuple(metadata["inputs"][0]["shape"][1:]))
    replicas: set[int] = set()
    images = []
    with ThreadPoolExecutor(8) as pool:
        while len(replicas) < 2:
            images += pool.map(infer, [address] * 16, [latents] * 16)
            # Each replica counts its own.
            for _ in range(8):
                (stats,) = httpx.get(f"http://{address}/v2/models/shale/stats").json()["model_stats"]
                replicas |= {stats["last_inference"]} - {0}
    assert all(image.tobytes() == images[0].tobytes() for image in images)
    assert httpx.get(f"http://{address}/v2/jobs/1").status_code == 404

    answers: list[int] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answer = httpx.post(f"http://{address}/v2/models/shale/generate", json={"n": 1, "seed": 7}, timeout=60)
            answers.append(answer.status_code)
            time.sleep(0.05)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        # One at a time, and one that waits.
        deployed(max_wait_ms="3", max_ongoing_requests="1", max_queued_requests="1")
        with triton.InferenceServerClient(address) as client:
            delay = client.get_model_config("shale")["dynamic_batching"]["max_queue_delay_microseconds"]
    finally:
        is_over.set()
        asking.join()
    assert delay == 3000
    assert set(answers) == {200}
    assert infer(address, latents).tobytes() == images[0].tobytes()

    # Of many at once Ray's proxy turns away those that may not wait, and the service goes on.
    path = f"http://{address}/v2/models/shale/generate"

    def generate(seed: int) -> httpx.Response:
        return httpx.post(path, json={"n": 512, "seed": seed}, timeout=60)

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(generate, range(24)))
    assert {answer.status_code for answer in found} == {200, 503}
    again = generate(0)
    assert again.status_code == 200
    assert all(answer.content == again.content for answer in found[:1] if answer.status_code == 200)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"replicas": "0"}, "replicas: got '0'; use a whole number of at least 1"),
        ({"port": "9000"}, "ROCKBANK_PORT: of no use under Ray Serve"),
        ({"treads": "2"}, "ROCKBANK_TREADS"),
    ],
)
def test_arguments_that_cannot_be_used_are_refused(given: dict[str, str], says: str) -> None:
    from serving.on_ray import build

    with pytest.raises(SettingsError, match=says):
        build(given)
