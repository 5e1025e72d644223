"""The outermost layer: a request's id, its line in the log, its counts, and the errors that nobody caught."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from functools import partial

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.base.errors import ClientGone, HeadersTooLarge, ServingError
from serving.base.logs import REQUEST_ID, audit, log
from serving.base.monitoring import Metrics

MAX_HEADER_BYTES = 32 * 1024
# Characters of a path in the log.
_N_LOGGED = 200
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Probes and scrapes come every few seconds and say nothing.
_QUIET = ("/metrics", "/v2/health/live", "/v2/health/ready")


class Outermost:
    """Pure ASGI: a response goes through it without a copy or another task."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        """Around `app`."""
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, method = time.perf_counter(), scope["method"]
        is_head = method == "HEAD"
        if is_head:
            # Answered wherever GET is, with its headers and without its body; the server goes on seeing HEAD.
            scope = {**scope, "method": "GET"}
        given, n_bytes = _read_headers(scope)
        request_id = request_id_of(given)
        token = REQUEST_ID.set(request_id)
        scope.setdefault("state", {}).update(request_id=request_id, method=method)
        status, is_whole = 0, False

        async def send_on(message: Message) -> None:
            nonlocal status, is_whole
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            try:
                await send(message)
            except OSError as error:
                raise ClientGone("the client went while its answer was sent") from error
            is_whole = message["type"] == "http.response.body" and not message.get("more_body", False)

        self._metrics.in_flight.inc()
        try:
            if n_bytes > MAX_HEADER_BYTES:
                raise HeadersTooLarge(f"{n_bytes} bytes of headers; send at most {MAX_HEADER_BYTES}")
            await self._app(scope, receive, send_on)
            # The loop sends what was written at the end of its round; the client does not wait for what is counted.
            await asyncio.sleep(0)
        except Exception as error:
            known = _cause_of_ours(error)
            if known is None:
                log.exception("a request failed in a way that was not foreseen")
            elif known.reason is not None:
                self._metrics.rejected(known.reason)
            if not status:
                await send_error(
                    send_on, known or ServingError("an error of the service; its log has it under this id")
                )
            elif known is not None:
                log.warning("a response broke off: %s", known)
                status = known.status
            else:
                # What was sent says 200; the connection is closed before the announced end, which every client sees.
                status = 500
        finally:
            self._metrics.in_flight.dec()
            self._count(scope, status or 499, time.perf_counter() - start)
            REQUEST_ID.reset(token)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        given = scope["state"]["method"]
        method = given if given in _METHODS else "other"
        self._metrics.answered(route, method, status, seconds)
        if (served := scope["state"].get("compared")) is not None:
            served.outcomes.add(status, seconds)
        level = logging.DEBUG if route in _QUIET else logging.INFO
        if log.isEnabledFor(level):
            client = scope.get("client")
            extra = {
                "route": route,
                "status": status,
                "milliseconds": round(seconds * 1e3, 3),
                "client": client[0] if client else None,
                "key": scope["state"].get("key_name"),
            }
            if (trace_id := self._metrics.spans.trace_id()) is not None:
                extra["trace_id"] = trace_id
            # Once what was written has left: the client does not wait for its line.
            line = partial(log.log, level, "%s %s %d", method, scope["path"][:_N_LOGGED], status, extra=extra)
            asyncio.get_running_loop().call_soon(line)
        if scope["state"].get("is_admins"):
            fields = {"path": scope["path"][:_N_LOGGED], "status": status, "key": scope["state"].get("key_name")}
            client = scope.get("client")
            audit.info("%s %s", method, route, extra={**fields, "client": client[0] if client else None})


def request_id_of(given: str | None) -> str:
    """The id that the client sends, where it can stand in a log; else a new one."""
    return given if given is not None and _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


async def send_error(send: Send, error: ServingError) -> None:
    """Send an error as every other of the service is sent."""
    body = error_body(error)
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers}
    raw = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def error_body(error: ServingError) -> bytes:
    """What the client reads of an error; with a request's id, by which the operator finds it in the log."""
    return json.dumps({"error": error.message, "request_id": REQUEST_ID.get()}).encode()


def _cause_of_ours(error: BaseException) -> ServingError | None:
    """The error of ours that is behind `error`: starlette wraps what comes after a response has begun."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ServingError):
            return cause
        cause = cause.__cause__
    return None


def _read_headers(scope: Scope) -> tuple[str | None, int]:
    """The request's id, if it has one, and the size of the headers in bytes."""
    given, n_bytes = None, 0
    for name, value in scope["headers"]:
        n_bytes += len(name) + len(value) + 4
        if name == b"x-request-id":
            given = value.decode("latin-1")
    return given, n_bytes
