"""Each executor gives each result once, the same as a plain call, whatever dies on the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from executor_tasks import fail, run, setup

from benchmarks.executors import NODE
from rockbank.core.errors import InputError
from rockbank.executors import choose, on_slurm
from rockbank.executors.choose import check_executor, open_executor
from rockbank.executors.interface import Executor, Task
from rockbank.executors.local import local_executor
from rockbank.executors.mailbox import Mailbox
from rockbank.executors.on_slurm import JOBS
from rockbank.matching.methods.status import RUNNING
from rockbank.matching.methods.workers import EXECUTOR_FOLDER
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import Run
from rockbank.workflows import match
from rockbank.workflows.match_request import MatchRequest
from tests.executors.ray_processes import ray_tasks
from tests.matching.quick import pool_here, rough_pictures
from tests.matching.tiny import checkpoints, register, write_case
from tests.started import started
from tests.warm import commands
from tests.workflows.mlflow_runs import children

# What `rockbank` is when it is installed.
COMMAND = (sys.executable, "-c", "from rockbank.cli.main import main; main()")
NAMES = dict.fromkeys("abcde", "never")


def test_the_default_imports_neither_ray_nor_submitit() -> None:
    code = "import sys, rockbank.executors.choose; print({'ray', 'submitit'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


@pytest.mark.parametrize(
    ("name", "absent", "says"),
    [
        ("dask", "", r"executor: got 'dask'; known are \['local', 'ray', 'slurm'\]"),
        ("ray", "ray", r"'ray' needs ray, which is not installed; pip install 'rockbank\[ray\]'"),
        ("slurm", "submitit", r"'slurm' needs submitit, which is not installed; pip install 'rockbank\[slurm\]'"),
    ],
)
def test_what_an_executor_lacks_is_named(name: str, absent: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = choose.importlib.util.find_spec
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda asked: None if asked == absent else find(asked))
    with pytest.raises(InputError, match=says):
        check_executor(name, 2)


def test_slurm_has_to_know_how_many_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/sbatch")
    with pytest.raises(InputError, match="how many jobs may run at a time"):
        check_executor("slurm", None)


def test_messages_come_once_in_their_order_and_results_stay(tmp_path: Path) -> None:
    mailbox = Mailbox(tmp_path)
    for i in range(3):
        mailbox.put(i)
    assert list(mailbox.take()) == [0, 1, 2]
    assert list(mailbox.take()) == []
    assert not mailbox.has_result("a")
    mailbox.put_result("a", 1)
    assert mailbox.has_result("a")
    assert mailbox.result("a") == 1
    assert not mailbox.is_stopped()
    mailbox.stop()
    assert Mailbox(tmp_path).is_stopped()


def opened(name: str, folder: Path) -> AbstractContextManager[Executor]:
    """Two tasks at a time."""
    if name == "local":
        return local_executor(setup(folder), 2)
    if name in ("ray", "slurm"):
        return open_executor(name, setup(folder), 2, folder / "executor")
    from rockbank.executors.on_slurm import slurm_executor

    return slurm_executor(setup(folder), 2, folder / "executor" / "one", cluster="local")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["local", "ray", "submitit", "slurm"])
def test_results_come_once_and_a_task_goes_on_from_its_checkpoint(
    name: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.1)
    if name == "slurm":
        monkeypatch.setattr(sys, "executable", str(commands() / "python"))
    if name in ("ray", "slurm"):
        request.getfixturevalue(f"{name}_cluster")
    # A process that dies ends the local executor; tests/matching/methods/test_workers.py has that.
    dies = {} if name == "local" else {"once": "once", "always": "always"}
    with opened(name, tmp_path) as executor:
        values, messages, lost = run(executor, NAMES | dies)
        executor.submit([Task(key="fails", function=fail, argument="not a number")])
        with pytest.raises(ValueError, match="not a number"):
            list(executor.results(lambda _: None))
    ends = dict.fromkeys(NAMES | ({"once": "once"} if dies else {}))
    assert values == {each: (each, 16, "1") for each in ends}
    assert {each for each, n in messages if n == 4} == set(ends)
    assert [n for each, n in messages if each == "a"] == [1, 2, 3, 4]
    if dies:
        assert set(lost) == {"always"}
        assert "died 4 times" in str(lost["always"])
        # Its first number was not counted again by the process after the one that was killed.
        assert len(list(tmp_path.glob("once.0.*"))) == 1
        assert len(list(tmp_path.glob("once.1.*"))) == 2


@pytest.fixture
def kill_second_node(ray_cluster: Any) -> Iterator[Callable[[], None]]:
    """Kills a cluster's second node at once; a test later another takes its place."""
    cluster, _ = ray_cluster
    (second,) = cluster.worker_nodes
    yield lambda: cluster.remove_node(second, allow_graceful=False)
    cluster.add_node(**NODE)


