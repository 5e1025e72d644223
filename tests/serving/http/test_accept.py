"""Of the formats that there are, the client gets what it accepts, or hears that there is none of it."""

from pathlib import Path

import pytest
from httpx import Response

from serving.base.errors import NotAcceptable
from serving.http.accept import choose_format
from tests.serving.conftest import Serve

TYPES = {"npy": "application/x-npy", "png": "image/png", "json": "application/json"}


@pytest.mark.parametrize(
    ("accept", "named", "expected"),
    [
        (None, None, "npy"),
        ("", "png", "png"),
        ("*/*", None, "npy"),
        ("image/png", None, "png"),
        ("image/*", None, "png"),
        ("IMAGE/PNG;q=0.5, application/json", None, "json"),
        ("image/png;q=0.9, */*;q=0.1", None, "png"),
        ("application/json, text/plain, */*", None, "npy"),
        ("application/x-npy;q=0, */*", None, "png"),
        ("*/*", "json", "json"),
    ],
)
def test_the_format_is_the_one_that_is_accepted_most(accept: str | None, named: str | None, expected: str) -> None:
    assert choose_format(accept, TYPES, named, "npy") == expected


@pytest.mark.parametrize(("accept", "named"), [("text/html", None), ("image/png", "json"), ("*/*;q=x", None)])
def test_what_is_not_made_here_is_refused(accept: str, named: str | None) -> None:
    with pytest.raises(NotAcceptable, match="leave it out"):
        choose_format(accept, TYPES, named, "npy")


async def test_the_service_makes_what_is_accepted_or_answers_406(shale: Path, serve: Serve) -> None:
    async with serve() as running:

        async def answer(accept: str, **body: object) -> Response:
            path = "/v2/models/shale/generate"
            return await running.client.post(path, json={"n": 1, "seed": 7, **body}, headers={"Accept": accept})

        assert (await answer("image/png, */*;q=0.1")).headers["content-type"] == "image/png"
        for refused in (await answer("text/html"), await answer("image/png", format="json")):
            assert refused.status_code == 406
            assert refused.headers["content-type"] == "application/json"
            assert "leave it out" in refused.json()["error"]


async def test_samples_are_sent_whole_and_say_so(shale: Path, serve: Serve) -> None:
    async with serve() as running:
        path, given = "/v2/models/shale/samples?n=2&seed=7", {"Range": "bytes=0-9"}
        whole, ranged = await running.client.get(path), await running.client.get(path, headers=given)
        posted = await running.client.post("/v2/models/shale/generate", json={"n": 2, "seed": 7}, headers=given)
    for each in (whole, ranged, posted):
        assert (each.status_code, each.headers["accept-ranges"]) == (200, "none")
        assert each.content == whole.content
