"""A request's body, read within bounds of size, time and the process's memory."""

from __future__ import annotations

import asyncio
import zlib

from starlette.requests import ClientDisconnect, Request

from serving.base.errors import BadRequest, ClientGone, SlowRequest, TooLarge, WrongMediaType
from serving.base.settings import Settings
from serving.http.guard import is_of_page, share_of

# RFC 9110: deflate is the zlib format; 32 lets zlib find out which of both it is.
_WINDOW = {"gzip": 32 + zlib.MAX_WBITS, "x-gzip": 32 + zlib.MAX_WBITS, "deflate": 32 + zlib.MAX_WBITS}
# Decompressed at once; between two of them others have their turn.
_STEP = 1024**2
# Latents hardly compress, JSON to a fifth; what comes out a hundred times as long is made to fill the memory.
_MAX_RATIO = 100


async def read_body(request: Request, settings: Settings, most: int | None = None) -> bytes | bytearray:
    """The whole body, decompressed; at most `most` bytes, where these are fewer than the settings'.

    Raises:
        TooLarge: where it is above the limit, as it is or once decompressed; not more than the limit is ever in memory.
        Busy: where the process has no room for it.
        WrongMediaType: for an encoding that is not known.
        BadRequest: where it is not what its encoding says.
        SlowRequest: where it does not come in time.
        ClientGone: where it breaks off.
    """
    limit, share = min(settings.max_body_bytes, most or settings.max_body_bytes), share_of(request.scope)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", *_WINDOW):
        raise WrongMediaType(f"content-encoding '{encoding[:40]}' is not read; send it plain, or as gzip or deflate")
    announced = request.headers.get("content-length", "0")
    n_held = int(announced) if announced.isdigit() and len(announced) < 20 else 0
    if n_held > limit:
        raise TooLarge(f"a body of {announced} bytes; send at most {limit}, in several requests")
    share.add(n_held)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.deadline_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    raise TooLarge(f"a body of more than {limit} bytes; send less, in several requests")
                if len(body) > n_held:
                    share.add(len(body) - n_held)
                    n_held = len(body)
    except TimeoutError:
        raise SlowRequest(
            f"the body did not come in {settings.deadline_seconds:g} s; {len(body)} bytes did: send less, or faster"
        ) from None
    except ClientDisconnect as error:
        raise ClientGone("the client went before its request was whole") from error
    return body if encoding == "identity" else await _decompressed(request, body, _WINDOW[encoding], limit)


def check_media_type(request: Request, *known: str, is_needed: bool = True) -> None:
    """Refuse a body of another type, or of none: that is what a web page may send anywhere without asking first.

    Args:
        request: whose headers count.
        known: types.
        is_needed: also where no page has sent it.

    Raises:
        WrongMediaType: with the type got.
    """
    given = request.headers.get("content-type")
    if given is None:
        has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
        if has_body and (is_needed or is_of_page(request.headers)):
            raise WrongMediaType(f"a body without a content-type; send {' or '.join(known)}")
        return
    named = given.split(";", 1)[0].strip().lower()
    if named not in known:
        raise WrongMediaType(f"content-type '{named[:80]}' is not read here; send {' or '.join(known)}")


async def _decompressed(request: Request, body: bytearray, window: int, limit: int) -> bytearray:
    inflater, loop, share = zlib.decompressobj(window), asyncio.get_running_loop(), share_of(request.scope)
    executor = request.app.state.service.parsing
    plain, rest = bytearray(), bytes(body)
    while not inflater.eof:
        share.add(min(_STEP, limit + 1))
        try:
            step = await loop.run_in_executor(executor, inflater.decompress, rest, min(_STEP, limit + 1))
        except zlib.error as error:
            raise BadRequest(f"the body is not what its content-encoding says: {error}; send it plain") from error
        plain += step
        rest = inflater.unconsumed_tail
        if len(plain) > limit:
            raise TooLarge(f"a body of more than {limit} bytes once decompressed; send less, in several requests")
        if len(plain) > max(_STEP, _MAX_RATIO * len(body)):
            raise TooLarge(f"a body that is more than {_MAX_RATIO} times as long once decompressed; send it plain")
        if not step and not inflater.eof:
            break
    if not inflater.eof or inflater.unused_data:
        raise BadRequest("the compressed body breaks off, or something follows it; send it whole, or plain")
    return plain
