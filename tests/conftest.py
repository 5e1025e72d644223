"""A small generator's folder, and a registry of one's own."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_generators import write_generator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: at the end no process waits for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def generator_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a generator's folder; keywords as those of write_generator."""
    made = iter(range(1000))
    return lambda **keywords: write_generator(tmp_path / "generators" / str(next(made)), **keywords)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sqlite store without a row: MLflow's migrations of the schema take a second, so they are run once."""
    from rockbank.mlops import sqlite

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    sqlite.make(path)
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Iterator[Path]:
    """A working folder whose MLflow store is its own sqlite file."""
    import mlflow

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("rockbank.mlops.tracking.SYSTEM_METRICS_SECONDS", 1)
    shutil.copyfile(empty_store, folder / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    yield folder
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """Ray on two nodes of one core each, on this machine; and the second node."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from benchmarks.executors import two_nodes

    with two_nodes() as nodes:
        yield nodes


@pytest.fixture
def slurm_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slurm, which takes jobs by sbatch."""
    from tests.executors.slurm_cluster import absent, slurm

    if (reason := absent()) is not None:
        pytest.skip(reason)
    # Not in pytest's folder, which is closed to others.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        monkeypatch.setenv("SLURM_CONF", f"{folder}/slurm.conf")
        with slurm(Path(folder)):
            yield
