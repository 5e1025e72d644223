"""Checkpoints: read as they were written, by this version and by earlier ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from rockbank.matching.methods.gauss_newton.search_state import SearchState
from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import (
    MAX_ITERATIONS_REACHED,
    NOISE_LEVEL_REACHED,
    current_status,
    status_in_words,
)
from rockbank.matching.problem.cost import Cost


@pytest.mark.parametrize(
    ("saved", "now"),
    [("spent", MAX_ITERATIONS_REACHED), ("floor", NOISE_LEVEL_REACHED), ("converged", "converged")],
)
def test_a_checkpoint_of_the_first_version_is_read_under_todays_names(tmp_path: Path, saved: str, now: str) -> None:
    path = tmp_path / "0000.npz"
    memory = {"memory_fraction": 0.5, "memory_n_slow": 1.0, "memory_tolerance": 1e-3, "memory_i_start": 2.0}
    np.savez(
        path,
        z=np.ones((1, 3)),
        parts=np.arange(5.0)[None],
        # forward, gradients, jacobians, passes and reduced
        cost=np.array([[7, 0, 2, 5, 1]]),
        about=np.array(json.dumps({"status": saved, "reason": "because"})),
        **memory,
        memory_basis=np.eye(3),
    )
    state = State.load(path)
    assert (state.status, state.reason) == (now, "because")
    assert state.last.cost == Cost(forward=7, jacobians=2, generator_evaluations=5, reduced=1)
    search = SearchState.of(state)
    assert (search.fraction, search.n_slow, search.tolerance, search.i_start) == (0.5, 1, 1e-3, 2)
    assert search.arrays().keys() == state.memory.keys()


def test_statuses_are_said_in_words() -> None:
    assert status_in_words(current_status("spent")) == "reached its iteration limit"
    assert status_in_words(MAX_ITERATIONS_REACHED, 3) == "reached their iteration limit"
    assert status_in_words("a_word_of_its_own") == "a word of its own"
