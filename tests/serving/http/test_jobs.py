"""Samples in large numbers, behind the requests of others."""

import asyncio
import hashlib
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.core.files import read_json, write_json
from serving.keys import make_key
from tests.serving.conftest import InProcess, Serve

LONG = 30.0


async def finished(running: InProcess, path: str, **headers: Any) -> dict[str, Any]:
    async with asyncio.timeout(LONG):
        while (about := (await running.client.get(path, **headers)).json())["state"] not in ("done", "failed"):
            await asyncio.sleep(0.02)
    return dict(about)


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
        ):
            answer = await post("/v2/models/shale/jobs", json=body)
            assert (answer.status_code, words in answer.json()["error"]) == (status, True), answer.text
        generator = running.service.models.find("shale").generator
        gate, right = threading.Event(), generator.run
        monkeypatch.setattr(generator, "run", lambda latents: (gate.wait(LONG), right(latents))[1])
        first = await post("/v2/models/shale/jobs", json={"n": 2})
        assert (await running.client.get(f"{first.headers['Location']}/result")).status_code == 409
        async with asyncio.timeout(LONG):
            while (await running.client.get(first.headers["Location"])).json()["state"] != "running":
                await asyncio.sleep(0.02)
        # One is computed, one may wait.
        waiting = await post("/v2/models/shale/jobs", json={"n": 2})
        assert waiting.status_code == 202
        assert (await post("/v2/models/shale/jobs", json={"n": 2})).status_code == 429
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
