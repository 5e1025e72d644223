"""grpc.health.v1 and reflection: what orchestrators, proxies and grpcurl ask first, without a key as over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.base.errors import NotReady
from serving.service import Service

# Between two looks on behalf of one who watches, and watchers at once: each is a call that stays open.
_SECONDS = 1.0
_N_WATCHERS = 64
_Status = health_pb2.HealthCheckResponse.ServingStatus


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Whether the service is ready, as `/v2/health/ready` says it."""

    def __init__(self, service: Service, names: tuple[str, ...]) -> None:
        """Of `service`.

        Args:
            service: that is asked about.
            names: of the gRPC services that are known; "" stands for all.
        """
        self._service = service
        self._names = ("", *names)
        self._n_watchers = 0

    async def Check(self, request: Any, context: Any) -> Any:
        """The status now."""
        if request.service not in self._names:
            await context.abort(
                grpc.StatusCode.NOT_FOUND, f"no such service: '{request.service[:80]}'; there are {list(self._names)}"
            )
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        """The status now, and whenever it changes."""
        if self._n_watchers >= _N_WATCHERS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{_N_WATCHERS} watch already; ask by Check")
        self._n_watchers += 1
        try:
            before = None
            while True:
                now = self._status(request.service)
                if now != before:
                    before = now
                    yield health_pb2.HealthCheckResponse(status=now)
                await asyncio.sleep(_SECONDS)
        finally:
            self._n_watchers -= 1

    def _status(self, name: str) -> Any:
        if name not in self._names:
            return _Status.SERVICE_UNKNOWN
        try:
            self._service.check_ready()
        except NotReady:
            return _Status.NOT_SERVING
        return _Status.SERVING


def add_probes(server: Any, service: Service, name: str) -> None:
    """Have `server` answer for the health of the gRPC service `name`, and say what it speaks."""
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    health_pb2_grpc.add_HealthServicer_to_server(Health(service, (name, health)), server)
    reflection.enable_server_reflection((name, health, reflection.SERVICE_NAME), server)
