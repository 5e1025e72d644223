"""A killed match goes on to the same bits, a member that fails holds up no other, and no process is left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rockbank.core.errors import InputError
from rockbank.core.files import whole_files
from rockbank.executors.interface import WorkerLost
from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.interface import Member, Progress
from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.status import FAILED
from rockbank.matching.methods.workers import advance, pool
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.point import Parts, Target
from rockbank.matching.run import Run
from tests.matching.tiny import make_run, write_case
from tests.started import started

# A context without a simulator, in a module that other processes can import: members count to 5, a step each 50 ms.
TOY = """
import os
import time
from pathlib import Path

import numpy as np

from rockbank.flow.equations.trajectory import NewtonError
from rockbank.matching.methods.interface import Member
from rockbank.matching.methods.state import Record, State
from rockbank.matching.methods.workers import pool
from rockbank.matching.problem.cost import Cost
from rockbank.matching.problem.point import Parts, Target


class Toy:
    objective = None

    def __init__(self, folder, fails=None, dies=None):
        self.folder, self.fails, self.dies, self.method = Path(folder), fails, dies, self
        (self.folder / f"{os.getpid()}.pid").touch()

    def member(self, i):
        z = np.full(1, float(i))
        return Member(z=z, target=Target(prior_mean=z, observed=z))

    def checkpoint(self, i):
        return self.folder / f"{i}.npz"

    def start(self, objective, target, z):
        return State(records=(self.record(z, 0),))

    def step(self, objective, target, state):
        i, n = int(state.last.z[0]), len(state.records)
        time.sleep(0.05)
        if i == self.fails and n == 2:
            raise NewtonError("step 7 did not converge")
        if i == self.dies and n == 2:
            os._exit(9)
        state = state.then(self.record(state.last.z, n), None, {})
        return state.ended("converged", "five") if n == 5 else state

    def record(self, z, n):
        parts = Parts(flow=10.0 - n, wells=0.0, prior=0.0, time_mean=0.0, accuracy=1.0)
        return Record(z=z, parts=parts, cost=Cost(forward=n))


def square(toy, i):
    time.sleep(0.2 / (1 + i))
    return os.getpid(), i**2, os.environ["OMP_NUM_THREADS"]


