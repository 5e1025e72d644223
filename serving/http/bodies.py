"""A request's body, read within bounds of size and time."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from serving.base.errors import BadRequest, ClientGone, SlowRequest, TooLarge, WrongMediaType
from serving.base.settings import Settings

# RFC 9110: deflate is the zlib format; 32 lets zlib find out which of both it is.
_WINDOW = {"gzip": 32 + zlib.MAX_WBITS, "x-gzip": 32 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}


async def read_body(request: Request, settings: Settings, most: int | None = None) -> bytes:
    """The whole body, decompressed; at most `most` bytes, where these are fewer than the settings'.

    Raises:
        TooLarge: where it is above the limit, as it is or once decompressed; not more than the limit is ever in memory.
        WrongMediaType: for an encoding that is not known.
        BadRequest: where it is not what its encoding says.
        SlowRequest: where it does not come in time.
        ClientGone: where it breaks off.
    """
    limit = min(settings.max_body_bytes, most or settings.max_body_bytes)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *_WINDOW):
        raise WrongMediaType(f"content-encoding '{encoding[:40]}' is not read; send it plain, or as gzip or deflate")
    announced = request.headers.get("content-length", "0")
    if announced.isdigit() and int(announced) > limit:
        raise TooLarge(f"a body of {announced} bytes; send at most {limit}, in several requests")
    body = bytearray()
    try:
        async with asyncio.timeout(settings.deadline_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"a body of more than {limit} bytes; send less, in several requests")
    except TimeoutError:
        raise SlowRequest(
            f"the body did not come in {settings.deadline_seconds:g} s; {len(body)} bytes did: send less, or faster"
        ) from None
    except ClientDisconnect as error:
        raise ClientGone("the client went before its request was whole") from error
    if encoding == "identity":
        return bytes(body)
    return _decompressed(bytes(body), _WINDOW[encoding], limit)


def check_media_type(request: Request, *known: str) -> None:
    """Refuse a body of another type; none at all is taken for the first one known.

    Raises:
        WrongMediaType: with the type got.
    """
    given = request.headers.get("content-type", known[0]).split(";", 1)[0].strip().lower()
    if given not in known:
        raise WrongMediaType(f"content-type '{given[:80]}' is not read here; send {' or '.join(known)}")


def _decompressed(body: bytes, window: int, limit: int) -> bytes:
    inflater = zlib.decompressobj(window)
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise BadRequest(f"the body is not what its content-encoding says: {error}; send it plain") from error
    if len(plain) > limit:
        raise TooLarge(f"a body of more than {limit} bytes once decompressed; send less, in several requests")
    if not inflater.eof or inflater.unused_data:
        raise BadRequest("the compressed body breaks off, or something follows it; send it whole, or plain")
    return plain
