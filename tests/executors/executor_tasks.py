"""Tasks that other processes can import: they count, a checkpoint after each number, and may die on the way."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from rockbank.executors.interface import Executor, Setup, Task, Worker


class Folder:
    """Where the tasks keep what they have."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder


def count(worker: Worker, asked: tuple[str, int, str]) -> tuple[str, int, str | None]:
    """To `n`, from its checkpoint; a task that 'dies' is killed at its second number, once or 'always'."""
    name, n, dies = asked
    path = worker.context.folder / f"{name}.count"
    for i in range(int(path.read_text()) if path.is_file() else 0, n):
        if worker.is_stopped():
            break
        (worker.context.folder / f"{name}.{i}.{os.getpid()}").touch()
        if i == 1 and (dies == "always" or (dies == "once" and _is_first(worker.context.folder / f"{name}.died"))):
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        beside = path.with_name(f".part-{name}-{os.getpid()}")
        beside.write_text(str(i + 1))
        os.replace(beside, path)
        worker.report((name, i + 1))
    return name, n**2, os.environ.get("OMP_NUM_THREADS")


def fail(worker: Worker, reason: str) -> None:
    """Raises."""
    raise ValueError(reason)


def _is_first(path: Path) -> bool:
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def setup(folder: Path) -> Setup:
    """Of these tasks."""
    return Setup(make=Folder, arguments={"folder": folder})


def run(
    executor: Executor, names: dict[str, str], n: int = 4
) -> tuple[dict[str, Any], list[Any], dict[str, Exception]]:
    """Counts under each name; values by key, messages, and what is lost."""
    executor.submit([Task(key=name, function=count, argument=(name, n, dies)) for name, dies in names.items()])
    values: dict[str, Any] = {}
    lost: dict[str, Exception] = {}
    messages: list[Any] = []
    for outcome in executor.results(messages.append):
        assert outcome.key not in values | lost, "an outcome came twice"
        if outcome.lost is None:
            values[outcome.key] = outcome.value
        else:
            lost[outcome.key] = outcome.lost
    return values, messages, lost
