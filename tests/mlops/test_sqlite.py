"""A store that is a file is there whole or not at all, whatever is killed."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rockbank.core.files import sha256
from rockbank.mlops import registry, sqlite, tracking

Make = Callable[..., Path]

KILLED = """
import os, signal
{}
from rockbank.mlops import store
store.experiment("shale")
"""


@pytest.mark.parametrize(
    "at",
    [
        "import mlflow.store.db.utils as db; db._upgrade_db = lambda engine: os.kill(os.getpid(), signal.SIGKILL)",
        "os.link = lambda beside, path: os.kill(os.getpid(), signal.SIGKILL)",
    ],
    ids=["among the migrations", "before it is there"],
)
def test_a_first_start_that_is_killed_leaves_no_store_and_the_next_one_makes_it(
    project: Callable[[str], Path], at: str
) -> None:
    folder = project("killed")
    (folder / "mlflow.db").unlink()
    assert subprocess.run([sys.executable, "-c", KILLED.format(at)], check=False).returncode == -signal.SIGKILL
    assert not (folder / "mlflow.db").exists()
    assert registry.names() == []
    with tracking.start("shale", "tiny", {}) as run:
        pass
    assert tracking.exists(run.run_id)


def test_a_store_that_another_process_makes_meanwhile_is_kept(
    project: Callable[[str], Path], empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = project("both") / "mlflow.db"
    path.unlink()
    link = os.link

    def link_later(beside: Path, here: Path) -> None:
        shutil.copyfile(empty_store, here)
        link(beside, here)

    monkeypatch.setattr("os.link", link_later)
    sqlite.make(path)
    assert sha256(path) == sha256(empty_store)
    assert [each.name for each in path.parent.iterdir() if each.name.startswith("mlflow")] == ["mlflow.db"]


WRITING = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.executemany("INSERT INTO tags VALUES (?, 'x', 'none')", [(str(i),) for i in range(5000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_process_had_half_written_when_it_was_killed_is_taken_back_by_the_next_read(
    store: Path, generator_folder: Make
) -> None:
    registry.push("shale", generator_folder())
    killed = subprocess.run([sys.executable, "-c", WRITING, store / "mlflow.db"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (store / "mlflow.db-journal").stat().st_size > 0
    assert [each.version for each in registry.versions("shale")] == ["1"]
