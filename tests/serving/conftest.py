"""Tiny generators in a sqlite registry, the service in this process, and the service as a process of its own."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from rockbank import registry
from serving.app import create_app
from serving.service import Service
from serving.settings import Settings

Make = Callable[..., Path]
START_SECONDS = 60


@dataclass
class InProcess:
    """The service in this process, and a client that reaches it without a socket."""

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


@pytest.fixture
def shale(store: Path, generator_folder: Make) -> Path:
    """A registry whose `shale` has the versions 1, the champion, and 2; they have different weights."""
    registry.push("shale", generator_folder(kid=0.1, weights_seed=1))
    registry.push("shale", generator_folder(kid=0.05, weights_seed=2))
    registry.set_alias("shale", registry.CHAMPION, "1")
    return store


@pytest.fixture
def settings(store: Path) -> Callable[..., Settings]:
    """Makes settings of a small service on `store`, where the keywords take precedence."""

    def make(**given: Any) -> Settings:
        usual: dict[str, Any] = {
            "models": "shale", "tracking_uri": f"sqlite:///{store}/mlflow.db", "cache": store / "cache",
            "poll_seconds": 3600.0, "threads": 1, "max_wait_ms": 1.0, "statistics_window": 32, "log_level": "WARNING",
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
            yield InProcess(app.state.service, client)

    return start


@dataclass
class Process:
    """The service as a process of its own.

    Attributes:
        grpc: host:port for gRPC; empty where it does not listen.
        lines: that it has written to standard error: its log.
    """

    process: subprocess.Popen[str]
    url: str
    grpc: str = ""
    lines: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """host:port, as tritonclient takes it."""
        return self.url.removeprefix("http://")

    def metrics(self) -> dict[str, float]:
        """Every sample that /metrics tells, by name and labels."""
        return read_metrics(httpx.get(f"{self.url}/metrics").text)


@pytest.fixture
def start_process(store: Path) -> Iterator[Callable[..., Process]]:
    """Starts `python -m serving` on a free port, with settings as keywords; it is ended after the test."""
    started: list[Process] = []

    def start(**given: Any) -> Process:
        usual = {
            "models": "shale", "port": 0, "cache": store / "cache", "tracking_uri": f"sqlite:///{store}/mlflow.db",
            "poll_seconds": 3600, "threads": 1, "notice_seconds": 0, "statistics_window": 32,
        }  # fmt: skip
        environment = {f"ROCKBANK_{name.upper()}": str(value) for name, value in (usual | given).items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "serving"],
            cwd=store,
            env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running = Process(process, "")
        started.append(running)
        stdout, stderr = process.stdout, process.stderr
        assert stdout is not None
        assert stderr is not None
        # Read as it comes, so that a full pipe never holds the service up.
        threading.Thread(target=lambda: running.lines.extend(stderr), daemon=True).start()
        for line in stdout:
            if found := re.search(r"gRPC on port (\d+)", line):
                running.grpc = f"127.0.0.1:{found.group(1)}"
            if found := re.search(r"serving on (http://\S+)", line):
                running.url = found.group(1)
                return running
        process.wait(START_SECONDS)
        raise AssertionError(f"the service ended with {process.returncode}: {''.join(running.lines)}")

    yield start
    for each in started:
        each.process.kill()
        each.process.wait(START_SECONDS)
        for pipe in (each.process.stdout, each.process.stderr):
            if pipe is not None:
                pipe.close()


def read_metrics(text: str) -> dict[str, float]:
    """Prometheus' text as values by `name{label=value,...}`, the labels in the order of their names."""
    values = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            values[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return values
