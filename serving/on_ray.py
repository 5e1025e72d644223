"""The service as replicas of a Ray Serve application: serve run serving.on_ray:build replicas=4 models=shale

Every replica is the whole service and follows the registry by itself, so that a champion reaches all of them. Ray's
proxy takes the connections; it answers 503 where `max_queued_requests` wait already, before a replica's own limits say
429. Deploying again with other arguments replaces the replicas one after another; those that go answer what they have.

What one process alone remembers is of one replica here: a key's rate, a request's idempotency key. Jobs, which are
polled at the same process, are left out.
"""

from __future__ import annotations

import shutil
from typing import Any

from fastapi import FastAPI
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.app import create_app
from serving.base.errors import NothingToServe
from serving.base.settings import PREFIX, Settings, SettingsError, load_settings
from serving.service import Service

JOBS = "/v2/jobs"
# What is Ray's proxy's to say.
_OF_THE_PROXY = ("host", "port", "grpc_port", "tls_cert_file", "tls_key_file", "max_connections", "send_seconds")


class PlainBytes:
    """Bodies as bytes: Ray Serve sends them to its proxy pickled, which a view of an array cannot be."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the application below."""

        async def send_bytes(message: Message) -> None:
            if "body" in message:
                message["body"] = bytes(message["body"])
            await send(message)

        await self._app(scope, receive, send_bytes)


class Replica:
    """One service; the settings are those given and, for the rest, those of the replica's environment."""

    def __init__(self, given: dict[str, Any]) -> None:
        settings = _settings(given)
        # A cache is of one service alone.
        own = settings.cache / serve.get_replica_context().replica_id.unique_id
        self._settings = settings.model_copy(update={"cache": own})
        self._app: FastAPI | None = None

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What Ray Serve asks for, and then runs with its lifespan."""
        self._app = create_app(self._settings)
        self._app.router.routes = [each for each in self._app.router.routes if not _is_of_jobs(each)]
        self._app.add_middleware(PlainBytes)
        return self._app

    def check_health(self) -> None:
        """Ray Serve replaces a replica by another where this raises.

        Raises:
            NothingToServe: it has no model.
        """
        service: Service | None = None if self._app is None else self._app.state.service
        if service is not None and not service.models.loaded():
            raise NothingToServe("no model is loaded; see the replica's log")

    def __del__(self) -> None:
        shutil.rmtree(self._settings.cache, ignore_errors=True)


def build(arguments: dict[str, str]) -> Any:
    """The application.

    Args:
        arguments: settings of the service by their names, and of Ray Serve: `replicas`; `max_ongoing_requests` of a
            replica, more wait; `max_queued_requests`, more get 503.

    Raises:
        SettingsError: one of them cannot be used.
    """
    given = dict(arguments)
    counts = {
        name: _count(name, given.pop(name, default))
        for name, default in (("replicas", 1), ("max_ongoing_requests", 64), ("max_queued_requests", 256))
    }
    settings = _settings(given)
    deployment = serve.deployment(
        name="rockbank",
        num_replicas=counts["replicas"],
        max_ongoing_requests=counts["max_ongoing_requests"],
        max_queued_requests=counts["max_queued_requests"],
        graceful_shutdown_timeout_s=settings.drain_seconds,
        ray_actor_options={"num_cpus": settings.threads},
    )(serve.ingress()(Replica))
    return deployment.bind(given)


def _settings(given: dict[str, Any]) -> Settings:
    # One thread a replica, unless more are set: replicas share the cores.
    settings = load_settings(**given)
    refused = [f"{PREFIX}{name.upper()}" for name in _OF_THE_PROXY if name in settings.model_fields_set]
    if refused:
        raise SettingsError(f"{', '.join(refused)}: of no use under Ray Serve, whose proxy takes the connections; "
                            "unset it, and see Ray Serve's http_options and grpc_options")  # fmt: skip
    return settings if settings.threads else settings.model_copy(update={"threads": 1})


def _count(name: str, value: str | int) -> int:
    if not str(value).isdigit() or int(value) < 1:
        raise SettingsError(f"{name}: got {value!r}; use a whole number of at least 1")
    return int(value)


def _is_of_jobs(route: Any) -> bool:
    return str(getattr(route, "path", "")).startswith(JOBS)
