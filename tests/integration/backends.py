"""PostgreSQL, an S3 store, a tracking server on both, as processes of this machine; and a proxy that makes faults."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

# The Python of the environment that deploy/backends.txt makes.
PYTHON = os.environ.get("ROCKBANK_BACKENDS", "")
S3_KEYS = {"AWS_ACCESS_KEY_ID": "rock", "AWS_SECRET_ACCESS_KEY": "bank", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "rockbank"
_START_SECONDS = 240


def postgres_binary(name: str) -> str | None:
    """A program of PostgreSQL: Debian keeps them outside the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else shutil.which(name)


@dataclass(frozen=True)
class Backends:
    """Addresses of what runs."""

    tracking: str
    s3: str

    def s3_environment(self) -> dict[str, str]:
        """What a client of the S3 store needs."""
        return {**os.environ, **S3_KEYS, "AWS_ENDPOINT_URL": self.s3, "MLFLOW_S3_ENDPOINT_URL": self.s3}


@contextmanager
def backends() -> Iterator[Backends]:
    """All of them, stopped at the end; logs are shown where one does not start."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rockbank-backends-")))
        folder.chmod(0o755)
        database = stack.enter_context(_postgres(folder))
        s3 = stack.enter_context(_s3(folder))
        port = _free_port()
        command = [
            PYTHON, "-m", "mlflow", "server", "--port", str(port), "--workers", "2", "--serve-artifacts",
            "--backend-store-uri", database, "--artifacts-destination", f"s3://{BUCKET}/mlflow",
        ]  # fmt: skip
        ours = Backends(f"http://127.0.0.1:{port}", s3)
        environment = {**ours.s3_environment(), "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        stack.enter_context(_process(command, folder, "mlflow", port, environment))
        _wait_for(f"{ours.tracking}/health")
        yield ours


@contextmanager
def _postgres(folder: Path) -> Iterator[str]:
    data, port = folder / "postgres", _free_port()
    data.mkdir()
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(data, user)
    initdb = [postgres_binary("initdb") or "initdb", "-D", str(data), "-U", "rockbank", "-A", "trust", "--no-sync"]
    subprocess.run(initdb, user=user, check=True, capture_output=True, cwd="/")
    server = [
        postgres_binary("postgres") or "postgres", "-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(data),
    ]  # fmt: skip
    with _process(server, folder, "postgres-log", port, dict(os.environ), user=user):
        # Without its name SQLAlchemy takes another driver.
        yield f"postgresql+psycopg2://rockbank@127.0.0.1:{port}/postgres"


@contextmanager
def _s3(folder: Path) -> Iterator[str]:
    port = _free_port()
    with _process([PYTHON, "-m", "moto.server", "-p", str(port)], folder, "moto", port, dict(os.environ)):
        address = f"http://127.0.0.1:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{address}/{BUCKET}", method="PUT"), timeout=30).close()
        yield address


@contextmanager
def _process(
    command: list[str], folder: Path, name: str, port: int, environment: dict[str, str], user: str | None = None
) -> Iterator[None]:
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = _started(command, output, environment, user)
        try:
            _wait_for_port(port, process, log)
            yield
        finally:
            # Of PostgreSQL SIGINT is the end that waits for no client.
            process.send_signal(2 if name.startswith("postgres") else 15)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _started(
    command: list[str], output: IO[bytes], environment: dict[str, str], user: str | None
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=output, stderr=output, env=environment, user=user, cwd="/")


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as connection:
            if connection.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{log.stem} did not start:\n{log.read_text()}")


def _wait_for(address: str) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"{address}: no answer in {_START_SECONDS} s")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class FaultyProxy:
    """Stands before a server; answers slowly, or with status 500 for some requests.

    Attributes:
        failing: requests that are still to be answered with 500, without being passed on.
        lost: requests that are still to be passed on and then answered with 500.
        delay: seconds before each answer.
    """

    def __init__(self, target: str) -> None:
        """Starts at once."""
        self.failing, self.lost, self.delay, self.is_write_only = 0, 0, 0.0, False
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Silent."""

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                is_asked = self.path != "/health" and (self.command != "GET" or not proxy.is_write_only)
                time.sleep(proxy.delay)
                if is_asked and proxy.failing:
                    proxy.failing -= 1
                    self._send(500, b"{}")
                    return
                headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
                request = urllib.request.Request(target + self.path, body or None, headers, method=self.command)
                try:
                    with urllib.request.urlopen(request, timeout=60) as answer:
                        status, content = answer.status, answer.read()
                except urllib.error.HTTPError as error:
                    status, content = error.code, error.read()
                if is_asked and proxy.lost:
                    proxy.lost -= 1
                    status, content = 500, b"{}"
                self._send(status, content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

            def _send(self, status: int, content: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
