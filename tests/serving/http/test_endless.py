"""Any window of an endless image is served as the command line writes it, in small jobs between those of others."""

import asyncio
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.generator.latents import draw_latents, field_latents
from rockbank.generator.sampler import Sampler
from rockbank.generator.windows import Window
from rockbank.mlops import registry
from rockbank.rock.crops import to_bytes
from serving.base.budget import Share
from serving.base.clients import Client
from serving.dataplane import sampling
from serving.dataplane.sampling import endless
from serving.http.samples import prepare
from serving.protocol.schemas import GenerateRequest
from tests.serving.conftest import InProcess, Serve
from tests.tiny_generators import ENDLESS_LATENT, LATTICE, endless_images, write_generator

Make = Callable[..., Path]
PATH = "/v2/models/shale/generate"


def an_endless_one_and_another(folder: Path) -> None:
    registry.push("shale", write_generator(folder / "generators" / "1", endless=True, weights_seed=1))
    registry.push("shale", write_generator(folder / "generators" / "2", weights_seed=2))
    registry.set_alias("shale", registry.CHAMPION, "1")


@pytest.fixture
def rocks(store: Path, made_once: Callable[..., Path]) -> Path:
    """A registry whose `shale` has the endless version 1, the champion, and version 2 of one size."""
    return made_once(an_endless_one_and_another, store)


def local(running: InProcess, window: Window, sample: int = 0, truncation: float | None = None) -> np.ndarray:
    """What `rockbank sample --window` computes."""
    served = running.service.models.find("shale")
    sampler = Sampler(served.folder, served.card)
    return np.concatenate(list(sampler.window(7, window, sample, truncation)))


async def generate(running: InProcess, **body: Any) -> httpx.Response:
    response = await running.client.post(PATH, json={"seed": 7, **body})
    assert response.status_code == 200, response.text
    return response


async def test_an_array_is_what_the_command_line_writes_to_the_bit(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await generate(running, size=[150, 70])
        got = np.load(io.BytesIO(response.content), allow_pickle=False)
        assert int(response.headers["content-length"]) == len(response.content)
        expected = local(running, Window(x=0, y=0, width=150, height=70))
        np.testing.assert_array_equal(got, expected[None, None])
        response = await generate(running, window=[-9, 20, 100, 50], n=2, truncation=0.5)
        window = Window(x=-9, y=20, width=100, height=50)
        for i, image in enumerate(np.load(io.BytesIO(response.content), allow_pickle=False)):
            np.testing.assert_array_equal(image[0], local(running, window, i, 0.5))


async def test_each_format_holds_the_same_window(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        expected = to_bytes(local(running, Window(x=5, y=-40, width=90, height=300)))
        window = [5, -40, 90, 300]
        with Image.open(io.BytesIO((await generate(running, window=window, format="png")).content)) as picture:
            np.testing.assert_array_equal(np.asarray(picture), expected)
        response = await generate(running, window=window, format="tiff", n=3)
        assert int(response.headers["content-length"]) == len(response.content)
        with tifffile.TiffFile(io.BytesIO(response.content)) as tif:
            assert len(tif.pages) == 3
            np.testing.assert_array_equal(tif.pages[0].asarray(), expected)
        body = (await generate(running, window=window, format="json")).json()
        assert body["shape"] == [1, 1, 300, 90]
        np.testing.assert_array_equal(to_bytes(np.asarray(body["data"], np.float32).reshape(300, 90)), expected)


async def test_samples_without_a_size_are_windows_at_the_origin(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        samples = np.load(io.BytesIO((await generate(running, n=3)).content))
        windows = np.load(io.BytesIO((await generate(running, n=3, size=[16, 16])).content))
        # Another extent of the call: up to its last bits.
        np.testing.assert_allclose(samples, windows, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"size": [64]}, 400, "size"),
        ({"size": "64x64"}, 400, "size: input should be a valid tuple, got '64x64' (width and height in pixels"),
        ({"size": [0, 64]}, 400, "size.0: input should be greater than or equal to 1, got 0"),
        ({"size": [64, 301]}, 400, "got 64 x 301; ask for sides of at most 300 pixels"),
        ({"size": [1, 1], "n": 10_001}, 400, "n: got 10001; ask for at most 10000 at once, with several seeds"),
        ({"size": [300, 300], "n": 2}, 400, "n: got 2 of 300 x 300 pixels; ask for at most 1 at once"),
        ({"size": [64, 64], "window": [0, 0, 64, 64]}, 400, "give one of them"),
        ({"size": [64, 64], "format": "zip"}, 400, "format: got zip with a size; ask for one of ['json', 'npy'"),
        ({"size": [64, 64], "format": "png", "n": 2}, 413, "as png; ask for one of at most"),
        ({"size": [30, 100], "format": "png"}, 413, "at most 2560 pixels, or for npy or tiff"),
        ({"window": [0, 2**53 + 1, 64, 64]}, 400, "window.1: input should be less than or equal to"),
        ({"window": [0.5, 0, 64, 64]}, 400, "window.0: input should be a valid integer"),
    ],
)
async def test_what_cannot_be_had_is_refused(
    rocks: Path, serve: Serve, body: dict[str, Any], status: int, says: str
) -> None:
    async with serve(max_side=300, max_buffered_bytes=4 * 2560) as running:
        response = await running.client.post(PATH, json=body)
        assert response.status_code == status
        assert says in response.json()["error"]


