"""Tasks on the machines of a Ray cluster, which calls them again elsewhere where a worker or a machine dies."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rockbank.core.errors import InputError
from rockbank.executors.interface import ENVIRONMENT, Outcome, Setup, Task, WorkerLost
from rockbank.executors.mailbox import Mailbox, MailboxWorker

_POLL_SECONDS = 0.5
# A task whose worker dies that often is lost, as one that needs more memory than any machine has.
N_RETRIES = 3

# Of the last executor whose tasks this process did.
_worker: tuple[Path, MailboxWorker] | None = None


def _call(setup: Setup, folder: Path, function: Callable[[Any, Any], Any], argument: Any) -> Any:
    global _worker
    if _worker is None or _worker[0] != folder:
        _worker = folder, MailboxWorker(setup.context(), Mailbox(folder))
    return None if _worker[1].is_stopped() else function(_worker[1], argument)


class RayExecutor:
    """An Executor; `workers` tasks of one core each run at a time."""

    def __init__(self, ray: Any, setup: Setup, workers: int, mailbox: Mailbox) -> None:
        self._ray, self._workers, self._mailbox = ray, workers, mailbox
        self._setup = ray.put(setup)
        self._remote = ray.remote(_call).options(
            num_cpus=1, max_retries=N_RETRIES, runtime_env={"env_vars": ENVIRONMENT}
        )
        self._waiting: deque[Task] = deque()
        self._keys: dict[Any, str] = {}

    def submit(self, tasks: Sequence[Task]) -> None:
        """As Executor.submit."""
        self._waiting.extend(tasks)
        self._begin()

    def _begin(self) -> None:
        while self._waiting and len(self._keys) < self._workers:
            task = self._waiting.popleft()
            self._keys[self._remote.remote(self._setup, self._mailbox.folder, task.function, task.argument)] = task.key

    def results(self, on_message: Callable[[Any], None]) -> Iterator[Outcome]:
        """As Executor.results."""
        while self._keys:
            finished, _ = self._ray.wait(list(self._keys), timeout=_POLL_SECONDS)
            # Before the results: the last message of a task comes before its end.
            for message in self._mailbox.take():
                on_message(message)
            for reference in finished:
                outcome = self._outcome(reference)
                del self._keys[reference]
                self._begin()
                yield outcome

    def _outcome(self, reference: Any) -> Outcome:
        key, errors = self._keys[reference], self._ray.exceptions
        try:
            return Outcome(key=key, value=self._ray.get(reference))
        except errors.RayTaskError as error:
            if isinstance(error.cause, errors.RaySystemError):
                said = str(error.cause).strip().splitlines()[-1]
                raise WorkerLost(f"a machine of the cluster cannot read its task: {said}; install the same rockbank "
                                 "there") from error  # fmt: skip
            raise error.cause from error
        except errors.RayError as error:
            said = str(error).strip().splitlines()[0]
            lost = f"task {key}: its worker died {N_RETRIES + 1} times: {said}; see Ray's logs, and give it more memory"
            return Outcome(key=key, lost=WorkerLost(lost))

    def cancel(self) -> None:
        """As Executor.cancel."""
        self._mailbox.stop()
        self._waiting.clear()
        if self._keys:
            self._ray.wait(list(self._keys), num_returns=len(self._keys))
        self._keys.clear()


@contextmanager
def ray_executor(setup: Setup, workers: int | None, folder: Path) -> Iterator[RayExecutor]:
    """Tasks on the cluster that RAY_ADDRESS names, else on the one of this machine, else on one begun here.

    They end with the block, after what they are at where it is left by an error or Ctrl-C; Ray ends them where this
    process is killed.

    Args:
        setup: importable on every machine of the cluster.
        workers: tasks at a time; None for as many as the cluster has cores.
        folder: for messages, in a file system that all its machines share.

    Raises:
        InputError: there is no cluster at RAY_ADDRESS.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    is_begun_here = not ray.is_initialized()
    if is_begun_here:
        try:
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="warning")
        except ConnectionError as error:
            raise InputError(f"executor: no Ray cluster answers at RAY_ADDRESS={os.environ.get('RAY_ADDRESS')}; begin "
                             "one by 'ray start --head', or unset it") from error  # fmt: skip
    try:
        executor = RayExecutor(ray, setup, workers or int(ray.cluster_resources()["CPU"]), Mailbox(folder))
        try:
            yield executor
        finally:
            executor.cancel()
    finally:
        if is_begun_here:
            ray.shutdown()
