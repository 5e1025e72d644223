"""The application: routes, errors, and a lifespan that starts and stops the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic.json_schema import models_json_schema
from starlette.exceptions import HTTPException
from starlette.responses import Response

from serving.base.errors import BadRequest, NotAllowed, NotFound, ServingError
from serving.base.logs import start_logs, stop_audit
from serving.base.settings import Settings, SettingsError, load_settings
from serving.dashboard.gather import Dashboard
from serving.http.direct import Direct
from serving.http.guard import Guard
from serving.http.jobs import Jobs
from serving.http.middleware import Outermost, error_body
from serving.http.routes import generate, health, infer, jobs, operate, page, samples, tiles, triton, versions
from serving.http.traces import start_traces
from serving.protocol.schemas import GenerateRequest, InferRequest
from serving.protocol.triton import IndexRequest
from serving.service import Service

if TYPE_CHECKING:
    from serving.grpc_server import GrpcServer

# Of what FastAPI would answer with 422: the name of its schema.
_FRAMEWORKS = "HTTPValidationError"
# Either of them; a service without a file of keys takes requests without.
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_ABOUT = "Samples of registered rock generators; every response names model, version and seed."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The application of one service; without `settings`, of the environment's.

    Raises:
        SettingsError: where a setting cannot be used.
    """
    settings = settings or load_settings()
    service = Service(settings)
    dashboard, at_work = Dashboard(service), Jobs(service)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        _start_logs(settings)
        try:
            await service.start()
            dashboard.start()
            at_work.start()
            if settings.grpc_port is not None:
                app.state.grpc_server = make_grpc_server(service)
                await app.state.grpc_server.start()
            yield
        finally:
            if app.state.grpc_server is not None:
                await app.state.grpc_server.stop(settings.drain_seconds)
            await at_work.stop()
            await dashboard.stop()
            await service.stop()
            if stop_traces is not None:
                await asyncio.to_thread(stop_traces)
            stop_audit()

    # The pages that FastAPI draws of its document load scripts from elsewhere.
    app = FastAPI(
        title="rockbank",
        version=version("rockbank"),
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Spans and their exporter are `start_traces`' alone.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.dashboard = dashboard
    app.state.jobs = at_work
    app.state.grpc_server = None
    # Paths are tried in this order: the most frequent come first.
    routers = (
        generate.router, infer.router, tiles.router, samples.router, jobs.router, health.health, triton.router,
        health.router, operate.router, page.router, versions.router,
    )  # fmt: skip
    for router in routers:
        app.include_router(router)
    stop_traces = (
        start_traces(app, settings.traces_endpoint, service.metrics.spans) if settings.traces_endpoint else None
    )
    # Inside the outermost layer, which is added after it.
    app.add_middleware(
        Direct,
        routes=[route for each in (generate, infer) for route in each.router.routes if isinstance(route, APIRoute)],
        endpoints={"generate": generate.answer, "infer": infer.answer},
    )
    app.add_middleware(Guard, service=service)
    app.add_middleware(Outermost, metrics=service.metrics)
    app.add_exception_handler(ServingError, _answer_ours)
    app.add_exception_handler(HTTPException, _answer_theirs)
    app.add_exception_handler(RequestValidationError, _answer_theirs)
    app.openapi = lambda: _document(app, settings)  # type: ignore[method-assign]
    return app


def make_grpc_server(service: Service) -> GrpcServer:
    """The server for gRPC, whose libraries are an extra.

    Raises:
        SettingsError: where they are not installed.
    """
    try:
        from serving.grpc_server import GrpcServer
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"ROCKBANK_GRPC_PORT: got {service.settings.grpc_port}, but gRPC is not installed ({error}); "
            "pip install 'rockbank[serve,grpc]', or unset it"
        ) from error
    return GrpcServer(service)


def _start_logs(settings: Settings) -> None:
    try:
        start_logs(settings.log_level, settings.audit_file)
    except OSError as error:
        raise SettingsError(
            f"ROCKBANK_AUDIT_FILE: {settings.audit_file} cannot be written: {error.strerror}; choose another"
        ) from error


async def _answer_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    if error.reason is not None:
        request.app.state.service.metrics.rejected(error.reason)
    return Response(error_body(error), error.status, error.headers, "application/json")


async def _answer_theirs(request: Request, error: Exception) -> Response:
    """What the framework refuses, in the form of ours."""
    path = request.url.path[:120]
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return await _answer_ours(request, BadRequest(f"{first['loc'][-1]}: {first['msg'].lower()}; see /openapi.json"))
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return await _answer_ours(request, NotFound(f"no such path: {path}; /openapi.json lists those that there are"))
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another").replace("GET", "GET, HEAD")
        message = f"{path} takes no {request.state.method[:20]}; use {allowed}"
        return await _answer_ours(request, NotAllowed(message, {"Allow": allowed}))
    return await _answer_ours(request, BadRequest(f"{error.detail}; see /openapi.json"))


def _document(app: FastAPI, settings: Settings) -> dict[str, Any]:
    """The OpenAPI document, with the bodies that the endpoints read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        _, schemas = models_json_schema(
            [(GenerateRequest, "validation"), (InferRequest, "validation"), (IndexRequest, "validation")],
            ref_template="#/components/schemas/{model}",
        )
        schemas["$defs"]["GenerateRequest"]["properties"]["n"]["maximum"] = settings.max_n
        document["components"]["schemas"] |= schemas["$defs"]
        document["components"]["securitySchemes"] = _SCHEMES
        # That is a 400 here, like every other bad request.
        for operations in document["paths"].values():
            for operation in operations.values():
                if "401" in operation["responses"]:
                    operation["security"] = [{name: []} for name in _SCHEMES]
                if _FRAMEWORKS in str(operation["responses"].get("422", "")):
                    del operation["responses"]["422"]
        app.openapi_schema = document
    return app.openapi_schema
