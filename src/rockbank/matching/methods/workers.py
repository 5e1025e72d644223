"""Members side by side: each by itself in a process of few, a checkpoint after every iteration."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from rockbank.core.errors import UserError
from rockbank.matching.methods.interface import MEMBER_ERRORS, Progress, WorkerContext
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING

# Libraries read these when they are loaded; members share the cores among them, not each all cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# So does the C library: an adjoint sweep's arrays of 15 MB are taken again, not given back to the system after every
# step, which is an eighth of a Jacobian's time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
_POLL_SECONDS = 0.5


class WorkerLost(UserError, RuntimeError):
    """A process of the pool ended without a word."""


def advance(
    context: WorkerContext, i: int, on_progress: Callable[[Progress], None], is_stopped: Callable[[], bool]
) -> State:
    """Takes a member from its checkpoint, or from its start, to its end or to where it `is_stopped`."""
    path, member = context.checkpoint(i), context.member(i)
    state = State.load(path) if path.is_file() else None
    try:
        if state is None:
            state = context.method.start(context.objective, member.target, member.z)
            state.save(path)
        while state.status == RUNNING and not is_stopped():
            on_progress(Progress.of(i, state))
            state = context.method.step(context.objective, member.target, state)
            state.save(path)
    except MEMBER_ERRORS as error:
        state = (state or State(records=())).ended(FAILED, f"{type(error).__name__}: {error}")
        state.save(path)
    on_progress(Progress.of(i, state))
    return state


@dataclass(frozen=True, kw_only=True)
class _Process:
    """What a process of the pool holds: its context, where it reports its progress, and what stops it."""

    context: WorkerContext
    progress_queue: Any
    stop: Any


_here: _Process


def _prepare(make: Callable[..., WorkerContext], arguments: Mapping[str, Any], progress_queue: Any, stop: Any) -> None:
    global _here
    torch.set_num_threads(1)
    _end_with_parent()
    _here = _Process(context=make(**arguments), progress_queue=progress_queue, stop=stop)


def _end_with_parent() -> None:
    """A parent killed by SIGKILL cannot end its processes; they would go on writing beside its successor's."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _advance(i: int) -> None:
    # A few more than are at work wait where they cannot be cancelled.
    if not _here.stop.value:
        advance(_here.context, i, _here.progress_queue.put, lambda: bool(_here.stop.value))


def _call(function: Callable[[WorkerContext, Any], Any], argument: Any) -> Any:
    return function(_here.context, argument)


class Pool:
    """Processes that hold the same context."""

    def __init__(self, executor: ProcessPoolExecutor, progress_queue: Any) -> None:
        self._executor, self._progress_queue = executor, progress_queue

    def members(self, members: Sequence[int], on_progress: Callable[[Progress], None]) -> None:
        """Takes them all to their ends; `on_progress` is called after every iteration, in this process.

        Raises:
            WorkerLost: a process died.
        """
        left = set(self._submit(_advance, [(i,) for i in members]))
        while left:
            finished, left = wait(left, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            while not self._progress_queue.empty():
                on_progress(self._progress_queue.get())
            for future in finished:
                _result(future)

    def map(self, function: Callable[[Any, Any], Any], arguments: Sequence[Any], done: Callable[[], None]) -> list[Any]:
        """function(context, argument) of each, in their order; `done` is called after each.

        Raises:
            WorkerLost: a process died.
        """
        results = []
        for future in self._submit(_call, [(function, argument) for argument in arguments]):
            results.append(_result(future))
            done()
        return results

    def _submit(self, function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Future[Any]]:
        # Ctrl-C is this process's to hear, which then stops the others: those that start here inherit the mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return [self._executor.submit(function, *each) for each in arguments]
        except BrokenProcessPool as error:
            raise _lost() from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _result(future: Future[Any]) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _lost() from error


def _lost() -> WorkerLost:
    return WorkerLost("a process died at its work, as the system ends one when memory is short; every iteration is "
                      "kept: resume with fewer --workers")  # fmt: skip


@contextmanager
def pool(make: Callable[..., WorkerContext], arguments: Mapping[str, Any], workers: int) -> Iterator[Pool]:
    """Processes of one thread that each make(**arguments) their context.

    They end with the block, after the iterations that they are in where it is left by an error or Ctrl-C, and with
    this process, however it ends.
    """
    context = multiprocessing.get_context("spawn")
    # No lock is held on either for longer than a write of a few bytes, so that a process killed holds up no other.
    progress_queue, stop = context.SimpleQueue(), context.RawValue("b", 0)
    with _environment(_ONE_THREAD | _KEEP_MEMORY):
        executor = ProcessPoolExecutor(workers, context, _prepare, (make, arguments, progress_queue, stop))
        try:
            yield Pool(executor, progress_queue)
        finally:
            stop.value = 1
            # What the last iterations report has to go somewhere, or a full pipe would hold them up.
            is_over = threading.Event()
            threading.Thread(target=_drain, args=(progress_queue, is_over), daemon=True).start()
            executor.shutdown(cancel_futures=True)
            is_over.set()


def _drain(progress_queue: Any, is_over: threading.Event) -> None:
    while not is_over.wait(_POLL_SECONDS):
        while not progress_queue.empty():
            progress_queue.get()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
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
