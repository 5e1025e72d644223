"""A match that is killed or stopped goes on to the same bits."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import Run
from rockbank.workflows import match
from rockbank.workflows.match_request import MatchRequest
from tests.matching.tiny import checkpoints
from tests.warm import Process, environment
from tests.workflows.mlflow_runs import children

# What `rockbank` is when it is installed; what a shell runs in the background ignores Ctrl-C, and so would this.
COMMAND = """
import signal
from rockbank.cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)
main()
"""
pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.slow]


def resume(run: Path) -> Process:
    """`rockbank match resume` on two workers, in a group of processes of its own."""
    return Process(["-c", COMMAND, "match", "resume", str(run), "--workers", "2"], Path.cwd(), environment())


def wait_for(is_so: Callable[[], bool], process: Process) -> None:
    while not is_so():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


LONG = MatchRequest(method="adam", iterations=12, name="killed")


@pytest.fixture
def begun(case: Path) -> Path:
    """A run of Adam, long enough to be killed in its midst."""
    return match.begin(case, LONG)


@pytest.mark.parametrize(
    ("asked", "n_kills"),
    [(LONG, 2), (MatchRequest(method="es-mda", iterations=6, members=20, name="killed"), 1)],
    ids=["members", "an ensemble"],
)
def test_a_match_killed_at_any_moment_goes_on_to_the_same_bits(case: Path, asked: MatchRequest, n_kills: int) -> None:
    begun, whole = (match.begin(case, replace(asked, name=name)) for name in ("killed", "whole"))
    match.go_on(whole, 1)
    for _ in range(n_kills):
        before = checkpoints(begun)
        process = resume(begun)
        wait_for(lambda before=before: checkpoints(begun) != before, process)  # type: ignore[misc]
        time.sleep(0.1)
        process.kill()
        # Its two processes hold the same streams, which are at their ends once all have ended.
        process.communicate(timeout=120)
    assert any(state is None or state.status == "running" for state in Run(begun).states())
    match.go_on(begun, 2)
    assert checkpoints(begun) == checkpoints(whole)
    assert read_posterior(begun).identical(read_posterior(whole))
    n_members = Run(begun).settings.members
    assert len(children(json.loads((begun / "mlflow.json").read_text())["run_id"])) == n_members


def test_ctrl_c_ends_a_match_cleanly_and_says_how_to_go_on(case: Path, begun: Path) -> None:
    process = resume(begun)
    wait_for(lambda: len(checkpoints(begun)) >= 2, process)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "'rockbank match resume matches/killed' goes on" in err
    assert "Traceback" not in err
    assert any(state is None or state.status == "running" for state in Run(begun).states())
    whole = match.begin(case, replace(LONG, name="whole"))
    for folder in (begun, whole):
        match.go_on(folder, 2)
    assert checkpoints(begun) == checkpoints(whole)