if __name__ == "__main__":
    import sys

    with pool(Toy, {"folder": sys.argv[1]}, 2) as processes:
        processes.members(range(400), lambda progress: None)
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of TOY."""
    (tmp_path / "toy_context.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "toy_context", raising=False)
    import toy_context  # type: ignore[import-not-found]

    return toy_context


class Kill(BaseException):
    """Stands for SIGKILL, which no handler hears."""


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_case(tmp_path_factory.mktemp("case"))


def take(run: Run, i: int = 0) -> State:
    return advance(Run(run.folder), i, lambda _: None, lambda: False)


@pytest.mark.parametrize("method", ["adam", "gauss-newton", "rml", "pcn", "mala"])
def test_a_member_killed_before_and_after_any_checkpoint_goes_on_to_the_same_bits(
    method: str, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = (make_run(tmp_path / name, case, method=method, iterations=3) for name in ("whole", "killed"))
    n_records = len(take(whole).records)
    save, kills = State.save, []

    def save_and_die(state: State, path: Path) -> None:
        """Dies at each new checkpoint, first before it is written, and when it comes by again after that."""
        when = (len(state.records), "before") not in kills, (len(state.records), "after") not in kills
        if not when[0]:
            save(state, path)
        if any(when):
            kills.append((len(state.records), "before" if when[0] else "after"))
            raise Kill

    monkeypatch.setattr(State, "save", save_and_die)
    n_kills, state = 0, None
    while state is None:
        try:
            state = take(killed)
        except Kill:
            n_kills += 1
    assert n_kills == len(kills) >= 4
    assert len(state.records) == n_records
    assert killed.checkpoint(0).read_bytes() == whole.checkpoint(0).read_bytes()


def test_a_member_that_has_ended_is_left_alone(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case, iterations=1)
    take(run)
    before = run.checkpoint(0).stat()
    take(run)
    # Not its time of access, which a reading moves.
    after = run.checkpoint(0).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_stopped_member_keeps_what_it_has(case: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", case, method="adam", iterations=50)
    n_asked = iter(range(100))
    state = advance(run, 0, lambda _: None, lambda: next(n_asked) >= 3)
    assert (state.status, len(state.records)) == ("running", 4)
    loaded = State.load(run.checkpoint(0))
    assert [record.z.tobytes() for record in loaded.records] == [record.z.tobytes() for record in state.records]


class Breaking:
    """A context whose step raises."""

    objective: Any = None

    def __init__(self, folder: Path, error: Exception, *, at_start: bool = False) -> None:
        self.folder, self.error, self.at_start, self.method = folder, error, at_start, self

    def member(self, i: int) -> Member:
        return Member(z=np.zeros(1), target=Target(prior_mean=np.zeros(1), observed=np.zeros(0)))

    def checkpoint(self, i: int) -> Path:
        return self.folder / f"{i}.npz"

    def start(self, *_: Any) -> State:
        if self.at_start:
            raise self.error
        parts = Parts(flow=1.0, wells=0.0, prior=0.0, time_mean=0.0, accuracy=1.0)
        return State(records=(Record(z=np.zeros(1), parts=parts, cost=Cost(forward=1)),))

    def step(self, *_: Any) -> State:
        raise self.error


@pytest.mark.parametrize("at_start", [False, True])
@pytest.mark.parametrize("error", [NewtonError("step 7"), np.linalg.LinAlgError("singular"), InputError("nan m^2")])
def test_a_member_that_fails_says_why_and_keeps_what_it_has(tmp_path: Path, error: Exception, at_start: bool) -> None:
    seen: list[Progress] = []
    state = advance(Breaking(tmp_path, error, at_start=at_start), 0, seen.append, lambda: False)
    loaded = State.load(tmp_path / "0.npz")
    assert loaded.status == state.status == seen[-1].status == FAILED
    assert loaded.reason == f"{type(error).__name__}: {error}"
    assert len(loaded.records) == (0 if at_start else 1)


@pytest.mark.parametrize("bug", [TypeError("a bug"), ValueError("operands could not be broadcast together")])
def test_an_error_of_the_code_is_no_failure_of_a_member(tmp_path: Path, bug: Exception) -> None:
    with pytest.raises(type(bug)):
        advance(Breaking(tmp_path, bug), 0, lambda _: None, lambda: False)


@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"no zip"])
def test_a_damaged_checkpoint_is_named_and_not_overwritten(case: Path, tmp_path: Path, damage: Any) -> None:
    run = make_run(tmp_path / "run", case, method="prior")
    take(run)
    path = run.checkpoint(0)
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    for reads in (run.states, lambda: take(run)):
        with pytest.raises(ValueError, match=r"0000\.npz: no checkpoint of a member: .*; delete it"):
            reads()
    assert path.read_bytes() == before


def is_gone(pids: Sequence[int]) -> bool:
    """Whether these processes end within ten seconds."""
    for _ in range(200):
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return True
        time.sleep(0.05)
    return False


def pids_in(folder: Path) -> list[int]:
    return [int(path.stem) for path in folder.glob("*.pid")]


@pytest.mark.slow
@pytest.mark.usefixtures("warm_processes")
def test_members_go_side_by_side_and_one_that_fails_holds_up_no_other(toy: Any, tmp_path: Path) -> None:
    seen: list[Progress] = []
    n_done = []
    with pool(toy.Toy, {"folder": tmp_path, "fails": 1}, 2) as processes:
        processes.members(range(4), seen.append)
        squares = processes.map(toy.square, range(6), lambda: n_done.append(1))
    status = {i: State.load(tmp_path / f"{i}.npz").status for i in range(4)}
    assert status == {0: "converged", 1: "failed", 2: "converged", 3: "converged"}
    assert {progress.member: progress.status for progress in seen if progress.status != "running"} == status
    assert [progress.i_iterate for progress in seen if progress.member == 0] == [0, 1, 2, 3, 4, 5]
    assert [square for _, square, _ in squares] == [0, 1, 4, 9, 16, 25]
    assert len(n_done) == 6
    assert {threads for *_, threads in squares} == {"1"}
    assert {pid for pid, *_ in squares} <= set(pids_in(tmp_path))
    assert len(pids_in(tmp_path)) == 2
    assert is_gone(pids_in(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("warm_processes")
def test_a_process_that_dies_is_reported_with_the_remedy(toy: Any, tmp_path: Path) -> None:
    with (
        pytest.raises(WorkerLost, match=r"memory is short; every iteration is kept: resume with fewer --workers"),
        pool(toy.Toy, {"folder": tmp_path, "dies": 0}, 2) as processes,
    ):
        processes.members(range(4), lambda _: None)
    assert len(State.load(tmp_path / "0.npz").records) == 2
    assert is_gone(pids_in(tmp_path))
    assert multiprocessing.active_children() == []


@pytest.mark.slow
def test_processes_end_with_a_parent_that_is_killed(toy: Any, tmp_path: Path) -> None:
    with started([sys.executable, toy.__file__, str(tmp_path)]) as parent:
        # On a busy machine the first process may be members ahead of the second.
        while len(whole_files(tmp_path, "*.npz")) < 4 or len(pids_in(tmp_path)) < 2:
            time.sleep(0.05)
            assert parent.poll() is None
        parent.send_signal(signal.SIGKILL)
    assert len(pids_in(tmp_path)) == 2
    assert is_gone(pids_in(tmp_path))
    n_written = len(whole_files(tmp_path, "*.npz"))
    assert n_written < 400
    for path in whole_files(tmp_path, "*.npz"):
        State.load(path)


@pytest.mark.slow
def test_ctrl_c_ends_all_after_the_iterations_under_way(toy: Any, tmp_path: Path) -> None:
    with started(
        [sys.executable, toy.__file__, str(tmp_path)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What a shell runs in the background ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as parent:
        while len(whole_files(tmp_path, "*.npz")) < 4:
            time.sleep(0.05)
            assert parent.poll() is None
        # A terminal sends it to every process of the group.
        os.killpg(parent.pid, signal.SIGINT)
        _, said = parent.communicate(timeout=60)
    # The one traceback is the parent's: those of the processes would be each a page of noise.
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1
    assert is_gone(pids_in(tmp_path))
    states = [State.load(path) for path in whole_files(tmp_path, "*.npz")]
    assert {state.status for state in states} <= {"running", "converged"}
