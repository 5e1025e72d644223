"""Processes that write one sqlite store at once lose nothing and register nothing twice."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import mlflow

from rockbank.mlops import registry, store, tracking

Make = Callable[..., Path]
N_WRITERS, N_RECORDS = 8, 6


def at_once(work: Callable[..., Any], n: int, *arguments: object) -> list[Any]:
    """What `work(i, start, *arguments)` returns in each of `n` processes that wait for each other at `start`."""
    context = multiprocessing.get_context("fork")
    start, results = context.Barrier(n), context.Queue()
    uri = mlflow.get_tracking_uri()
    writers = [context.Process(target=_run, args=(uri, work, i, start, results, arguments)) for i in range(n)]
    for writer in writers:
        writer.start()
    found = [results.get(timeout=300) for _ in writers]
    for writer in writers:
        writer.join()
    return found


def _run(
    uri: str, work: Callable[..., Any], i: int, start: Barrier, results: "Queue[Any]", arguments: tuple[Any, ...]
) -> None:
    store.connect(uri)
    try:
        results.put(work(i, start, *arguments))
    except Exception as error:
        results.put(f"{type(error).__name__}: {error}")


def _log(i: int, start: Barrier, parent: str) -> str:
    start.wait()
    run = tracking.Run(parent).child(f"member {i}")
    for step in range(N_RECORDS):
        run.log(step, {"misfit": float(100 * i + step)})
    run.end()
    return run.run_id


def test_eight_writers_of_one_sqlite_file_lose_no_record(store: Path) -> None:
    with tracking.start("shale", "parent", {}) as run:
        made = at_once(_log, N_WRITERS, run.run_id)
    assert len(set(made)) == N_WRITERS
    for run_id in made:
        history = mlflow.MlflowClient().get_metric_history(run_id, "misfit")
        i = int(str(mlflow.MlflowClient().get_run(run_id).info.run_name).split()[1])
        assert sorted(each.value for each in history) == [100 * i + step for step in range(N_RECORDS)]


def _register(i: int, start: Barrier, folders: list[Path]) -> str:
    start.wait()
    return registry.push("shale", folders[i]).version


def test_two_that_register_at_once_have_a_version_each_and_the_same_files_have_one(
    store: Path, generator_folder: Make
) -> None:
    one, other = generator_folder(kid=0.2), generator_folder(kid=0.1)
    made = at_once(_register, 3, [one, other, one])
    versions = registry.versions("shale")
    assert len(versions) == len(set(made)) == 2
    assert {each.version for each in versions} == set(made)
    assert {each.tags["kid"] for each in versions} == {"0.2", "0.1"}
