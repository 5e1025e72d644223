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
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from rockbank.core.errors import InputError, UserError
from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.state import FAILED, RUNNING, State
from rockbank.matching.problem.objective import Objective, Target, Vector

# Libraries read these when they are loaded; members share the cores among them, not each all cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
# So does the C library: an adjoint sweep's arrays of 15 MB are taken again, not given back to the system after every
# step, which is an eighth of a Jacobian's time.
_KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
_POLL_SECONDS = 0.5
# What one member's rock can do to the simulator; the case and the generator were checked before, so that an InputError
# is of that rock too.
OF_ONE_MEMBER = (NewtonError, np.linalg.LinAlgError, FloatingPointError, InputError)


class WorkerLost(UserError, RuntimeError):
    """A process of the pool ended without a word."""


class Method(Protocol):
    """How one member goes from its start to its end; both are functions of what they are given alone."""

    def start(self, objective: Objective, target: Target, z: Vector) -> State:
        """The first state, from a draw of the prior."""
        ...

    def step(self, objective: Objective, target: Target, state: State) -> State:
        """The next one."""
        ...


#: Calls function(work, argument) of each argument, side by side or not, and returns the results in their order.
Each = Callable[[Callable[[Any, Any], Any], Sequence[Any]], list[Any]]


class Together(Protocol):
    """How all members go from their starts to their ends together, by way of their checkpoints."""

    def check(self, objective: Objective, n_members: int) -> None:
        """InputError for what it cannot do, before anything runs."""
        ...

    def run(self, work: Work, n_members: int, seed: int, each: Each) -> Sequence[State]:
        """Their ends."""
        ...


@dataclass(frozen=True, kw_only=True)
class Member:
    """One member's start and what it is drawn to."""

    z: Vector
    target: Target


class Work(Protocol):
    """What a process needs to go on with any member; it is made anew in each."""

    @property
    def objective(self) -> Objective:
        """What the members minimise."""
        ...

    @property
    def method(self) -> Method:
        """How they do."""
        ...

    def member(self, i: int) -> Member:
        """The i-th."""
        ...

    def checkpoint(self, i: int) -> Path:
        """Where its state lies."""
        ...


@dataclass(frozen=True, kw_only=True)
class News:
    """A member moved on."""

    member: int
    iteration: int
    total: float
    status: str


def advance(work: Work, i: int, tell: Callable[[News], None], is_stopped: Callable[[], bool]) -> State:
    """Takes a member from its checkpoint, or from its start, to its end or to where it `is_stopped`."""
    path, member = work.checkpoint(i), work.member(i)
    state = State.load(path) if path.is_file() else None
    try:
        if state is None:
            state = work.method.start(work.objective, member.target, member.z)
            state.save(path)
        while state.status == RUNNING and not is_stopped():
            tell(_news(i, state))
            state = work.method.step(work.objective, member.target, state)
            state.save(path)
    except OF_ONE_MEMBER as error:
        state = (state or State(records=())).ended(FAILED, f"{type(error).__name__}: {error}")
        state.save(path)
    tell(_news(i, state))
    return state


def _news(i: int, state: State) -> News:
    total = state.last.parts.total if state.records else float("nan")
    n_iterations = state.n_iterations if state.records else 0
    return News(member=i, iteration=n_iterations, total=total, status=state.status)


@dataclass(frozen=True, kw_only=True)
class _Process:
    """What a process of the pool holds: its work, whom it tells, and what stops it."""

    work: Work
    told: Any
    stop: Any


_here: _Process


def _prepare(make: Callable[..., Work], arguments: Mapping[str, Any], told: Any, stop: Any) -> None:
    global _here
    torch.set_num_threads(1)
    _end_with_parent()
    _here = _Process(work=make(**arguments), told=told, stop=stop)


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
        advance(_here.work, i, _here.told.put, lambda: bool(_here.stop.value))


def _call(function: Callable[[Work, Any], Any], argument: Any) -> Any:
    return function(_here.work, argument)


class Pool:
    """Processes that hold the same work."""

    def __init__(self, executor: ProcessPoolExecutor, told: Any) -> None:
        self._executor, self._told = executor, told

    def members(self, members: Sequence[int], tell: Callable[[News], None]) -> None:
        """Takes them all to their ends; `tell` hears of every iteration, in this process.

        Raises:
            WorkerLost: a process died.
        """
        left = set(self._submit(_advance, [(i,) for i in members]))
        while left:
            finished, left = wait(left, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
            while not self._told.empty():
                tell(self._told.get())
            for future in finished:
                _result(future)

    def each(
        self, function: Callable[[Any, Any], Any], arguments: Sequence[Any], done: Callable[[], None]
    ) -> list[Any]:
        """function(work, argument) of each, in their order; `done` is called after each.

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
def pool(make: Callable[..., Work], arguments: Mapping[str, Any], workers: int) -> Iterator[Pool]:
    """Processes of one thread that each make(**arguments) their work.

    They end with the block, after the iterations that they are in where it is left by an error or Ctrl-C, and with
    this process, however it ends.
    """
    context = multiprocessing.get_context("spawn")
    # No lock is held on either for longer than a write of a few bytes, so that a process killed holds up no other.
    told, stop = context.SimpleQueue(), context.RawValue("b", 0)
    with _environment(_ONE_THREAD | _KEEP_MEMORY):
        executor = ProcessPoolExecutor(workers, context, _prepare, (make, arguments, told, stop))
        try:
            yield Pool(executor, told)
        finally:
            stop.value = 1
            # What the last iterations tell has to go somewhere, or a full pipe would hold them up.
            is_over = threading.Event()
            threading.Thread(target=_hear_out, args=(told, is_over), daemon=True).start()
            executor.shutdown(cancel_futures=True)
            is_over.set()


def _hear_out(told: Any, is_over: threading.Event) -> None:
    while not is_over.wait(_POLL_SECONDS):
        while not told.empty():
            told.get()


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
