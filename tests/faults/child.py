"""Work in a fork of this process that is killed at a chosen step, or whose disk is full; it starts at once."""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rockbank.cli.main import main
from rockbank.core.files import sha256
from rockbank.mlops import store

# What a process does to files, as Python's audit events name it.
_STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.copyfile", "os.link"}
KILLED = -signal.SIGKILL


def run(work: Callable[[], object], *, kill_at: int | None = None, room: int | None = None) -> tuple[int, str, int]:
    """Do `work` in a fork of this process.

    Args:
        kill_at: SIGKILL before the step of that number: an access to a file, or a call of the store.
        room: bytes that a file may have; a write beyond them fails, in C as in Python, as on a full disk.

    Returns:
        Its status (KILLED, or that of its exit), what it printed, and how many steps it took.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        os._exit(_in_child(work, writing, kill_at, room))
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    printed, _, n_steps = said.rpartition("\x00")
    return status, printed if n_steps.isdigit() else said, int(n_steps) if n_steps.isdigit() else 0


def _in_child(work: Callable[[], object], writing: int, kill_at: int | None, room: int | None) -> int:
    os.dup2(writing, 1)
    os.dup2(writing, 2)
    sys.stdout = sys.__stdout__ = os.fdopen(os.dup(1), "w")
    sys.stderr = sys.__stderr__ = os.fdopen(os.dup(2), "w")
    n_steps = 0

    def step(event: str, _: object = None) -> None:
        nonlocal n_steps
        if event in _STEPS:
            n_steps += 1
            if n_steps == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    require = store._require

    def counted(*arguments: Any, **keywords: Any) -> None:
        step("open")
        require(*arguments, **keywords)

    store._require = counted
    sys.addaudithook(step)
    # Without room Python would leave a module's bytecode cut short, for every later process to find.
    sys.dont_write_bytecode = True
    if room is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    status = 0
    try:
        work()
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os.write(1, f"\x00{n_steps}".encode())
    return status


def rockbank(*arguments: str) -> Callable[[], None]:
    """A command, to be given to `run`."""

    def command() -> None:
        sys.argv = ["rockbank", *arguments]
        main()

    return command


def kill_points(n_steps: int, n: int, seed: int = 2019) -> Iterator[int]:
    """`n` of the steps, drawn from a seed, the last one among them."""
    drawn = random.Random(seed).sample(range(1, n_steps), min(n - 1, n_steps - 1))
    yield from [*sorted(drawn), n_steps]


def tree(folder: Path, *ignored: str) -> dict[str, str]:
    """SHA-256 of every file in a folder, by its path; MLflow's own files are left out."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    names = {path: str(path.relative_to(folder)) for path in found}
    left_out = ("mlruns/", "mlflow.db", *ignored)
    return {name: sha256(path) for path, name in names.items() if not name.startswith(left_out)}
