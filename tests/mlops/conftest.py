"""A project of one's own, and no store that the environment names."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No store named in the environment, before and after."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    yield
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_home: None, empty_store: Path) -> Callable[[str], Path]:
    """Makes a project's folder of that name, with an empty store, the working folder and alone in its parent."""

    def make(name: str) -> Path:
        folder = tmp_path / "parent" / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").touch()
        shutil.copyfile(empty_store, folder / "mlflow.db")
        monkeypatch.chdir(folder)
        return folder

    return make
