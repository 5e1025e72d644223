"""Tiny generators in a sqlite registry, and the service on it: in this process, or as one of its own."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from rockbank.mlops import registry
from serving.app import create_app
from serving.base.settings import Settings
from serving.service import Service
from tests.serving.processes import Process, launch
from tests.tiny_generators import write_generator

Make = Callable[..., Path]


@dataclass
class InProcess:
    """The service in this process, and a client that reaches it without a socket."""

    app: FastAPI
    service: Service
    client: httpx.AsyncClient


Serve = Callable[..., AbstractAsyncContextManager[InProcess]]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that is a coroutine in a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


def two_versions(folder: Path) -> None:
    for i, kid in enumerate((0.1, 0.05), start=1):
        registry.push("shale", write_generator(folder / "generators" / str(i), kid=kid, weights_seed=i))
    registry.set_alias("shale", registry.CHAMPION, "1")


@pytest.fixture
def shale(store: Path, made_once: Callable[..., Path]) -> Path:
    """A registry whose `shale` has the versions 1, the champion, and 2; they have different weights."""
    return made_once(two_versions, store)


@pytest.fixture
def settings(store: Path) -> Callable[..., Settings]:
    """Makes settings of a small service on `store`, where the keywords take precedence."""

    def make(**given: Any) -> Settings:
        usual: dict[str, Any] = {
            "models": "shale", "tracking_uri": f"sqlite:///{store}/mlflow.db", "cache": store / "cache",
            "poll_seconds": 3600.0, "threads": 1, "max_wait_ms": 1.0, "statistics_window": 32, "log_level": "WARNING",
            "trusted_hosts": "service",
        }  # fmt: skip
        return Settings(**(usual | given))

    return make


@pytest.fixture
def serve(settings: Callable[..., Settings]) -> Serve:
    """Starts the service in this process: `async with serve(**settings) as running`."""

    @asynccontextmanager
    async def start(**given: Any) -> AsyncIterator[InProcess]:
        app = create_app(settings(**given))
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = httpx.AsyncClient(transport=transport, base_url="http://service")
        async with app.router.lifespan_context(app), client:
            yield InProcess(app, app.state.service, client)

    return start


@pytest.fixture
def start_process(shale: Path) -> Iterator[Callable[..., Process]]:
    """Starts `launch` on the registry of `shale`; it is ended after the test."""
    started: list[Process] = []

    def start(**given: Any) -> Process:
        started.append(launch(shale, **given))
        return started[-1]

    yield start
    for each in started:
        each.end()


@pytest.fixture
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """An OTLP endpoint on this machine, and what it was sent."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()
    thread.join()
    server.server_close()
