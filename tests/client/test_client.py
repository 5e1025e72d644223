"""The client is patient within bounds, reads what it is sent, and says in the server's words what was refused.

The server here plays a part, over real sockets; tests/serving/http/test_client_at_service.py has the client at the
real one.
"""

from __future__ import annotations

import asyncio
import io
import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rockbank.client
from rockbank.client import AsyncClient, Client, ClientError, RetryPolicy, Samples, Unreachable
from rockbank.client.retry import retry_after

ORIGIN = {
    "X-Rockbank-Model": "shale",
    "X-Rockbank-Version": "3",
    "X-Rockbank-Run-Id": "abc",
    "X-Rockbank-Data-Md5": "d41d.dir",
    "X-Rockbank-Seed": "7",
    "X-Rockbank-Extractor": "tiny",
    "X-Rockbank-Scores": '{"kid": 0.25}',
    "X-Request-Id": "r-1",
}
SAMPLES = np.linspace(0, 1, 3 * 16 * 16, dtype=np.float32).reshape(3, 1, 16, 16)
HASTY = RetryPolicy(retries=3, first=0.001, longest=0.01)
Reply = Callable[[BaseHTTPRequestHandler], None]


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return stream.getvalue()


def answer(status: int, body: bytes, headers: dict[str, str] | None = None, announced: int | None = None) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) if announced is None else announced))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = announced is not None

    return reply


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    return answer(status, json.dumps({"error": message, "request_id": "r-9"}).encode(), headers)


WHOLE = answer(200, npy(SAMPLES), ORIGIN)
CUT = answer(200, npy(SAMPLES)[:1000], ORIGIN, announced=len(npy(SAMPLES)))
BUSY = refusal(429, "the queue is full; come back later")


