"""One connection: uvicorn's protocol, with bounds on what a peer may have of it, and errors as requests have them."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from serving.base.connections import possible_connections
from serving.base.errors import BadRequest, Busy, HeadersTooLarge, ServingError
from serving.base.logs import REQUEST_ID, log
from serving.http.middleware import MAX_HEADER_BYTES, error_body, request_id_of
from serving.service import Service

# A peer that has sent no whole headers after this is not one of ours.
_HEADER_SECONDS = 10.0
# A client that has closed its side may only have said all that it had to; one that is gone is known by the system's
# answer to what is sent to it, which has to begin within this.
_HALF_CLOSED_SECONDS = 2.0
# For a client that is refused at once to read why, and how many of them are waited for.
_REFUSED_SECONDS, _N_REFUSED = 1.0, 64


def protocol_of(service: Service) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with bounds on connections, on headers' size and time, and on peers that take nothing."""
    send_seconds, metrics = service.settings.send_seconds, service.metrics
    n_most = possible_connections(service.settings.max_connections)
    refused: set[HttpToolsProtocol] = set()

    class Protocol(HttpToolsProtocol):
        """One connection."""

        _n_header_bytes = 0
        # The rest of a body that was answered before it had come is no headers.
        _in_body = False
        _timer: asyncio.TimerHandle | None = None
        _headers_timer: asyncio.TimerHandle | None = None
        _n_unsent = 0
        _is_refused = False

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            metrics.connections.inc()
            if len(self.connections) > n_most:
                self._is_refused = True
                self.connections.discard(self)
                self._refuse(Busy(f"{n_most} connections are open, as many as this service takes; come again later"))
                return
            self._headers_timer = self.loop.call_later(_HEADER_SECONDS, self._no_headers)

        def connection_lost(self, exc: Exception | None) -> None:
            metrics.connections.dec()
            refused.discard(self)
            for timer in (self._timer, self._headers_timer):
                if timer is not None:
                    timer.cancel()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._is_refused:
                return
            in_headers = not self._in_body
            if in_headers:
                self._n_header_bytes += len(data)
                if self._headers_timer is None:
                    self._headers_timer = self.loop.call_later(_HEADER_SECONDS, self._no_headers)
            super().data_received(data)
            # What is still being parsed: the parser itself would take headers without end.
            if not self._in_body and self._n_header_bytes > 2 * MAX_HEADER_BYTES and not self.transport.is_closing():
                self._refuse(HeadersTooLarge(f"more than {MAX_HEADER_BYTES} bytes of headers; send less"))

        def on_headers_complete(self) -> None:
            self._n_header_bytes, self._in_body = 0, True
            if self._headers_timer is not None:
                self._headers_timer.cancel()
                self._headers_timer = None
            super().on_headers_complete()
            # The parser reads nothing after a request that would change the protocol, which is not changed here.
            if service.is_draining or self.parser.should_upgrade():
                self.cycle.keep_alive = False
            if self.scope["http_version"] == "1.0":
                _end_by_closing(self.cycle)

        def send_400_response(self, msg: str) -> None:
            self._refuse(BadRequest("this is no HTTP request; send HTTP/1.1, or gRPC to its own port"))

        def eof_received(self) -> bool:  # type: ignore[override]
            """Keep a half-closed connection that is being answered."""
            if self._is_refused or self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
                return False
            self.cycle.keep_alive = False
            self.loop.call_later(_HALF_CLOSED_SECONDS, self._still_silent, self.cycle)
            return True

        def _still_silent(self, cycle: RequestResponseCycle) -> None:
            if not cycle.response_started and not self.transport.is_closing():
                self.transport.close()

        def _refuse(self, error: ServingError) -> None:
            """Answer what never becomes a request, as a request is answered; and count it as one."""
            self._is_refused = True
            token = REQUEST_ID.set(request_id_of(None))
            try:
                body, client = error_body(error), self.client[0] if self.client else None
                headers = {
                    "content-type": "application/json", "content-length": str(len(body)), "connection": "close",
                    "x-request-id": REQUEST_ID.get(), **error.headers,
                }  # fmt: skip
                log.info("refused: %s", error, extra={"status": error.status, "client": client})
            finally:
                REQUEST_ID.reset(token)
            metrics.rejected(error.reason or "bad_request")
            metrics.requests_total.labels("unmatched", "other", str(error.status)).inc()
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            self.transport.write(f"HTTP/1.1 {error.status} {type(error).__name__}\r\n{head}\r\n".encode() + body)
            if len(refused) >= _N_REFUSED:
                self.transport.close()
                return
            # What it has sent and nobody reads would have the system take the answer back.
            refused.add(self)
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(_REFUSED_SECONDS, self.transport.close)

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._n_unsent = self.transport.get_write_buffer_size()
            self._timer = self.loop.call_later(send_seconds, self._still_paused)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _still_paused(self) -> None:
            n_unsent = self.transport.get_write_buffer_size()
            if n_unsent < self._n_unsent:
                # Slow, but it takes something.
                self._n_unsent = n_unsent
                self._timer = self.loop.call_later(send_seconds, self._still_paused)
            else:
                service.metrics.rejected("slow_client")
                self.transport.abort()

        def _no_headers(self) -> None:
            self._headers_timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return Protocol


def _end_by_closing(cycle: RequestResponseCycle) -> None:
    """HTTP/1.0 knows no chunks: a body of unknown length ends with its connection."""
    send, is_open = cycle.send, False

    async def send_plain(message: Any) -> None:
        nonlocal is_open
        if message["type"] == "http.response.start":
            is_open = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if is_open:
                cycle.chunked_encoding = False
        elif is_open:
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = send_plain  # type: ignore[method-assign]
