"""A registry that takes long for each answer is waited for, by whatever asks it, and named."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.mlops import promotion, registry
from rockbank.mlops.store import connect
from rockbank.stages.register import register
from tests.integration.backends import FaultyProxy
from tests.mlops.test_registry import LIMITS
from tests.pulled import write_pulled
from tests.tiny_generators import write_generator

pytestmark = pytest.mark.slow
Asked = Callable[[], object]
ASKED: dict[str, Asked] = {
    "register": lambda: register("shale", ["shale-texture"]),
    "promote": lambda: promotion.promote("shale", LIMITS, "3"),
    "rollback": lambda: promotion.rollback("shale"),
    "pull": lambda: registry.pull("shale@champion", Path("pulled")),
    "models": lambda: _rockbank("models", "shale"),
    "show": lambda: _rockbank("show", "shale@champion"),
    "sample": lambda: _rockbank("sample", "shale@champion", "--n", "1", "-o", "out.png"),
}


def _rockbank(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    """A tracking server on sqlite, with three versions of `shale`; the second is the champion, after the first."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{(port := free.getsockname()[1])}"
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    process = subprocess.Popen(
        [*command, "--backend-store-uri", "sqlite:///mlflow.db"],
        cwd=folder,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5)
                break
            except (urllib.error.URLError, TimeoutError):
                assert process.poll() is None
                assert time.monotonic() < until, "no answer in two minutes"
                time.sleep(0.2)
        connect(address)
        for kid in (0.3, 0.2, 0.1):
            registry.push("shale", write_generator(folder / "generator", kid=kid))
        for version in ("1", "2"):
            promotion.promote("shale", LIMITS, version)
        yield address
    finally:
        process.terminate()
        process.wait()
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def proxy(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyProxy]:
    """Stands before it; and a project with a generator that was pulled."""
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    shutil.copyfile(Path(__file__).parents[2] / "params.yaml", "params.yaml")
    write_pulled("shale-texture", write_generator(tmp_path / "generator", kid=0.05))
    slow = FaultyProxy(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", slow.address)
    connect(slow.address)
    yield slow
    slow.close()


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
def test_a_slow_server_is_waited_for_and_named(
    proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, asked: Asked
) -> None:
    monkeypatch.setattr("rockbank.mlops.failures.PATIENCE_SECONDS", 0.02)
    proxy.delay = 0.04
    asked()
    assert f"still waiting for {proxy.address}: " in caplog.text


def test_a_server_that_takes_five_seconds_for_an_answer_is_waited_for(
    proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.delay = 5.0
    assert registry.resolve("shale/1").version == "1"
    assert f"still waiting for {proxy.address}: " in caplog.text
