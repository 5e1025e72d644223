"""The client at the real service: the samples of the local command, streamed, retried, with keys."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.client import AsyncClient, Client, ClientError, RetryPolicy, Samples
from rockbank.core.files import read_json
from rockbank.generator.card import REFERENCE
from rockbank.generator.latents import draw_latents
from rockbank.generator.ranges import to_intensity
from rockbank.generator.sampler import Sampler
from rockbank.mlops import registry
from serving.keys import make_key

pytestmark = pytest.mark.slow
Start = Callable[..., Any]


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def fails(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code != 0
    return str(result.exception)


def test_samples_are_those_of_the_local_sampler(shale: Path, start_process: Start, tmp_path: Path) -> None:
    running = start_process()
    entry, card = registry.pull("shale@champion", tmp_path / "pulled")
    # In blocks of another size than the server's: a sample depends on the seed and its place alone.
    expected = Sampler(tmp_path / "pulled", card).sample(seed=7, n=37, truncation=0.7)
    counts: list[int] = []
    with Client(running.url) as client:
        samples = client.generate("shale", 37, 7, truncation=0.7, progress=counts.append)
        np.testing.assert_array_equal(samples.array, expected)
        assert (samples.model, samples.version, samples.seed) == ("shale", entry.version, 7)
        assert (samples.run_id, samples.data_md5, samples.extractor) == (None, card.data_md5, "tiny")
        assert samples.scores["kid"] == pytest.approx(0.1)
        assert samples.request_id
        assert counts[-1] == 37

        samples = client.generate("shale", 2)
        np.testing.assert_array_equal(client.generate("shale", 2, samples.seed).array, samples.array)

        latents = draw_latents(7, 5, card.latent_shape)
        images = client.infer("shale", latents)
        intensity = np.clip(to_intensity(images, card.value_range), 0, 1)
        np.testing.assert_array_equal(intensity, client.generate("shale", 5, 7, version="1").array)

        (model,) = client.models()
        assert (model["name"], model["reference"], model["current"]) == ("shale", "shale@champion", "1")


def test_a_file_of_each_format_is_streamed(shale: Path, start_process: Start, tmp_path: Path) -> None:
    running = start_process()
    with Client(running.url) as client:
        for suffix, magic in ((".npy", b"\x93NUMPY"), (".png", b"\x89PNG"), (".zip", b"PK"), (".json", b"{")):
            origin = client.save(tmp_path / f"samples{suffix}", "shale", 20, 7)
            assert (origin.version, origin.seed) == ("1", 7)
            assert (tmp_path / f"samples{suffix}").read_bytes().startswith(magic)
        client.save(tmp_path / "samples.tif", "shale", 20, 7)
        array = client.generate("shale", 20, 7).array
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy", allow_pickle=False), array)
    with tifffile.TiffFile(tmp_path / "samples.tif") as pages:
        np.testing.assert_allclose(pages.asarray() / 255.0, array[:, 0], rtol=0, atol=0.5 / 255 + 1e-6)


def test_samples_of_a_wanted_porosity_are_those_of_the_local_command(
    shale: Path, start_process: Start, tmp_path: Path
) -> None:
    running = start_process()
    registry.pull("shale@champion", tmp_path / "pulled")
    values = read_json(tmp_path / "pulled" / REFERENCE)["porosity"]["values"]
    low, high = float(np.quantile(values, 0.4)), float(np.quantile(values, 0.6))
    wanted = ["--n", "9", "--seed", "7", "--porosity", f"{low!r}..{high!r}", "-o"]
    for name in ("samples.npy", "stack.tif", "grid.png"):
        here = said("sample", "shale@champion", *wanted, f"here-{name}")
        there = said("sample", "shale", *wanted, f"there-{name}", "--url", running.url)
        assert Path(f"there-{name}").read_bytes() == Path(f"here-{name}").read_bytes()
        condition = f"9 with a porosity of {low:g} to {high:g}, the first among "
        assert condition in there
        assert there.split(condition)[1].split(" samples")[0] == here.split(condition)[1].split(" samples")[0]
    with Client(running.url) as client:
        kept = client.generate("shale", 9, 7, porosity=(low, high))
        np.testing.assert_array_equal(kept.array, np.load("here-samples.npy", allow_pickle=False))
        assert kept.places is not None
        everything = client.generate("shale", kept.places[-1] + 1, 7)
        np.testing.assert_array_equal(everything.array[list(kept.places)], kept.array)
        assert everything.places is None
        assert client.save(tmp_path / "kept.zip", "shale", 9, 7, porosity=f"{low!r}..{high!r}").places == kept.places
        with pytest.raises(
            ClientError, match=r"422: no crop of the rock has a specific surface of 8.99 to 9.01"
        ) as caught:
            client.generate("shale", 1, 7, specific_surface=9)
        assert caught.value.status == 422

    async def meanwhile() -> Samples:
        async with AsyncClient(running.url) as client:
            return await client.generate("shale", 9, 7, porosity=(low, high))

    assert asyncio.run(meanwhile()).places == kept.places


def test_the_awaited_client_gives_the_same_among_others(shale: Path, start_process: Start) -> None:
    running = start_process()

    async def sample() -> list[Samples]:
        async with AsyncClient(running.url) as client:
            return list(await asyncio.gather(*(client.generate("shale", 3, seed) for seed in range(12))))

    together = asyncio.run(sample())
    with Client(running.url) as client:
        for seed, samples in enumerate(together):
            np.testing.assert_array_equal(client.generate("shale", 3, seed).array, samples.array)


def test_a_job_gives_the_samples_of_its_seed(shale: Path, start_process: Start, tmp_path: Path) -> None:
    running = start_process()
    with Client(running.url) as client:
        job = client.wait(client.submit("shale", 100, 7))
        assert client.download(job, tmp_path / "many.npy").seed == 7
        np.testing.assert_array_equal(
            np.load(tmp_path / "many.npy", allow_pickle=False), client.generate("shale", 100, 7).array
        )
        client.download(client.wait(client.submit("shale", 3, 7, format="tiff")), tmp_path / "few.tif")
    with tifffile.TiffFile(tmp_path / "few.tif") as pages:
        assert len(pages.pages) == 3


def test_a_used_up_rate_is_waited_out(shale: Path, start_process: Start) -> None:
    # A bucket of 30 requests that fills by one in two seconds.
    running = start_process(rate_per_minute=30)
    refused = pytest.raises(ClientError, match=r"429.*requests a minute")
    with Client(running.url, retry=RetryPolicy(retries=0)) as hasty, refused as caught:
        for _ in range(100):
            hasty.generate("shale", 1, 7)
    assert caught.value.status == 429
    assert caught.value.request_id
    with Client(running.url) as patient:
        assert patient.generate("shale", 1, 7).seed == 7


def test_refusals_are_in_the_servers_words(shale: Path, start_process: Start, tmp_path: Path) -> None:
    key, line = make_key("somebody")
    (tmp_path / "keys").write_text(line + "\n")
    running = start_process(keys_file=tmp_path / "keys")
    with Client(running.url) as client, pytest.raises(ClientError, match="401: no key; send"):
        client.models()
    with Client(running.url, key=key) as client:
        with pytest.raises(ClientError, match=r"404.*'slate' is not served here; served are"):
            client.generate("slate")
        with pytest.raises(ClientError, match="n: got 1000000; ask for at most 10000"):
            client.generate("shale", 1_000_000)
        with pytest.raises(ClientError, match=r"'latent' has the shape \[2, 3\]"):
            client.infer("shale", np.zeros((2, 3), dtype=np.float32))
        with pytest.raises(ClientError, match="version '9' is not loaded; loaded are"):
            client.generate("shale", version="9")


def test_the_command_writes_the_files_of_the_local_one(shale: Path, start_process: Start) -> None:
    url = start_process().url
    for name in ("samples.npy", "stack.tif", "grid.png"):
        there = said("sample", "shale", "--url", url, "--n", "70", "--seed", "7", "-o", f"there-{name}")
        assert f"wrote there-{name}: 70 of shale/1 (tiny), seed 7, by {url}" in there
        said("sample", "shale@champion", "--n", "70", "--seed", "7", "-o", f"here-{name}")
        assert Path(f"there-{name}").read_bytes() == Path(f"here-{name}").read_bytes()
    for model in ("shale@champion", "shale/1"):
        assert "of shale/1" in said("sample", model, "--url", url, "--n", "1", "-o", "one.npy")
    assert "not served at" in fails("sample", "shale/2", "--url", url)
    assert "served are ['shale']" in fails("sample", "slate@champion", "--url", url)
    assert "cannot write '.jpg'" in fails("sample", "shale", "--url", url, "-o", "grid.jpg")


def test_samples_stay_those_of_one_version_across_a_promotion(shale: Path, start_process: Start) -> None:
    running = start_process(poll_seconds=0.2)
    with Client(running.url) as client:
        before = client.generate("shale", 4, 7)
        registry.set_alias("shale", registry.CHAMPION, "2")
        for _ in range(600):
            after = client.generate("shale", 4, 7)
            if after.version == "2":
                break
            np.testing.assert_array_equal(after.array, before.array)
        assert after.version == "2"
        assert np.abs(after.array - before.array).max() > 0.1
        # The version before stays loaded, and gives its samples again.
        np.testing.assert_array_equal(client.generate("shale", 4, 7, version="1").array, before.array)


def test_any_size_is_streamed_to_the_file_that_the_local_command_writes(
    store: Path, generator_folder: Callable[..., Path], start_process: Start
) -> None:
    registry.push("shale", generator_folder(endless=True))
    registry.set_alias("shale", registry.CHAMPION, registry.versions("shale")[0].version)
    running = start_process()
    for suffix in ("npy", "tif", "png"):
        window = ["--window", "-9,20,300,170", "--seed", "7", "-o"]
        said("sample", "shale@champion", *window, f"here.{suffix}")
        assert f"by {running.url}" in said("sample", "shale", *window, f"there.{suffix}", "--url", running.url)
        here, there = Path(f"here.{suffix}"), Path(f"there.{suffix}")
        if suffix == "png":
            # Another effort of compression.
            np.testing.assert_array_equal(*(np.asarray(Image.open(path)) for path in (here, there)))
        else:
            assert here.read_bytes() == there.read_bytes()
    counts: list[int] = []
    with Client(running.url) as client:
        samples = client.generate("shale", 2, 7, size=(300, 170), progress=counts.append)
        assert samples.array.shape == (2, 1, 170, 300)
        assert counts == sorted(counts)
        assert counts[-1] == 2 * 170
        with pytest.raises(ClientError, match="give one of them"):
            client.generate("shale", 1, 7, size=(64, 64), window=(0, 0, 64, 64))
        assert client.models()[0]["versions"][0]["is_endless"] is True

    async def meanwhile() -> Samples:
        async with AsyncClient(running.url) as client:
            return await client.generate("shale", 2, 7, window=(0, 0, 300, 170))

    np.testing.assert_array_equal(asyncio.run(meanwhile()).array, samples.array)


def test_a_size_of_a_generator_that_has_one_is_refused_in_the_servers_words(shale: Path, start_process: Start) -> None:
    running = start_process()
    result = CliRunner().invoke(app, ["sample", "shale", "--size", "64x64", "-o", "big.tif", "--url", running.url])
    assert result.exit_code == 1
    assert "'tiny' makes images of 16 x 16 pixels only" in " ".join(result.output.split())
    assert not Path("big.tif").exists()