@pytest.mark.slow
def test_a_match_whose_command_is_killed_and_then_a_node_ends_by_the_same_command_with_the_bits_of_local(
    ray_cluster: Any, kill_second_node: Callable[[], None], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(store / "generator")
    case = write_case(store)
    monkeypatch.setattr(match, "pool", pool_here)
    request = MatchRequest(method="adam", iterations=12, name="killed")
    killed, whole = (match.begin(case, replace(request, name=name)) for name in ("killed", "whole"))
    command = [*COMMAND, "match", "resume", str(killed), "--executor", "ray", "--workers", "2"]
    environment = {**os.environ, "RAY_ADDRESS": ray_cluster[0].address}
    before = ray_tasks()
    with started(command, env=environment, stderr=subprocess.DEVNULL) as driver:
        while len(checkpoints(killed)) < 2:
            assert driver.poll() is None
            time.sleep(0.02)
        at_work = ray_tasks() - before
        driver.kill()
    assert at_work
    assert any(state is None or state.status == RUNNING for state in Run(killed).states())
    reached = checkpoints(killed)
    with rough_pictures():
        with started(command, env=environment, stderr=subprocess.DEVNULL) as driver:
            while checkpoints(killed) == reached:
                assert driver.poll() is None
                time.sleep(0.02)
            kill_second_node()
            assert any(state is None or state.status == RUNNING for state in Run(killed).states())
            assert driver.wait() == 0
        match.go_on(whole, 1)
    assert not at_work & ray_tasks()
    assert checkpoints(killed) == checkpoints(whole)
    assert read_posterior(killed).identical(read_posterior(whole))
    recorded = children(json.loads((killed / "mlflow.json").read_text())["run_id"])
    assert len(recorded) == Run(killed).settings.members
    assert not (killed / EXECUTOR_FOLDER).exists()


@pytest.mark.slow
def test_tasks_of_a_node_that_is_killed_go_on_elsewhere(kill_second_node: Callable[[], None], tmp_path: Path) -> None:
    names = dict.fromkeys("abcd", "never")
    with opened("ray", tmp_path) as executor:
        executor.submit([])
        seen = []
        take = Mailbox.take

        def kill_then(mailbox: Mailbox) -> Iterator[Any]:
            for message in take(mailbox):
                seen.append(message)
                if len(seen) == 10:
                    kill_second_node()
                yield message

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Mailbox, "take", kill_then)
            values, _, lost = run(executor, names, n=40)
    assert len(seen) >= 10
    assert values == {each: (each, 1600, "1") for each in names}
    assert not lost


# What a command does that is killed: the tasks go on in jobs of Slurm.
DRIVER = """
import sys
from pathlib import Path
from executor_tasks import run, setup
from rockbank.executors.choose import open_executor
folder = Path(sys.argv[1])
with open_executor("slurm", setup(folder), 2, folder / "executor") as executor:
    run(executor, {"a": "never"}, n=1000)
"""


@pytest.mark.slow
@pytest.mark.parametrize("successor", ["slurm", "local"])
def test_jobs_of_a_command_that_was_killed_end_before_its_successor_begins(
    successor: str, slurm_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_slurm, "POLL_SECONDS", 0.1)
    with started([sys.executable, "-c", DRIVER, str(tmp_path)]) as driver:
        while not list(tmp_path.glob("a.1.*")):
            time.sleep(0.05)
            assert driver.poll() is None
        driver.kill()
    assert on_slurm.alive_in_slurm()
    (pid,) = {path.suffix[1:] for path in tmp_path.glob("a.*.*")}
    with open_executor(successor, setup(tmp_path), 2, tmp_path / "executor") as executor:
        assert not on_slurm.alive_in_slurm()
        n = int((tmp_path / "a.count").read_text())
        values, messages, _ = run(executor, {"a": "never"}, n=n + 3)
    assert values == {"a": ("a", (n + 3) ** 2, "1")}
    # The successor's own, from the checkpoint on.
    assert [count for _, count in messages] == [n + 1, n + 2, n + 3]
    assert {int(path.suffixes[0][1:]) for path in tmp_path.glob("a.*.*") if path.suffix[1:] != pid} == {n, n + 1, n + 2}


def _left_by_a_killed_command(folder: Path) -> Path:
    """A folder of messages of an executor whose jobs go on."""
    own = folder / "executor" / "one"
    Mailbox(own)
    (own / JOBS).write_text('["7_0", "7_1"]')
    return own


def test_every_executor_ends_the_jobs_of_a_command_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, alive = _left_by_a_killed_command(tmp_path), tmp_path / "alive"
    alive.write_text("7_0 7_1 8")
    for name, line in (("squeue", f"cat {alive}"), ("scancel", f'echo 8 > {alive}; echo "$@" >> {tmp_path}/ended')):
        script = tmp_path / "bin" / name
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for _ in range(2):
        with open_executor("local", setup(tmp_path), 1, tmp_path / "executor"):
            assert alive.read_text() == "8\n"
        assert not own.exists()
    assert (tmp_path / "ended").read_text() == "--quiet 7_0 7_1\n"


def test_jobs_that_cannot_be_ended_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = _left_by_a_killed_command(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    says = r"executor: a command that was killed left jobs of Slurm, 7_0, 7_1, and scancel is not on the PATH"
    with pytest.raises(InputError, match=says), open_executor("local", setup(tmp_path), 1, tmp_path / "executor"):
        pass
    assert Mailbox(own).is_stopped()
