"""A squeue that fails, as while Slurm's controller restarts, is asked again, and no job is forgotten."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from executor_tasks import run, setup

from rockbank.core.files import read_json
from rockbank.executors import choose, on_slurm
from rockbank.executors.choose import open_executor
from rockbank.executors.interface import Setup
from rockbank.executors.mailbox import Mailbox
from rockbank.executors.on_slurm import JOBS, QueueError, SlurmExecutor


@dataclass
class Job:
    """One of the cluster; its tasks begin once squeue has been asked."""

    job_id: str

    def stderr(self) -> None:
        return None


class Cluster:
    """In the place of submitit: jobs are threads."""

    cluster = "slurm"

    def __init__(self, asked: Path) -> None:
        self.asked, self.jobs, self.is_over = asked, list[Job](), threading.Event()

    def batch(self) -> Any:
        return nullcontext()

    def submit(self, call: Callable[[], None]) -> Job:
        job = Job(f"7_{len(self.jobs)}")
        self.jobs.append(job)
        threading.Thread(target=self._run, args=(call,), daemon=True).start()
        return job

    def _run(self, call: Callable[[], None]) -> None:
        while not self.asked.is_file():
            if self.is_over.wait(0.01):
                return
        call()


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes squeue a script of these lines."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.05)
    (tmp_path / "bin").mkdir()

    def made(lines: str) -> None:
        for name, text in (("squeue", lines), ("scancel", "exit 0"), ("sbatch", "exit 1")):
            script = tmp_path / "bin" / name
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)

    return made


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    found = Cluster(tmp_path / "asked")

    @contextmanager
    def opened(setup: Setup, workers: int, folder: Path) -> Iterator[SlurmExecutor]:
        executor = SlurmExecutor(found, setup, workers, Mailbox(folder))
        try:
            yield executor
        finally:
            executor.cancel()

    monkeypatch.setattr(choose, "slurm_executor", opened)
    yield found
    found.is_over.set()


SAYS = "slurm_load_jobs error: Unable to contact slurm controller"


def test_a_squeue_that_fails_once_ends_nothing(squeue: Any, cluster: Cluster, tmp_path: Path) -> None:
    first, counted = tmp_path / "asked", tmp_path / "a.count"
    alive = f'grep -q 4 {counted} 2>/dev/null || echo "7_0 7_1"'
    squeue(f'if [ ! -f {first} ]; then touch {first}; echo "{SAYS}" >&2; exit 1; fi\n{alive}')
    with open_executor("slurm", setup(tmp_path), 1, tmp_path / "executor") as executor:
        values, messages, lost = run(executor, {"a": "never"})
    assert values["a"][:2] == ("a", 16)
    assert [count for _, count in messages] == [1, 2, 3, 4]
    assert not lost
    assert len(cluster.jobs) == 1
    assert not (tmp_path / "executor").exists()


def test_a_squeue_that_fails_for_long_is_told_and_the_jobs_are_ended_by_the_next_command(
    squeue: Any, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm, "PATIENCE_SECONDS", 0.2)
    squeue(f'echo "{SAYS}" >&2; exit 1')
    folder = tmp_path / "executor"
    with (
        pytest.raises(match=f"squeue: {SAYS}; "),
        open_executor("slurm", setup(tmp_path), 1, folder) as one,
    ):
        run(one, {"a": "never"})
    (left,) = folder.glob(f"*/{JOBS}")
    assert read_json(left) == ["7_0"]
    with pytest.raises(QueueError), open_executor("local", setup(tmp_path), 1, folder):
        pass
    assert left.is_file()
    squeue("exit 0")
    with open_executor("local", setup(tmp_path), 1, folder):
        assert not any(cluster.asked.parent.glob("*.count"))
    assert not folder.exists()
