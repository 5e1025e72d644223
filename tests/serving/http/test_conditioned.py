"""Samples of a wanted porosity are those of the command line, named by their places; what cannot be had is refused."""

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from rockbank.core.files import read_json
from rockbank.generator.conditional import Condition, accepted
from rockbank.generator.sampler import Sampler
from rockbank.rock.descriptors import porosity, specific_surface
from rockbank.rock.segmentation import segment
from serving.dataplane.encode import ENCODERS
from tests.serving.conftest import InProcess, Serve

PATH = "/v2/models/shale/generate"
VERSION = {"model": "shale", "version": "1"}
MEASURE = {"porosity": porosity, "specific_surface": specific_surface}


async def refused(running: InProcess, status: int, **body: Any) -> str:
    response = await running.client.post(PATH, json=body)
    assert response.status_code == status, response.text
    return str(response.json()["error"])


async def generate(running: InProcess, **body: Any) -> httpx.Response:
    response = await running.client.post(PATH, json={"seed": 7, **body})
    assert response.status_code == 200, response.text
    return response


async def idle(running: InProcess) -> None:
    """Once nothing waits, is computed or answered."""
    served = running.service.models.find("shale")
    async with asyncio.timeout(60):
        while not (served.is_idle and served.users == 0):
            await asyncio.sleep(0.01)


def array(response: httpx.Response) -> np.ndarray:
    return np.asarray(np.load(io.BytesIO(response.content), allow_pickle=False))


def local(running: InProcess, condition: Condition, n: int, truncation: float | None = None) -> Any:
    """What `rockbank sample` keeps: places and samples."""
    served = running.service.models.find("shale")
    batches = Sampler(served.folder, served.card).batches(7, 10_000, truncation)
    places, samples = zip(*accepted(batches, condition, served.card.segmentation, n), strict=True)
    return list(places), np.stack(samples)


def between(running: InProcess, statistic: str, *quantiles: float) -> tuple[float, float]:
    """An interval that the tiny generator's rock has."""
    values = running.service.models.find("shale").reference[statistic]["values"]
    low, high = np.quantile(values, quantiles)
    return float(low), float(high)


@pytest.mark.parametrize("statistic", MEASURE)
async def test_they_are_those_of_the_command_line_to_the_bit(shale: Path, serve: Serve, statistic: str) -> None:
    async with serve() as running:
        low, high = between(running, statistic, 0.4, 0.6)
        response = await generate(running, n=20, truncation=1.1, **{statistic: [low, high]})
        condition = Condition(statistic=statistic, low=low, high=high)
        places, samples = local(running, condition, 20, 1.1)
        assert json.loads(response.headers["x-rockbank-places"]) == places
        np.testing.assert_array_equal(array(response), samples)


