"""Tasks in jobs of Slurm, by submitit: each job does some of them, and one that is lost is submitted again."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rockbank.core.errors import InputError, UserError
from rockbank.core.files import read_json, write_json
from rockbank.executors.interface import ENVIRONMENT, Outcome, Setup, Task, WorkerLost, environment
from rockbank.executors.mailbox import Mailbox, MailboxWorker

POLL_SECONDS = 2.0
# A task whose job dies that often at it is lost, as one that needs more memory than a job is given.
N_RETRIES = 3
# For each job that runs at a time: fewer than tasks, since a job takes seconds to begin; more than one, since tasks are
# not equally long.
JOBS_PER_WORKER = 4
# So long squeue may fail before nothing is waited for any more; meanwhile it is asked ever more rarely, this at least.
PATIENCE_SECONDS, _LONGEST_WAIT = 600.0, 30.0
JOBS, LOGS = "jobs.json", "logs"
_MINUTES = 7 * 24 * 60


class QueueError(UserError, RuntimeError):
    """Squeue does not answer, so that nothing is known of the jobs."""


@dataclass(frozen=True, kw_only=True)
class _Job:
    """What one job does; Slurm begins it again where its time is over."""

    setup: Setup
    folder: Path
    tasks: Sequence[Task]

    def __call__(self) -> None:
        mailbox = Mailbox(self.folder)
        worker = MailboxWorker(self.setup.context(), mailbox)
        for task in self.tasks:
            if mailbox.is_stopped():
                return
            if not mailbox.has_result(task.key):
                try:
                    value = task.function(worker, task.argument)
                except Exception as error:
                    value = error
                mailbox.put_result(task.key, value)

    def checkpoint(self) -> Any:
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


@dataclass(kw_only=True)
class _Submitted:
    """A job of Slurm, and the keys of its tasks that have no outcome yet, in their order."""

    job: Any
    keys: list[str] = field(default_factory=list)


class SlurmExecutor:
    """An Executor; `workers` jobs run at a time."""

    def __init__(self, submitit_executor: Any, setup: Setup, workers: int, mailbox: Mailbox) -> None:
        self._submitit, self._setup, self._workers, self._mailbox = submitit_executor, setup, workers, mailbox
        self._is_slurm = submitit_executor.cluster == "slurm"
        self._tasks: dict[str, Task] = {}
        self._jobs: list[_Submitted] = []
        self._done: list[_Submitted] = []
        self._n_lost: Counter[str] = Counter()
        self._queue = _Queue()

    def submit(self, tasks: Sequence[Task]) -> None:
        """As Executor.submit."""
        self._tasks |= {task.key: task for task in tasks}
        n_jobs = min(len(tasks), JOBS_PER_WORKER * self._workers)
        self._begin([tasks[i::n_jobs] for i in range(n_jobs)])

    def _begin(self, parts: Sequence[Sequence[Task]]) -> None:
        calls = [_Job(setup=self._setup, folder=self._mailbox.folder, tasks=part) for part in parts]
        with environment(ENVIRONMENT), self._submitit.batch():
            jobs = [self._submitit.submit(call) for call in calls]
        self._jobs += [
            _Submitted(job=job, keys=[task.key for task in part]) for job, part in zip(jobs, parts, strict=True)
        ]
        # For the successor of this process, if it is killed.
        write_json(self._mailbox.folder / JOBS, [each.job.job_id for each in self._jobs])

    def results(self, on_message: Callable[[Any], None]) -> Iterator[Outcome]:
        """As Executor.results."""
        while self._jobs:
            # In this order: a job ends after its results, and a result comes after its messages.
            alive = self._alive(self._jobs)
            ready = {key for each in self._jobs for key in each.keys if self._mailbox.has_result(key)}
            for message in self._mailbox.take():
                on_message(message)
            lost = []
            for each in list(self._jobs):
                for key in ready.intersection(each.keys):
                    each.keys.remove(key)
                    yield self._outcome(key)
                if each.keys and each in alive:
                    continue
                self._jobs.remove(each)
                self._done.append(each)
                if each.keys:
                    # They are done in their order, so that the first is the one it died at.
                    self._n_lost[each.keys[0]] += 1
                    if self._n_lost[each.keys[0]] > N_RETRIES:
                        yield self._give_up(each.keys.pop(0), each.job)
                    lost.append([self._tasks[key] for key in each.keys])
            if any(lost):
                self._begin([part for part in lost if part])
            elif self._jobs:
                time.sleep(POLL_SECONDS)

    def _outcome(self, key: str) -> Outcome:
        value = self._mailbox.result(key)
        if isinstance(value, Exception):
            raise value
        return Outcome(key=key, value=value)

    def _give_up(self, key: str, job: Any) -> Outcome:
        said = (job.stderr() or "").strip().splitlines()
        return Outcome(
            key=key,
            lost=WorkerLost(
                f"task {key}: its job died {N_RETRIES + 1} times, job {job.job_id} the last"
                f"{f', which said: {said[-1]}' if said else ''}; give jobs more memory or time, as by "
                "SBATCH_MEM_PER_NODE or SBATCH_TIMELIMIT"
            ),
        )

    def _alive(self, jobs: Sequence[_Submitted]) -> list[_Submitted]:
        """Those that wait or run; submitit asks sacct, which a cluster without accounting lacks."""
        if self._is_slurm:
            alive = self._queue.alive([each.job.job_id for each in jobs])
            return [each for each in jobs if each.job.job_id in alive]
        return [each for each in jobs if not each.job.done()]

    def cancel(self) -> None:
        """As Executor.cancel: jobs that wait go, others end after what they are at.

        Raises:
            QueueError: squeue does not tell whether they have.
        """
        self._mailbox.stop()
        if self._is_slurm and self._jobs:
            _scancel([each.job.job_id for each in self._jobs], only_pending=True)
        # Those too whose results have come, for as long as they write their logs.
        left = [*self._jobs, *self._done]
        while left:
            left = self._alive(left)
            time.sleep(POLL_SECONDS if left else 0)
        self._jobs, self._done = [], []


def alive_in_slurm() -> set[str]:
    """The ids of this user's jobs that wait or run; those of an array as ARRAY_INDEX.

    Raises:
        QueueError: squeue fails, as it does while Slurm's controller restarts.
    """
    command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    if found.returncode:
        said = " ".join(found.stderr.split()) or f"exit status {found.returncode}"
        raise QueueError(f"squeue: {said}; jobs may go on: begin again once it answers, which ends them first")
    return set(found.stdout.split())


class _Queue:
    """Which jobs wait or run, from a squeue that may fail for a while."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self._wait, self._next = POLL_SECONDS, 0.0

    def alive(self, ids: Sequence[str]) -> set[str]:
        """Those of them that wait or run; all of them where squeue does not tell.

        Raises:
            QueueError: it has not told for PATIENCE_SECONDS.
        """
        now = time.monotonic()
        if self._failing_since is not None and now < self._next:
            return set(ids)
        try:
            alive = alive_in_slurm()
        except QueueError:
            self._failing_since = now if self._failing_since is None else self._failing_since
            if now - self._failing_since >= PATIENCE_SECONDS:
                raise
            self._next, self._wait = now + self._wait, min(2 * self._wait, _LONGEST_WAIT)
            return set(ids)
        self._failing_since, self._wait = None, POLL_SECONDS
        return alive.intersection(ids)


