"""The store is found where its folder is now, and each of its failures is a line of store, cause and remedy."""

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from rockbank.core.files import sha256
from rockbank.generator.card import ONNX
from rockbank.mlops import registry, tracking
from rockbank.mlops.failures import StoreError, explained, file_of
from rockbank.mlops.store import answering, connect

Make = Callable[..., Path]
# Blanks, and what a URI reads as something else.
NAMES = ("plain", "my rocks #1", "50% off", "a%20b", "what?", "größe")


def _move(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    moved = folder.with_name(name)
    folder.rename(moved)
    monkeypatch.chdir(moved)
    # As in a process of its own: MLflow keeps where a run's files lie.
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    _artifact_repos_cache.clear()
    return moved


@pytest.mark.parametrize("name", NAMES)
def test_a_registry_is_found_whatever_its_folder_is_called_and_after_it_was_moved(
    project: Callable[[str], Path], generator_folder: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, source = project(name), generator_folder()
    registry.push("shale", source)
    for now_called in (name, f"{name} moved"):
        now = folder if now_called == name else _move(folder, now_called, monkeypatch)
        registry.pull("shale/1", now / "pulled")
        assert sha256(now / "pulled" / ONNX) == sha256(source / ONNX)
        assert [each.name for each in folder.parent.iterdir()] == [now.name]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_written_after_a_move_lies_in_the_moved_folder(
    project: Callable[[str], Path], generator_folder: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(name)
    with tracking.start("shale", "tiny", {}) as run:
        run.json("before.json", {})
    registry.push("shale", generator_folder(kid=0.2), run.run_id)
    moved = _move(folder, f"{name} moved", monkeypatch)
    run.json("after.json", {})
    registry.push("shale", generator_folder(kid=0.1), run.run_id)
    assert [each.name for each in folder.parent.iterdir()] == [moved.name]
    assert {each.name for each in moved.rglob("*.json")} >= {"before.json", "after.json"}
    assert {each.path for each in mlflow.MlflowClient().list_artifacts(run.run_id)} == {"before.json", "after.json"}
    assert registry.pull("shale/1", moved / "1")[1] != registry.pull("shale/2", moved / "2")[1]


def test_a_copy_reads_and_writes_its_own_files(
    project: Callable[[str], Path], generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("one")
    registry.push("shale", generator_folder(kid=0.2))
    before = sorted(folder.rglob("*"))
    copy = folder.with_name("two")
    shutil.copytree(folder, copy)
    monkeypatch.chdir(copy)
    connect(f"sqlite:///{copy}/mlflow.db")
    registry.push("shale", generator_folder(kid=0.1))
    assert sorted(folder.rglob("*")) == before
    shutil.rmtree(folder)
    assert registry.pull("shale/2", copy / "pulled")[0].version == "2"


def test_reading_a_moved_registry_writes_nothing(
    project: Callable[[str], Path], generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("one")
    registry.push("shale", generator_folder())
    moved = _move(folder, "two", monkeypatch)
    before = sha256(moved / "mlflow.db")
    registry.pull("shale/1", moved.parent / "pulled")
    assert sha256(moved / "mlflow.db") == before


def test_a_registry_that_was_moved_without_its_files_says_so(
    project: Callable[[str], Path], generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project("one")
    registry.push("shale", generator_folder())
    shutil.rmtree(folder / "mlruns")
    moved = _move(folder, "two", monkeypatch)
    with pytest.raises(StoreError, match=f"{moved}/mlflow.db: was moved without its files: .*{folder}/mlruns/shale"):
        registry.pull("shale/1", moved / "pulled")
    assert not (moved / "pulled").exists()


def test_what_is_no_project_is_said_and_nothing_is_written(
    tmp_path: Path, at_home: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (registry.names, lambda: registry.champion("shale"), lambda: tracking.exists("0" * 32)):
        with pytest.raises(StoreError, match=f"{tmp_path}: not a project, it has neither mlflow.db nor params.yaml"):
            call()
    with pytest.raises(StoreError, match="not a project"), tracking.start("shale", "tiny", {}):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_project_around_a_folder_is_named(tmp_path: Path, at_home: None, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.yaml").touch()
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    with pytest.raises(StoreError, match=f"run the command in {tmp_path}, which is one"):
        registry.names()


def test_a_project_without_a_store_has_nothing_registered_and_reading_makes_none(
    project: Callable[[str], Path],
) -> None:
    folder = project("new")
    (folder / "mlflow.db").unlink()
    assert registry.names() == []
    assert registry.versions("shale") == []
    assert registry.champion("shale") is None
    assert not tracking.exists("0" * 32)
    assert tracking.find_by_weights("shale", "0" * 64) is None
    with pytest.raises(registry.NotRegistered, match="nothing is registered in this project yet; 'rockbank register'"):
        registry.resolve("shale")
    assert [each.name for each in folder.iterdir()] == ["params.yaml"]


def test_a_store_that_was_named_and_is_not_there_is_not_made(tmp_path: Path, at_home: None) -> None:
    connect(f"sqlite:///{tmp_path}/mlflow.db")
    with pytest.raises(StoreError, match=f"{tmp_path}/mlflow.db: the store is not there; correct MLFLOW_TRACKING_URI"):
        registry.names()
    connect(f"sqlite:///{tmp_path}/nowhere/mlflow.db")
    with pytest.raises(StoreError, match="neither the store nor its folder"), tracking.start("shale", "tiny", {}):
        pass
    assert list(tmp_path.iterdir()) == []


def _calls(source: Path) -> tuple[Callable[[], object], ...]:
    """Each way to a store: reading and writing, in runs and in the registry."""
    return (
        registry.names,
        lambda: registry.pull("shale", source / "pulled"),
        lambda: registry.push("shale", source),
        lambda: registry.set_alias("shale", "champion", "1"),
        lambda: tracking.exists("0" * 32),
        lambda: tracking.find_by_weights("shale", "0" * 64),
        lambda: tracking.start("shale", "tiny", {}).__enter__(),
    )


def _each_fails(source: Path, words: str) -> None:
    for call in _calls(source):
        with pytest.raises(StoreError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not (source / "pulled").exists()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock and a silent server are given up sooner, that the tests be short."""
    monkeypatch.setattr("rockbank.mlops.sqlite.LOCK_SECONDS", 0.1)
    monkeypatch.setattr("rockbank.mlops.store.ANSWER_SECONDS", 0.2)


def test_a_store_that_another_program_locks_is_said(store: Path, generator_folder: Make, quick: None) -> None:
    with closing(sqlite3.connect(store / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        _each_fails(generator_folder(), f"{store}/mlflow.db: another program keeps it locked; try again")
    assert registry.names() == []


def test_a_store_that_another_program_is_writing_can_still_be_read(
    store: Path, generator_folder: Make, quick: None
) -> None:
    registry.push("shale", source := generator_folder())
    with closing(sqlite3.connect(store / "mlflow.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        assert registry.pull("shale/1", store / "pulled")[0].version == "1"
        with pytest.raises(StoreError, match="locked"):
            registry.set_alias("shale", "champion", "1")
    assert source.is_dir()


@pytest.mark.parametrize("damage", [lambda data: b"rock" * 5000, lambda data: data[:100] + bytes(len(data) - 100)])
def test_a_damaged_store_is_said(store: Path, generator_folder: Make, damage: Callable[[bytes], bytes]) -> None:
    path = store / "mlflow.db"
    path.write_bytes(damage(path.read_bytes()))
    _each_fails(generator_folder(), "mlflow.db: it is (not a sqlite database|damaged|no store of MLflow's).*; ")


def test_a_folder_in_the_stores_place_is_said(store: Path, generator_folder: Make) -> None:
    (store / "mlflow.db").unlink()
    (store / "mlflow.db").mkdir()
    _each_fails(generator_folder(), "mlflow.db: it cannot be opened; check that it is a file")


def test_the_database_of_another_program_is_left_alone(store: Path, generator_folder: Make) -> None:
    path = store / "mlflow.db"
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE songs (name TEXT)")
    before = sha256(path)
    _each_fails(generator_folder(), "mlflow.db: it is no store of MLflow's, a table is missing")
    assert sha256(path) == before


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("0" * 12, f"unknown to MLflow {mlflow.__version__}.*; install the MLflow that wrote it"),
        ("bd07f7e963c5", "older than MLflow .*; copy it, then run 'mlflow db upgrade \"sqlite:///"),
    ],
)
def test_the_schema_of_another_mlflow_is_said(store: Path, generator_folder: Make, revision: str, words: str) -> None:
    with closing(sqlite3.connect(store / "mlflow.db")) as other, other:
        other.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    _each_fails(generator_folder(), f"mlflow.db: its schema {revision} is {words}")


def test_a_port_where_nobody_listens_is_said(generator_folder: Make, at_home: None) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    connect(address)
    _each_fails(generator_folder(), f"{address}: nobody listens there; start the tracking server")


def test_a_server_that_says_nothing_is_given_up(generator_folder: Make, at_home: None, quick: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect(address := f"http://127.0.0.1:{silent.getsockname()[1]}")
        _each_fails(generator_folder(), f"{address}: it does not answer in time")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://nowhere.invalid", "http://nowhere.invalid: no such host; check the network"),
        (
            "postgresql://me:secret@localhost/runs",
            r"postgresql://localhost/runs: .*'psycopg\d?', which is not installed",
        ),
        ("./mlruns", "a folder of runs, which MLflow .* no longer takes; use sqlite:///mlflow.db"),
        (
            "gopher://localhost",
            "gopher://localhost: MLflow knows no store of that kind; name .* by MLFLOW_TRACKING_URI",
        ),
    ],
)
def test_an_address_that_leads_nowhere_is_said(generator_folder: Make, at_home: None, uri: str, words: str) -> None:
    connect(uri)
    _each_fails(generator_folder(), words)


def test_what_the_user_says_of_retries_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, rockbank.mlops.store; print(os.environ['MLFLOW_HTTP_REQUEST_MAX_RETRIES'])"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "9")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "9\n"


def test_a_failure_of_no_known_kind_is_one_line_too() -> None:
    error = explained(mlflow.MlflowException("the moon is full\nand more"), "https://me:secret@host/path")
    assert str(error) == "https://host/path: the store fails: the moon is full; 'rockbank --verbose' shows where"


def test_an_answer_of_the_store_goes_through(store: Path) -> None:
    with pytest.raises(mlflow.MlflowException, match="nosuch"), answering(writes=False):
        mlflow.MlflowClient().get_registered_model("nosuch")


@pytest.mark.slow
def test_a_tracking_server_that_was_stopped_is_said(
    store: Path, generator_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(
        [*command, "--backend-store-uri", "sqlite:///mlflow.db"],
        cwd=store,
        env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stderr=subprocess.DEVNULL,
    )
    try:
        connect(f"http://127.0.0.1:{port}")
        until = time.monotonic() + 90
        while time.monotonic() < until:
            try:
                assert registry.names() == []
                break
            except StoreError:
                time.sleep(0.5)
        registry.push("shale", source := generator_folder())
        assert registry.pull("shale/1", store / "pulled")[0].version == "1"
        assert registry.champion("shale") is None
    finally:
        server.terminate()
        server.wait()
    monkeypatch.setattr("rockbank.mlops.store._TRUST_SECONDS", 0.01)
    _each_fails(source, f"http://127.0.0.1:{port}: nobody listens there; start the tracking server")


def test_the_file_of_an_address_is_the_one_that_is_meant(tmp_path: Path) -> None:
    path = tmp_path / "my%20rocks" / "mlflow.db"
    assert file_of(f"sqlite:///{path}") == tmp_path / "my rocks" / "mlflow.db"
    path.parent.mkdir()
    path.touch()
    assert file_of(f"sqlite:///{path}") == path
    assert file_of("sqlite://") is file_of("https://host") is file_of("./mlruns") is None


def test_who_waits_for_a_lock_is_told_for_which(
    store: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("rockbank.mlops.failures.PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr("rockbank.mlops.sqlite.LOCK_SECONDS", 0.5)
    with closing(sqlite3.connect(store / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked"):
            registry.names()
    assert f"still waiting for {store}/mlflow.db: another program keeps it locked" in caplog.text
