"""The commands that `rockbank drift` prints are taken as they stand."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.manifest import SegmentationRule, load_manifest
from rockbank.data.synthetic.shale import sample_volume
from rockbank.drift.scans import DriftRequest, Plan, Reference, retrain_commands
from rockbank.rock.crops import CropSet
from rockbank.rock.segmentation import Segmentation

# Of more digits than six, of which the manifest keeps all.
VOXEL_SIZE = 6.123456789e-08
OF_DATA = SegmentationRule(smoothing=2.25, threshold=0.4123456789)
OF_MODEL = SegmentationRule(smoothing=1.5, threshold=0.3210987654)


def write_scan(name: str, seed: int) -> Path:
    tifffile.imwrite(name, sample_volume(np.random.default_rng(seed), n_slices=1, size=64), photometric="minisblack")
    return Path(name)


def plan(scan: Path, rule: SegmentationRule) -> Plan:
    """What `load` makes of a scan, but for the crops, which the commands do not depend on."""
    segmentation = Segmentation(smoothing=rule.smoothing, threshold=0.3, phase="below")
    crops = np.zeros((1, 1, 16, 16), np.uint8)
    options = ScanOptions(voxel_size=VOXEL_SIZE)
    return Plan(
        request=DriftRequest(paths=(scan,), options=options, model=None, n=1, seed=1),
        reference=Reference(name="a reference", size=16, voxel_size=VOXEL_SIZE, segmentation=segmentation, rule=rule),
        new=CropSet(
            family="shale", crops=crops, table=pd.DataFrame(), voxel_size=VOXEL_SIZE, segmentation=segmentation
        ),
        n_voxels=crops.size,
    )


def run_first(commands: list[str]) -> None:
    result = CliRunner().invoke(app, shlex.split(commands[0])[1:], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_the_scan_joins_data_of_any_voxel_size_and_rule_whatever_it_was_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ScanOptions(voxel_size=VOXEL_SIZE)
    first = write_scan("first.tif", 1)
    add_volumes([first], Path("data"), options=options, segmentation=OF_DATA, licence="MIT", source="a test")
    run_first(retrain_commands(plan(write_scan("second.tif", 2), OF_DATA)))
    run_first(retrain_commands(plan(write_scan("third.tif", 3), OF_MODEL)))
    manifest = load_manifest(Path("data"))
    assert [each.file for each in manifest.volumes] == ["first.tif", "second.tif", "third.tif"]
    assert {(each.voxel_size, each.segmentation) for each in manifest.volumes} == {(VOXEL_SIZE, OF_DATA)}


@pytest.mark.parametrize("rule", [OF_MODEL, SegmentationRule(smoothing=0.0, threshold="otsu")])
def test_without_data_the_scan_is_segmented_as_it_was_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: SegmentationRule
) -> None:
    monkeypatch.chdir(tmp_path)
    run_first(retrain_commands(plan(write_scan("scan.tif", 1), rule)))
    assert load_manifest(Path("data")).segmentation == rule
    assert load_manifest(Path("data")).voxel_size == VOXEL_SIZE
