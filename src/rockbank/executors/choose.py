"""The executor by its name."""

from __future__ import annotations

import importlib.util
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.executors.interface import Executor, Setup
from rockbank.executors.local import local_executor
from rockbank.executors.on_slurm import QueueError, end_predecessors, slurm_executor

EXECUTORS = ("local", "ray", "slurm")
LOCAL = EXECUTORS[0]


# Module that each needs, and the extra that has it.
_NEEDS = {"ray": ("ray", "ray"), "slurm": ("submitit", "slurm")}


def check_executor(name: str, workers: int | None) -> None:
    """InputError where there is none of that name, or what it needs is not there."""
    if name not in EXECUTORS:
        raise InputError(f"executor: got '{name}'; known are {list(EXECUTORS)}")
    module, extra = _NEEDS.get(name, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise InputError(f"executor: '{name}' needs {module}, which is not installed; pip install 'rockbank[{extra}]', "
                         "here and on every machine of the cluster")  # fmt: skip
    if name == "slurm":
        if shutil.which("sbatch") is None:
            raise InputError("executor: 'slurm' needs sbatch, which is not on the PATH; log in to a machine that "
                             "submits jobs")  # fmt: skip
        if workers is None:
            raise InputError("workers: 'slurm' has to know how many jobs may run at a time; say it, as --workers 50")


@contextmanager
def open_executor(name: str, setup: Setup, workers: int | None, folder: Path) -> Iterator[Executor]:
    """The executor of that name; it ends with the block.

    Jobs of Slurm that a killed process left in `folder` are ended first, whichever executor is next.

    Args:
        name: one of EXECUTORS.
        setup: what its processes make first.
        workers: tasks at a time; None for one a core of this machine or of the Ray cluster.
        folder: where it may make one for messages, which goes again; on a cluster its machines have to share it. No
            other process may use it meanwhile.

    Raises:
        InputError: another name, or what that executor or the end of such jobs needs is not there.
        QueueError: Slurm does not tell whether jobs have ended; the folder stays, so that the next one ends them.
    """
    check_executor(name, workers)
    end_predecessors(folder)
    own = folder.absolute() / uuid.uuid4().hex
    has_jobs = False
    try:
        if name == LOCAL:
            with local_executor(setup, workers or os.cpu_count() or 1) as executor:
                yield executor
        elif name == "ray":
            from rockbank.executors.on_ray import ray_executor

            with ray_executor(setup, workers, own) as executor:
                yield executor
        else:
            with slurm_executor(setup, workers or 1, own) as executor:
                yield executor
    except QueueError:
        has_jobs = True
        raise
    finally:
        if not has_jobs:
            shutil.rmtree(folder, ignore_errors=True)
