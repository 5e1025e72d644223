"""On a full disk a stage says so in a line; what it wrote is whole, and with room it ends as if nothing had been."""

import importlib
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.faults.child import run, tree
from tests.faults.small_disk import PAGE, absent, full_but_for, on_disk_of_its_own
from tests.stages.test_spread import project

STAGES = [
    ["prepare"], ["check", "shale"], ["embed", "shale"], ["train", "one"], ["score", "one"], ["export", "one"],
    ["gate", "one"], ["table2"], ["register", "shale"],
]  # fmt: skip
# That the disk may have left.
PAGES = (0, 1, 16, 64, 300)
# Of a training: its notes of itself, by which it goes on, name its MLflow run; its history has times.
OF_THE_MOMENT = (".checkpoints/", "artifacts/train/one/history.csv")
__all__ = ["project"]
pytestmark = pytest.mark.slow


def stage(name: str, *arguments: str) -> Callable[[], None]:
    """What DVC runs."""

    def work() -> None:
        sys.argv = [name, *arguments]
        runpy.run_module(f"pipelines.{name}", run_name="__main__", alter_sys=True)

    return work


def _put_back(kept: Path, folder: Path) -> None:
    for each in folder.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    shutil.copytree(kept, folder, dirs_exist_ok=True)


def _fill_the_disk_of(folder: Path) -> None:
    """Every stage in turn, with ever more room; then with enough."""
    kept = folder.with_name("kept")
    for command in STAGES:
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(folder, kept)
        before = tree(folder, *OF_THE_MOMENT)
        status, said, _ = run(stage(*command))
        assert status == 0, said
        whole = tree(folder, *OF_THE_MOMENT)
        assert whole != before
        _put_back(kept, folder)
        for n_pages in PAGES:
            with full_but_for(folder, n_pages * PAGE):
                status, said, _ = run(stage(*command))
            if status == 0:
                break
            where = f"{command}, {n_pages} pages: {said}"
            assert status == 1, where
            assert "Traceback" not in said, where
            assert [line for line in said.splitlines() if line.startswith("error ") and "free some room" in line], where
            for name, digest in tree(folder, *OF_THE_MOMENT).items():
                assert digest in (before.get(name), whole.get(name)), f"{name}: {where}"
        status, said, _ = run(stage(*command))
        assert status == 0, said
        assert tree(folder, *OF_THE_MOMENT) == whole, command


def test_a_full_disk_is_a_message_and_what_a_stage_wrote_is_whole(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "work"
    shutil.copytree(project, folder)
    if (reason := absent(folder)) is not None:
        pytest.skip(reason)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["generators"] = {"one": params["generators"]["one"]}
    params["check"]["shale"] |= {"n_min": 20, "porosity": [0.0, 0.99]}
    params["gate"]["shale"] |= {"fid_max": 1e6, "kid_max": 1e6, "s2_distance_max": 1.0, "diversity_min": 0.0,
                                "memorisation_min": 0.0}  # fmt: skip
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    # Once rather than in each fork; the stages themselves are run as programs.
    for name in ("data", "embed", "train", "score", "export", "judge", "register"):
        importlib.import_module(f"rockbank.stages.{name}")
    status, said, _ = on_disk_of_its_own(folder, 256 * 2**20, lambda: _fill_the_disk_of(folder))
    assert status == 0, said
