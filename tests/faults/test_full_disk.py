"""On a full disk every command that writes says so in a line, and leaves what was there as it was."""

import importlib
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import mlflow
import pytest

from rockbank.data.synthetic import shale as synthetic
from rockbank.mlops import registry
from tests.cli.test_failing_store import OF_IMPORT, write_shale
from tests.cli.test_simulate import CASE
from tests.faults.child import rockbank, run, tree
from tests.faults.small_disk import PAGE, absent, full_but_for, on_disk_of_its_own
from tests.tiny_generators import write_generator

Command = list[str]
COMMANDS: dict[str, Command] = {
    "register": ["register", "shale"],
    "promote": ["promote", "shale", "--version", "3"],
    "rollback": ["rollback", "shale"],
    "import": ["import", "foreign.pth", *OF_IMPORT],
    "sample": ["sample", "shale/1", "--n", "1", "-o", "out.png"],
    "sample to npy": ["sample", "shale/1", "--n", "9", "-o", "out.npy"],
    "sample to tif": ["sample", "shale/1", "--n", "99", "-o", "out.tif"],
    "data add": ["data", "add", "scan.tif", "--voxel-size", "60e-9"],
    "data show": ["data", "show", "scan.tif", "--voxel-size", "60e-9", "-o", "out.png"],
    "data sample": ["data", "sample", "--folder", "sample"],
    "drift": ["drift", "scan.tif", "--voxel-size", "60e-9", "--model", "shale/1", "-o", "out.html"],
    "simulate": ["simulate", "few.yaml", "-o", "out.nc"],
    "simulate to all": ["simulate", "few.yaml", "-o", "out.nc", "--picture", "out.png", "--deck", "out.DATA",
                        "--summary", "--restart"],
    "observe": ["observe", "few.yaml", "-o", "out.csv", "--sigma-bhp", "2 bar", "--sigma-rate", "9 m3/day"],
    "export triton": ["export", "triton", "triton", "--models", "shale/1"],
}  # fmt: skip
# Bytes that a file may have; and pages that the disk may have left, the last of them enough for any command.
ROOMS = (64, 5000)
PAGES = (0, 1, 3, 8, 20, 50, 100, 4000)
# Drift within a rock that the generator has not learnt is told by a status of its own, as is a scan that is refused.
HAS_WRITTEN = (0, 3)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def imported() -> Iterator[None]:
    """What commands import when they run, once rather than in each fork; and a synthetic scan that is drawn at once."""
    for name in ("mlops.gate", "stages.register", "data.adding", "data.preview", "workflows.simulate", "drift.report"):
        importlib.import_module(f"rockbank.{name}")
    importlib.import_module("serving.triton_repository")
    small = partial(synthetic.sample_volume, n_slices=2, size=128)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "sample_volume", small)
        yield


def write_project(store: Path) -> None:
    """That of the failing stores, with a champion, one that was before it, one that may be, and a case."""
    write_shale(store)
    # Whose folder is needed no longer.
    for kid in (0.05, 0.04):
        registry.push("shale", write_generator(store / "other", kid=kid))
    shutil.rmtree(store / "other")
    (store / "few.yaml").write_text(CASE)
    for version in ("1", "2"):
        status, said, _ = run(rockbank("promote", "shale", "--version", version))
        assert status == 0, said


def versions(folder: Path) -> list[tuple[object, ...]]:
    """All that the store has of versions, and what their aliases are."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        found = store.execute("SELECT name, version, source FROM model_versions").fetchall()
        return [*found, *store.execute("SELECT name, alias, version FROM registered_model_aliases")]


def state(folder: Path) -> tuple[object, ...]:
    """Files, folders and versions."""
    folders = sorted(str(each) for each in folder.rglob("*") if each.is_dir() and "mlruns" not in each.parts)
    return tree(folder, ".filler"), folders, versions(folder)


def require_message(status: int, said: str) -> None:
    """That the command ended with a line of error."""
    assert status == 1, said
    assert "Traceback" not in said
    assert [line for line in said.splitlines() if line.startswith("error ")], said


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_full_disk_is_a_message_and_the_old_state_is_whole(
    store: Path, made_once: Callable[..., Path], command: Command
) -> None:
    made_once(write_project, store)
    before, database = state(store), (store / "mlflow.db").read_bytes()
    status, said, _ = run(rockbank(*command), room=ROOMS[0])
    require_message(status, said)
    assert state(store) == before
    assert (store / "mlflow.db").read_bytes() == database
    status, said, _ = run(rockbank(*command), room=ROOMS[1])
    if status not in HAS_WRITTEN:
        require_message(status, said)
        assert state(store) == before


@pytest.fixture
def small_disk(store: Path) -> Callable[[Callable[[], None]], None]:
    """Does work with the store's folder on a disk of its own, which what it finds wrong makes fail."""
    if (reason := absent(store)) is not None:
        pytest.skip(reason)

    def do(work: Callable[[], None]) -> None:
        status, said, _ = on_disk_of_its_own(store, 64 * 2**20, work)
        assert status == 0, said

    # This process has had no store open: sqlite refuses to write one that was put in the place of another.
    mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
    return do


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_disk_that_gets_full_in_the_middle_is_a_message_and_the_old_state_is_whole(
    store: Path, made_once: Callable[..., Path], small_disk: Callable[[Callable[[], None]], None], command: Command
) -> None:
    made_once(write_project, store)

    def fill() -> None:
        before, n_failed = state(store), 0
        # An import would go on to its scores, for which these crops are too few.
        for n_pages in PAGES[:-1] if command[0] == "import" else PAGES:
            with full_but_for(store, n_pages * PAGE):
                status, said, _ = run(rockbank(*command))
            if status in HAS_WRITTEN:
                break
            require_message(status, said)
            assert "free some room" in said, said
            assert state(store) == before, f"{n_pages} pages: {said}"
            n_failed += 1
        assert n_failed > 0
        if command[0] != "import":
            assert status in HAS_WRITTEN, said
            assert state(store) != before

    small_disk(fill)
