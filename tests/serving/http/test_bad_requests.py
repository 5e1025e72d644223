# ruff: noqa: E501  (a line for each bad request, whatever its length)
"""Whatever is wrong with a request is answered with its 4xx, the value got and what to do; and it is counted."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.processes import Process, service_process

GENERATE, INFER = "/v2/models/shale/generate", "/v2/models/shale/infer"
KEY = "a-key-of-the-tests"
MAX_BODY = 100_000


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Process]:
    """One service for all; none of this may disturb it."""
    folder = tmp_path_factory.mktemp("work")
    keys = folder / "keys.txt"
    keys.write_text(f"tests:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    with service_process(
        folder, empty_store, keys_file=keys, max_n=50, max_body_bytes=MAX_BODY, max_buffered_bytes=20 * 1024
    ) as running:
        yield running


def tensor(**changed: Any) -> dict[str, Any]:
    usual = {"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": [0.1, 0.2, 0.3, 0.4]}
    return {key: value for key, value in (usual | changed).items() if value is not None}


def infer(**changed: Any) -> bytes:
    return json.dumps({"inputs": [tensor(**changed)]}).encode()


def binary(size: Any, n_bytes: int, **changed: Any) -> tuple[bytes, dict[str, str]]:
    """A request whose tensor follows its JSON, and the header that says where."""
    head = infer(data=None, parameters={"binary_data_size": size}, **changed)
    return head + bytes(n_bytes), {"Inference-Header-Content-Length": str(len(head))}


def generate(**body: Any) -> bytes:
    return json.dumps(body).encode()


GZIP = {"Content-Encoding": "gzip"}
JSON = {"Content-Type": "application/json"}
NAN = np.full((1, 4), np.nan, np.float32).tobytes()
NAN_HEAD = infer(data=None, parameters={"binary_data_size": 16})

# name: method, path, headers, body, status, what the message has to say
BAD: dict[str, tuple[str, str, dict[str, Any], bytes, int, str]] = {
    "n of 0": ("POST", GENERATE, {}, generate(n=0), 400, "n: input should be greater than or equal to 1, got 0"),
    "n of -1": ("POST", GENERATE, {}, generate(n=-1), 400, "got -1"),
    "n of 1e9": ("POST", GENERATE, {}, b'{"n": 1e9}', 400, "valid integer, got 1000000000.0"),
    "n of a billion": ("POST", GENERATE, {}, generate(n=10**9), 400, "ask for at most 50"),
    "n as text": ("POST", GENERATE, {}, generate(n="16"), 400, "got '16'"),
    "n of true": ("POST", GENERATE, {}, generate(n=True), 400, "got True"),
    "n of half": ("POST", GENERATE, {}, generate(n=1.5), 400, "got 1.5"),
    "n of null": ("POST", GENERATE, {}, generate(n=None), 400, "got None"),
    "n of many digits": ("POST", GENERATE, {}, b'{"n": ' + b"9" * 5000 + b"}", 400, "not JSON"),
    "seed of -1": ("POST", GENERATE, {}, generate(seed=-1), 400, "seed: input should be greater than or equal to 0"),
    "seed of 2^64": ("POST", GENERATE, {}, generate(seed=2**64), 400, "seed: input should be a valid integer"),
    "seed as text": ("POST", GENERATE, {}, generate(seed="7"), 400, "the same seed gives the same samples"),
    "truncation of 0": ("POST", GENERATE, {}, generate(truncation=0), 400, "truncation: input should be greater than 0"),
    "truncation of 11": ("POST", GENERATE, {}, generate(truncation=11), 400, "less than or equal to 10"),
    "truncation of NaN": ("POST", GENERATE, {}, b'{"truncation": NaN}', 400, "NaN is no JSON"),
    "truncation of 1e999": ("POST", GENERATE, {}, b'{"truncation": 1e999}', 400, "not JSON"),
    "another format": ("POST", GENERATE, {}, generate(format="bmp"), 400, "'npy', 'png', 'zip', 'tiff' or 'json', got 'bmp'"),
    "another key": ("POST", GENERATE, {}, generate(count=3), 400, "count: no such key; known are ['format', 'n'"),
    "a picture too large": ("POST", GENERATE, {}, generate(n=40, format="png"), 413, "at most 20, or for zip"),
    "no JSON": ("POST", GENERATE, {}, b"n=16", 400, 'send an object such as {"n": 16'),
    "half of JSON": ("POST", GENERATE, {}, b'{"n": 16', 400, "not JSON"),
    "a list": ("POST", GENERATE, {}, b"[16]", 400, "the body is a list; send an object"),
    "JSON without end": ("POST", GENERATE, {}, b"[" * 50_000, 400, "not JSON"),
    "more lists than a request has": ("POST", INFER, {}, b"[" + b"[]," * 33_000 + b"[]]", 400, "the body is a list"),
    "more strings than a request has": ("POST", INFER, {}, b"[" + b'"",' * 33_000 + b'""]', 413, "20000 quotes; send binary tensors"),
    "no type": ("POST", GENERATE, {"Content-Type": None}, b"{}", 415, "a body without a content-type; send application/json"),
    "a page's infer without a type": ("POST", INFER, {"Content-Type": None, "Sec-Fetch-Site": "same-origin"}, b"{}", 415, "without a content-type"),
    "a page of another site": ("POST", GENERATE, {"Origin": "https://evil.example"}, b"{}", 403, "a page of 'https://evil.example'"),
    "a page without an origin": ("GET", "/v2", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, b"", 403, "a page of another site"),
    "a rebound name": ("GET", "/v2", {"Host": "rebound.example:8000"}, b"", 421, "put into ROCKBANK_TRUSTED_HOSTS"),
    "bytes that are no text": ("POST", GENERATE, {}, b'{"n": "\xff\xfe"}', 400, "not JSON"),
    "a form": ("POST", GENERATE, {"Content-Type": "application/x-www-form-urlencoded"}, b"n=1", 415, "send application/json"),
    "XML": ("POST", INFER, {"Content-Type": "text/xml"}, b"<n/>", 415, "content-type 'text/xml' is not read here"),
    "another encoding": ("POST", GENERATE, {"Content-Encoding": "br"}, b"x", 415, "as gzip or deflate"),
    "gzip that is none": ("POST", GENERATE, GZIP, b"no gzip at all", 400, "not what its content-encoding says"),
    "gzip that breaks off": ("POST", GENERATE, GZIP, gzip.compress(b'{"n": 1}')[:-6], 400, "breaks off"),
    "a gzip bomb": ("POST", GENERATE, GZIP, gzip.compress(b" " * 10**7), 413, "65536 bytes once decompressed"),
    "a deflate bomb": ("POST", INFER, {"Content-Encoding": "deflate"}, zlib.compress(bytes(10**7)), 413, "once decompressed"),
    "a body too large": ("POST", INFER, {}, b" " * (MAX_BODY + 1), 413, "send at most 100000"),
    "NaN latents": ("POST", INFER, {"Inference-Header-Content-Length": str(len(NAN_HEAD))}, NAN_HEAD + NAN, 400, "latent 0 has NaN"),
    "NaN in JSON": ("POST", INFER, {}, infer(data=[float("nan")] * 4), 400, "NaN is no JSON"),
    "latents beyond float32": ("POST", INFER, {}, infer(data=[1e300, 0, 0, 0]), 400, "latent 0 has NaN or infinity"),
    "another shape": ("POST", INFER, {}, infer(shape=[1, 5]), 400, "has the shape [1, 5]; send FP32 of shape [n, 4]"),
    "no latents": ("POST", INFER, {}, infer(shape=[0, 4], data=[]), 400, "n at least 1"),
    "a negative shape": ("POST", INFER, {}, infer(shape=[-1, 4]), 400, "inputs.0.shape.0"),
    "no shape": ("POST", INFER, {}, infer(shape=[]), 400, "has the shape []"),
    "too many latents": ("POST", INFER, {}, infer(shape=[21, 4], data=[0] * 84), 413, "send at most 20 at once"),
    "another type": ("POST", INFER, {}, infer(datatype="INT32"), 400, "'latent' is INT32; send FP32"),
    "another input": ("POST", INFER, {}, infer(name="z"), 400, "inputs: got ['z']; send one tensor, 'latent'"),
    "two inputs": ("POST", INFER, {}, json.dumps({"inputs": [tensor(), tensor()]}).encode(), 400, "send one tensor"),
    "more inputs than a graph has": ("POST", INFER, {}, json.dumps({"inputs": [tensor()] * 17}).encode(), 400, "at most 16 items"),
    "inputs that are nothing": ("POST", INFER, {}, b'{"inputs": [' + b"{}," * 30_000 + b"{}]}", 400, "inputs.0.name: is missing"),
    "more keys than there can be": ("POST", GENERATE, {}, generate(**{f"k{i}": 0 for i in range(5000)}), 400, "has 5000 keys; known are ['format', 'n'"),
    "no inputs": ("POST", INFER, {}, b"{}", 400, "inputs: is missing; send an object"),
    "no data": ("POST", INFER, {}, infer(data=None), 400, "neither data nor binary_data_size"),
    "too little data": ("POST", INFER, {}, infer(data=[1.0]), 400, "holds 1 values of float; send 4 numbers"),
    "ragged data": ("POST", INFER, {}, infer(shape=[2, 4], data=[[1, 2], [3]]), 400, "is ragged"),
    "data nested the other way": ("POST", INFER, {}, infer(shape=[2, 4], data=[[1, 2]] * 4), 400, "its data is nested as [4, 2], its shape is [2, 4]; send 8 numbers, flat or nested as the shape says"),
    "data nested deeper": ("POST", INFER, {}, infer(data=[[[1, 2, 3, 4]]]), 400, "nested as [1, 1, 4], its shape is [1, 4]"),
    "data nested in columns": ("POST", INFER, {}, infer(data=[[1], [2], [3], [4]]), 400, "nested as [4, 1], its shape is [1, 4]"),
    "data nested without end": ("POST", INFER, {}, b'{"inputs": [{"name": "latent", "shape": [1, 4], "datatype": "FP32", "data": ' + b"[" * 90 + b"]" * 90 + b"}]}", 400, "'latent': its data"),
    "one long text among the data": ("POST", INFER, {}, infer(data=["x" * 20_000] + [1] * 20_000), 400, "20001 values of int and str; send 4 numbers"),
    "whole numbers beyond float64": ("POST", INFER, {}, infer(data=[10**400, 0, 0, 0]), 400, "number is infinity"),
    "true as data": ("POST", INFER, {}, infer(data=[True, 0, 0, 0]), 400, "4 values of bool and int"),
    "text as data": ("POST", INFER, {}, infer(data=["a", "b", "c", "d"]), 400, "send 4 numbers"),
    "too few bytes": ("POST", INFER, binary(16, 12)[1], binary(16, 12)[0], 400, "12 bytes follow the JSON"),
    "too many bytes": ("POST", INFER, binary(16, 20)[1], binary(16, 20)[0], 400, "takes 16 bytes; send as many"),
    "a wrong binary size": ("POST", INFER, binary(8, 8)[1], binary(8, 8)[0], 400, "binary_data_size is 8"),
    "a binary size of text": ("POST", INFER, binary("16", 16)[1], binary("16", 16)[0], 400, "send as many"),
    "a JSON length of -1": ("POST", INFER, {"Inference-Header-Content-Length": "-1"}, infer(), 400, "send the length of the JSON"),
    "a JSON length beyond": ("POST", INFER, {"Inference-Header-Content-Length": "99999"}, infer(), 400, "got '99999' for a body of"),
    "a JSON length of many digits": ("POST", INFER, {"Inference-Header-Content-Length": "9" * 5000}, infer(), 400, "send the length of the JSON"),
    "a JSON length of superscripts": ("POST", INFER, {"Inference-Header-Content-Length": b"\xb2"}, infer(), 400, "send the length of the JSON"),
    "bytes that nobody names": ("POST", INFER, {"Inference-Header-Content-Length": str(len(infer()))}, infer() + b"more", 400, "has no binary_data_size"),
    "another output": ("POST", INFER, {}, json.dumps({"inputs": [tensor()], "outputs": [{"name": "x"}]}).encode(), 400, "ask for one tensor, 'image'"),
    "classification": ("POST", INFER, {}, json.dumps({"inputs": [tensor()], "outputs": [{"name": "image", "parameters": {"classification": 3}}]}).encode(), 400, "leave it out"),
    "a timeout of text": ("POST", INFER, {}, json.dumps({"inputs": [tensor()], "parameters": {"timeout": "soon"}}).encode(), 400, "whole microseconds"),
    "a timeout of many digits": ("POST", INFER, {}, json.dumps({"inputs": [tensor()], "parameters": {"timeout": 10**400}}).encode(), 400, "number is infinity"),
    "another model": ("POST", "/v2/models/granite/generate", {}, b"", 404, "served are ['shale']"),
    "a path in the name": ("POST", "/v2/models/..%2f..%2fetc%2fpasswd/generate", {}, b"", 404, "no such path"),
    "dots as a name": ("POST", "/v2/models/%2e%2e/infer", {}, b"", 404, ""),
    "NUL in the name": ("POST", "/v2/models/shale%00/generate", {}, b"", 404, "is not served here"),
    "a name too long": ("POST", f"/v2/models/{'a' * 300}/generate", {}, b"", 400, "at most 256 characters"),
    "another version": ("POST", "/v2/models/shale/versions/99/generate", {}, b"", 404, "loaded are ['1']"),
    "a version that is no number": ("GET", "/v2/models/shale/versions/latest", {}, b"", 404, "'latest' is not loaded"),
    "another path": ("GET", "/v3", {}, b"", 404, "/openapi.json lists"),
    "another method": ("GET", GENERATE, {}, b"", 405, "takes no GET; use POST"),
    "a method that no path has": ("DELETE", "/v2", {}, b"", 405, "takes no DELETE; use GET, HEAD"),
    "a method of no protocol": ("BREW", GENERATE, {}, b"", 400, ""),
    "no key": ("POST", GENERATE, {"X-API-Key": ""}, b"", 401, "send 'Authorization: Bearer KEY'"),
    "another key of the door": ("POST", GENERATE, {"X-API-Key": "guess"}, b"", 401, "ask the operator"),
    "a bearer of nothing": ("POST", GENERATE, {"X-API-Key": KEY, "Authorization": "Bearer"}, b"", 401, "no key"),
    "a user's key for an admin's work": ("POST", "/v2/models/shale/rollback", {}, b"", 403, "takes an admin's"),
    "a webhook that is off": ("POST", "/webhooks/registry", {}, b"{}", 403, "set ROCKBANK_WEBHOOK_SECRET"),
    "huge headers": ("POST", GENERATE, {"X-Large": "x" * 40_000}, b"", 431, "send at most 32768"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_request_is_reported_with_its_status_and_its_remedy_and_is_counted(process: Process, name: str) -> None:
    method, path, headers, body, status, message = BAD[name]
    before = process.metrics()
    given = {"X-API-Key": KEY, "Content-Type": "application/json"} | headers
    sent = {name: value for name, value in given.items() if value is not None}
    response = httpx.request(method, process.url + path, headers=sent, content=body)
    assert response.status_code == status, response.text
    if method != "BREW":  # refused by the parser of HTTP, before there is a request
        answer = response.json()
        assert message in answer["error"]
        assert answer["request_id"] == response.headers["x-request-id"]
        after = process.metrics()
        reasons = {
            key: after[key] - before.get(key, 0.0) for key in after if key.startswith("rockbank_rejections_total")
        }
        assert sum(reasons.values()) == 1
        foreign = {421: "foreign", 403: "foreign"} if "Host" in headers or "page" in name else {}
        expected = {401: "bad_key", 403: "bad_key", 413: "too_large", 431: "too_large", **foreign}.get(
            status, "bad_request"
        )
        assert reasons[f"rockbank_rejections_total{{reason={expected}}}"] == 1
    # Nothing of it is left behind.
    good = httpx.post(process.url + GENERATE, headers={"X-API-Key": KEY, **JSON}, content=generate(n=2, seed=7))
    assert good.status_code == 200
    metrics = process.metrics()
    assert metrics["rockbank_queued_samples"] == 0


def test_there_are_at_least_forty() -> None:
    assert len(BAD) >= 40


def exchange(process: Process, sent: bytes) -> bytes:
    """What comes back on a bare socket until it is closed."""
    host, port = process.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def test_headers_without_end_are_cut_off(process: Process) -> None:
    before = process.metrics().get("rockbank_rejections_total{reason=too_large}", 0)
    received = exchange(process, b"GET /v2 HTTP/1.1\r\nHost: x\r\n" + b"X-Large: " + b"y" * 100_000)
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b"send less" in received
    assert process.metrics()["rockbank_rejections_total{reason=too_large}"] == before + 1


def test_what_is_no_http_is_refused(process: Process) -> None:
    assert exchange(process, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_two_lengths_are_refused(process: Process) -> None:
    sent = b"POST /v2/models/shale/generate HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"
    assert exchange(process, sent).startswith(b"HTTP/1.1 400 ")


def test_a_body_in_chunks_that_grows_too_large_is_refused_while_it_comes(process: Process) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 10_000

    response = httpx.post(process.url + GENERATE, headers={"X-API-Key": KEY, **JSON}, content=chunks())
    assert response.status_code == 413
    assert "more than 65536 bytes" in response.json()["error"]