class Part:
    """A server that gives the replies of its part one after another, the last of them for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        part = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                part.requests.append((f"{self.command} {self.path}", headers, body))
                part.replies[min(len(part.requests), len(part.replies)) - 1](self)

            do_GET = do_POST = respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def playing(*replies: Reply) -> Iterator[Part]:
    part = Part(*replies)
    thread = threading.Thread(target=part.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield part
    finally:
        part.server.shutdown()
        part.server.server_close()
        thread.join()


@contextmanager
def talking(*replies: Reply, **keywords: Any) -> Iterator[tuple[Part, Client]]:
    with playing(*replies) as part, Client(part.url, **{"retry": HASTY} | keywords) as client:
        yield part, client


def test_samples_come_with_their_origin() -> None:
    with talking(WHOLE) as (part, client):
        samples = client.generate("shale", n=3, seed=7, truncation=0.7)
    np.testing.assert_array_equal(samples.array, SAMPLES)
    assert (samples.model, samples.version, samples.run_id, samples.data_md5) == ("shale", "3", "abc", "d41d.dir")
    assert (samples.seed, samples.extractor, samples.scores, samples.request_id) == (7, "tiny", {"kid": 0.25}, "r-1")
    line, _, body = part.requests[0]
    assert line == "POST /v2/models/shale/generate"
    assert json.loads(body) == {"n": 3, "seed": 7, "truncation": 0.7, "format": "npy"}


def test_the_awaited_client_does_the_same() -> None:
    async def sample(url: str) -> list[Samples]:
        async with AsyncClient(url, retry=HASTY) as client:
            return list(await asyncio.gather(*(client.generate("shale", n=3, seed=7) for _ in range(4))))

    with playing(BUSY, CUT, WHOLE) as part:
        for samples in asyncio.run(sample(part.url)):
            np.testing.assert_array_equal(samples.array, SAMPLES)
    assert len(part.requests) == 6


@pytest.mark.parametrize("status", [429, 503])
def test_a_passing_refusal_is_waited_out(status: int) -> None:
    with talking(refusal(status, "busy"), refusal(status, "busy"), WHOLE) as (part, client):
        assert client.generate("shale", n=3, seed=7).version == "3"
    assert len(part.requests) == 3


def test_retries_end_and_report_the_servers_words() -> None:
    refused = pytest.raises(ClientError, match=r"429, 4 times: the queue is full; come back later")
    with talking(BUSY) as (part, client), refused as caught:
        client.generate("shale")
    assert (caught.value.status, caught.value.request_id) == (429, "r-9")
    assert len(part.requests) == 1 + HASTY.retries


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 504])
def test_what_waiting_does_not_mend_is_not_requested_again(status: int) -> None:
    refused = pytest.raises(ClientError, match="ask for at least one")
    with talking(refusal(status, "n: got 0; ask for at least one sample"), WHOLE) as (part, client), refused:
        client.generate("shale", n=0)
    assert len(part.requests) == 1


def test_the_server_says_how_long_to_wait() -> None:
    retry = RetryPolicy(retries=3, first=0.1, longest=30.0, rng=random.Random(0))
    for i_retry in range(3):
        # Never sooner than asked, and not with everyone else.
        waits = {retry.wait(i_retry, retry_after=2.0) for _ in range(20)}
        assert len(waits) > 10
        assert all(2.0 <= wait <= 2.0 + 0.1 * 2**i_retry for wait in waits)


def test_a_server_that_asks_for_too_long_is_not_waited_for() -> None:
    refused = pytest.raises(ClientError, match="503: draining")
    with talking(refusal(503, "draining", {"Retry-After": "3600"}), retry=RetryPolicy()) as (part, client), refused:
        client.generate("shale")
    assert len(part.requests) == 1


def test_waits_double_up_to_a_bound() -> None:
    retry = RetryPolicy(retries=12, first=1.0, longest=20.0, rng=random.Random(0))
    for i_retry in range(12):
        ceiling = min(20.0, 2.0**i_retry)
        wait = retry.wait(i_retry)
        assert wait is not None
        assert ceiling / 2 <= wait <= ceiling
    assert retry.wait(12) is None


def test_retry_after_is_read_as_seconds_or_as_a_date() -> None:
    assert retry_after({"retry-after": "3"}) == 3.0
    later = retry_after({"retry-after": format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)})
    assert later == pytest.approx(100, abs=5)
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    for useless in ({}, {"retry-after": "soon"}, {"retry-after": "-1"}, {"retry-after": "1e9"}):
        assert retry_after(useless) is None


def test_an_answer_cut_short_is_requested_again() -> None:
    with talking(CUT, WHOLE) as (part, client):
        np.testing.assert_array_equal(client.generate("shale", n=3).array, SAMPLES)
    assert len(part.requests) == 2


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "out" / "samples.npy"
    with talking(CUT) as (_, client), pytest.raises(Unreachable, match="4 times"):
        client.save(path, "shale", n=3)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    counts: list[int] = []
    with talking(CUT, WHOLE) as (_, client):
        origin = client.save(path, "shale", n=3, seed=7, progress=counts.append)
    assert origin.seed == 7
    np.testing.assert_array_equal(np.load(path, allow_pickle=False), SAMPLES)
    assert counts[-1] == 3


def test_the_suffix_says_the_format(tmp_path: Path) -> None:
    with talking(answer(200, b"picture", ORIGIN)) as (part, client):
        client.save(tmp_path / "grid.png", "shale", version="2")
        with pytest.raises(ValueError, match=r"cannot write '\.gif'; use one of"):
            client.save(tmp_path / "grid.gif", "shale")
    assert (tmp_path / "grid.png").read_bytes() == b"picture"
    ((line, _, body),) = part.requests
    assert line == "POST /v2/models/shale/versions/2/generate"
    assert json.loads(body)["format"] == "png"


def test_nobody_there_is_said_in_a_line() -> None:
    with playing(WHOLE) as part:
        url = part.url
    with Client(url, retry=HASTY) as client, pytest.raises(Unreachable, match="is the server there"):
        client.models()


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "http://[::1", ""])
def test_an_address_that_is_none_is_refused_before_it_is_tried(url: str) -> None:
    with pytest.raises(ValueError, match=r"not an address.*; use one such as http://127\.0\.0\.1:8000"):
        Client(url)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answer(200, b"<html>a proxy</html>", ORIGIN), "no array"),
        (answer(200, npy(SAMPLES)), "does not say what generated it"),
        (answer(200, npy(SAMPLES.astype(float)), ORIGIN), "of float64"),
        (answer(200, npy(np.asfortranarray(SAMPLES)), ORIGIN), "runs along columns"),
        (answer(200, npy(SAMPLES)[:-4], ORIGIN), "were announced"),
        (answer(302, b"elsewhere", {"Location": "http://127.0.0.1:1/"}), "302: elsewhere"),
    ],
)
def test_what_is_not_ours_is_not_taken_for_samples(reply: Reply, says: str) -> None:
    with talking(reply) as (_, client), pytest.raises(ClientError, match=says):
        client.generate("shale")


def test_a_name_stays_one_part_of_the_path() -> None:
    refused = pytest.raises(ClientError, match="no such model")
    with talking(refusal(404, "no such model")) as (part, client), refused:
        client.generate("../../metrics?x=1#y")
    assert part.requests[0][0] == "POST /v2/models/..%2F..%2Fmetrics%3Fx%3D1%23y/generate"


def test_the_key_is_the_arguments_or_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROCKBANK_API_KEY", "from-environment")
    with playing(WHOLE) as part:
        for keywords in ({}, {"key": "mine"}, {"key": ""}):
            with Client(part.url, **keywords) as client:
                client.generate("shale")
    assert [headers.get("authorization") for _, headers, _ in part.requests] == [
        "Bearer from-environment",
        "Bearer mine",
        None,
    ]
    with pytest.raises(ValueError, match="no header can carry"):
        Client("http://127.0.0.1", key="one\ntwo")


def test_latents_go_and_images_come_as_binary_tensors() -> None:
    latents = np.arange(8, dtype=np.float32).reshape(2, 4)
    about = json.dumps({"outputs": [{"name": "image", "shape": [3, 1, 16, 16], "datatype": "FP32"}]}).encode()
    reply = answer(200, about + SAMPLES.tobytes(), {"Inference-Header-Content-Length": str(len(about))})
    with talking(reply) as (part, client):
        np.testing.assert_array_equal(client.infer("shale", latents), SAMPLES)
    line, headers, body = part.requests[0]
    assert line == "POST /v2/models/shale/infer"
    length = int(headers["inference-header-content-length"])
    assert json.loads(body[:length])["inputs"][0]["shape"] == [2, 4]
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4").reshape(2, 4), latents)


def test_a_silent_server_is_not_waited_for_for_ever() -> None:
    let_go = threading.Event()
    retry = RetryPolicy(retries=1, first=0.001, longest=0.01)
    with talking(lambda _: let_go.wait(30), timeout=0.05, retry=retry) as (_, client):
        try:
            with pytest.raises(Unreachable, match="timed out"):
                client.models()
        finally:
            let_go.set()


def test_the_client_needs_neither_torch_nor_mlflow() -> None:
    code = (
        "import sys, rockbank.client; "
        "print(sorted({'torch', 'mlflow', 'onnxruntime', 'matplotlib', 'fastapi'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_old_names_of_the_retry_policy_hold_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="now RetryPolicy"):
        old = rockbank.client.Patience
    assert old is RetryPolicy
    with pytest.warns(DeprecationWarning, match="now retry="), Client("http://127.0.0.1:1", patience=HASTY) as client:
        assert client._retry is HASTY
