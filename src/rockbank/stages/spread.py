"""Stages whose independent parts are tasks of an executor: slices of scans, batches of crops, generators."""

from __future__ import annotations

import _thread
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from rockbank.core.errors import InputError, UserError
from rockbank.core.paths import CHECKPOINTS, DATA, PIPELINE, ProjectPaths
from rockbank.core.terminal import progress, terminal
from rockbank.data.cutting import SliceCrops, crops_of_slice
from rockbank.data.manifest import load_manifest
from rockbank.data.stored import Volume, open_volumes
from rockbank.executors.choose import open_executor
from rockbank.executors.interface import Executor, Setup, Task, Worker
from rockbank.metrics.features import Extractor, features
from rockbank.metrics.score import choose_real
from rockbank.params import Params, ScoreParams
from rockbank.rock.crops import CropSet, load_crops, to_intensity
from rockbank.stages.data import prepare
from rockbank.stages.embed import FILES, embed, extractors
from rockbank.stages.export import export
from rockbank.stages.score import score
from rockbank.stages.train import train

# Of one generator, in the order in which one needs another.
GENERATOR_STAGES = ("train", "score", "export")
# In the project's folder: what an executor of several machines keeps there meanwhile.
EXECUTOR_FOLDER = CHECKPOINTS / "executor"
# Held by the command that works on the project.
LOCK = CHECKPOINTS / "stage.lock"
# Of one task: slices to read, and batches of crops to embed. Other batches than those of a single process would change
# the last bits of features.
N_SLICES, N_CROPS = 32, 8 * 32
# Where a worker finds the store of runs.
_STORE = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_POLL_SECONDS = 1.0


class GeneratorsFailed(UserError, RuntimeError):
    """Stages of some generators failed, while those of the others were done."""


class Project:
    """A project's folder, in a process that does tasks of it; the process is in that folder from then on."""

    def __init__(self, folder: Path, params: Params, paths: ProjectPaths, store: Mapping[str, str]) -> None:
        os.chdir(folder)
        os.environ.update(store)
        torch.set_num_threads(1)
        # Bars of several processes would be one over the other.
        terminal.quiet = True
        self.params, self.paths, self._files = params, paths, ExitStack()

    @cached_property
    def volumes(self) -> Mapping[str, Volume]:
        """Of data/, open until the process ends."""
        return self._files.enter_context(open_volumes(DATA, load_manifest(DATA)))

    @cached_property
    def extractors(self) -> Mapping[str, Extractor]:
        """Of the scores, by name."""
        return {each.name: each for each in extractors(self.params.score) if each is not None}

    def run(self, stage: str, generator: str) -> None:
        """A stage of one generator."""
        if stage == "train":
            train(generator, self.params.generator(generator), self.params.score, self.paths)
        elif stage == "score":
            score(generator, self.params.score, self.paths)
        else:
            export(generator, self.paths)


@contextmanager
def project_executor(
    name: str, workers: int | None, params: Params, paths: ProjectPaths = PIPELINE
) -> Iterator[Executor]:
    """An executor whose processes work in this one's folder, which the machines of a cluster have to share.

    Raises:
        InputError: another name, or what that executor needs is not there; or another command works on the project.
    """
    store = {key: os.environ[key] for key in _STORE if key in os.environ}
    arguments = {"folder": Path.cwd(), "params": params, "paths": paths, "store": store}
    setup = Setup(make=Project, arguments=arguments)
    with _held(), open_executor(name, setup, workers, EXECUTOR_FOLDER) as executor:
        yield executor


