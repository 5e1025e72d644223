"""Samples of a pulled generator by the tasks of an executor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.core.terminal import progress
from rockbank.executors.interface import Executor, Setup, Task, Worker
from rockbank.generator.card import ModelCard

# Of one task: a multiple of the sampler's batch.
N_OF_TASK = 256


def setup_of(folder: Path) -> Setup:
    """What the tasks of `spread` need: the generator in `folder`."""
    return Setup(make=_sampler, arguments={"folder": folder})


def spread(executor: Executor, seed: int, n: int, truncation: float | None) -> Iterator[Float32[np.ndarray, "b c h w"]]:
    """The samples that one session gives of a seed, to the bit, in their order; the parts as they come.

    Raises:
        WorkerLost: one of the tasks is lost.
    """
    begins = range(0, n, N_OF_TASK)
    parts = [(seed, begin, min(begin + N_OF_TASK, n), truncation) for begin in begins]
    executor.submit([Task(key=str(part[1]), function=_sample, argument=part) for part in parts])
    samples, due = {}, iter(begins)
    begin = next(due)
    with progress("sampling", len(parts)) as advance:
        for outcome in executor.results(lambda _: None):
            if outcome.lost is not None:
                raise outcome.lost
            samples[outcome.key] = outcome.value
            advance(1)
            while str(begin) in samples:
                yield samples.pop(str(begin))
                begin = next(due, n)


def _sampler(folder: Path) -> Any:
    from rockbank.generator.sampler import Sampler

    return Sampler(folder, ModelCard.load(folder), threads=1)


def _sample(worker: Worker, part: tuple[int, int, int, float | None]) -> Float32[np.ndarray, "n c h w"]:
    seed, begin, end, truncation = part
    return np.concatenate(list(worker.context.batches(seed, end, truncation, begin=begin)))
