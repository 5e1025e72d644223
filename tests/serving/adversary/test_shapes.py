"""Requests as bytes, one shape each: what it is answered with, and that nothing in it is taken for another request."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.serving.adversary.conftest import Target

pytestmark = pytest.mark.slow
PATH = "/v2/models/shale/generate"
LIVE = "/v2/health/live"
BODY = b'{"n": 1, "seed": 7, "format": "json"}'
# Whether it was taken for a request shows: it would be answered with 404.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
# The next request of the same connection, and its last.
NEXT = f"GET {LIVE}?next HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Bytes on the wire, where KEY stands for a key; the statuses that they are answered with, and words of it all."""

    sent: bytes
    statuses: tuple[int, ...]
    words: bytes = b""


def post(*headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    lines = (f"POST {PATH} HTTP/{version}", "Host: x", "X-API-Key: KEY", "Content-Type: application/json", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(*headers: str, line: str = f"GET {LIVE} HTTP/1.1", end: bytes = b"\r\n") -> bytes:
    return end.join(each.encode() for each in (line, "Host: x", *headers)) + 2 * end


def refused(sent: bytes, words: bytes = b"this is no HTTP request") -> Shape:
    """One that is answered with 400 and nothing else, whatever follows it."""
    return Shape(sent=sent + HIDDEN, statuses=(400,), words=words)


CHUNKED, LENGTH = "Transfer-Encoding: chunked", f"Content-Length: {len(BODY)}"
UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
CHUNKS = b"5\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\nX-After: it\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
SHAPES = {
    # What is right, and what comes after it on the same connection.
    "pipelined": Shape(sent=get() + get(line="GET /hidden HTTP/1.1") + NEXT, statuses=(200, 404, 200)),
    "pipelined POST": Shape(sent=post(LENGTH, body=BODY) + post(LENGTH, body=BODY) + NEXT, statuses=(200, 200, 200)),
    "chunked": Shape(sent=post(CHUNKED, body=CHUNKS) + NEXT, statuses=(200, 200)),
    "chunked after a tab": Shape(sent=post("Transfer-Encoding:\tchunked", body=CHUNKS) + NEXT, statuses=(200, 200)),
    "a body of a GET": Shape(sent=get(f"Content-Length: {len(HIDDEN)}") + HIDDEN + NEXT, statuses=(200, 200)),
    "expects 100": Shape(sent=post(LENGTH, "Expect: 100-continue", body=BODY) + NEXT, statuses=(100, 200, 200)),
    "absolute": Shape(sent=get(line=f"GET http://x{LIVE} HTTP/1.1") + NEXT, statuses=(200, 200)),
    "HEAD": Shape(sent=get(line=f"HEAD {LIVE} HTTP/1.1") + NEXT, statuses=(200, 200)),
    "OPTIONS": Shape(sent=get(line=f"OPTIONS {LIVE} HTTP/1.1") + NEXT, statuses=(405, 200), words=b"allow: GET"),
    "OPTIONS of a POST": Shape(
        sent=get(line=f"OPTIONS {PATH} HTTP/1.1") + NEXT, statuses=(405, 200), words=b"allow: POST"
    ),
    "OPTIONS *": Shape(sent=get(line="OPTIONS * HTTP/1.1") + NEXT, statuses=(404, 200)),
    "upgrade to h2c": Shape(sent=get(*UPGRADE) + NEXT, statuses=(200,), words=b"connection: close"),
    "upgrade of a POST": Shape(
        sent=post(LENGTH, *UPGRADE, body=BODY) + NEXT, statuses=(200,), words=b"connection: close"
    ),
    # Two lengths, or one that is none.
    "length and chunks": refused(post("Content-Length: 4", CHUNKED, body=b"0\r\n\r\n")),
    "chunks and length": refused(post(CHUNKED, "Content-Length: 4", body=b"0\r\n\r\n")),
    "chunked and another": refused(post(CHUNKED, "Transfer-Encoding: identity", body=b"0\r\n\r\n")),
    "chunked not last": refused(post("Transfer-Encoding: chunked, identity", body=b"0\r\n\r\n")),
    "xchunked": refused(post("Transfer-Encoding: xchunked", body=b"0\r\n\r\n")),
    "a space before the colon": refused(post("Transfer-Encoding : chunked", body=b"0\r\n\r\n")),
    "two lengths": refused(post("Content-Length: 2", "Content-Length: 3", body=b"{}")),
    "a length with a sign": refused(post("Content-Length: +2", body=b"{}")),
    "a list of lengths": refused(post("Content-Length: 2, 2", body=b"{}")),
    "a negative length": refused(post("Content-Length: -1", body=b"{}")),
    "a length in hexadecimal": refused(post("Content-Length: 0x2", body=b"{}")),
    "a chunk with 0x": refused(post(CHUNKED, body=b"0x3\r\nabc\r\n0\r\n\r\n")),
    "a chunk's extension with a line feed": refused(post(CHUNKED, body=b"3;a\nabc\r\n0\r\n\r\n")),
    "a chunk that does not end": refused(post(CHUNKED, body=b"3\r\nabcXX0\r\n\r\n")),
    "HTTP/1.0 with chunks": refused(
        post(CHUNKED, body=CHUNKS, version="1.0"), b"HTTP/1.0 with Transfer-Encoding; send Content-Length"
    ),
    # Lines that are none.
    "line feeds alone": refused(get(end=b"\n")),
    "a header over two lines": refused(get("X: a", " Connection: close")),
    "a NUL in a header": refused(get("X: a\0b")),
    "CONNECT": refused(get(line="CONNECT y:80 HTTP/1.1")),
    "HTTP/1.2": refused(get(line=f"GET {LIVE} HTTP/1.2")),
    "HTTP/0.9": refused(f"GET {LIVE}\r\n\r\n".encode(), b""),
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_has_its_answers_and_no_others(target: Target, name: str) -> None:
    shape = SHAPES[name]
    answer = target.exchange(shape.sent.replace(b"KEY", target.lone.encode()))
    statuses = tuple(int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", answer))
    assert statuses == shape.statuses, answer[:2000]
    assert shape.words in answer
