"""Tasks in processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rockbank.executors.interface import ENVIRONMENT, Outcome, Setup, Task, WorkerLost, environment

_POLL_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class _Process:
    """The Worker that a process of the pool is."""

    context: Any
    messages: Any
    stop: Any

    def report(self, message: Any) -> None:
        self.messages.put(message)

    def is_stopped(self) -> bool:
        return bool(self.stop.value)


_here: _Process


def _prepare(setup: Setup, messages: Any, stop: Any) -> None:
    global _here
    _end_with_parent()
    _here = _Process(context=setup.context(), messages=messages, stop=stop)


def _end_with_parent() -> None:
    """A parent killed by SIGKILL cannot end its processes; they would go on writing beside its successor's."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _call(function: Callable[[Any, Any], Any], argument: Any) -> Any:
    # A few more than are at work wait where they cannot be cancelled.
    return None if _here.is_stopped() else function(_here, argument)


class LocalExecutor:
    """An Executor; a process that dies ends it, since memory that is short here would be short again."""

    def __init__(self, processes: ProcessPoolExecutor, messages: Any, stop: Any) -> None:
        self._processes, self._messages, self._stop = processes, messages, stop
        self._keys: dict[Future[Any], str] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        """As Executor.submit."""
        # Ctrl-C is this process's to hear, which then stops the others: those that start here inherit the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for task in tasks:
                self._keys[self._processes.submit(_call, task.function, task.argument)] = task.key
        except BrokenProcessPool as error:
            raise _lost() from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def results(self, on_message: Callable[[Any], None]) -> Iterator[Outcome]:
        """As Executor.results."""
        while self._keys:
            finished, _ = wait(self._keys, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            while not self._messages.empty():
                on_message(self._messages.get())
            for future in finished:
                try:
                    value = future.result()
                except BrokenProcessPool as error:
                    raise _lost() from error
                yield Outcome(key=self._keys.pop(future), value=value)

    def cancel(self) -> None:
        """As Executor.cancel."""
        self._stop.value = 1
        # What the last tasks report has to go somewhere, or a full pipe would hold them up.
        is_over = threading.Event()
        threading.Thread(target=self._drain, args=(is_over,), daemon=True).start()
        self._processes.shutdown(cancel_futures=True)
        is_over.set()

    def _drain(self, is_over: threading.Event) -> None:
        while not is_over.wait(_POLL_SECONDS):
            while not self._messages.empty():
                self._messages.get()


def _lost() -> WorkerLost:
    return WorkerLost("a process died at its work, as the system ends one when memory is short; every iteration is "
                      "kept: resume with fewer --workers")  # fmt: skip


@contextmanager
def local_executor(setup: Setup, workers: int) -> Iterator[LocalExecutor]:
    """So many processes of one thread.

    They end with the block, after what they are at where it is left by an error or Ctrl-C, and with this process,
    however it ends.
    """
    context = multiprocessing.get_context("spawn")
    # No lock is held on either for longer than a write of a few bytes, so that a process killed holds up no other.
    messages, stop = context.SimpleQueue(), context.RawValue("b", 0)
    with environment(ENVIRONMENT):
        executor = LocalExecutor(
            ProcessPoolExecutor(workers, context, _prepare, (setup, messages, stop)), messages, stop
        )
        try:
            yield executor
        finally:
            executor.cancel()
