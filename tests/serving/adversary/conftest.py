"""One real service with keys and small limits, which every test of this folder attacks and finds whole."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from serving.keys import make_key
from tests.serving.processes import START_SECONDS, Process, service_process

MIB = 1024**2
MAX_CONNECTIONS = 60


@dataclass(frozen=True, kw_only=True)
class Target:
    """A service, and two clients' keys; `narrow` is a third's, who may have one request at a time."""

    process: Process
    greedy: str
    lone: str
    narrow: str

    @property
    def memory(self) -> int:
        """Its resident bytes."""
        return int(psutil.Process(self.process.process.pid).memory_info().rss)

    def connect(self) -> socket.socket:
        """A bare connection."""
        host, port = self.process.address.split(":")
        return socket.create_connection((host, int(port)), timeout=START_SECONDS)

    def exchange(self, sent: bytes, *, is_half_closed: bool = False) -> bytes:
        """What comes back on a connection of its own until it is closed."""
        with self.connect() as connection:
            connection.sendall(sent)
            if is_half_closed:
                connection.shutdown(socket.SHUT_WR)
            received = b""
            while chunk := connection.recv(65536):
                received += chunk
        return received

    def rejected(self, reason: str) -> float:
        """Requests not served, for that reason."""
        return self.process.metrics().get(f"rockbank_rejections_total{{reason={reason}}}", 0.0)


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[Target]:
    """The service of this folder's tests."""
    folder = tmp_path_factory.mktemp("attacked")
    made = [make_key(name) for name in ("greedy", "lone", "narrow")]
    lines = [line for _, line in made]
    lines[2] += "::concurrent=1:samples=100"
    (folder / "keys").write_text("\n".join(lines))
    limits = {"max_connections": MAX_CONNECTIONS, "max_memory_bytes": 128 * MIB, "max_n": 1_000_000}
    with service_process(folder, empty_store, fresh=True, keys_file=folder / "keys", grpc_port=0, **limits) as running:
        greedy, lone, narrow = (key for key, _ in made)
        yield Target(process=running, greedy=greedy, lone=lone, narrow=narrow)
