"""A part that is killed at any step, and run again, ends where an undisturbed one ends."""

import hashlib
import importlib
import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import tifffile

from rockbank.data.synthetic.shale import sample_volume
from rockbank.matching.methods.state import State
from rockbank.matching.methods.workers import advance
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import Run
from rockbank.mlops import champion_log, registry
from rockbank.workflows import match
from rockbank.workflows.match_request import MatchRequest
from tests.faults.child import KILLED, kill_points, rockbank, run, tree
from tests.matching.tiny import checkpoints, make_run, write_case
from tests.pulled import write_pulled
from tests.tiny_generators import write_generator
from tests.workflows.conftest import case, quick
from tests.workflows.mlflow_runs import children

__all__ = ["case", "quick"]
PARAMS = Path(__file__).parents[2] / "params.yaml"
# Of each part; `python -m tools.faults` has as many as one likes.
N_KILLS = 4


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """What commands import when they run, once rather than in each fork."""
    for name in ("mlops.gate", "stages.register", "data.adding", "data.preview"):
        importlib.import_module(f"rockbank.{name}")


def _registered(name: str) -> dict[str, Any]:
    """What the registry says of a model, but for times and ids; every version can be pulled."""
    versions = registry.versions(name)
    for each in versions:
        registry.pull(f"{name}/{each.version}", Path("checked"))
    shutil.rmtree("checked", ignore_errors=True)
    kept = {each.version: (each.aliases, {**each.tags, "promoted": ""}) for each in versions}
    runs = [mlflow.MlflowClient().get_run(each.run_id) for each in versions if each.run_id]
    return {"versions": kept, "runs": [(each.data.params, each.info.status) for each in runs]}


def _killed_and_run_again(
    work: Callable[[], object],
    prepare: Callable[[], None],
    state: Callable[[], object],
    n: int = N_KILLS,
    again: Callable[[], object] | None = None,
) -> None:
    """`again` is what is run after a kill, where it is not the same."""

    def seen() -> str:
        # In a process of its own: one that has the store open would go on with the file of before.
        status, said, _ = run(lambda: print(json.dumps(state(), sort_keys=True)))
        assert status == 0, said
        return said.splitlines()[-1]

    prepare()
    status, said, n_steps = run(work)
    assert status == 0, said
    undisturbed = seen()
    for step in kill_points(n_steps, n):
        prepare()
        status, said, _ = run(work, kill_at=step)
        assert status in (KILLED, 0), said
        status, said, _ = run(again or work)
        assert status == 0, f"killed at step {step} of {n_steps}: {said}"
        assert seen() == undisturbed, f"killed at step {step} of {n_steps}"


@pytest.fixture
def project(store: Path) -> Path:
    """A project with what `dvc pull` brings of one generator, and an empty store."""
    shutil.copyfile(PARAMS, store / "params.yaml")
    write_generator(store / "generator")
    write_pulled("shale-texture", store / "generator")
    shutil.copyfile(store / "mlflow.db", store / "empty.db")
    return store


def _forget(project: Path) -> None:
    shutil.copyfile(project / "empty.db", project / "mlflow.db")
    shutil.rmtree(project / "mlruns", ignore_errors=True)


@pytest.mark.slow
def test_a_registration_that_is_killed_registers_one_whole_version_when_it_is_run_again(project: Path) -> None:
    _killed_and_run_again(
        rockbank("register", "shale"),
        lambda: _forget(project),
        lambda: (_registered("shale"), tree(project, "empty.db")),
    )


@pytest.mark.slow
def test_a_promotion_that_is_killed_ends_when_it_is_run_again(project: Path) -> None:
    status, said, _ = run(rockbank("register", "shale"))
    assert status == 0, said
    shutil.copyfile(project / "mlflow.db", project / "empty.db")

    def forget() -> None:
        shutil.copyfile(project / "empty.db", project / "mlflow.db")

    _killed_and_run_again(
        rockbank("promote", "shale"),
        forget,
        lambda: (_registered("shale"), champion_log.read("shale").number, champion_log.read("shale").earlier),
        n=6,
    )


def test_scans_that_are_killed_as_they_are_added_are_added_when_they_are_added_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        grey = sample_volume(np.random.default_rng(i), n_slices=2, size=64)
        tifffile.imwrite(f"scan{i}.tif", grey, photometric="minisblack")
    command = ["data", "add", "scan0.tif", "scan1.tif", "--voxel-size", "60e-9", "--replace"]
    _killed_and_run_again(rockbank(*command), lambda: shutil.rmtree("data", ignore_errors=True), lambda: tree(tmp_path))