async def test_a_job_for_a_window_that_cannot_be_had_is_refused_when_it_is_sent(rocks: Path, serve: Serve) -> None:
    async with serve(max_side=300, max_job_bytes=4 * 8000) as running:
        for body, status, says in (
            ({"size": [64, 301]}, 400, "ask for sides of at most 300 pixels"),
            ({"size": [64, 64], "format": "png"}, 400, "ask for npy or tiff"),
            (
                {"size": [64, 64], "n": 2},
                413,
                "n: got 2, 32768 bytes of float32; ask for at most 1, with several seeds",
            ),
            ({"size": [100, 100]}, 413, "40000 bytes of float32; ask for a smaller size"),
        ):
            response = await running.client.post("/v2/models/shale/jobs", json=body)
            assert (response.status_code, says in response.json()["error"]) == (status, True), response.text


async def test_of_many_windows_the_latents_are_made_as_they_are_computed(
    rocks: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        served, window = running.service.models.find("shale"), Window(x=0, y=0, width=1, height=1)
        made: list[int] = []

        def counted(served: Any, seed: int, sample: int, truncation: float | None) -> Any:
            made.append(sample)
            return endless(served, seed, sample, truncation)

        monkeypatch.setattr(sampling, "endless", counted)
        bands = running.service.sampling.bands(served, "current", window, seed=7, n=10_000, truncation=None)
        await anext(bands)
        await bands.aclose()
        # The one that is given and the one ahead.
        assert made == [0, 1]


@pytest.mark.parametrize(
    ("path", "body", "cost"),
    [
        # Of 256 pixels a sample and 1024 a tile.
        ("generate", {"n": 3}, 3),
        ("generate", {"n": 3, "size": [1, 1]}, 12),
        ("generate", {"window": [31, 31, 2, 2]}, 16),
        ("samples?seed=7&n=2&size=33,1", None, 16),
        ("jobs", {"size": [64, 64]}, 16),
        ("jobs", {"n": 3}, 3),
        ("versions/1/tiles/0/0", None, 4),
        ("infer", (2, 8, 18, 18), 8),
        ("infer", (2, 8, 10, 10), 2),
        ("infer", (2, 8, 3, 3), 2),
    ],
)
async def test_what_is_computed_is_counted_by_its_pixels(
    rocks: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, path: str, body: Any, cost: float
) -> None:
    if isinstance(body, tuple):
        data = np.zeros(body, np.float32).ravel().tolist()
        body = {"inputs": [{"name": "latent", "shape": list(body), "datatype": "FP32", "data": data}]}
    async with serve(samples_per_minute=1000) as running:
        counted: list[tuple[Client, float]] = []
        monkeypatch.setattr(running.service.keys, "count_samples", lambda client, n: counted.append((client, n)))
        method = "GET" if body is None else "POST"
        response = await running.client.request(method, f"/v2/models/shale/{path}", json=body)
        assert response.status_code in (200, 202), response.text
        # A job is counted to who sends it, before it is computed.
        client, n = counted[0]
        assert (client.name, n) == ("address 127.0.0.1", cost)


@pytest.mark.parametrize(
    ("format_", "n_held"),
    [
        # Of float32 in three bands of 32 rows of tiles.
        ("npy", 3 * 32 * 100),
        ("tiff", 3 * 32 * 100),
        # And their text.
        ("json", 4 * 3 * 32 * 100),
        # And the picture, its pieces and its bytes.
        ("png", 3 * 32 * 100 + 100 * 300),
    ],
)
async def test_who_reads_a_window_slowly_holds_its_bands(rocks: Path, serve: Serve, format_: str, n_held: int) -> None:
    async with serve() as running:
        service, body = running.service, GenerateRequest(size=(100, 300), format=format_)
        with Share(service.budget) as share:
            prepared = await prepare(
                service, body, service.models.find("shale"), "current", 7, request_id="", share=share
            )
            await prepared.blocks.aclose()
            assert service.budget.held == 4 * n_held
            service.budget.limit = 4 * n_held + 1
            response = await running.client.post(PATH, json={"size": [100, 300], "format": format_})
            assert response.status_code == 503
            assert "ask again after the seconds of Retry-After" in response.json()["error"]
        service.budget.limit = 4 * n_held - 1
        response = await running.client.post(PATH, json={"size": [100, 300], "format": format_})
        assert response.status_code == 413
        assert "ask for less at once, as for a narrower window" in response.json()["error"]
        assert service.budget.held == 0


async def test_infer_holds_the_pixels_of_its_own_extents(rocks: Path, serve: Serve) -> None:
    latents = np.zeros((1, 8, 18, 18), np.float32)
    tensor = {"name": "latent", "shape": list(latents.shape), "datatype": "FP32", "data": latents.ravel().tolist()}
    async with serve() as running:
        # Its body, short enough to be parsed at once, an image of 32 x 32, and its text.
        body = json.dumps({"inputs": [tensor]}).encode()
        await running.client.post("/v2/models/shale/infer", content=body, headers={"Content-Type": "application/json"})
        assert running.service.budget.peak == len(body) + 4 * 4 * 32 * 32


async def test_a_version_of_one_size_refuses_any_other_and_names_its_own(rocks: Path, serve: Serve) -> None:
    registry.set_alias("shale", registry.CHAMPION, "2")
    async with serve() as running:
        for response in (
            await running.client.post(PATH, json={"size": [64, 64]}),
            await running.client.get("/v2/models/shale/versions/2/tiles/0/0"),
        ):
            assert response.status_code == 400
            assert "'tiny' makes images of 16 x 16 pixels only; leave the size out" in response.json()["error"]


async def test_a_large_image_is_computed_no_further_than_a_tile_ahead(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        served, value = running.service.models.find("shale"), running.service.metrics.registry.get_sample_value
        window = Window(x=0, y=0, width=64, height=16_384)
        bands = running.service.sampling.bands(served, "current", window, seed=7, n=1, truncation=None)
        await anext(bands)
        await anext(bands)
        await asyncio.sleep(0.2)
        assert value("rockbank_tiles_total", {"model": "shale", "version": "1", "route": "current"}) == 5
        await bands.aclose()
        assert served.is_idle


async def test_samples_of_others_go_between_the_tiles_of_a_huge_image(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        served, value = running.service.models.find("shale"), running.service.metrics.registry.get_sample_value
        window = Window(x=0, y=0, width=16_384, height=16_384)
        # 262,144 tiles: not done before the test is.
        bands = running.service.sampling.bands(served, "current", window, seed=7, n=1, truncation=None)
        huge = asyncio.create_task(anext(bands))
        await asyncio.sleep(0.05)
        for _ in range(5):
            before = value("rockbank_tiles_total", {"model": "shale", "version": "1", "route": "current"}) or 0
            await generate(running, n=1)
            after = value("rockbank_tiles_total", {"model": "shale", "version": "1", "route": "current"}) or 0
            # The one that is computed, the one that waits, and what comes back while this one is encoded.
            assert after - before <= 4
        assert not huge.done()
        huge.cancel()
        await asyncio.gather(huge, return_exceptions=True)
        await bands.aclose()


async def test_a_queue_full_of_tiles_takes_no_more_and_lets_those_who_began_go_on(
    rocks: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(max_batch=4, max_queue=4) as running:
        served = running.service.models.find("shale")
        assert served.tiles is not None
        field, sampling, tiles = endless(served, 7), running.service.sampling, served.tiles
        gate, right = threading.Event(), tiles.generator.run
        monkeypatch.setattr(tiles.generator, "run", lambda latents: (gate.wait(30), right(latents))[1])
        many = [asyncio.create_task(sampling.tile(served, "current", field, i, 0)) for i in range(30)]
        # Two tiles are with the compute thread and one waits: it is worth the four samples that may.
        async with asyncio.timeout(30):
            while sum(task.done() for task in many) < 27:
                await asyncio.sleep(0.01)
        begun = [asyncio.create_task(sampling.tile(served, "current", field, i, 1, is_begun=True)) for i in range(5)]
        async with asyncio.timeout(30):
            while tiles._n_queued < 6:
                await asyncio.sleep(0.01)
        gate.set()
        results = await asyncio.gather(*many, return_exceptions=True)
        assert {type(each).__name__ for each in results} == {"ndarray", "QueueFull"}
        assert all(isinstance(each, np.ndarray) for each in await asyncio.gather(*begun))


async def test_a_client_that_goes_stops_its_image(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        served = running.service.models.find("shale")
        async with running.client.stream("POST", PATH, json={"size": [32, 64], "seed": 7}) as response:
            assert response.status_code == 200
        async with asyncio.timeout(60):
            while not served.is_idle or served.users:
                await asyncio.sleep(0.01)


async def test_a_tile_is_a_picture_that_a_browser_keeps(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.get("/v2/models/shale/versions/1/tiles/-2/3?seed=7")
        assert response.status_code == 200
        assert response.headers["content-type"] == "image/png"
        assert "immutable" in response.headers["cache-control"]
        assert "private" in response.headers["cache-control"]
        assert response.headers["x-rockbank-version"] == "1"
        with Image.open(io.BytesIO(response.content)) as picture:
            expected = local(running, Window(x=96, y=-64, width=32, height=32))
            np.testing.assert_array_equal(np.asarray(picture), to_bytes(expected))
        for path, status in (
            ("versions/9/tiles/0/0", 404),
            ("versions/1/tiles/a/0", 400),
            (f"versions/1/tiles/{2**60}/0", 400),
        ):
            assert (await running.client.get(f"/v2/models/shale/{path}")).status_code == status


async def test_the_metadata_say_which_extents_are_free(rocks: Path, serve: Serve) -> None:
    async with serve() as running:
        metadata = (await running.client.get("/v2/models/shale")).json()
        assert metadata["inputs"][0]["shape"] == [-1, 8, -1, -1]
        assert metadata["outputs"][0]["shape"] == [-1, 1, -1, -1]
        (model,) = (await running.client.get("/v2/models")).json()
        assert [version["is_endless"] for version in model["versions"]] == [True]
        document = (await running.client.get("/openapi.json")).json()
        properties = document["components"]["schemas"]["GenerateRequest"]["properties"]
        assert {"size", "window"} <= set(properties)


@pytest.mark.parametrize(("n", "height", "width"), [(1, 3, 3), (3, 5, 18), (2, 18, 18), (5, 10, 10)])
async def test_latents_of_other_extents_are_inferred(
    rocks: Path, serve: Serve, n: int, height: int, width: int
) -> None:
    latents = np.stack([field_latents(3, i, range(height), range(width), 8) for i in range(n)])
    async with serve() as running:
        tensor = {"name": "latent", "shape": list(latents.shape), "datatype": "FP32", "data": latents.ravel().tolist()}
        response = await running.client.post("/v2/models/shale/infer", json={"inputs": [tensor]})
        assert response.status_code == 200, response.text
        (output,) = response.json()["outputs"]
        assert output["shape"] == [n, 1, *LATTICE.image(height, width)]
        got = np.asarray(output["data"], np.float32).reshape(output["shape"])
        # Sums of 40 products of order 1 in float32.
        np.testing.assert_allclose(got, endless_images(latents, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 8, 2, 10), (1, 8, 10, 19), (1, 7, 10, 10), (1, 8, 10), (1, 8, 10, 10, 1)])
async def test_latents_beyond_the_bounds_are_refused_with_them(
    rocks: Path, serve: Serve, shape: tuple[int, ...]
) -> None:
    async with serve() as running:
        tensor = {"name": "latent", "shape": list(shape), "datatype": "FP32", "data": [0.0] * int(np.prod(shape))}
        response = await running.client.post("/v2/models/shale/infer", json={"inputs": [tensor]})
        assert response.status_code == 400
        assert "[n, 8, h, w], h and w from 3 to 18, more by generate with a size" in response.json()["error"]


async def test_as_many_latents_are_taken_as_their_pixels_allow(rocks: Path, serve: Serve) -> None:
    # Ten images of the card's own 16 x 16 pixels, or two of 32 x 32.
    async with serve(max_buffered_bytes=4 * 256 * 10) as running:
        for n, side, status in ((10, 10, 200), (11, 10, 413), (2, 18, 200), (3, 18, 413)):
            latents = np.zeros((n, 8, side, side), np.float32)
            tensor = {
                "name": "latent",
                "shape": list(latents.shape),
                "datatype": "FP32",
                "data": latents.ravel().tolist(),
            }
            response = await running.client.post("/v2/models/shale/infer", json={"inputs": [tensor]})
            assert response.status_code == status


async def test_an_endless_version_holds_its_golden_sample_and_its_statistics(rocks: Path, serve: Serve) -> None:
    async with serve(statistics_fraction=1.0) as running:
        served = running.service.models.find("shale")
        # Sums of 40 products of order 1 in float32.
        assert served.generator.check_golden() < 1e-5
        expected = endless_images(draw_latents(7, 20, ENDLESS_LATENT, lattice=LATTICE), 1)
        np.testing.assert_allclose(served.generator.sample(7, 20), expected, rtol=0, atol=1e-5)
        value = running.service.metrics.registry.get_sample_value
        end = time.monotonic() + 60
        while value("rockbank_statistic_ks", {"model": "shale", "version": "1", "statistic": "porosity"}) is None:
            assert time.monotonic() < end
            await running.client.post(PATH, json={"n": 16})
            await asyncio.sleep(0.02)
