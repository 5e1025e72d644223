"""grpc.health.v1 and reflection: what orchestrators, proxies and grpcurl ask first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.base.errors import BadKey, BadRequest, NotReady, TooLarge
from serving.grpc.messages import parsed
from serving.service import Service

# Between two looks on behalf of one who watches, and watchers at once: each is a call that stays open.
_SECONDS = 1.0
_N_WATCHERS = 64
_HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
_Status = health_pb2.HealthCheckResponse.ServingStatus


class Health:
    """Whether the service is ready, as `/v2/health/ready` says it: without a key, and without reading the message.

    So the name in it is not looked at: there is one service here.
    """

    def __init__(self, service: Service) -> None:
        """Of `service`."""
        self._service = service
        self._n_watchers = 0
        self._ended = asyncio.Event()

    def handler(self) -> Any:
        """Of both calls; nothing of what a client sends is taken."""
        serializer = health_pb2.HealthCheckResponse.SerializeToString
        check = grpc.stream_unary_rpc_method_handler(self._check, response_serializer=serializer)
        watch = grpc.stream_stream_rpc_method_handler(self._watch, response_serializer=serializer)
        return grpc.method_handlers_generic_handler(_HEALTH, {"Check": check, "Watch": watch})

    def end(self) -> None:
        """Let go of those who watch: they would wait until the last of the seconds for what is being answered.

        Not before the server stops. Who is let go asks anew at once.
        """
        self._ended.set()

    async def _check(self, messages: Any, context: Any) -> Any:
        return health_pb2.HealthCheckResponse(status=self._status())

    async def _watch(self, messages: Any, context: Any) -> AsyncIterator[Any]:
        """The status now, and whenever it changes."""
        if self._n_watchers >= _N_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_N_WATCHERS} watch already; ask by Check")
        self._n_watchers += 1
        try:
            before = None
            while True:
                now = self._status()
                if now != before:
                    before = now
                    yield health_pb2.HealthCheckResponse(status=now)
                if self._ended.is_set():
                    return
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._ended.wait(), _SECONDS)
        finally:
            self._n_watchers -= 1

    def _status(self) -> Any:
        try:
            self._service.check_ready()
        except NotReady:
            return _Status.NOT_SERVING
        return _Status.SERVING


class KeyedReflection(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Asks for a key before anything of a reflection's stream is read, and unpacks its messages as the others are.

    gRPC's own unpacking answers what is no message with INTERNAL, as if it were the service's fault.
    """

    def __init__(self, service: Service) -> None:
        """By the keys of `service`."""
        self._keys = service.keys

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """The handler of the call, or one that refuses it."""
        if not details.method.startswith("/grpc.reflection."):
            return await continuation(details)
        given = {key: value for key, value in details.invocation_metadata or () if isinstance(value, str)}
        try:
            self._keys.check(key_of(given))
        except BadKey as error:
            message = error.message

            async def refuse(messages: Any, context: Any) -> AsyncIterator[Any]:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, message)
                yield

            return grpc.stream_stream_rpc_method_handler(refuse)
        handler = await continuation(details)
        return handler and _unpacking(handler)


def _unpacking(handler: Any) -> Any:
    """The handler of a reflection, for messages as they come."""

    async def answer(messages: Any, context: Any) -> AsyncIterator[Any]:
        async def unpacked() -> AsyncIterator[Any]:
            async for message in messages:
                yield parsed(reflection_pb2.ServerReflectionRequest, message)

        try:
            async for response in handler.stream_stream(unpacked(), context):
                yield response
        except BadRequest as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.message)
        except TooLarge as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message)

    return grpc.stream_stream_rpc_method_handler(answer, response_serializer=handler.response_serializer)


def key_of(metadata: dict[str, str]) -> str | None:
    """The key in a call's metadata, under either of its names; None where it has none."""
    scheme, _, token = metadata.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else metadata.get("x-api-key")


def add_probes(server: Any, health: Health, name: str) -> None:
    """Have `server` answer for its `health`, and say that it speaks the gRPC service `name`."""
    server.add_generic_rpc_handlers((health.handler(),))
    reflection.enable_server_reflection((name, _HEALTH, reflection.SERVICE_NAME), server)
