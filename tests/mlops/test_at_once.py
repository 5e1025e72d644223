"""Processes that write one sqlite store at once lose nothing and register nothing twice."""

from collections.abc import Callable
from pathlib import Path

import mlflow

from rockbank.mlops import registry, tracking
from tests.mlops.writer import N_RECORDS, begin, log_data, log_steps, push
from tests.mlops.writers import at_once

Make = Callable[..., Path]
N_WRITERS = 8


def test_eight_writers_of_one_sqlite_file_lose_no_record(store: Path) -> None:
    with tracking.start("shale", "parent", {}) as run:
        made = at_once(log_steps, N_WRITERS, run.run_id)
    assert len(set(made)) == N_WRITERS
    for run_id in made:
        history = mlflow.MlflowClient().get_metric_history(run_id, "misfit")
        i = int(str(mlflow.MlflowClient().get_run(run_id).info.run_name).split()[1])
        assert sorted(each.value for each in history) == [100 * i + step for step in range(N_RECORDS)]


def test_the_first_runs_of_a_new_experiment_may_begin_at_once(store: Path) -> None:
    for i in range(3):
        family = f"family {i}"
        made = at_once(begin, N_WRITERS, family)
        (experiment,) = mlflow.MlflowClient().search_experiments(filter_string=f"name = '{family}'")
        runs = mlflow.MlflowClient().search_runs([experiment.experiment_id])
        assert {run.info.run_id for run in runs} == set(made)


def test_runs_that_train_on_the_same_new_data_may_say_so_at_once(store: Path) -> None:
    made = at_once(log_data, N_WRITERS, "shale")
    used = [mlflow.MlflowClient().get_run(run_id).inputs.dataset_inputs for run_id in made]
    assert [sorted(each.dataset.name for each in of_run) for of_run in used] == [
        [f"crops {i}" for i in range(N_RECORDS)]
    ] * N_WRITERS


def test_two_that_register_at_once_have_a_version_each_and_the_same_files_have_one(
    store: Path, generator_folder: Make
) -> None:
    one, other = str(generator_folder(kid=0.2)), str(generator_folder(kid=0.1))
    made = at_once(push, 3, "shale", one, other, one)
    versions = registry.versions("shale")
    assert len(versions) == len(set(made)) == 2
    assert {each.version for each in versions} == set(made)
    assert {each.tags["kid"] for each in versions} == {"0.2", "0.1"}
