from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.cutting import cut_crops, cut_whole
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry, VolumeError
from rockbank.data.regions import split_regions
from rockbank.data.synthetic.shale import sample_volume
from rockbank.params import PrepareParams
from rockbank.rock.crops import SPLITS, load_crops, save_crops, to_intensity
from rockbank.rock.segmentation import otsu_threshold, segment, smooth

GREY = sample_volume(np.random.default_rng(5), n_slices=2, size=160)
OTSU = SegmentationRule(smoothing=1.5, threshold="otsu")
BLOCKS = PrepareParams(
    size=16,
    n_train=300,
    n_validation=80,
    n_test=90,
    split="blocks",
    validation_fraction=0.2,
    test_fraction=0.3,
    block=2,
    seed=1,
)
STRIPS = replace(BLOCKS, split="strips")


def entry(file: str) -> VolumeEntry:
    digest = hashlib.sha256(file.encode()).hexdigest()
    return VolumeEntry(file=file, voxel_size=60e-9, segmentation=OTSU, licence="MIT", source="a test", sha256=digest)


ONE = Manifest(volumes=(entry("a.tif"),))


def two_volumes() -> tuple[dict[str, np.ndarray], Manifest]:
    volumes = {"a.tif": GREY, "b.tif": GREY[:1, :100, ::-1].copy()}
    return volumes, Manifest(volumes=(entry("a.tif"), entry("b.tif")))


def painted(volumes: dict[str, np.ndarray], params: PrepareParams) -> dict[str, dict[str, np.ndarray]]:
    """The pixels of each split's crops, by volume."""
    _, manifest = two_volumes()
    table = cut_crops(volumes, manifest, params).table
    paint = {split: {name: np.zeros(v.shape, bool) for name, v in volumes.items()} for split in SPLITS}
    for at in table.itertuples():
        paint[at.split][at.volume][at.slice, at.row : at.row + params.size, at.column : at.column + params.size] = True
    return paint


@pytest.mark.parametrize("params", [BLOCKS, STRIPS])
def test_a_crop_is_what_lies_at_its_place(params: PrepareParams) -> None:
    volumes, manifest = two_volumes()
    crop_set = cut_crops(volumes, manifest, params)
    assert crop_set.crops.shape == (470, 1, 16, 16)
    assert list(crop_set.table.columns) == ["split", "volume", "slice", "row", "column", "seed"]
    assert [len(crop_set.train), len(crop_set.validation), len(crop_set.test)] == [300, 80, 90]
    assert set(crop_set.table["volume"]) == {"a.tif", "b.tif"}
    for crop, at in zip(crop_set.crops, crop_set.table.itertuples(), strict=True):
        there = volumes[at.volume][at.slice, at.row : at.row + 16, at.column : at.column + 16]
        assert np.array_equal(crop[0], there)


@pytest.mark.parametrize("params", [BLOCKS, STRIPS])
def test_no_place_is_in_two_splits_in_any_slice(params: PrepareParams) -> None:
    volumes, _ = two_volumes()
    paint = painted(volumes, params)
    for name in volumes:
        per_split = np.stack([paint[split][name].any(axis=0) for split in SPLITS])
        assert per_split.any(axis=(1, 2)).all()
        assert per_split.sum(axis=0).max() == 1


def test_a_crop_lies_within_one_block_and_all_blocks_are_cut_from() -> None:
    volumes, manifest = two_volumes()
    params = replace(BLOCKS, n_train=2000, n_validation=600, n_test=900)
    table = cut_crops(volumes, manifest, params).table
    for i_volume, (name, voxels) in enumerate(volumes.items()):
        for split, blocks in split_regions(name, voxels, params, i_volume).items():
            crops = table[(table["volume"] == name) & (table["split"] == split)]
            is_inside = np.stack(
                [
                    (crops["row"] >= at.row)
                    & (crops["column"] >= at.column)
                    & (crops["row"] + params.size <= at.row + at.n_rows)
                    & (crops["column"] + params.size <= at.column + at.n_columns)
                    for at in blocks
                ]
            )
            assert is_inside.any(axis=0).all()
            assert is_inside.any(axis=1).all()


