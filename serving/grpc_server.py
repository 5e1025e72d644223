"""The Open Inference Protocol v2 over gRPC, in the loop of the HTTP service and on the same terms (extra `grpc`).

The messages are those that tritonclient ships. Keys, rates, limits, deadlines and counts are HTTP's; a status is
counted as HTTP's number, so that one rule of Prometheus covers both. Nothing of a message is taken before its key is
known: every call is read as a stream of one message, when its turn comes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from rockbank.generator.card import OUTPUT
from serving.base.budget import Share
from serving.base.clients import CLIENT, Client
from serving.base.errors import NotFound, NotReady, ServingError, SlowRequest, TooLarge
from serving.base.logs import REQUEST_ID, log
from serving.base.settings import SettingsError
from serving.grpc.callers import Callers
from serving.grpc.extensions import Extensions
from serving.grpc.messages import check_outputs, parsed, read_input, tensor_of, timeout_of
from serving.grpc.probes import Health, KeyedReflection, add_probes, key_of
from serving.http.middleware import MAX_HEADER_BYTES, request_id_of
from serving.http.responses import about, about_headers
from serving.http.routes.health import metadata_of, server_metadata
from serving.inference.models import Served
from serving.protocol.binary import read_latents
from serving.protocol.wire import split_values
from serving.service import Service

SERVICE = "inference.GRPCInferenceService"
# Requests at once; each may hold a whole message.
_N_AT_ONCE = 1024
# Of a response beside its images.
_MARGIN_BYTES = 64 * 1024
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
# Bits of the encodings that are read: none but the plain one. gRPC unpacks the others before their size is known.
_PLAIN = 1
# A probe has no key, and says nothing: its message is not taken.
_OPEN = ("ServerLive", "ServerReady")
# The version that answers the call.
_SERVED: ContextVar[Served | None] = ContextVar("served", default=None)
Answer = Callable[[Any, Any], Awaitable[Any]]


class GrpcServer:
    """The protocol's six calls and three of Triton's extensions; others are answered with UNIMPLEMENTED.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, service: Service) -> None:
        """A server of `service`, which does not listen yet."""
        self.port = 0
        self._service = service
        self._callers = Callers(service.settings.trusted_proxies)
        self._server: Any = None
        self._health = Health(service)

    async def start(self) -> None:
        """Listen on the settings' port; 0 takes a free one.

        Raises:
            SettingsError: where it cannot be had.
        """
        settings = self._service.settings
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=_N_AT_ONCE,
            interceptors=(KeyedReflection(self._service),),
            options=[
                ("grpc.max_receive_message_length", settings.max_message_bytes),
                ("grpc.compression_enabled_algorithms_bitset", _PLAIN),
                ("grpc.max_allowed_incoming_connections", settings.max_connections),
                ("grpc.max_send_message_length", settings.max_buffered_bytes + _MARGIN_BYTES),
                ("grpc.max_metadata_size", MAX_HEADER_BYTES),
                # Two services on one port would share its requests between them without a word.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        add_probes(self._server, self._health, SERVICE)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self.port = self._listen(f"{host}:{settings.grpc_port}")
        except RuntimeError as error:
            raise SettingsError(
                f"{host}:{settings.grpc_port} cannot be listened on for gRPC: {error}; "
                "choose another by ROCKBANK_GRPC_PORT (0 takes a free one)"
            ) from error
        await self._server.start()

    def _listen(self, address: str) -> int:
        settings = self._service.settings
        if settings.tls_cert_file is None or settings.tls_key_file is None:
            return int(self._server.add_insecure_port(address))
        pair = settings.tls_key_file.read_bytes(), settings.tls_cert_file.read_bytes()
        return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([pair])))

    async def stop(self, drain_seconds: float) -> None:
        """Take nothing new, and finish what is being answered within `drain_seconds`; a later call may shorten them."""
        self._health.end()
        if self._server is not None:
            await self._server.stop(drain_seconds)

    def _handlers(self) -> dict[str, Any]:
        answers: dict[str, tuple[Any, Answer]] = {
            "ServerLive": (pb.ServerLiveRequest, self._live),
            "ServerReady": (pb.ServerReadyRequest, self._ready),
            "ModelReady": (pb.ModelReadyRequest, self._model_ready),
            "ServerMetadata": (pb.ServerMetadataRequest, self._server_metadata),
            "ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
            # It unpacks its message itself.
            "ModelInfer": (None, self._infer),
            **Extensions(self._service).calls(),
        }
        return {
            name: grpc.stream_unary_rpc_method_handler(
                self._counted(name, kind, answer),
                response_serializer=lambda response: response.SerializeToString(),
            )
            for name, (kind, answer) in answers.items()
        }

    def _counted(self, name: str, kind: Any, answer: Answer) -> Answer:
        """`answer` with what every call has: an id, a key, its counts, its line in the log, its errors as statuses."""
        route, metrics = f"/{SERVICE}/{name}", self._service.metrics

        async def traced(given: dict[str, str], context: Any, messages: AsyncIterator[bytes]) -> Any:
            start = time.perf_counter()
            request_id = request_id_of(given.get("x-request-id"))
            token = REQUEST_ID.set(request_id)
            _SERVED.set(None)
            status, client, address = 500, None, self._callers.address(context)
            metrics.in_flight.inc()
            try:
                await context.send_initial_metadata((("x-request-id", request_id),))
                if name in _OPEN:
                    response = await answer(kind(), context)
                else:
                    client = self._admit(given, address)
                    with Share(self._service.budget) as share:
                        message = await self._read(messages, share)
                        response = await answer(message if kind is None else parsed(kind, message), context)
                status = 200
                return response
            except ServingError as error:
                status = error.status
                if error.reason is not None:
                    metrics.rejected(error.reason)
                if "Retry-After" in error.headers:
                    context.set_trailing_metadata((("retry-after", error.headers["Retry-After"]),))
                await context.abort(_CODES.get(error.status, grpc.StatusCode.UNKNOWN), error.message)
            except asyncio.CancelledError:
                # gRPC itself cancels at the deadline that the client gave, and when the client goes.
                is_late = (left := context.time_remaining()) is not None and left <= 0
                status = 504 if is_late else 499
                metrics.rejected("deadline" if is_late else "client_gone")
                raise
            # The outermost handler, as over HTTP: its words may reveal internals, so they go to the log alone.
            except Exception:
                log.exception("a call failed in a way that was not foreseen")
                text = "an error of the service; its log has it under the id in x-request-id"
                await context.abort(grpc.StatusCode.INTERNAL, text)
            finally:
                seconds = time.perf_counter() - start
                metrics.in_flight.dec()
                if client is not None:
                    self._service.keys.end(client)
                metrics.answered(route, "GRPC", status, seconds)
                if (served := _SERVED.get()) is not None:
                    served.outcomes.add(status, seconds)
                key = None if client is None else client.name.removeprefix("key ")
                fields = {"route": route, "status": status, "milliseconds": round(seconds * 1e3, 3), "key": key}
                if (trace_id := metrics.spans.trace_id()) is not None:
                    fields["trace_id"] = trace_id
                log.info("GRPC %s %d", name, status, extra={**fields, "client": address})
                REQUEST_ID.reset(token)

        async def call(messages: AsyncIterator[bytes], context: Any) -> Any:
            given = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
            with metrics.spans.call(route, given):
                return await traced(given, context, messages)

        return call

    async def _read(self, messages: AsyncIterator[bytes], share: Share) -> bytes:
        """The call's message, for which as much is held as it may have until its size is known."""
        settings = self._service.settings
        share.add(settings.max_message_bytes)
        try:
            async with asyncio.timeout(settings.deadline_seconds):
                message = await anext(messages)
        except TimeoutError:
            raise SlowRequest(f"the message did not come in {settings.deadline_seconds:g} s; send it faster") from None
        except StopAsyncIteration:
            raise TooLarge(
                f"no message came, or one of more than {settings.max_message_bytes} bytes; send less at once"
            ) from None
        share.add(len(message) - share.held)
        return message

    def _admit(self, metadata: dict[str, str], address: str) -> Client:
        """Whose call it is, counted against its rate."""
        keys = self._service.keys
        key = keys.check(key_of(metadata))
        client = keys.client(key, address)
        keys.begin(client)
        CLIENT.set(client)
        return client

    async def _live(self, request: Any, context: Any) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _ready(self, request: Any, context: Any) -> Any:
        try:
            self._service.check_ready()
        except NotReady:
            return pb.ServerReadyResponse(ready=False)
        return pb.ServerReadyResponse(ready=True)

    async def _model_ready(self, request: Any, context: Any) -> Any:
        try:
            self._service.models.find(request.name, request.version or None)
        except (NotFound, NotReady):
            return pb.ModelReadyResponse(ready=False)
        return pb.ModelReadyResponse(ready=True)

    async def _server_metadata(self, request: Any, context: Any) -> Any:
        return pb.ServerMetadataResponse(**server_metadata().model_dump())

    async def _model_metadata(self, request: Any, context: Any) -> Any:
        metadata = metadata_of(self._service.models, request.name, request.version or None)
        tensors = {
            "inputs": [tensor_of(each) for each in metadata.inputs],
            "outputs": [tensor_of(each) for each in metadata.outputs],
        }
        return pb.ModelMetadataResponse(
            name=metadata.name, versions=metadata.versions, platform=metadata.platform, **tensors
        )

    async def _infer(self, message: bytes, context: Any) -> Any:
        head, raw_values = split_values(message)
        request = parsed(pb.ModelInferRequest, head, len(message))
        start, settings, sampling = time.monotonic(), self._service.settings, self._service.sampling
        request_id = REQUEST_ID.get() or ""
        served, route = self._service.models.route(request.model_name, request.model_version or None, request_id)
        _SERVED.set(served)
        n_max = max(1, min(settings.max_n, settings.max_buffered_bytes // (4 * served.n_values)))
        with served.used(), Share(self._service.budget) as share:
            tensor, values = read_input(request, raw_values)
            latents = read_latents(tensor, values, served.card, n_max)
            check_outputs(request)
            self._service.count_samples(len(latents))
            # Of images, and of the bytes that are made of them.
            share.add(2 * 4 * served.n_values * len(latents))
            seconds = min(settings.deadline_seconds, timeout_of(request), context.time_remaining() or float("inf"))
            images = await sampling.images(served, route, latents, start + seconds)
            raw = await sampling.in_thread(np.ascontiguousarray(images, dtype="<f4").tobytes, images.size)
        context.set_trailing_metadata(
            tuple(
                (name.lower(), value.encode("ascii", "replace").decode())
                for name, value in about_headers(about(served)).items()
            )
        )
        output = pb.ModelInferResponse.InferOutputTensor(name=OUTPUT, datatype="FP32", shape=images.shape)
        return pb.ModelInferResponse(
            model_name=served.name,
            model_version=served.version,
            id=request.id,
            outputs=[output],
            raw_output_contents=[raw],
        )
