"""The same seed gives the same samples in every format, at every load, and the response says how to make them again."""

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.generator.sampler import Sampler
from rockbank.generator.writers import write_samples
from rockbank.mlops import registry
from rockbank.plot.grids import grid
from rockbank.rock.crops import to_bytes
from serving.dataplane.encode import ENCODERS
from serving.inference.thread import ComputeThread
from serving.watch.watch import rerun_golden
from tests.serving.conftest import InProcess, Serve
from tests.tiny_generators import tiny_images

VOXEL_SIZE = 60e-9
PATH = "/v2/models/shale/generate"


async def samples(running: InProcess, **body: Any) -> Any:
    response = await running.client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    return np.load(io.BytesIO(response.content), allow_pickle=False)


def intensity(seed: int, n: int) -> Any:
    return (tiny_images(seed, n, 1) + 1) / 2


async def test_npy_is_the_samples_as_intensity(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        got = await samples(running, n=5, seed=7)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, intensity(7, 5), rtol=0, atol=1e-6)


async def test_they_are_those_of_the_command_line_to_the_bit(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        served = running.service.models.find("shale")
        np.testing.assert_array_equal(
            await samples(running, n=21, seed=7, truncation=0.5), Sampler(served.folder, served.card).sample(7, 21, 0.5)
        )


async def test_a_sample_depends_on_the_seed_and_its_place_whatever_else_is_requested(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        alone = await samples(running, n=50, seed=7)
        pending = [samples(running, n=n, seed=seed) for n, seed in ((3, 7), (1, 8), (50, 7), (17, 9), (50, 7), (2, 7))]
        together = await asyncio.gather(*pending)
        for got, n in ((together[0], 3), (together[2], 50), (together[4], 50), (together[5], 2)):
            np.testing.assert_array_equal(got, alone[:n])


async def test_the_response_says_what_makes_the_samples_again(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 2})
        headers = response.headers
        assert headers["x-rockbank-model"] == "shale"
        assert headers["x-rockbank-version"] == "1"
        assert headers["x-rockbank-data-md5"].endswith(".dir")
        assert headers["x-rockbank-extractor"] == "tiny"
        assert json.loads(headers["x-rockbank-scores"])["kid"] == 0.1
        assert "x-rockbank-run-id" in headers
        again = await running.client.post(PATH, json={"n": 2, "seed": int(headers["x-rockbank-seed"])})
        assert again.content == response.content
        other = await running.client.post(PATH, json={"n": 2})
        assert other.headers["x-rockbank-seed"] != headers["x-rockbank-seed"]


async def test_an_empty_body_asks_for_one_sample(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH)
        assert np.load(io.BytesIO(response.content)).shape == (1, 1, 16, 16)


async def test_a_request_id_is_kept_and_one_that_is_none_replaced(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        kept = await running.client.post(PATH, headers={"X-Request-Id": "mine-1"})
        assert kept.headers["x-request-id"] == "mine-1"
        replaced = await running.client.post(PATH, headers={"X-Request-Id": "a b\u00e9".encode("latin-1")})
        assert len(replaced.headers["x-request-id"]) == 32


async def test_png_is_the_grid(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 6, "seed": 7, "format": "png"})
        with Image.open(io.BytesIO(response.content)) as picture:
            shown = np.asarray(picture)
        np.testing.assert_array_equal(shown, grid(await samples(running, n=6, seed=7), 4))


async def test_zip_holds_a_picture_for_each_sample_and_what_they_are(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 20, "seed": 7, "format": "zip"})
        again = await running.client.post(PATH, json={"n": 20, "seed": 7, "format": "zip"})
        assert again.content == response.content
        expected = to_bytes(await samples(running, n=20, seed=7))
        with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["about.json", *(f"{i:02d}.png" for i in range(20))]
            assert json.loads(archive.read("about.json"))["seed"] == 7
            for i in range(20):
                with Image.open(archive.open(f"{i:02d}.png")) as picture:
                    np.testing.assert_array_equal(np.asarray(picture), expected[i, 0])


@pytest.mark.parametrize("n", [1, 2, 33])
async def test_tiff_is_the_stack_that_the_command_line_writes(shale: Path, serve: Serve, n: int) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": n, "seed": 7, "format": "tiff"})
        write_samples(shale / "stack.tif", await samples(running, n=n, seed=7), VOXEL_SIZE)
    with tifffile.TiffFile(io.BytesIO(response.content)) as got, tifffile.TiffFile(shale / "stack.tif") as wanted:
        assert len(got.pages) == len(wanted.pages) == n
        np.testing.assert_array_equal(got.asarray(), wanted.asarray())
        for i in range(n):
            np.testing.assert_array_equal(got.pages[i].asarray(), wanted.asarray().reshape(n, 16, 16)[i])
        assert got.is_imagej
        about, expected = got.imagej_metadata, wanted.imagej_metadata
        assert about is not None
        assert expected is not None
        assert float(about["spacing"]) == pytest.approx(float(expected["spacing"]))
        assert about["unit"] == expected["unit"]
        for tag in ("XResolution", "YResolution"):
            numbers = [page.tags[tag].value for page in (got.pages[0], wanted.pages[0])]
            ratios = [numerator / denominator for numerator, denominator in numbers]
            # Both are fractions of 32-bit numbers.
            assert ratios[0] == pytest.approx(ratios[1], rel=1e-9)
    with Image.open(io.BytesIO(response.content)) as picture:
        assert picture.n_frames == n


