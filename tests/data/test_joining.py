"""What joins a data folder joins it whole, whatever happens as it does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from rockbank.core.files import sha256
from rockbank.data.adding import Progress, ScanOptions, add_volumes
from rockbank.data.grey_scale import Advance
from rockbank.data.manifest import SegmentationRule, VolumeError, load_manifest
from rockbank.data.synthetic.shale import sample_volume, write_sample

RULE = SegmentationRule(smoothing=1.5, threshold="otsu")


def add(paths: list[Path], folder: Path, **changes: Any) -> None:
    reading = ScanOptions(voxel_size=60e-9)
    add_volumes(paths, folder, options=reading, segmentation=RULE, licence="MIT", source="a test", **changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def require_whole(folder: Path, *names: str) -> None:
    """That these volumes lie in the folder, with their manifest and nothing else."""
    volumes = load_manifest(folder).volumes
    assert [each.file for each in volumes] == list(names)
    assert [sha256(folder / each.file) for each in volumes] == [each.sha256 for each in volumes]
    assert sorted(os.listdir(folder)) == sorted([*names, "manifest.yaml"])


@pytest.fixture
def scans(tmp_path: Path) -> list[Path]:
    """a.tif, b.tif and c.tif, of other pixels each."""
    paths = [tmp_path / f"{name}.tif" for name in "abc"]
    for i, path in enumerate(paths):
        tifffile.imwrite(path, sample_volume(np.random.default_rng(i), n_slices=1, size=64), photometric="minisblack")
    return paths


@contextmanager
def interrupted(error: BaseException) -> Iterator[None]:
    """The second file that is to join a data folder does not: `error` is raised instead."""
    replace, n_joined = os.replace, 0

    def replace_once(source: Path, target: Path) -> None:
        nonlocal n_joined
        if source.parent.name == ".adding" != target.parent.name:
            n_joined += 1
            if n_joined == 2:
                raise error
        replace(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace_once)
        with pytest.raises(type(error)):
            yield


INTERRUPTIONS = [KeyboardInterrupt(), OSError("the system says no")]


@pytest.mark.parametrize("error", INTERRUPTIONS, ids=["Ctrl-C", "an error of the system"])
def test_an_add_that_is_interrupted_as_its_files_join_is_ended_by_the_next(
    tmp_path: Path, scans: list[Path], error: BaseException
) -> None:
    data = tmp_path / "data"
    add(scans[2:], data)
    with interrupted(error):
        add(scans[:2], data, replace=True)
    np.save(tmp_path / "d.npy", sample_volume(np.random.default_rng(9), n_slices=1, size=64))
    add([tmp_path / "d.npy"], data)
    require_whole(data, "a.tif", "b.tif", "d.tif")


def test_a_dry_run_leaves_an_interrupted_add_as_it_is_and_says_so(tmp_path: Path, scans: list[Path]) -> None:
    data = tmp_path / "data"
    with interrupted(KeyboardInterrupt()):
        add(scans[:2], data)
    before = contents(data)
    with pytest.raises(VolumeError, match=r"data: .* was interrupted as its files joined; run one without --dry-run"):
        add(scans[2:], data, dry_run=True)
    assert contents(data) == before
    add(scans[2:], data)
    require_whole(data, "a.tif", "b.tif", "c.tif")


def test_the_sample_ends_an_interrupted_add_before_it_takes_its_place(
    tmp_path: Path, scans: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = sample_volume(np.random.default_rng(5), n_slices=1, size=64)
    monkeypatch.setattr("rockbank.data.synthetic.shale.sample_volume", lambda rng, track: small)
    data = tmp_path / "data"
    with interrupted(KeyboardInterrupt()):
        add(scans[:2], data)
    with pytest.raises(VolumeError, match=r"lists a\.tif, b\.tif, which the sample would replace"):
        write_sample(data, seed=3)
    require_whole(data, "a.tif", "b.tif")
    write_sample(data, seed=3, replace=True)
    require_whole(data, "shale.tif")


def meanwhile(work: Any) -> Progress:
    """Does `work` as the first slice of a scan is read."""
    todo = [work]

    @contextmanager
    def progress(what: str, n_slices: int) -> Iterator[Advance]:
        if todo:
            todo.pop()()
        yield lambda n: None

    return progress


def test_of_two_that_add_at_once_the_second_is_refused_and_the_first_ends(tmp_path: Path, scans: list[Path]) -> None:
    data = tmp_path / "data"

    def refused() -> None:
        for second in (lambda: add(scans[1:2], data), lambda: write_sample(data, seed=3, replace=True)):
            with pytest.raises(VolumeError, match="data: another process adds scans to it; wait for it, or stop it"):
                second()
        add(scans[1:2], data, dry_run=True)

    add(scans[:1], data, progress=meanwhile(refused))
    require_whole(data, "a.tif")
    add(scans[1:2], data)
    require_whole(data, "a.tif", "b.tif")
