"""Responses whose body comes in chunks, as their samples are computed."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rockbank.generator.card import headline
from serving.dataplane.encode import Chunk
from serving.http.disconnect import until_disconnect
from serving.inference.models import Served

# Bytes of a response that belong together, and whether they are the last.
Piece = tuple[list[Chunk], bool]


def about(served: Served, seed: int | None = None, places: list[int] | None = None) -> dict[str, Any]:
    """What a sample has to be known by, so that it can be made again."""
    card = served.card
    origin: dict[str, Any] = {
        "model": served.name,
        "version": served.version,
        "run_id": served.entry.run_id,
        "data_md5": card.data_md5,
        "extractor": str(card.scores["extractor"]),
        "scores": headline(card.scores),
    }
    if seed is not None:
        origin["seed"] = seed
    if places is not None:
        origin["places"] = places
    return origin


def about_headers(origin: Mapping[str, Any]) -> dict[str, str]:
    """The same as headers."""
    headers = {}
    for key, value in origin.items():
        if isinstance(value, dict):
            text = _numbers(tuple(value.items()))
        else:
            text = json.dumps(value, separators=(",", ":")) if isinstance(value, list) else str(value or "")
        headers[_name(key)] = text
    if "seed" in origin:
        headers["X-Rockbank-Seed"] = str(origin["seed"])
    return headers


# Both are the same for every request of a version: 0.04 ms of a lone one.
@lru_cache(maxsize=64)
def _name(key: str) -> str:
    return f"X-Rockbank-{key.replace('_', '-').title()}"


@lru_cache(maxsize=64)
def _numbers(scores: tuple[tuple[str, float], ...]) -> str:
    return json.dumps(dict(scores), separators=(",", ":"))


class Streamed(Response):
    """Sends chunks as they come; the chunks' generator is closed when the client goes, and then computes no more."""

    def __init__(self, first: Sequence[Chunk], rest: AsyncGenerator[Piece, None], headers: Mapping[str, str]) -> None:
        """A response of a status that is certain: its first chunks are there."""
        super().__init__()
        self._first = first
        self._rest = rest
        self.raw_headers = _raw(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            with until_disconnect(receive):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                await self._send(send, self._first)
                async for chunks, _ in self._rest:
                    await self._send(send, chunks)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self._rest.aclose()

    async def _send(self, send: Send, chunks: Sequence[Chunk]) -> None:
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


class Whole(Response):
    """A body that is there, in parts that are sent without being copied into one."""

    def __init__(self, parts: Sequence[Chunk], headers: Mapping[str, str]) -> None:
        """A response of `parts`."""
        super().__init__()
        self._parts = parts
        self.raw_headers = _raw({**headers, "content-length": str(sum(map(len, parts)))})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for part in self._parts[:-1]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": self._parts[-1], "more_body": False})


def _raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