@contextmanager
def _held() -> Iterator[None]:
    """No other command does stages of the project meanwhile; the system lets go of it however this one ends."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{LOCK.absolute()}: another 'rockbank stage' works on this project; wait for it, or stop it"
            ) from error
        yield


def spread_prepare(executor: Executor, params: Params, paths: ProjectPaths = PIPELINE) -> None:
    """As stages.data.prepare, with the slices read by tasks."""

    def crops_of(wanted: Sequence[SliceCrops]) -> Iterator[UInt8[np.ndarray, "n size size"]]:
        parts = [wanted[i : i + N_SLICES] for i in range(0, len(wanted), N_SLICES)]
        for of_part in _results(executor, "reading slices", "slices", _cut, parts):
            yield from of_part

    prepare(params.prepare, paths, crops_of)


def spread_embed(executor: Executor, families: Sequence[str], params: Params, paths: ProjectPaths = PIPELINE) -> None:
    """As stages.embed.embed of each family, with the crops embedded by tasks."""
    for family in families:

        def features_of(
            crop_set: CropSet, extractor: Extractor, score: ScoreParams, family: str = family
        ) -> dict[str, Float[Tensor, "n d"]]:
            chosen = choose_real(len(crop_set.train), len(crop_set.test), score.n_large, score.seed)
            found = {}
            for name in FILES:
                of = chosen[name]
                parts = [(family, name, extractor.name, of[i : i + N_CROPS]) for i in range(0, len(of), N_CROPS)]
                key = f"{family}-{name}-{extractor.name.partition('/')[0]}"
                embedded = _results(executor, f"embedding {name} crops", key, _embed, parts)
                found[name] = torch.from_numpy(np.concatenate(embedded))
            return found

        embed(family, params.score, paths, features_of)


def spread_generators(executor: Executor, stages: Sequence[str], generators: Sequence[str]) -> None:
    """Stages of each generator, one after another; those of different generators side by side.

    A task whose worker dies is called again, and a training goes on from its checkpoint.

    Raises:
        GeneratorsFailed: naming those that failed, each with the reason, when the others are done.
        WorkerLost: a process of this machine died.
        Exception: what else a stage raised, at once.
    """
    following = dict(zip(stages, [*stages[1:], None], strict=True))
    wanted = {f"{stage}-{name}": (stage, name) for stage in stages for name in generators}
    failed: dict[str, str] = {}

    def submit(stage: str, names: Sequence[str]) -> None:
        keys = [f"{stage}-{name}" for name in names]
        executor.submit([Task(key=key, function=_run, argument=wanted[key]) for key in keys])

    submit(stages[0], generators)
    with progress(", ".join(stages), len(wanted)) as advance:
        for outcome in executor.results(lambda _: None):
            stage, name = wanted[outcome.key]
            reason = outcome.value if outcome.lost is None else f"{type(outcome.lost).__name__}: {outcome.lost}"
            if reason is not None:
                failed[name] = f"{name}: {stage} failed: {reason}"
                advance(len(stages) - stages.index(stage), f"{name} failed")
                continue
            advance(1, f"{stage} of {name} is done")
            if (then := following[stage]) is not None:
                submit(then, [name])
    if failed:
        raise GeneratorsFailed("\n".join(failed[name] for name in generators if name in failed))


def _results(
    executor: Executor, what: str, key: str, function: Callable[[Any, Any], Any], arguments: Sequence[Any]
) -> list[Any]:
    """function(worker, argument) of each, in their order."""
    keys = [f"{key}-{i}" for i in range(len(arguments))]
    executor.submit([Task(key=each, function=function, argument=of) for each, of in zip(keys, arguments, strict=True)])
    found = {}
    with progress(what, len(keys)) as advance:
        for outcome in executor.results(lambda _: None):
            if outcome.lost is not None:
                raise outcome.lost
            found[outcome.key] = outcome.value
            advance(1)
    return [found[each] for each in keys]


def _cut(worker: Worker, wanted: Sequence[SliceCrops]) -> list[UInt8[np.ndarray, "n size size"]]:
    return [crops_of_slice(worker.context.volumes, each) for each in wanted]


def _embed(worker: Worker, wanted: tuple[str, str, str, Int[np.ndarray, " n"]]) -> Float32[np.ndarray, "n d"]:
    family, name, extractor, chosen = wanted
    crop_set = load_crops(worker.context.paths.crops(family))
    crops = crop_set.train if name == "training" else crop_set.test
    values: np.ndarray = features(to_intensity(crops[chosen]), worker.context.extractors[extractor]).numpy()
    return values


def _run(worker: Worker, wanted: tuple[str, str]) -> str | None:
    """Why the stage failed; None where it did not. What a user can mend of one generator does not end the others."""
    stage, generator = wanted
    try:
        with _interrupted_when_stopped(worker):
            worker.context.run(stage, generator)
    except KeyboardInterrupt:
        return "stopped; the same command goes on with it"
    except (UserError, OSError) as error:
        return str(error)
    return None


@contextmanager
def _interrupted_when_stopped(worker: Worker) -> Iterator[None]:
    """A stage hears no more of Ctrl-C than this: a training would go on for hours."""
    is_over = threading.Event()
    # A process that a script began in the background ignores SIGINT, and the interruption with it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def watch() -> None:
        while not is_over.wait(_POLL_SECONDS):
            if worker.is_stopped():
                _thread.interrupt_main()
                return

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()
        if before is not None:
            signal.signal(signal.SIGINT, before)
