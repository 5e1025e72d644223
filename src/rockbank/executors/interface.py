"""What every executor does: take tasks, each with a key, and give their outcomes as they come."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from rockbank.core.errors import UserError

# Libraries read these when they are loaded; tasks share the cores among them, not each all cores.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# So does the C library: an adjoint sweep's arrays of 15 MB are taken again, not given back to the system after every
# step, which is an eighth of a Jacobian's time.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
ENVIRONMENT = ONE_THREAD | KEEP_MEMORY


class WorkerLost(UserError, RuntimeError):
    """The process that did a task ended without a word."""


class Worker(Protocol):
    """What a task finds where it runs."""

    @property
    def context(self) -> Any:
        """What the executor's Setup made, once in each process."""
        ...

    def report(self, message: Any) -> None:
        """Sends a message to whoever waits for the results."""
        ...

    def is_stopped(self) -> bool:
        """Whether the task has to end as soon as it can."""
        ...


@dataclass(frozen=True, kw_only=True)
class Setup:
    """How each process makes its context: make(**arguments), of importable parts."""

    make: Callable[..., Any]
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def context(self) -> Any:
        """A new one."""
        return self.make(**self.arguments)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One call, function(worker, argument), under a key of its own.

    It may be called again where its process or its machine died. What it keeps in files has to allow that: it is
    written whole or not at all, and the second call goes on from it.
    """

    key: str
    function: Callable[[Any, Any], Any]
    argument: Any


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a task: the value that it returned, or that its workers died time and again."""

    key: str
    value: Any = None
    lost: WorkerLost | None = None


class Executor(Protocol):
    """Runs tasks side by side; their results do not depend on where, nor on how often one was called."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Adds tasks, of keys that none had before."""
        ...

    def results(self, on_message: Callable[[Any], None]) -> Iterator[Outcome]:
        """The outcome of each task that was submitted, once, as they come.

        Raises:
            Exception: what a task raised.
            WorkerLost: where the executor calls no task again.
        """
        ...

    def cancel(self) -> None:
        """Begins no task any more, and tells those under way to stop."""
        ...


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables in the environment, for processes that start in the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
