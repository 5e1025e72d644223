"""What a cache may keep, and requests that are answered once."""

import asyncio
from pathlib import Path

import httpx
import pytest

from rockbank.mlops import registry
from tests.serving.conftest import Make, Serve

SEED = {"seed": 7, "n": 3}


async def test_samples_by_get_are_those_of_generate_and_a_cache_is_told_how_long(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        posted = await running.client.post("/v2/models/shale/generate", json=SEED)
        got = await running.client.get("/v2/models/shale/samples", params=SEED)
        fixed = await running.client.get("/v2/models/shale/versions/1/samples", params=SEED)
        assert posted.content == got.content == fixed.content
        assert got.headers["ETag"] == fixed.headers["ETag"]
        assert "no-cache" in got.headers["Cache-Control"]
        assert "immutable" in fixed.headers["Cache-Control"]
        before = running.service.models.find("shale").batcher.statistics.n_samples
        again = await running.client.get(
            "/v2/models/shale/samples", params=SEED, headers={"If-None-Match": f'"x", W/{got.headers["ETag"]}'}
        )
        assert (again.status_code, again.content) == (304, b"")
        assert running.service.models.find("shale").batcher.statistics.n_samples == before
        registry.set_alias("shale", registry.CHAMPION, "2")
        running.service.follower.poll_now()
        while running.service.models.find("shale").version == "1":
            await asyncio.sleep(0.02)
        changed = await running.client.get(
            "/v2/models/shale/samples", params=SEED, headers={"If-None-Match": got.headers["ETag"]}
        )
        assert (changed.status_code, changed.headers["X-Rockbank-Version"]) == (200, "2")


@pytest.mark.parametrize("change", [{"seed": 8}, {"n": 4}, {"format": "tiff"}, {"truncation": 0.5}])
async def test_another_answer_has_another_tag(shale: Path, serve: Serve, change: dict[str, object]) -> None:
    async with serve() as running:
        tags = {
            (await running.client.get("/v2/models/shale/samples", params=given)).headers["ETag"]
            for given in (SEED, SEED | change)
        }
    assert len(tags) == 2


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("n=1", "seed: is missing"),
        ("seed=7&n=x", "n: got 'x'"),
        ("seed=7&seed=8", "seed: is given twice"),
        ("seed=7&size=32", "size"),
        ("seed=7&colour=red", "colour: no such key"),
    ],
)
async def test_a_query_that_cannot_be_meant_is_refused(shale: Path, serve: Serve, query: str, words: str) -> None:
    async with serve() as running:
        answer = await running.client.get(f"/v2/models/shale/samples?{query}")
    assert answer.status_code == 400
    assert words in answer.json()["error"]


async def test_a_request_with_an_idempotency_key_is_answered_as_the_first_time(shale: Path, serve: Serve) -> None:
    async with serve() as running:

        async def post(key: str, **body: object) -> tuple[int, bytes, str | None]:
            answer = await running.client.post("/v2/models/shale/generate", json=body, headers={"Idempotency-Key": key})
            return answer.status_code, answer.content, answer.headers.get("X-Rockbank-Seed")

        first = await post("a", n=3)
        assert first[0] == 200
        assert await post("a", n=3) == first
        assert (await post("b", n=3))[2] != first[2]
        assert (await post("a", n=4))[0] == 409
        assert (await post("x" * 129, n=3))[0] == 400
        # What was refused leaves the key free.
        assert (await post("c", n=10**6))[0] == 400
        assert (await post("c", n=3))[0] == 200


async def test_of_requests_at_once_with_one_idempotency_key_one_is_answered(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        path, headers = "/v2/models/shale/generate", {"Idempotency-Key": "same"}
        post = running.client.post
        answers = await asyncio.gather(*(post(path, json={"n": 64}, headers=headers) for _ in range(8)))
        (whole,) = [each for each in answers if each.status_code == 200]
        others = [each for each in answers if each is not whole]
        assert [each.status_code for each in others] == [409] * 7
        for each in others:
            assert each.headers["retry-after"] == "1"
            assert "is being answered; ask again in a second" in each.json()["error"]
        again = await post(path, json={"n": 64}, headers=headers)
        assert (again.status_code, again.content) == (200, whole.content)


async def test_addresses_of_an_open_service_have_idempotency_keys_of_their_own(shale: Path, serve: Serve) -> None:
    path, headers = "/v2/models/shale/generate", {"Idempotency-Key": "1"}
    async with serve() as running:
        mine = await running.client.post(path, json={"n": 3}, headers=headers)
        transport = httpx.ASGITransport(running.app, client=("192.0.2.7", 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as other:
            theirs = await other.post(path, json={"n": 3}, headers=headers)
            unlike = await other.post(path, json={"n": 4}, headers=headers)
        assert (mine.status_code, theirs.status_code, unlike.status_code) == (200, 200, 409)
        assert mine.headers["X-Rockbank-Seed"] != theirs.headers["X-Rockbank-Seed"]


async def test_an_idempotency_key_whose_version_is_gone_is_refused_with_what_to_do(
    shale: Path, serve: Serve, generator_folder: Make
) -> None:
    registry.push("shale", generator_folder(kid=0.02, weights_seed=3))
    async with serve() as running:

        async def post(key: str) -> httpx.Response:
            path, headers = "/v2/models/shale/generate", {"Idempotency-Key": key}
            return await running.client.post(path, json={"n": 3}, headers=headers)

        first = await post("a")
        for version in ("2", "3"):
            # While it is the version before, it still answers.
            again = await post("a")
            assert (again.status_code, again.content) == (200, first.content)
            registry.set_alias("shale", registry.CHAMPION, version)
            await running.service.follower._guarded(running.service.models.slot("shale"))
        gone = await post("a")
        assert gone.status_code == 409
        assert "by version 1, which is no longer loaded; send a new key" in gone.json()["error"]
        assert (await post("b")).headers["X-Rockbank-Version"] == "3"