@pytest.mark.slow
def test_members_of_a_match_that_are_killed_go_on_to_the_same_bits(store: Path) -> None:
    case = write_case(store)

    def prepare() -> None:
        shutil.rmtree(store / "match", ignore_errors=True)
        make_run(store / "match", case, method="adam", iterations=2, members=2)

    def advance_both() -> None:
        run = Run(store / "match")
        for i in range(2):
            advance(run, i, lambda _: None, lambda: False)

    def iterates() -> object:
        run = Run(store / "match")
        return [[record.z.tolist() for record in State.load(run.checkpoint(i)).records] for i in range(2)]

    _killed_and_run_again(advance_both, prepare, iterates, n=2)


MATCH = ("match", "case.yaml", "--name", "one", "--method", "adam", "--iterations", "1", "--members", "2")


def _matched(folder: Path) -> dict[str, Any]:
    """What a match has left: bits of its members and results, files, and what its MLflow runs are of."""
    found = read_posterior(folder / "matches" / "one")
    results = {str(name): hashlib.sha256(each.values.tobytes()).hexdigest() for name, each in found.variables.items()
               if each.dtype != object}  # fmt: skip
    members = [hashlib.sha256(each).hexdigest() for each in checkpoints(folder / "matches" / "one")]
    logged = json.loads((folder / "matches" / "one" / "mlflow.json").read_text())["run_id"]
    files = sorted(str(each.relative_to(folder)) for each in (folder / "matches").rglob("*"))
    return {"members": members, "results": results, "files": files, "runs": sorted(children(logged))}


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_match_that_is_killed_ends_by_the_same_command_or_by_the_one_that_it_names(case: Path) -> None:
    folder = case.parent
    shutil.copyfile("mlflow.db", "before.db")
    named = "matches/one: is there already; 'rockbank match resume matches/one' goes on with it"

    def prepare() -> None:
        shutil.copyfile("before.db", "mlflow.db")
        shutil.rmtree("matches", ignore_errors=True)

    def again() -> None:
        try:
            rockbank(*MATCH)()
        except SystemExit as ended:
            if ended.code == 0:
                return
        # It has begun: its first line is what is named.
        assert Path("matches/one").is_dir(), named
        rockbank("match", "resume", "matches/one")()

    _killed_and_run_again(rockbank(*MATCH), prepare, lambda: _matched(folder), n=3, again=again)
    status, said, _ = run(rockbank(*MATCH))
    assert (status, named in said) == (1, True), said


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_match_that_is_killed_as_it_begins_leaves_nothing_that_the_same_command_does_not_take_away(
    case: Path,
) -> None:
    def begin() -> None:
        match.begin(case, MatchRequest(method="adam", iterations=1, members=2, name="one"))

    def begun() -> object:
        return tree(case.parent / "matches")

    # Before the folder has its name nothing has begun; then it is whole, and the command says so.
    def again() -> None:
        if not Path("matches/one").exists():
            begin()

    _killed_and_run_again(begin, lambda: shutil.rmtree("matches", ignore_errors=True), begun, n=8, again=again)


@pytest.mark.slow
def test_a_reproduction_that_is_killed_ends_when_it_is_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    subprocess.run(["git", "init", "--quiet"], check=True)
    Repo.init(".").close()
    Path("scan.bin").write_bytes(b"rock" * 1000)
    stage = "  {name}:\n    cmd: cp {dep} {out}\n    deps: [{dep}]\n    outs: [{out}]\n"
    stages = [("prepare", "scan.bin", "crops.bin"), ("train", "crops.bin", "weights.bin")]
    text = "".join(stage.format(name=name, dep=dep, out=out) for name, dep, out in stages)
    Path("dvc.yaml").write_text(f"stages:\n{text}")

    def prepare() -> None:
        for path in ("dvc.lock", "crops.bin", "weights.bin"):
            Path(path).unlink(missing_ok=True)
        shutil.rmtree(".dvc/cache", ignore_errors=True)

    def reproduce() -> None:
        warnings.simplefilter("ignore")  # DVC's own
        with Repo(".") as repo:
            repo.reproduce()

    def state() -> object:
        warnings.simplefilter("ignore")
        with Repo(".") as repo:
            return [tree(tmp_path, ".git", ".dvc"), tree(tmp_path / ".dvc" / "cache", "files/md5/runs"), repo.status()]

    _killed_and_run_again(reproduce, prepare, state, n=3)
