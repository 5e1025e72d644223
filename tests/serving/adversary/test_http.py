"""HTTP as it should not be, or has long not been."""

from __future__ import annotations

import json
import time

import httpx
import numpy as np
import pytest

from tests.serving.adversary.conftest import Target
from tests.serving.processes import START_SECONDS

pytestmark = pytest.mark.slow
PATH = "/v2/models/shale/generate"


def request(target: Target, body: bytes, version: str = "1.1", host: str = "Host: x\r\n") -> bytes:
    return (
        f"POST {PATH} HTTP/{version}\r\n{host}X-API-Key: {target.lone}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def parts(answer: bytes) -> tuple[bytes, bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.lower(), body


def test_http_1_0_gets_no_chunks(target: Target) -> None:
    # JSON's length is known at its end only.
    head, body = parts(target.exchange(request(target, b'{"n": 3, "seed": 7, "format": "json"}', "1.0", "")))
    assert head.startswith(b"http/1.1 200 ")
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert np.array(json.loads(body)["data"]).size == 3 * 256
    head, body = parts(target.exchange(request(target, b'{"n": 3, "seed": 7}', "1.0")))
    assert len(body) == int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])


@pytest.mark.parametrize("host", ["", "Host: x\r\nHost: x\r\n"], ids=["none", "two"])
def test_a_request_has_one_host(target: Target, host: str) -> None:
    head, body = parts(target.exchange(request(target, b"{}", host=host)))
    assert head.startswith(b"http/1.1 400 ")
    assert b"Host headers; send one" in body


def test_a_client_that_has_closed_its_side_is_answered(target: Target) -> None:
    whole = target.exchange(request(target, b'{"n": 3, "seed": 7}'))
    half = target.exchange(request(target, b'{"n": 3, "seed": 7}'), is_half_closed=True)
    assert parts(half)[1] == parts(whole)[1] != b""


def test_what_the_parser_refuses_is_an_error_as_any_other(target: Target) -> None:
    name = "rockbank_requests_total{method=other,route=unmatched,status=400}"
    before = target.process.metrics().get(name, 0)
    head, body = parts(target.exchange(b"BREW /pot HTCPCP/1.0\r\n\r\n"))
    assert b"content-type: application/json" in head
    answer = json.loads(body)
    assert "send HTTP/1.1" in answer["error"]
    assert f"x-request-id: {answer['request_id']}".encode() in head
    assert target.process.metrics()[name] == before + 1


def test_a_path_is_logged_in_part(target: Target) -> None:
    mark = "mark-of-a-long-path"
    response = httpx.get(f"{target.process.url}/{mark}/{'x' * 20_000}", headers={"X-API-Key": target.lone})
    assert response.status_code == 404
    assert len(response.content) < 1000
    end = time.monotonic() + START_SECONDS
    while not (lines := [line for line in target.process.lines if mark in line]) and time.monotonic() < end:
        time.sleep(0.05)
    assert len(lines) == 1
    assert len(lines[0]) < 1000


def test_an_address_is_believed_of_no_stranger(target: Target) -> None:
    headers = {"X-API-Key": target.lone, "X-Forwarded-For": "192.0.2.7", "X-Request-Id": "forwarded-1"}
    httpx.get(f"{target.process.url}/v2", headers=headers)
    end = time.monotonic() + START_SECONDS
    while not (lines := [each for each in target.process.lines if "forwarded-1" in each]) and time.monotonic() < end:
        time.sleep(0.05)
    assert json.loads(lines[0])["client"] == "127.0.0.1"