def test_every_position_is_drawn_at_most_once_and_each_can_be() -> None:
    grey = GREY[:1, :19, :80]
    params = replace(STRIPS, n_train=100, n_validation=1, n_test=4)  # 40 of 80 columns, 4 x 25 corners
    with pytest.raises(VolumeError, match="100 positions for 101 train crops"):
        cut_crops({"a.tif": grey}, ONE, replace(params, n_train=101))
    table = cut_crops({"a.tif": grey}, ONE, params).table
    assert not table.duplicated(["volume", "slice", "row", "column"]).any()
    trained = table[table["split"] == "train"]
    assert set(zip(trained["row"], trained["column"], strict=True)) == {(r, c) for r in range(4) for c in range(25)}


@pytest.mark.parametrize("params", [BLOCKS, STRIPS])
def test_more_crops_of_one_split_leave_those_of_the_others_alone(params: PrepareParams) -> None:
    volumes, manifest = two_volumes()
    few = cut_crops(volumes, manifest, params)
    more = cut_crops(volumes, manifest, replace(params, n_train=400))
    again = cut_crops(volumes, manifest, params)
    other = cut_crops(volumes, manifest, replace(params, seed=2))
    assert np.array_equal(few.validation, more.validation)
    assert np.array_equal(few.test, more.test)
    assert np.array_equal(few.crops, again.crops)
    for split in SPLITS:
        assert not np.array_equal(getattr(few, split), getattr(other, split))


@pytest.mark.parametrize("params", [BLOCKS, STRIPS])
def test_otsu_is_resolved_on_the_smoothed_training_regions_alone(params: PrepareParams) -> None:
    segmentation = cut_crops({"a.tif": GREY}, ONE, params).segmentation
    regions = split_regions("a.tif", GREY, params, 0)
    parts = []
    for at in regions["train"]:
        parts += [
            to_intensity(each[at.row : at.row + at.n_rows, at.column : at.column + at.n_columns]) for each in GREY
        ]
    values = np.concatenate([smooth(part, 1.5).ravel() for part in parts])
    # Round-off of float32 only: 1e-6.
    assert segmentation.threshold == pytest.approx(otsu_threshold(values), abs=1e-6)


def test_the_test_strip_has_no_part_in_the_threshold() -> None:
    blinded = GREY.copy()
    blinded[..., 80:] = 255  # 0.5 of 160 columns are validation and test
    one, other = (cut_crops({"a.tif": grey}, ONE, STRIPS) for grey in (GREY, blinded))
    assert one.segmentation == other.segmentation


def test_an_explicit_threshold_is_kept() -> None:
    rule = SegmentationRule(smoothing=2.0, threshold=0.4)
    manifest = Manifest(volumes=(replace(entry("a.tif"), segmentation=rule),))
    segmentation = cut_crops({"a.tif": GREY}, manifest, BLOCKS).segmentation
    assert (segmentation.smoothing, segmentation.threshold, segmentation.phase) == (2.0, 0.4, "below")


def test_a_whole_scan_is_cut_from_corner_to_corner() -> None:
    grey = GREY[:, :20, :24]
    crop_set = cut_whole({"a.tif": grey}, ONE, size=16, n=2 * 5 * 9, seed=3)
    corners = set(zip(crop_set.table["slice"], crop_set.table["row"], crop_set.table["column"], strict=True))
    assert corners == {(s, r, c) for s in range(2) for r in range(5) for c in range(9)}
    with pytest.raises(VolumeError, match=r"a\.tif: its slices are 20 x 24 pixels, less than a crop of 32"):
        cut_whole({"a.tif": grey}, ONE, size=32, n=1, seed=3)


def test_a_crop_set_comes_back_from_its_folder(tmp_path: Path) -> None:
    volumes, manifest = two_volumes()
    crop_set = cut_crops(volumes, manifest, BLOCKS)
    save_crops(tmp_path / "crops", crop_set)
    loaded = load_crops(tmp_path / "crops")
    assert np.array_equal(loaded.crops, crop_set.crops)
    assert loaded.segmentation == crop_set.segmentation
    assert loaded.scans == crop_set.scans == {each.file: each.sha256 for each in manifest.volumes}
    assert loaded.table.equals(crop_set.table.rename_axis("crop"))
    assert 0.02 < segment(to_intensity(loaded.crops), loaded.segmentation).mean() < 0.2
