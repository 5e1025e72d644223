"""What killed commands leave half written is nothing that DVC tracks."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pytest

from rockbank.core import files
from rockbank.data import joining
from rockbank.matching import run

ROOT = Path(__file__).parents[1]
LEFT = {
    "a file before it takes its place": f"matches/one/{files._PART}posterior.nc",
    "a folder before it takes its place": f"artifacts/data/shale/{files._PART}grids/step.png",
    "files that go together": f"artifacts/score/{files._PARTS}table.csv/table.csv",
    "a match's folder before it has its name": f"matches/{run._PART}one.abc/run.json",
    "what is to join data/": f"data/{joining.STAGING}/scan.tif",
}
KEPT = ["data/scan.tif", "data/manifest.yaml", "matches/one/posterior.nc", "matches/one/run.json"]


def test_what_killed_commands_left_is_ignored_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.repo import Repo

    warnings.simplefilter("ignore")  # DVC's own
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    shutil.copyfile(ROOT / ".dvcignore", ".dvcignore")
    for name in (*LEFT.values(), *KEPT):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    with Repo.init(".", no_scm=True) as repo:
        tracked = {os.path.relpath(path) for path in repo.dvcignore.find(repo.fs, repo.root_dir)}
    assert tracked & {*LEFT.values(), *KEPT} == set(KEPT)
