from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.checks.tables import volume_table
from rockbank.data.cutting import cut_crops, cut_whole
from rockbank.data.manifest import SegmentationRule, VolumeEntry, VolumeError, load_manifest
from rockbank.data.regions import crops_of_rock
from rockbank.data.stored import open_volumes
from rockbank.params import PrepareParams

SIDE = 160
CENTRE = (SIDE - 1) / 2
ROWS, COLUMNS = np.ogrid[:SIDE, :SIDE]
INSIDE = np.hypot(ROWS - CENTRE, COLUMNS - CENTRE) <= SIDE / 2
PARAMS = PrepareParams(
    size=16,
    n_train=200,
    n_validation=20,
    n_test=60,
    split="blocks",
    validation_fraction=0.1,
    test_fraction=0.25,
    block=2,
    seed=1,
)


def core(outside: float, dtype: str = "float32") -> np.ndarray:
    """A core of noise in a field of one value."""
    rock = np.random.default_rng(3).normal(30_000, 3000, (3, SIDE, SIDE))
    return np.where(INSIDE, rock, outside).astype(dtype)


def add(path: Path, folder: Path, **options: Any) -> VolumeEntry:
    (added,) = add_volumes(
        [path],
        folder,
        options=ScanOptions(voxel_size=1e-6, **options),
        segmentation=SegmentationRule(smoothing=1.0, threshold="otsu"),
        licence="MIT",
        source="a test",
    )
    return added.entry


@pytest.mark.parametrize(
    ("outside", "options"),
    [
        (0.0, {"mask": "cylinder"}),
        (np.nan, {"mask": "cylinder"}),
        (-9999.0, {"nodata": -9999.0}),
        (np.nan, {"nodata": np.nan}),
        (-3.4e38, {"nodata": -3.4e38}),
    ],
)
def test_crops_are_cut_from_the_rock_alone(tmp_path, outside: float, options: dict[str, Any]) -> None:
    np.save(tmp_path / "core.npy", core(outside))
    entry = add(tmp_path / "core.npy", tmp_path / "data", **options)
    assert entry.files == ("core.tif", "core.mask.tif")
    manifest = load_manifest(tmp_path / "data")
    assert manifest.volumes == (entry,)
    with open_volumes(tmp_path / "data", manifest) as volumes:
        volume = volumes["core.tif"]
        assert volume.rock is not None
        assert np.array_equal(volume.rock(1), INSIDE)
        cut = cut_crops(volumes, manifest, PARAMS)
        everywhere = cut_whole(volumes, manifest, size=16, n=300, seed=1)
        table = volume_table(volumes, 1e-6)
    for crop_set in (cut, everywhere):
        corners = crop_set.table[["row", "column"]].to_numpy()
        assert all(INSIDE[row : row + 16, column : column + 16].all() for row, column in corners)
    assert len(cut.table.drop_duplicates(["slice", "row", "column", "split"])) == len(cut.table)
    # The scale is that of the rock: 0.1 % at each end is clipped, and half a grey value more rounds to it.
    assert table["saturated"][0] < 0.01
    assert table["mean"][0] == pytest.approx(0.5, abs=0.02)
    # Otsu halves noise that is symmetric; a rim of zeros would be a class of its own.
    assert cut.segmentation.threshold == pytest.approx(0.5, abs=0.03)


def test_all_ways_to_say_it_give_the_same_volume(tmp_path) -> None:
    np.save(tmp_path / "core.npy", core(-9999.0))
    tifffile.imwrite(tmp_path / "mask.tif", INSIDE.astype(np.uint8) * 255)
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "core.tif", core(-9999.0), extratags=tag, photometric="minisblack", metadata=None)
    entries = [
        add(tmp_path / "core.npy", tmp_path / "a", mask="cylinder"),
        add(tmp_path / "core.npy", tmp_path / "b", mask=str(tmp_path / "mask.tif")),
        add(tmp_path / "core.npy", tmp_path / "c", nodata=-9999.0),
        add(tmp_path / "core.tif", tmp_path / "d"),
    ]
    assert len({each.sha256 for each in entries}) == 1
    # One slice is enough for an area that is the same in all of them.
    assert entries[0].mask_sha256 == entries[1].mask_sha256
    assert entries[2].mask_sha256 == entries[3].mask_sha256


def test_a_mask_that_does_not_fit_is_refused(tmp_path) -> None:
    np.save(tmp_path / "core.npy", core(0.0))
    for mask, says in {
        "two.npy": (np.ones((2, SIDE, SIDE), np.uint8), r"a mask of \(2, 160, 160\)"),
        "grey.npy": (core(0.0, "uint16"), "more than two values"),
        "none.npy": (np.zeros((SIDE, SIDE), np.uint8), "leaves no rock"),
    }.items():
        np.save(tmp_path / mask, says[0])
        with pytest.raises(VolumeError, match=says[1]):
            add(tmp_path / "core.npy", tmp_path / "data", mask=str(tmp_path / mask))
    with pytest.raises(VolumeError, match="no such file"):
        add(tmp_path / "core.npy", tmp_path / "data", mask="cilinder")
    assert not (tmp_path / "data").exists()


def test_no_data_that_is_declared_twice_must_agree(tmp_path) -> None:
    tag = [(42113, "s", 0, "-9999", True)]
    tifffile.imwrite(tmp_path / "core.tif", core(-9999.0), extratags=tag, photometric="minisblack", metadata=None)
    with pytest.raises(VolumeError, match="it declares -9999 to be no data, but 0 was given"):
        add(tmp_path / "core.tif", tmp_path / "data", nodata=0.0)


def test_a_changed_mask_is_refused(tmp_path) -> None:
    np.save(tmp_path / "core.npy", core(0.0))
    entry = add(tmp_path / "core.npy", tmp_path / "data", mask="cylinder")
    manifest = load_manifest(tmp_path / "data")
    tifffile.imwrite(tmp_path / "data" / str(entry.mask), np.ones((SIDE, SIDE), np.uint8))
    with pytest.raises(VolumeError, match=r"core\.mask\.tif: sha256 is"), open_volumes(tmp_path / "data", manifest):
        pass
    with pytest.raises(VolumeError, match="give both or none"):
        replace(entry, mask=None)


def test_crops_of_rock_are_those_without_another_pixel() -> None:
    rock = np.random.default_rng(0).random((20, 30)) > 0.05
    found = crops_of_rock(rock, 4)
    expected = [[rock[i : i + 4, j : j + 4].all() for j in range(27)] for i in range(17)]
    assert np.array_equal(found, expected)


def test_a_value_of_no_data_that_the_voxels_cannot_have_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "core.tif", core(55_537, "uint16"), photometric="minisblack")
    options = ScanOptions(voxel_size=60e-9, nodata=-9999)
    with pytest.raises(VolumeError, match=r"core\.tif: its voxels are uint16, of which none is -9999"):
        add_volumes(
            [tmp_path / "core.tif"],
            tmp_path / "data",
            options=options,
            segmentation=SegmentationRule(smoothing=1.0, threshold="otsu"),
            licence="none",
            source="noise",
        )
    assert not (tmp_path / "data").exists()
