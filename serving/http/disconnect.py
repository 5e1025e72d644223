"""Work for a client that may go before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from serving.base.errors import ClientGone


class until_disconnect:
    """Cancels what its block awaits when the client goes: `with until_disconnect(request.receive): ...`.

    One task watches, whatever the block starts. What a block had begun is ended by its own `finally`.

    Raises:
        ClientGone: at the block's end, where the client went.
    """

    def __init__(self, receive: Callable[[], Awaitable[Any]]) -> None:
        """Watch a request's ASGI channel, whose body has been read."""
        self._receive = receive
        self._is_gone = False

    def __enter__(self) -> Self:
        self._working = asyncio.current_task()
        self._watching = asyncio.get_running_loop().create_task(self._watch())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._watching.cancel()
        if self._is_gone and kind is not None and issubclass(kind, asyncio.CancelledError):
            assert self._working is not None
            # Where somebody else cancelled this task too, that stands.
            if self._working.uncancel() == 0:
                raise ClientGone("the client went before its answer was ready") from error

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_gone = True
        assert self._working is not None
        self._working.cancel()
