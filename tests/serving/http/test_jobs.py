"""Samples in large numbers, behind the requests of others."""

import asyncio
import hashlib
import io
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.core.files import read_json, write_json
from rockbank.mlops import registry
from serving.base.budget import Share
from serving.inference.session import Generator
from serving.keys import make_key
from serving.registry.loading import Loader
from tests.serving.conftest import InProcess, Make, Serve
from tests.tiny_generators import tiny_images

LONG = 30.0


async def begun(running: InProcess, **body: Any) -> str:
    """Where a job is that is sent now."""
    answer = await running.client.post("/v2/models/shale/jobs", json={"n": 2, "seed": 7} | body)
    assert answer.status_code == 202, answer.text
    return answer.headers["Location"]


async def reached(running: InProcess, path: str, *states: str, **headers: Any) -> dict[str, Any]:
    async with asyncio.timeout(LONG):
        while (about := (await running.client.get(path, **headers)).json())["state"] not in states:
            await asyncio.sleep(0.02)
    return dict(about)


async def finished(running: InProcess, path: str, **headers: Any) -> dict[str, Any]:
    return await reached(running, path, "done", "failed", **headers)


def held_up(running: InProcess, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The version that answers computes nothing until the event is set."""
    generator: Generator = running.service.models.find("shale").generator
    gate, right = threading.Event(), generator.run
    monkeypatch.setattr(generator, "run", lambda latents: (gate.wait(LONG), right(latents))[1])
    return gate


async def promote(running: InProcess, version: str) -> None:
    registry.set_alias("shale", registry.CHAMPION, version)
    await running.service.follower._guarded(running.service.models.slot("shale"))
    assert running.service.models.find("shale").version == version


async def samples_of(running: InProcess, about: dict[str, Any]) -> np.ndarray:
    content = (await running.client.get(about["result"])).content
    return np.load(io.BytesIO(content), allow_pickle=False)


async def test_a_job_gives_the_samples_of_its_seed_also_in_parts_and_after_a_restart(shale: Path, serve: Serve) -> None:
    body = {"n": 100, "seed": 7}
    async with serve(max_n=100) as running:
        whole = (await running.client.post("/v2/models/shale/generate", json=body)).content
        begun = await running.client.post("/v2/models/shale/jobs", json=body)
        assert begun.status_code == 202
        about = await finished(running, begun.headers["Location"])
        assert (about["state"], about["fraction"], about["version"], about["seed"]) == ("done", 1.0, "1", 7)
        answer = await running.client.get(about["result"])
        assert answer.content == whole
        assert about["sha256"] == hashlib.sha256(whole).hexdigest()
        assert answer.headers["X-Rockbank-Seed"] == "7"
        tag = answer.headers["ETag"]
        part = await running.client.get(about["result"], headers={"Range": "bytes=1000-", "If-Range": tag})
        assert (part.status_code, part.content) == (206, whole[1000:])
        assert (await running.client.get(about["result"], headers={"If-None-Match": tag})).status_code == 304
        assert (await running.client.get(about["result"], headers={"Range": "bytes=999999-"})).status_code == 416
        (note,) = (shale / "cache" / "jobs").glob("*/job.json")
    # As a kill would leave it: it is computed again, to the same bytes.
    write_json(note, read_json(note) | {"state": "running"})
    async with serve(max_n=100) as running:
        await finished(running, begun.headers["Location"])
        assert (await running.client.get(about["result"])).content == whole
        assert (await running.client.delete(begun.headers["Location"])).status_code == 204
        assert (await running.client.get(about["result"])).status_code == 404
    assert not note.exists()


async def test_what_cannot_be_a_job_is_refused_and_what_is_not_done_has_no_result(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(max_job_n=64, max_job_bytes=50_000, max_jobs=1) as running:
        post = running.client.post
        for body, status, words in (
            ({"n": 65}, 400, "at most 64"),
            ({"n": 60}, 413, "at most 48"),
            ({"format": "png"}, 400, "npy or tiff"),
            ({"porosity": 0.5}, 400, "leave it out"),
            ({"size": [8, 8]}, 400, "images of 16 x 16 pixels only"),
        ):
            answer = await post("/v2/models/shale/jobs", json=body)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
        gate = held_up(running, monkeypatch)
        first = await begun(running)
        assert (await running.client.get(f"{first}/result")).status_code == 409
        await reached(running, first, "running")
        # One is computed, one may wait.
        removed = await begun(running)
        assert (await post("/v2/models/shale/jobs", json={"n": 2})).status_code == 429
        # What is removed waits no longer.
        assert (await running.client.delete(removed)).status_code == 204
        waiting = await post("/v2/models/shale/jobs", json={"n": 2})
        assert waiting.status_code == 202
        gate.set()
        await finished(running, waiting.headers["Location"])


async def test_a_job_is_its_keys_alone(shale: Path, serve: Serve, tmp_path: Path) -> None:
    (mine, line), (other, another) = make_key("mine"), make_key("other")
    (tmp_path / "keys").write_text(f"{line}\n{another}\n")
    async with serve(keys_file=tmp_path / "keys") as running:
        own = {"headers": {"X-API-Key": mine}}
        begun = await running.client.post("/v2/models/shale/jobs", json={"n": 3, "seed": 7}, **own)
        where = begun.headers["Location"]
        about = await finished(running, where, **own)
        assert (await running.client.get(where, headers={"X-API-Key": other})).status_code == 404
        content = (await running.client.get(about["result"], **own)).content
        assert np.frombuffer(content[128:], "<f4").size == 3 * 256


@pytest.mark.parametrize("jump", [-1e6, 1e6])
async def test_a_clock_that_jumps_removes_no_job_and_keeps_none_for_longer(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    clock, monotonic = time.time, time.monotonic
    async with serve(job_seconds=1000.0) as running:
        begun = await running.client.post("/v2/models/shale/jobs", json={"n": 1, "seed": 7})
        about = await finished(running, begun.headers["Location"])
        monkeypatch.setattr("serving.http.jobs.time.time", lambda: clock() + jump)
        assert (await running.client.get(about["result"])).status_code == 200
        later = await running.client.post("/v2/models/shale/jobs", json={"n": 1, "seed": 8})
        await finished(running, later.headers["Location"])
        # What is older goes, by the seconds that have passed.
        monkeypatch.setattr("serving.http.jobs.time.monotonic", lambda: monotonic() + 1001.0)
        assert (await running.client.get(about["result"])).status_code == 404


async def test_a_restart_under_a_clock_that_was_set_back_keeps_the_jobs(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = time.time
    async with serve(job_seconds=1000.0) as running:
        begun = await running.client.post("/v2/models/shale/jobs", json={"n": 1, "seed": 7})
        about = await finished(running, begun.headers["Location"])
    monkeypatch.setattr("serving.http.jobs.time.time", lambda: clock() - 1e6)
    async with serve(job_seconds=1000.0) as running:
        assert (await running.client.get(about["result"])).status_code == 200


async def test_a_job_waits_for_others_beyond_the_deadline_of_a_request(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(deadline_seconds=0.2) as running:
        gate = held_up(running, monkeypatch)
        path = await begun(running, n=100)
        await reached(running, path, "running")
        # Begun later, with the same deadline for a request.
        assert (await running.client.post("/v2/models/shale/generate", json={"n": 1})).status_code == 504
        gate.set()
        about = await finished(running, path)
        assert (about["state"], about["error"]) == ("done", None)


async def test_a_job_is_answered_by_its_version_whatever_is_promoted_meanwhile(
    shale: Path, serve: Serve, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.push("shale", generator_folder(kid=0.02, weights_seed=3))
    # Such a job takes longer than an answer may.
    monkeypatch.setattr("serving.registry.follower._LONGEST_ANSWER_SECONDS", 0.0)
    async with serve(deadline_seconds=0.1) as running:
        first_version = running.service.models.find("shale")
        gate = held_up(running, monkeypatch)
        paths = [await begun(running, n=40), await begun(running, n=40)]
        await reached(running, paths[0], "running")
        await promote(running, "2")
        await promote(running, "3")
        assert first_version not in running.service.models.loaded()
        # As long as the one that goes is waited for, and longer.
        await asyncio.sleep(0.5)
        gate.set()
        for path in paths:
            about = await finished(running, path)
            assert (about["state"], about["version"], about["error"]) == ("done", "1", None)
            np.testing.assert_allclose(await samples_of(running, about), (tiny_images(7, 40, 1) + 1) / 2, atol=1e-6)
        async with asyncio.timeout(LONG):
            while not first_version.is_closed:
                await asyncio.sleep(0.02)


async def test_after_a_restart_a_job_begins_anew_with_its_version_though_another_answers(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as running:
        paths = [await begun(running) for _ in range(3)]
        first, *_ = [await finished(running, path) for path in paths]
        content = (await running.client.get(first["result"])).content
    # As a kill would leave them; and a version that is nowhere any more.
    notes = [shale / "cache" / "jobs" / path.rpartition("/")[2] / "job.json" for path in paths]
    write_json(notes[0], read_json(notes[0]) | {"state": "running"})
    write_json(notes[1], read_json(notes[1]) | {"state": "queued", "version": "9"})
    write_json(notes[2], read_json(notes[2]) | {"state": "queued"})
    loads, right = [], Loader.load
    monkeypatch.setattr(Loader, "load", lambda self, entry: (loads.append(entry.version), right(self, entry))[1])
    registry.set_alias("shale", registry.CHAMPION, "2")
    async with serve() as running:
        assert running.service.models.find("shale").version == "2"
        for path in (paths[0], paths[2]):
            about = await finished(running, path)
            assert (about["state"], about["version"], about["error"]) == ("done", "1", None)
            assert (await running.client.get(about["result"])).content == content
        about = await finished(running, paths[1])
        assert about["state"] == "failed"
        assert "shale/9 cannot be loaded: shale/9: not in the registry" in about["error"]
        # Once for both, and not longer than they need it.
        assert loads == ["2", "1"]
        named = {"model": "shale", "version": "1", "provider": "CPUExecutionProvider"}
        async with asyncio.timeout(LONG):
            while running.service.metrics.registry.get_sample_value("rockbank_provider_info", named) is not None:
                await asyncio.sleep(0.02)


async def test_a_job_that_is_removed_while_it_gives_way_is_not_tried_again(
    shale: Path, serve: Serve, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serve() as running:
        budget = running.service.budget
        with Share(budget) as share:
            # Enough for a request's body, and too little for samples.
            share.add(budget.limit - 1000)
            removed = await begun(running)
            await reached(running, removed, "running")
            assert (await running.client.delete(removed)).status_code == 204
        assert (await finished(running, await begun(running)))["state"] == "done"
    assert "not foreseen" not in capfd.readouterr().err


async def test_jobs_that_are_over_are_bounded_in_number_and_one_that_failed_keeps_no_file(
    shale: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.http.jobs._N_KEPT", 2)
    async with serve() as running:
        paths = [await begun(running)]
        await finished(running, paths[0])
        generator, n_called = running.service.models.find("shale").generator, 0
        right = generator.run

        def fail_later(latents: Any) -> Any:
            nonlocal n_called
            n_called += 1
            if n_called > 2:
                raise RuntimeError("out of memory")
            return right(latents)

        monkeypatch.setattr(generator, "run", fail_later)
        paths.append(await begun(running, n=100))
        assert (await finished(running, paths[1]))["error"] == "out of memory"
        folder = shale / "cache" / "jobs"
        assert not (folder / paths[1].rpartition("/")[2] / "result").exists()
        paths.append(await begun(running))
        await finished(running, paths[2])
        statuses = [(await running.client.get(path)).status_code for path in paths]
        assert statuses == [404, 200, 200]
        assert len(list(folder.iterdir())) == 2