async def test_json_has_the_values_to_the_bit_and_what_they_are(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 20, "seed": 7, "format": "json"})
        body = response.json()
        assert (body["model"], body["version"], body["seed"]) == ("shale", "1", 7)
        assert body["shape"] == [20, 1, 16, 16]
        values = np.asarray(body["data"], dtype=np.float32).reshape(body["shape"])
        np.testing.assert_array_equal(values, await samples(running, n=20, seed=7))


@pytest.mark.parametrize("kind", sorted(ENCODERS))
async def test_a_response_of_a_known_length_announces_it_and_every_type_is_its_own(
    shale: Path, serve: Serve, kind: str
) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 3, "seed": 7, "format": kind})
        assert response.headers["content-type"] == ENCODERS[kind].media_type
        assert f"shale-1-7.{ENCODERS[kind].suffix}" in response.headers["content-disposition"]
        if kind in ("npy", "tiff"):
            assert int(response.headers["content-length"]) == len(response.content)


async def test_a_large_request_is_computed_no_further_than_one_block_ahead(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        served = running.service.models.find("shale")
        blocks = running.service.sampling.blocks(
            served, "current", seed=1, n=10_000, truncation=None, request_id="r", is_unconditioned=False
        )
        await anext(blocks)
        await anext(blocks)
        # However long nobody takes the third, the fourth is not begun.
        await asyncio.sleep(0.2)
        n_computed = running.service.metrics.registry.get_sample_value("rockbank_batch_samples_sum")
        assert n_computed == 48
        await blocks.aclose()
        assert served.batcher.idle


async def test_statistics_and_golden_sample_are_watched(shale: Path, serve: Serve) -> None:
    async with serve(statistics_fraction=1.0, golden_seconds=0.05) as running:
        value = running.service.metrics.registry.get_sample_value
        version = {"model": "shale", "version": "1"}
        async with asyncio.timeout(60):
            while value("rockbank_statistic_ks", version | {"statistic": "porosity"}) is None:
                await samples(running, n=16)
                await asyncio.sleep(0.01)
        assert value("rockbank_saturated_fraction", version) is not None
        assert value("rockbank_nan_samples_total", version) == 0
        served = running.service.models.find("shale")
        served.card.golden["values"][0] += 1.0
        async with asyncio.timeout(60):
            while not value("rockbank_golden_mismatch", version):
                await asyncio.sleep(0.02)
        assert value("rockbank_golden_max_difference", version) == pytest.approx(1.0, abs=1e-6)


async def test_a_session_that_fails_does_not_give_its_golden_sample_and_hides_no_other(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.set_alias("shale", registry.CANDIDATE, "2")
    async with serve(canary_weight=0.5) as running:
        models, metrics = running.service.models, running.service.metrics
        metrics.golden_max_difference.labels("shale", "2").set(9.0)
        monkeypatch.setattr(models.find("shale").generator, "golden_difference", lambda: 1 / 0)
        thread = ComputeThread()
        await rerun_golden(models, metrics, thread)
        thread.stop()
        value = metrics.registry.get_sample_value
        assert value("rockbank_golden_mismatch", {"model": "shale", "version": "1"}) == 1
        assert value("rockbank_golden_max_difference", {"model": "shale", "version": "2"}) < 1e-3


async def test_a_version_that_is_closed_is_not_watched_again(shale: Path, serve: Serve) -> None:
    async with serve(statistics_fraction=1.0) as running:
        served, watch = running.service.models.find("shale"), running.service.watch
        block = np.zeros((16, 1, 16, 16), np.float32)
        # One block waits, and is measured after its version has gone.
        watch._queue.put((served, block))
        served.is_closed = True
        watch.forget(served)
        watch.offer(served, block)
        async with asyncio.timeout(60):
            while not watch._queue.empty():
                await asyncio.sleep(0.02)
        watch.stop()
        await asyncio.to_thread(watch._thread.join, 60)
        assert served not in watch._owed
        assert served not in watch._statistics


async def test_samples_of_a_chosen_seed_are_not_taken_for_the_models_law(shale: Path, serve: Serve) -> None:
    async with serve(statistics_fraction=1.0) as running:
        offered: list[int] = []
        running.service.watch.offer = lambda served, block: offered.append(len(block))  # type: ignore[method-assign]
        await samples(running, n=3, seed=7)
        await samples(running, n=4, truncation=0.5)
        await samples(running, n=5)
        assert offered == [5]


async def test_a_cross_origin_page_gets_no_permission(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        refused = await running.client.options(
            PATH, headers={"Origin": "http://evil", "Access-Control-Request-Method": "POST"}
        )
        got = await running.client.post(PATH, headers={"Origin": "http://evil"})
        for response in (refused, got):
            assert not [name for name in response.headers if name.startswith("access-control")]
        assert refused.status_code == got.status_code == 403