def _scancel(ids: Sequence[str], *, only_pending: bool = False) -> None:
    state = ["--state=PENDING"] if only_pending else []
    subprocess.run(["scancel", "--quiet", *state, *ids], check=False, capture_output=True)


def end_predecessors(folder: Path) -> None:
    """End the jobs in `folder` of a process that was killed: they would write beside its successor.

    Raises:
        InputError: on a machine that cannot end them.
        QueueError: squeue does not tell whether they have ended.
    """
    ids = []
    for path in folder.glob(f"*/{JOBS}"):
        Mailbox(path.parent).stop()
        ids += read_json(path)
    if not ids:
        return
    if shutil.which("scancel") is None:
        raise InputError(f"{folder}: a command that was killed left jobs of Slurm, {', '.join(ids)}, and scancel is "
                         "not on the PATH; go on from a machine that has it, or remove the folder once they have "
                         "ended")  # fmt: skip
    _scancel(ids)
    queue = _Queue()
    while queue.alive(ids):
        time.sleep(POLL_SECONDS)


@contextmanager
def slurm_executor(setup: Setup, workers: int, folder: Path, *, cluster: str = "slurm") -> Iterator[SlurmExecutor]:
    """Jobs of one core; what else they need is said to sbatch, in its own variables such as SBATCH_PARTITION.

    They end with the block, after what they are at where it is left by an error or Ctrl-C. Where this process is
    killed they go on, until `end_predecessors` ends them for its successor in the same folder.

    Args:
        setup: importable on every machine of the cluster.
        workers: jobs at a time.
        folder: for messages and logs, in a file system that all its machines share.
        cluster: "slurm", or submitit's "local": processes of this machine.
    """
    import submitit

    mailbox = Mailbox(folder)
    submitter = submitit.AutoExecutor(folder=folder / LOGS, cluster=cluster)
    submitter.update_parameters(
        name="rockbank",
        timeout_min=_MINUTES,
        cpus_per_task=1,
        slurm_array_parallelism=workers,
        slurm_use_srun=False,
    )
    executor = SlurmExecutor(submitter, setup, workers, mailbox)
    try:
        yield executor
    finally:
        executor.cancel()
