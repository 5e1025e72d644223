"""A small generator's folder, and a registry of one's own."""

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_generators import write_generator
from tests.warm import commands


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: at the end no process waits for another's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def generator_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a generator's folder; keywords as those of write_generator."""
    made = iter(range(1000))
    return lambda **keywords: write_generator(tmp_path / "generators" / str(next(made)), **keywords)


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_the_disk() -> Iterator[None]:
    """MLflow's sqlite files: that a commit is on the disk matters where the power fails, which no test is about."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def begin(connection: Any, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", begin)
    yield
    event.remove(Engine, "connect", begin)


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


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> Callable[[Callable[[Path], object], Path], Path]:
    """Fills a store as `make` does: dozens of commits to register versions are made once and copied."""
    import mlflow

    from rockbank.mlops import sqlite

    made: dict[Callable[[Path], object], Path] = {}

    def fill(make: Callable[[Path], object], store: Path) -> Path:
        if make not in made:
            made[make] = folder = tmp_path_factory.mktemp("made") / "work"
            folder.mkdir()
            shutil.copyfile(empty_store, folder / "mlflow.db")
            before = mlflow.get_tracking_uri()
            mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
            with chdir(folder):
                make(folder)
            mlflow.set_tracking_uri(before)
        shutil.copytree(made[make], store, dirs_exist_ok=True)
        # As after every move of a store, the places of its files are corrected.
        sqlite.check(store / "mlflow.db", writes=True)
        return store

    return fill


@pytest.fixture
def warm_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that this one spawns have the libraries already (tests/warm.py)."""
    from multiprocessing import resource_tracker, spawn

    # Itself spawned, and for as long as this process lives.
    resource_tracker.ensure_running()
    monkeypatch.setattr(spawn, "_python_exe", os.fsencode(commands() / "python"))


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