async def test_the_places_make_them_again(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        response = await running.client.post(PATH, json={"n": 3, "porosity": between(running, "porosity", 0.3, 0.5)})
        places = json.loads(response.headers["x-rockbank-places"])
        again = array(await generate(running, n=places[-1] + 1, seed=int(response.headers["x-rockbank-seed"])))
        np.testing.assert_array_equal(again[places], array(response))


async def test_a_number_a_text_and_a_pair_ask_for_the_same(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        middle = round(float(np.mean(between(running, "porosity", 0.4, 0.6))), 3)
        low, high = middle - 0.01, middle + 0.01
        forms = (middle, str(middle), f"{low!r}..{high!r}", [low, high])
        answers = [await generate(running, n=2, porosity=wanted) for wanted in forms]
        assert len({answer.content for answer in answers}) == 1
        served = running.service.models.find("shale")
        found = porosity(segment(array(answers[0]), served.card.segmentation))
        assert np.abs(found - middle).max() <= 0.01 + 1e-12


@pytest.mark.parametrize("kind", sorted(ENCODERS))
async def test_every_format_is_that_of_the_same_samples(shale: Path, serve: Serve, kind: str) -> None:
    async with serve() as running:
        wanted = between(running, "porosity", 0.25, 0.75)
        response = await generate(running, n=6, porosity=wanted, format=kind)
        places, samples = local(running, Condition(statistic="porosity", low=wanted[0], high=wanted[1]), 6)
        encoder = ENCODERS[kind](samples.shape, 60e-9, {})
        expected = b"".join([*encoder.head(), *encoder.block(samples), *encoder.tail()])
        if kind == "zip":
            with zipfile.ZipFile(io.BytesIO(response.content)) as got, zipfile.ZipFile(io.BytesIO(expected)) as wanted_:
                assert json.loads(got.read("about.json"))["places"] == places
                assert [got.read(f"{i}.png") for i in range(6)] == [wanted_.read(f"{i}.png") for i in range(6)]
        elif kind == "json":
            assert response.json()["places"] == places
            np.testing.assert_array_equal(np.float32(response.json()["data"]).reshape(samples.shape), samples)
        else:
            assert response.content == expected


async def test_without_a_condition_no_places_are_reported(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        assert "x-rockbank-places" not in (await generate(running, n=2, porosity=None)).headers


async def test_what_the_rock_has_not_is_refused_with_its_range_before_anything_is_drawn(
    shale: Path, serve: Serve
) -> None:
    async with serve() as running:
        values = running.service.models.find("shale").reference["porosity"]["values"]
        message = await refused(running, 422, porosity=0.99)
        assert "no crop of the rock has a porosity of 0.98 to 1; its 200 held-out crops have" in message
        assert f"{values[0]:.3g} to {values[-1]:.3g}" in message
        assert running.service.metrics.registry.get_sample_value("rockbank_batch_samples_count") == 0


async def test_a_version_whose_reference_has_no_values_is_not_searched(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        served = running.service.models.find("shale")
        served.reference = {"n": 9, "porosity": {"mean": 0.5, "std": 0.1}}
        for statistic in MEASURE:
            assert "register the generator again" in await refused(running, 422, **{statistic: 0.5})


async def test_too_few_among_the_most_that_are_tried_are_refused_with_what_there_is(shale: Path, serve: Serve) -> None:
    async with serve(max_tries=40) as running:
        low, high = between(running, "porosity", 0.45, 0.55)
        message = await refused(running, 422, n=30, seed=7, porosity=[low, high])
        served = running.service.models.find("shale")
        values = porosity(segment(Sampler(served.folder, served.card).sample(7, 40), served.card.segmentation))
        n_kept = int(((low <= values) & (values <= high)).sum())
        least, greatest = np.quantile(values, [0.05, 0.95])
        assert f"{n_kept} of 30 samples with a porosity of {low:g} to {high:g} among 40" in message
        assert f"nine of ten have {least:.3g} to {greatest:.3g}: widen the interval, or ask for fewer" in message
        value = running.service.metrics.registry.get_sample_value
        assert value("rockbank_tried_samples_total", VERSION | {"is_kept": "true"}) == n_kept
        assert value("rockbank_tried_samples_total", VERSION | {"is_kept": "false"}) == 40 - n_kept
        assert value("rockbank_samples_total", VERSION | {"route": "current"}) == 40
        assert value("rockbank_rejections_total", {"reason": "unmet"}) == 1


async def test_the_deadline_is_one_for_all_that_are_tried(shale: Path, serve: Serve) -> None:
    async with serve(max_tries=1_000_000, deadline_seconds=0.3) as running:
        # An interval without a multiple of 1/256, beside a crop that the rock is said to have.
        running.service.models.find("shale").reference["porosity"]["values"].append(0.4999)
        message = await refused(running, 504, porosity="0.4995..0.4999")
        assert "0 of 1 samples with a porosity of 0.4995 to 0.4999 among" in message
        assert "after 0.3 s; widen the interval" in message
        await idle(running)


async def test_a_client_that_goes_ends_the_search(shale: Path, serve: Serve) -> None:
    async with serve(max_tries=1_000_000) as running:
        served = running.service.models.find("shale")
        served.reference["porosity"]["values"].append(0.4999)
        asking = asyncio.create_task(running.client.post(PATH, json={"porosity": "0.4995..0.4999"}))
        value = running.service.metrics.registry.get_sample_value
        async with asyncio.timeout(60):
            while not value("rockbank_tried_samples_total", VERSION | {"is_kept": "false"}):
                await asyncio.sleep(0.01)
            # Others are answered between its blocks.
            await generate(running, n=2)
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await idle(running)


async def test_all_that_is_tried_is_watched_and_not_only_what_is_kept(shale: Path, serve: Serve) -> None:
    async with serve(statistics_fraction=1.0, max_tries=32) as running:
        offered: list[int] = []
        running.service.watch.offer = lambda served, block: offered.append(len(block))  # type: ignore[method-assign]
        await running.client.post(PATH, json={"n": 32, "porosity": between(running, "porosity", 0.4, 0.6)})
        await running.client.post(PATH, json={"n": 32, "seed": 7, "porosity": between(running, "porosity", 0.4, 0.6)})
        assert sum(offered) == 32


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"porosity": "much"}, "porosity: got 'much'; give a number, such as 0.12, or an interval"),
        ({"porosity": [0.1]}, "porosity: got [0.1]; give a number"),
        ({"porosity": True}, "porosity: got True; give a number"),
        ({"porosity": {"low": 0.1}}, "porosity: got {'low': 0.1}; give a number"),
        ({"porosity": [0.2, 0.1]}, "porosity: got 0.2 to 0.1; use 0 <= low < high"),
        ({"porosity": ["0.1", "0.2"]}, "porosity: got ['0.1', '0.2']; give a number"),
        ({"porosity": "9" * 500}, "99999...; give a number"),
        ({"porosity": 10**400}, "number is infinity"),
        ({"porosity": 0.1, "specific_surface": 0.1}, "porosity and specific_surface are both given; give one of them"),
        ({"porosity": 0.1, "size": [64, 64]}, "of samples of the generator's own size; leave size and window out"),
        ({"specific_surface": 0.1, "window": [0, 0, 9, 9]}, "leave size and window out"),
    ],
)
async def test_what_cannot_be_meant_is_refused(shale: Path, serve: Serve, body: dict[str, Any], message: str) -> None:
    async with serve() as running:
        assert message in await refused(running, 400, **body)


async def test_more_than_a_header_can_tell_the_places_of_are_refused(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        assert "ask for at most 512 at once" in await refused(running, 413, n=513, porosity=0.5)
    async with serve(max_buffered_bytes=20 * 1024) as running:
        assert "ask for at most 20 at once" in await refused(running, 413, n=21, porosity=0.5)


async def test_the_document_tells_of_the_conditions_and_their_refusal(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        document = (await running.client.get("/openapi.json")).json()
        field = document["components"]["schemas"]["GenerateRequest"]["properties"]["porosity"]
        assert {each["type"] for each in field["anyOf"]} == {"number", "array", "string", "null"}
        assert "0.05..0.15" in field["description"]
        for path, operations in document["paths"].items():
            for operation in operations.values():
                assert ("422" in operation["responses"]) == path.endswith(("generate", "samples"))
        served = running.service.models.find("shale")
        assert "values" in read_json(served.folder / "reference.json")["porosity"]
