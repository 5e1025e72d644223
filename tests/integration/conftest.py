"""Servers that are started once for all tests here."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from rockbank.mlops.store import connect
from tests.integration.backends import PYTHON, Backends, FaultyProxy, backends, postgres_binary


@pytest.fixture(scope="session")
def servers() -> Iterator[Backends]:
    """PostgreSQL, S3 and a tracking server on both."""
    if not PYTHON:
        pytest.skip("ROCKBANK_BACKENDS is not set; 'make test-integration' makes that environment and sets it")
    if postgres_binary("postgres") is None:
        pytest.skip("PostgreSQL is not installed; on Debian and Ubuntu: apt install postgresql")
    with backends() as started:
        yield started


@pytest.fixture
def work(servers: Backends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder whose store is the tracking server."""
    for name in ("MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    connect(servers.tracking)
    yield tmp_path
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def proxy(servers: Backends, work: Path) -> Iterator[FaultyProxy]:
    """The same store behind a proxy that makes faults."""
    faulty = FaultyProxy(servers.tracking)
    connect(faulty.address)
    yield faulty
    faulty.close()
