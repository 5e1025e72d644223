"""The MLflow UI in a browser that nobody sees: for the docs' pictures, and for the test of what the UI shows."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import browser
from tools.browser import Pages

START_SECONDS = 60
_SETTLED = """if (location.protocol === 'http:') {
  localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true');
  localStorage.setItem('mlflow.workflowType_v1', '"machine_learning"');
}"""


@contextmanager
def server(store: Path, artifacts: Path, log: Path) -> Iterator[str]:
    """An MLflow server on a free port of this machine, stopped when the block ends.

    Args:
        store: the sqlite file.
        artifacts: where it keeps the artifacts of runs made through it.
        log: where its output goes.

    Yields:
        Its address.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store.resolve()}", "--artifacts-destination", str(artifacts)]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with log.open("wb") as output:
        # A session of its own, so that the workers can be stopped with the server.
        process = subprocess.Popen(
            command, env={**os.environ, **quiet}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the MLflow server did not start; it said:\n{log.read_text()[-2000:]}")


@contextmanager
def pages(address: str, size: tuple[int, int] = (1440, 1000)) -> Iterator[Pages]:
    """Chromium as after a first visit to the UI: the assistant closed, "Model training" chosen rather than "GenAI"."""
    with browser.pages(f"{address}/#", size, _SETTLED) as found:
        yield found
