"""Samples that tasks make are those of one session, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.core.errors import InputError
from rockbank.executors.choose import open_executor
from rockbank.executors.local import local_executor
from rockbank.generator.card import ModelCard
from rockbank.generator.conditional import parse_condition
from rockbank.generator.sampler import Sampler
from rockbank.workflows import sample, sample_tasks


@pytest.mark.slow
@pytest.mark.parametrize("endless", [False, True])
def test_tasks_give_the_samples_of_one_session(
    endless: bool, generator_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_tasks, "N_OF_TASK", 32)
    folder = generator_folder(endless=endless)
    with local_executor(sample_tasks.setup_of(folder), 1) as executor:
        spread = np.concatenate(list(sample_tasks.spread(executor, 7, 70, 0.9)))
    whole = Sampler(folder, ModelCard.load(folder)).sample(7, 70, 0.9)
    assert spread.tobytes() == np.ascontiguousarray(whole).tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("endless", [False, True])
def test_tasks_on_a_ray_cluster_give_the_samples_of_one_session(
    ray_cluster: Any, endless: bool, tmp_path: Path, generator_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(sample_tasks, "N_OF_TASK", 32)
    folder = generator_folder(endless=endless)
    with open_executor("ray", sample_tasks.setup_of(folder), 2, tmp_path / "messages") as executor:
        spread = np.concatenate(list(sample_tasks.spread(executor, 7, 70, 0.9)))
    whole = Sampler(folder, ModelCard.load(folder), threads=1).sample(7, 70, 0.9)
    assert spread.tobytes() == np.ascontiguousarray(whole).tobytes()


def test_a_condition_is_not_spread(tmp_path: Path) -> None:
    condition = parse_condition("porosity", "0.1")
    with pytest.raises(InputError, match="looked for one batch after another"):
        sample.sample_here("shale@champion", tmp_path / "a.npy", 4, 7, None, condition, "ray", 2)
