"""`rockbank data`: what is added, shown and refused, and how it is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image

from tests.cli.commands import said

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    grey = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, grey, photometric="minisblack")
    return path


def test_a_dry_run_says_what_would_be_added_and_writes_nothing(scan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = said("data", "add", scan, "--voxel-size", "60e-9", "--folder", data, "--dry-run")
    assert "would add" in printed
    assert "6e-08 m per voxel" in printed
    assert not data.exists()


def test_a_scan_that_the_check_would_refuse_is_not_added(tmp_path: Path, fails: Callable[..., str]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    grey[:, :100] = 0
    tifffile.imwrite(tmp_path / "margin.tif", grey)
    for more in ((), ("--dry-run",)):
        line = fails(
            "data", "add", tmp_path / "margin.tif", "--voxel-size", "60e-9", "--folder", tmp_path / "data", *more
        )
        assert "crops are flat" in line
        assert "crop blank margins off the volume, or change check.std_min" in line
    assert not (tmp_path / "data").exists()


def test_params_without_limits_of_scans_are_one_line_of_error(
    scan: Path, tmp_path: Path, fails: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = yaml.safe_load(PARAMS.read_text())
    del params["check"]["shale"]
    for section in ("generators", "challengers"):
        params[section] = {name: each for name, each in params[section].items() if each["family"] != "shale"}
    Path("params.yaml").write_text(yaml.safe_dump(params))
    for command in ("add", "show"):
        line = fails("data", command, scan, "--voxel-size", "60e-9")
        assert "'shale' has no section in 'check' of params.yaml; add one, known are ['channels']" in line
    assert not Path("data").exists()


def test_the_sample_takes_no_volumes_away_unless_told(scan: Path, tmp_path: Path, fails: Callable[..., str]) -> None:
    data = tmp_path / "data"
    said("data", "add", scan, "--voxel-size", "60e-9", "--folder", data)
    line = fails("data", "sample", "--folder", data)
    assert "manifest.yaml: lists scan.tif, which the sample would replace" in line
    assert "--replace" in line
    assert sorted(path.name for path in data.iterdir()) == ["manifest.yaml", "scan.tif"]


def test_show_draws_a_scan_and_says_what_the_check_would_say(scan: Path, tmp_path: Path) -> None:
    printed = said("data", "show", scan, "--voxel-size", "60e-9", "-o", tmp_path / "scan.png", status=3)
    assert "'check' would refuse it:\nporosity" in printed
    with Image.open(tmp_path / "scan.png") as picture:
        assert picture.size == (1800, 1260)


def test_after_adding_a_scan_the_next_commands_are_reported(scan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = said("data", "add", scan, "--voxel-size", "60e-9", "--folder", data)
    assert f"dvc add {data}" in printed
    assert (data / "manifest.yaml").is_file()


def test_a_scan_without_a_voxel_size_is_one_line_of_error(
    scan: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    line = fails("data", "add", scan, "--folder", tmp_path / "data")
    assert "scan.tif" in line
    assert "voxel" in line
    assert not (tmp_path / "data").exists()


def test_a_threshold_that_is_no_number_is_one_line_of_error(
    scan: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    fails("data", "add", scan, "--voxel-size", "60e-9", "--threshold", "high", "--folder", tmp_path / "data")
