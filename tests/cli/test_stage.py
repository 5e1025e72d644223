"""`rockbank stage`: what it refuses before it begins, and what it says of what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from rockbank.cli import stage
from rockbank.stages import spread
from tests.cli.commands import said

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command_knows_the_stages_of_generators() -> None:
    assert stage._OF_GENERATORS == spread.GENERATOR_STAGES


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["register"], "STAGES: got 'register'; use prepare, embed, or some of train,score,export"),
        (["prepare,embed"], "STAGES: got 'prepare,embed'; use prepare, embed, or some of"),
        (["train,export"], "the card has the scores, so that export comes after score: name it too"),
        (["prepare", "shale"], "NAME: got ['shale']; prepare is of all volumes, leave the names out"),
        (["train", "shale-dcgan", "shale-dcgam"], "NAME: no generator 'shale-dcgam' in params.yaml; known are"),
        (["embed", "sandstone"], "NAME: no family 'sandstone' in params.yaml; known are ['channels', 'shale']"),
        (["train", "--executor", "dask"], "executor: got 'dask'; known are"),
    ],
)
def test_what_cannot_be_done_is_refused(
    arguments: list[str], says: str, project: Path, fails: Callable[..., str]
) -> None:
    assert says in fails("stage", *arguments)


def test_outside_of_a_project_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Callable[..., str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run from the project's root" in fails("stage", "prepare")


@pytest.fixture
def asked(project: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What an executor was opened for, and what was to be done on it."""
    seen: list[object] = []

    @contextmanager
    def opened(name: str, workers: int | None, *_: object) -> Iterator[str]:
        seen.append((name, workers))
        yield name

    def generators(_: str, stages: Sequence[str], names: Sequence[str]) -> None:
        seen.append((tuple(stages), list(names)))
        if "shale-wgan-gp" in names:
            raise spread.GeneratorsFailed("shale-wgan-gp: train failed: it diverged\nshale-dcgan: score failed: absent")

    monkeypatch.setattr(spread, "project_executor", opened)
    monkeypatch.setattr(spread, "spread_generators", generators)
    return seen


def test_stages_are_done_in_their_order_and_what_is_next_is_said(asked: list[object]) -> None:
    printed = said("stage", "export,score", "shale-dcgan", "channels-wgan-lp", "shale-dcgan")
    assert asked == [("local", None), (("score", "export"), ["shale-dcgan", "channels-wgan-lp"])]
    targets = "score@shale-dcgan score@channels-wgan-lp export@shale-dcgan export@channels-wgan-lp"
    assert f"dvc commit -f {targets}\n" in printed


def test_without_names_they_are_of_all_generators_and_each_failure_is_a_line(
    asked: list[object], fails: Callable[..., str]
) -> None:
    printed = fails("stage", "train", "--workers", "3")
    assert printed.splitlines() == [
        "error shale-wgan-gp: train failed: it diverged",
        "error shale-dcgan: score failed: absent",
    ]
    generators = list(yaml.safe_load((ROOT / "params.yaml").read_text())["generators"])
    assert asked == [("local", 3), (("train",), generators)]


def test_of_a_challenger_no_stage_is_to_be_committed(asked: list[object]) -> None:
    (challenger,) = yaml.safe_load((ROOT / "params.yaml").read_text())["challengers"]
    assert said("stage", "train", challenger) == ""
