"""Members side by side, each by itself, a checkpoint after every iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from rockbank.executors.choose import LOCAL, open_executor
from rockbank.executors.interface import Executor, Setup, Task, Worker
from rockbank.matching.methods.interface import MEMBER_ERRORS, Progress, WorkerContext
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING

# In a run's folder: what an executor of several machines keeps there meanwhile.
EXECUTOR_FOLDER = "executor"


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


def _advance(worker: Worker, i: int) -> None:
    advance(worker.context, i, worker.report, worker.is_stopped)


def _fail(worker: Worker, lost: tuple[int, str]) -> None:
    i, reason = lost
    path = worker.context.checkpoint(i)
    state = (State.load(path) if path.is_file() else State(records=())).ended(FAILED, reason)
    state.save(path)
    worker.report(Progress.of(i, state))


def _call(worker: Worker, call: tuple[Callable[[WorkerContext, Any], Any], Any]) -> Any:
    function, argument = call
    return function(worker.context, argument)


class Pool:
    """Processes that hold the same context, here or on other machines."""

    def __init__(self, executor: Executor) -> None:
        self._executor, self._n_maps = executor, 0

    def members(self, members: Sequence[int], on_progress: Callable[[Progress], None]) -> None:
        """Takes them all to their ends; `on_progress` is called after every iteration, in this process.

        Raises:
            WorkerLost: a process of this machine died. One whose workers on a cluster died time and again has failed.
        """
        self._executor.submit([Task(key=f"member-{i}", function=_advance, argument=i) for i in members])
        numbers = {f"member-{i}": i for i in members}
        for outcome in self._executor.results(on_progress):
            if outcome.lost is not None:
                # Where its checkpoint lies, the processes know.
                lost = numbers[outcome.key], f"{type(outcome.lost).__name__}: {outcome.lost}"
                self._executor.submit([Task(key=f"end-{outcome.key}", function=_fail, argument=lost)])

    def map(self, function: Callable[[Any, Any], Any], arguments: Sequence[Any], done: Callable[[], None]) -> list[Any]:
        """function(context, argument) of each, in their order; `done` is called after each.

        Raises:
            WorkerLost: a process died, on a cluster time and again.
        """
        self._n_maps += 1
        keys = [f"call-{self._n_maps}-{i}" for i in range(len(arguments))]
        self._executor.submit(
            [
                Task(key=key, function=_call, argument=(function, argument))
                for key, argument in zip(keys, arguments, strict=True)
            ]
        )
        results = {}
        for outcome in self._executor.results(lambda _: None):
            if outcome.lost is not None:
                raise outcome.lost
            results[outcome.key] = outcome.value
            done()
        return [results[key] for key in keys]


def _one_thread(make: Callable[..., WorkerContext], arguments: Mapping[str, Any]) -> WorkerContext:
    torch.set_num_threads(1)
    return make(**arguments)


@contextmanager
def pool(
    make: Callable[..., WorkerContext], arguments: Mapping[str, Any], workers: int | None, executor: str = LOCAL
) -> Iterator[Pool]:
    """Processes of one thread that each make(**arguments) their context, of the run in the folder arguments["folder"].

    They end with the block, after the iterations that they are in where it is left by an error or Ctrl-C.
    """
    setup = Setup(make=_one_thread, arguments={"make": make, "arguments": arguments})
    with open_executor(executor, setup, workers, Path(arguments["folder"]) / EXECUTOR_FOLDER) as opened:
        yield Pool(opened)
