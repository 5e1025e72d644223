"""Whom the service trusts: the names, pages and proxies that its settings name, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import Serve
from tests.serving.processes import Process

PATH = "/v2/models/shale/generate"
NAMED = "192.0.2.7"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("rock.example.org", 200),
        ("ROCK.example.org:8000", 200),
        ("rock.example.org.", 200),
        ("other.example.org", 200),
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8000", 200),
        ("elsewhere.example.org", 421),
        ("rock.example.org.elsewhere.example", 421),
        ("xrock.example.org", 421),
        ("", 421),
    ],
)
async def test_names_that_are_trusted_are_answered_and_others_are_not(
    shale: Path, serve: Serve, host: str, status: int
) -> None:
    async with serve(trusted_hosts="rock.example.org, other.example.org") as running:
        answer = await running.client.get("/v2", headers={"Host": host})
    assert answer.status_code == status
    assert ("ROCKBANK_TRUSTED_HOSTS" in answer.text) == (status == 421)


async def test_any_name_is_answered_where_all_are_trusted(shale: Path, serve: Serve) -> None:
    async with serve(trusted_hosts="*") as running:
        assert (await running.client.get("/v2", headers={"Host": "anything.example"})).status_code == 200


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://pages.example.org", 200),
        ("HTTPS://Pages.example.org", 200),
        ("http://service", 200),
        ("http://pages.example.org", 403),
        ("https://pages.example.org:8443", 403),
        ("https://pages.example.org.elsewhere.example", 403),
    ],
)
async def test_pages_that_are_trusted_may_ask_and_others_may_not(
    shale: Path, serve: Serve, origin: str, status: int
) -> None:
    async with serve(trusted_origins="https://pages.example.org") as running:
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site" if status == 200 else "none"}
        if origin == "http://service":
            headers["Sec-Fetch-Site"] = "same-origin"
        answer = await running.client.post(PATH, json={"n": 1}, headers=headers)
    assert answer.status_code == status
    assert ("ROCKBANK_TRUSTED_ORIGINS" in answer.text) == (status == 403)


def client_in_log(process: Process, mark: str, forwarded: str) -> str:
    httpx.get(f"{process.url}/v2", headers={"X-Forwarded-For": forwarded, "X-Request-Id": mark})
    return str(process.logged(mark)["client"])


@pytest.mark.slow
def test_the_address_that_a_named_proxy_tells_is_believed_and_counted(start_process: Callable[..., Process]) -> None:
    process = start_process(trusted_proxies="127.0.0.0/8", rate_per_minute=2)
    assert client_in_log(process, "one-1", NAMED) == NAMED
    # The last before the proxy: what comes before it is the client's own word.
    assert client_in_log(process, "one-2", f"198.51.100.9, {NAMED}") == NAMED
    # Its rate is used up, and another's is not.
    for forwarded, status in ((NAMED, 429), ("192.0.2.8", 200)):
        answer = httpx.get(f"{process.url}/v2", headers={"X-Forwarded-For": forwarded})
        assert answer.status_code == status


@pytest.mark.slow
def test_the_address_that_another_tells_is_not_believed(start_process: Callable[..., Process]) -> None:
    process = start_process(trusted_proxies="10.0.0.0/8", rate_per_minute=2)
    assert client_in_log(process, "two-1", NAMED) == "127.0.0.1"
    assert client_in_log(process, "two-2", "192.0.2.8") == "127.0.0.1"
    assert httpx.get(f"{process.url}/v2", headers={"X-Forwarded-For": "192.0.2.9"}).status_code == 429
