"""What a store that cannot be read is: one line with the store, the cause and the remedy, and nothing written."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import mlflow
import pytest

from rockbank.mlops import promotion, registry, tracking
from rockbank.mlops import store as stores
from rockbank.mlops.store import StoreError

Make = Callable[..., Path]
READ = {
    "names": registry.names,
    "versions": lambda: registry.versions("shale"),
    "resolve": lambda: registry.resolve("shale@champion"),
    "champion": lambda: registry.champion("shale"),
    "pull": lambda: registry.pull("shale/1", Path("pulled")),
    "rollback": lambda: promotion.rollback("shale"),
}
WRITE = {
    "train": lambda: tracking.start("shale", "tiny", {}).__enter__(),
    "find a run": lambda: tracking.find_by_weights("shale", "0"),
    "a run's end": lambda: tracking.Run("0").end(),
    "is there a run": lambda: tracking.exists("0"),
    "alias": lambda: registry.set_alias("shale", "champion", "1"),
}


@pytest.fixture
def nowhere(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no word of where the store is."""
    folder = tmp_path / "nowhere"
    folder.mkdir()
    monkeypatch.chdir(folder)
    mlflow.set_tracking_uri(None)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.mark.parametrize("what", [*READ, *WRITE])
def test_outside_a_project_every_access_says_so_and_writes_nothing(nowhere: Path, what: str) -> None:
    with pytest.raises(StoreError, match=r"no project, it has neither mlflow.db nor params.yaml"):
        (READ | WRITE)[what]()
    assert list(nowhere.iterdir()) == []


def test_a_project_without_a_store_has_no_generators_and_gets_no_store_by_looking(nowhere: Path) -> None:
    (nowhere / "params.yaml").touch()
    assert registry.names() == registry.versions("shale") == []
    assert registry.champion("shale") is None
    with pytest.raises(registry.NotRegistered, match="nothing is registered in this project yet"):
        registry.resolve("shale@champion")
    assert [path.name for path in nowhere.iterdir()] == ["params.yaml"]


def test_a_store_that_is_named_and_not_there_is_not_made_by_looking(nowhere: Path) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{nowhere}/typo.db")
    with pytest.raises(StoreError, match=r"typo.db: the store is not there; correct MLFLOW_TRACKING_URI"):
        registry.names()
    mlflow.set_tracking_uri(f"sqlite:///{nowhere}/no/typo.db")
    with pytest.raises(StoreError, match="nor is its folder"):
        tracking.find_by_weights("shale", "0")
    assert list(nowhere.iterdir()) == []


def locked(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as connection:
        connection.execute("begin exclusive")
        yield
        connection.rollback()


def damaged(path: Path) -> Iterator[None]:
    path.write_bytes(os.urandom(20000))
    yield


def of_another_mlflow(path: Path) -> Iterator[None]:
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = 'ffffffffffff'")
    yield


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damaged, "no sqlite database, or damaged; restore it"),
        (of_another_mlflow, r"another version of MLflow \(ffffffffffff, where MLflow .* run 'mlflow db upgrade'"),
        # Five seconds of sqlite's own patience.
        pytest.param(locked, "another program keeps it locked", marks=pytest.mark.slow),
    ],
)
def test_a_store_that_cannot_be_read_is_one_line_of_store_cause_and_remedy(
    store: Path, tmp_path: Path, spoil: Callable[[Path], Iterator[None]], words: str
) -> None:
    # Of its own name, since MLflow keeps a store that it has opened once.
    path = (store / "mlflow.db").rename(store / f"{spoil.__name__}.db")
    mlflow.set_tracking_uri(f"sqlite:///{path}")
    spoiling = spoil(path)
    next(spoiling)
    for read in (READ["names"], WRITE["find a run"]):
        with pytest.raises(StoreError, match=rf"{spoil.__name__}.db: .*{words}") as raised:
            read()
        assert "\n" not in str(raised.value)
    next(spoiling, None)


def test_an_answer_of_the_store_is_no_failure(store: Path) -> None:
    with pytest.raises(mlflow.MlflowException, match="not found"), stores.answering():
        mlflow.MlflowClient().get_registered_model("shale")


def test_a_password_in_the_stores_address_is_not_shown(store: Path) -> None:
    mlflow.set_tracking_uri("http://me:secret@127.0.0.1:9")
    with pytest.raises(StoreError, match=r"^http://127\.0\.0\.1:9: it does not answer; start the tracking server"):
        registry.names()


@pytest.mark.parametrize("name", ["my rocks #1", "100 % rock?"])
def test_a_project_that_is_moved_keeps_its_generators(
    nowhere: Path, empty_store: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, after = nowhere / name, nowhere / "moved #2"
    before.mkdir()
    monkeypatch.chdir(before)
    (before / "mlflow.db").write_bytes(empty_store.read_bytes())
    registry.push("shale", generator_folder())
    _, card = registry.pull("shale/1", Path("pulled"))
    before.rename(after)
    monkeypatch.chdir(after)
    mlflow.set_tracking_uri(None)
    assert registry.pull("shale/1", Path("pulled again"))[1] == card
    assert [each.name for each in nowhere.iterdir()] == ["moved #2"]
    (after / "mlruns").rename(after / "elsewhere")
    with pytest.raises(registry.RegistryError, match=r"its files are not at .*(my rocks|100 %).*was the folder moved"):
        registry.pull("shale/1", Path("pulled"))


def test_a_folder_whose_name_mlflow_would_misread_is_refused(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nowhere / "100%25").mkdir()
    monkeypatch.chdir("100%25")
    Path("params.yaml").touch()
    with pytest.raises(StoreError, match="takes the '%25' in it for another character; rename the folder"):
        tracking.find_by_weights("shale", "0")
    assert [each.name for each in nowhere.rglob("*")] == ["100%25", "params.yaml"]


@pytest.mark.slow
def test_a_tracking_server_that_hangs_or_is_dead_is_known_at_once(store: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--port",
        str(port),
        "--backend-store-uri",
        "sqlite:///mlflow.db",
    ]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    models = [sys.executable, "-m", "rockbank.cli.main", "models"]

    def said() -> tuple[int, str]:
        done = subprocess.run(models, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr

    with subprocess.Popen(command, start_new_session=True) as server:
        try:
            status, printed = 1, ""
            for _ in range(60):
                status, printed = said()
                if status == 0:
                    break
            assert "no generator is registered yet" in printed
            os.killpg(server.pid, signal.SIGSTOP)
            assert said() == (1, f"error {address}: it does not answer; start the tracking server, or correct "
                                 "MLFLOW_TRACKING_URI\n")  # fmt: skip
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    status, printed = said()
    assert status == 1
    assert "it does not answer" in printed
