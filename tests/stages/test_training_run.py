"""The MLflow run of weights is the one that trained them here, or one made from what travelled with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from rockbank.core.files import read_json, sha256, write_json
from rockbank.core.paths import ProjectPaths
from rockbank.generator.card import WEIGHTS
from rockbank.mlops import registry, tracking
from rockbank.mlops.gate import REMEDY
from rockbank.stages.register import NonePassed, register
from rockbank.stages.training_run import find_or_make_run, find_run, log_scores, samples_file
from tests.pulled import STEPS, TIMES, write_pulled

PATHS = ProjectPaths()


def test_a_run_is_made_once_with_the_steps_and_times_of_the_training(
    store: Path, generator_folder: Callable[..., Path]
) -> None:
    write_pulled("tiny", generator_folder())
    assert find_run("tiny", PATHS) is None
    run = find_or_make_run("tiny", PATHS)
    assert find_or_make_run("tiny", PATHS) == find_run("tiny", PATHS) == run

    client = mlflow.MlflowClient()
    seen = client.get_run(run.run_id)
    assert seen.info.status == "FINISHED"
    assert (seen.info.start_time, seen.info.end_time) == (round(1000 * TIMES[0]), round(1000 * TIMES[-1]))
    assert seen.data.params == {"batch": "4"}
    tags = {"pulled": "true", "git_commit": "abc", "best_step": "3", "mlflow.note.content": "as it was written"}
    assert tags.items() <= seen.data.tags.items()
    history = client.get_metric_history(run.run_id, "generator_loss")
    logged = sorted((each.step, each.value, each.timestamp / 1000) for each in history)
    assert logged == list(zip(STEPS, [3.0, 2.0, 1.0], TIMES, strict=True))
    assert [each.step for each in client.get_metric_history(run.run_id, "kid")] == [2, 3]
    # Of each grid the picture and its thumbnail.
    assert len(client.list_artifacts(run.run_id, "images")) == 4
    (data,) = seen.inputs.dataset_inputs
    assert data.dataset.digest == "0" * 32


def test_a_run_that_trained_here_is_found_by_its_weights(store: Path, generator_folder: Callable[..., Path]) -> None:
    write_pulled("tiny", generator_folder())
    with tracking.start("shale", "tiny", {}) as run:
        run.has_weights(sha256(PATHS.train("tiny") / WEIGHTS))
    with tracking.start("shale", "another", {}) as another:
        another.has_weights("0" * 64)
    assert find_or_make_run("tiny", PATHS) == run
    assert "pulled" not in run.tags()


def test_half_a_record_is_not_taken_for_the_run(store: Path, generator_folder: Callable[..., Path]) -> None:
    write_pulled("tiny", generator_folder())
    samples_file(PATHS.train("tiny"), 3).write_bytes(b"no picture")
    with pytest.raises(OSError, match="cannot identify"):
        find_or_make_run("tiny", PATHS)
    assert find_run("tiny", PATHS) is None
    assert mlflow.search_runs(experiment_names=["shale"]).empty


def test_scores_and_pictures_are_added_once_and_again_where_they_are_others(
    store: Path, generator_folder: Callable[..., Path]
) -> None:
    write_pulled("tiny", generator_folder(kid=0.1))
    run, client = find_or_make_run("tiny", PATHS), mlflow.MlflowClient()
    for _ in range(2):
        log_scores(run, "tiny", PATHS)
    assert [each.value for each in client.get_metric_history(run.run_id, "final/kid")] == [0.1]
    artifacts = {file.path for file in client.list_artifacts(run.run_id)}
    assert {"s2.png", "training.png", "scores.json"} <= artifacts
    scores = read_json(PATHS.scores("tiny"))
    scores["large"]["kid"] = 0.2
    write_json(PATHS.scores("tiny"), scores)
    log_scores(run, "tiny", PATHS)
    assert [each.value for each in client.get_metric_history(run.run_id, "final/kid")] == [0.1, 0.2]
    assert run.tags()["mlflow.note.content"].endswith("as it was written")


def test_one_that_was_refused_has_its_run_and_does_not_stop_the_others(
    store: Path, generator_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_pulled("good", generator_folder(kid=0.1))
    write_pulled("bad", generator_folder(kid=0.2, passed=False))
    path = PATHS.verdict("shale", "bad")
    reasons = [
        f"fid 163.3 > 65 (params.yaml: gate.shale.fid_max); {REMEDY}",
        f"diversity 0.6282 < 0.85 (params.yaml: gate.shale.diversity_min); {REMEDY}",
        "memorisation is nan: it could not be measured; look at the scores and score again",
        f"kid 0.2 against 0.1 of the champion, version 3; a relative gain of at least 0.05 is required; {REMEDY}",
    ]
    write_json(path, read_json(path) | {"reasons": reasons})
    register("shale", ["good", "bad", "not made yet"], PATHS)
    assert (
        "refused bad: fid 163.3 > 65, diversity 0.6282 < 0.85, memorisation is nan: it could not be measured, "
        "kid 0.2 against 0.1 of the champion, version 3; artifacts/gate/shale/bad.json has what to do\n"
    ) in capsys.readouterr().err
    (entry,) = registry.versions("shale")
    assert (entry.tags["kid"], entry.aliases) == ("0.1", ("candidate",))
    runs = {name: find_run(name, PATHS) for name in ("good", "bad")}
    assert runs["good"] is not None
    assert runs["bad"] is not None
    assert entry.run_id == runs["good"].run_id
    assert runs["bad"].last_step("final/kid") == 0


def test_where_none_passed_every_missed_limit_is_named(store: Path, generator_folder: Callable[..., Path]) -> None:
    write_pulled("bad", generator_folder(passed=False))
    with pytest.raises(
        NonePassed, match=r"refused bad: kid is too large; artifacts/gate/shale/bad\.json has what to do"
    ):
        register("shale", ["bad"], PATHS)
    with pytest.raises(NonePassed, match="no generator of 'shale' has a verdict; run 'dvc pull'"):
        register("shale", ["another"], PATHS)


def test_a_verdict_of_a_generator_that_is_not_listed_is_left_out(
    store: Path, generator_folder: Callable[..., Path]
) -> None:
    write_pulled("listed", generator_folder(kid=0.2))
    # The better one, and passed: it was in params.yaml when it was judged.
    write_pulled("removed", generator_folder(kid=0.1))
    register("shale", ["listed"], PATHS)
    (entry,) = registry.versions("shale")
    listed = find_run("listed", PATHS)
    assert listed is not None
    assert (entry.run_id, entry.tags["kid"], entry.aliases) == (listed.run_id, "0.2", ("candidate",))
    assert find_run("removed", PATHS) is None
    # It is there to be taken, had it been listed.
    register("shale", ["listed", "removed"], PATHS)
    assert {each.tags["kid"] for each in registry.versions("shale")} == {"0.1", "0.2"}
