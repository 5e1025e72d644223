"""Work for a client that may go before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from serving.base.errors import ClientGone

T = TypeVar("T")


async def cancel_on_disconnect(receive: Callable[[], Awaitable[Any]], work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client goes.

    Args:
        receive: the request's ASGI channel, whose body has been read.

    Raises:
        ClientGone: where it went.
    """
    working = asyncio.ensure_future(work)
    disconnect = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, disconnect}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGone("the client went before its answer was ready")
    finally:
        disconnect.cancel()
        working.cancel()
        # It has to be out of the queue before the request is answered.
        await asyncio.gather(working, disconnect, return_exceptions=True)


async def _disconnected(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
