"""Jobs: followed to their end, and fetched over broken connections."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from rockbank.client import AsyncClient, Client, ClientError, Job, RetryPolicy, Unreachable
from tests.client.test_client import BUSY, HASTY, ORIGIN, SAMPLES, Reply, answer, npy, playing

CONTENT = npy(SAMPLES)
TAGGED = ORIGIN | {"ETag": '"one"'}
ABOUT: dict[str, Any] = {
    "id": "j1", "model": "shale", "version": "3", "seed": 7, "state": "queued", "fraction": 0.0, "error": None,
    "sha256": None, "result": "/v2/jobs/j1/result",
}  # fmt: skip
DONE = ABOUT | {"state": "done", "fraction": 1.0, "sha256": hashlib.sha256(CONTENT).hexdigest()}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rockbank.client.jobs.POLL_SECONDS", 0.001)


def about(**given: Any) -> Reply:
    return answer(200, json.dumps(ABOUT | given).encode())


def cut(n: int, headers: dict[str, str] = TAGGED) -> Reply:
    return answer(200, CONTENT[:n], headers, announced=len(CONTENT))


def rest(content: bytes = CONTENT, **given: str) -> Reply:
    """What the request's range asks for."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        first = int(handler.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        place = given.get("place", f"bytes {first}-{len(content) - 1}/{len(content)}")
        answer(206, content[first:], TAGGED | {"Content-Range": place})(handler)

    return reply


def finished(url: str, **given: Any) -> Job:
    return Job(url=url, **{name: value for name, value in (DONE | given).items() if name != "result"})


def test_a_job_is_sent_followed_and_fetched_from_the_server_that_has_it(tmp_path: Path) -> None:
    counts: list[float] = []
    replies = (
        about(), about(state="running", fraction=0.5), about(state="running", fraction=0.5), BUSY, about(**DONE),
        answer(200, CONTENT, TAGGED),
    )  # fmt: skip
    with playing(*replies) as part, Client(["http://127.0.0.1:9", part.url], retry=HASTY) as client:
        job = client.submit("shale", 3, 7, truncation=0.7)
        assert (job.url, job.state) == (part.url, "queued")
        with pytest.raises(ClientError, match="is queued; wait for it first"):
            client.download(job, tmp_path / "many.npy")
        job = client.wait(job, counts.append)
        origin = client.download(job, tmp_path / "many.npy")
    assert counts == [0.5, 1.0]
    assert (tmp_path / "many.npy").read_bytes() == CONTENT
    assert (origin.seed, origin.version) == (7, "3")
    assert part.requests[0][0] == "POST /v2/models/shale/jobs"
    assert json.loads(part.requests[0][2]) == {"n": 3, "seed": 7, "truncation": 0.7, "format": "npy"}


def test_a_broken_download_goes_on_where_it_broke_off(tmp_path: Path) -> None:
    counts: list[int] = []
    with playing(cut(1000), BUSY, rest()) as part, Client(part.url, retry=HASTY) as client:
        client.download(finished(part.url), tmp_path / "many.npy", counts.append)
    assert (tmp_path / "many.npy").read_bytes() == CONTENT
    asked = [(headers.get("range"), headers.get("if-range")) for _, headers, _ in part.requests]
    assert asked == [(None, None), ("bytes=1000-", '"one"'), ("bytes=1000-", '"one"')]
    assert counts == sorted(counts)
    assert counts[-1] == len(CONTENT)


@pytest.mark.parametrize("first", [cut(1000), cut(1000, ORIGIN)], ids=["another result", "no ETag"])
def test_what_is_not_the_rest_is_taken_from_its_start(first: Reply, tmp_path: Path) -> None:
    with playing(first, answer(200, CONTENT, TAGGED)) as part, Client(part.url, retry=HASTY) as client:
        client.download(finished(part.url), tmp_path / "many.npy")
    assert (tmp_path / "many.npy").read_bytes() == CONTENT


def test_bytes_that_are_not_the_servers_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    changed = CONTENT[:-1] + b"x"
    for replies, words in (
        ((answer(200, changed, TAGGED),), "SHA-256"),
        ((cut(1000), rest(changed)), "SHA-256"),
        ((cut(1000), rest(place="bytes 0-9/10")), "wanted the bytes from 1000 on"),
    ):
        with (
            playing(*replies) as part,
            Client(part.url, retry=HASTY) as client,
            pytest.raises(ClientError, match=words),
        ):
            client.download(finished(part.url), tmp_path / "many.npy")
    assert not list(tmp_path.iterdir())


def test_a_job_that_failed_and_a_server_that_is_gone_are_told(tmp_path: Path) -> None:
    failed = about(state="failed", error="the disk is full")
    refused = pytest.raises(ClientError, match="the job j1 failed: the disk is full; send it again")
    with playing(failed) as part, Client(part.url) as client, refused:
        client.wait(finished(part.url, state="queued"))
    with Client(part.url, retry=RetryPolicy(retries=0)) as client, pytest.raises(Unreachable):
        client.download(finished("http://127.0.0.1:9"), tmp_path / "many.npy")
    with playing(answer(200, b"{}")) as part, Client(part.url) as client, pytest.raises(ClientError, match="not a job"):
        client.submit("shale", 3)


def test_the_awaited_client_does_the_same(tmp_path: Path) -> None:
    async def fetch(url: str, then: Callable[[float], None]) -> None:
        async with AsyncClient(url, retry=HASTY) as client:
            job = await client.wait(await client.submit("shale", 3, 7), then)
            await client.download(job, tmp_path / "many.npy")

    counts: list[float] = []
    with playing(about(), about(**DONE), cut(1000), rest()) as part:
        asyncio.run(fetch(part.url, counts.append))
    assert (tmp_path / "many.npy").read_bytes() == CONTENT
    assert counts == [1.0]
