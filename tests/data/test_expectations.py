from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from rockbank.data.checks.suite import CheckResult, check_crops, write_report
from rockbank.data.checks.tables import crop_table, set_table
from rockbank.data.cutting import cut_crops
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry
from rockbank.data.synthetic.channels import channel_crops
from rockbank.data.synthetic.shale import sample_volume
from rockbank.params import ChannelsParams, CheckParams, PrepareParams
from rockbank.rock.crops import CropSet

LIMITS = CheckParams(
    n_min=100, mean=(0.15, 0.85), std_min=0.01, saturated_max=0.25, porosity=(0.01, 0.35), duplicates_max=0.01
)
VOLUME = sample_volume(np.random.default_rng(7), n_slices=6, size=256)
MANIFEST = Manifest(
    volumes=(
        VolumeEntry(
            file="shale.tif",
            voxel_size=60e-9,
            segmentation=SegmentationRule(smoothing=1.5, threshold="otsu"),
            licence="MIT",
            source="synthetic",
            sha256="0" * 64,
        ),
    )
)
PARAMS = PrepareParams(
    size=32,
    n_train=120,
    n_validation=20,
    n_test=40,
    split="strips",
    validation_fraction=0.2,
    test_fraction=0.3,
    block=2,
    seed=1,
)


def intact() -> CropSet:
    return cut_crops({"shale.tif": VOLUME}, MANIFEST, PARAMS)


def with_crops(crops: np.ndarray) -> CropSet:
    return dataclasses.replace(intact(), crops=crops)


def wrong_shape() -> CropSet:
    return with_crops(intact().crops[..., :30, :])


def wrong_type() -> CropSet:
    return with_crops((intact().crops / 255).astype(np.float32))


def absurd_voxel_size() -> CropSet:
    return dataclasses.replace(intact(), voxel_size=60.0)


def out_of_range() -> CropSet:
    return with_crops(intact().crops.astype(np.float32))


def too_dark() -> CropSet:
    return with_crops(intact().crops // 5)


def flat() -> CropSet:
    crops = intact().crops.copy()
    crops[:20] = 118 + np.arange(20)[:, None, None, None].astype(np.uint8)
    return with_crops(crops)


def saturated() -> CropSet:
    crops = intact().crops.copy()
    crops[:, :, :, :12] = 255
    return with_crops(crops)


def holding_nan() -> CropSet:
    crops = (intact().crops / 255).astype(np.float32)
    crops[3, 0, 5, 5] = np.nan
    return with_crops(crops)


def too_porous() -> CropSet:
    segmentation = dataclasses.replace(intact().segmentation, threshold=0.47)
    return dataclasses.replace(intact(), segmentation=segmentation)


def repeated() -> CropSet:
    crops = intact().crops.copy()
    crops[10:20] = crops[9]
    return with_crops(crops)


def leaking() -> CropSet:
    table = intact().table.copy()
    table.loc[140:, ["slice", "row", "column"]] = table.loc[:39, ["slice", "row", "column"]].to_numpy() + 1
    table.loc[140:, "slice"] -= 1
    return dataclasses.replace(intact(), table=table)


def leaking_into_the_choice() -> CropSet:
    table = intact().table.copy()
    table.loc[140:159, ["slice", "row", "column"]] = table.loc[120:139, ["slice", "row", "column"]].to_numpy()
    return dataclasses.replace(intact(), table=table)


def leaking_by_copy() -> CropSet:
    crops = intact().crops.copy()
    crops[150] = crops[5]
    return with_crops(crops)


def too_few() -> CropSet:
    crop_set = intact()
    return dataclasses.replace(crop_set, crops=crop_set.crops[100:], table=crop_set.table[100:].reset_index(drop=True))


FAULTS = [
    (wrong_shape, "crop height is no multiple of 16 pixels: height 180 of 180, such as 30"),
    (wrong_type, "crops are stored in a wrong type: dtype 180 of 180, such as float32"),
    (absurd_voxel_size, "absurd voxel size in metres: voxel_size 60; allowed is 1e-10 to 0.001"),
    (out_of_range, "grey values lie above the scale [0, 1]: max 180 of 180"),
    (too_dark, "crops are too dark or too bright on average: mean 180 of 180"),
    (flat, "crops are flat: std 20 of 180, such as 0"),
    (saturated, "crops are saturated: saturated 180 of 180, such as 0.375"),
    (holding_nan, "crops hold NaN: n_nan 1 of 180, such as 1"),
    (too_porous, "porosity (fraction of the phase after segmentation) is off"),
    (repeated, "too large a fraction of crops has a twin: duplicates 0.06111; allowed is any to 0.01"),
    (leaking, "crops of two splits share pixels: overlapping"),
    (leaking_into_the_choice, "crops of two splits share pixels: overlapping 20"),
    (leaking_by_copy, "crops of two splits are equal: shared 1"),
    (too_few, "too few crops: n 80; allowed is 100 to any"),
]


def check(crop_set: CropSet) -> CheckResult:
    return check_crops(crop_set, {"shale.tif": VOLUME}, LIMITS)


def test_an_intact_set_passes_without_a_warning() -> None:
    result = check(intact())
    assert (result.passed, result.critical, result.warnings) == (True, (), ())


@pytest.mark.parametrize(("broken", "reason"), FAULTS, ids=[fault.__name__ for fault, _ in FAULTS])
def test_a_broken_set_is_refused_with_its_reason(broken, reason: str) -> None:
    result = check(broken())
    assert not result.passed
    assert any(each.startswith(reason) for each in result.critical), result.critical
    assert all(each.count("; ") >= 2 for each in result.critical), "no limit or no remedy"


def test_the_channel_sections_pass_without_a_warning() -> None:
    limits = dataclasses.replace(LIMITS, saturated_max=1.0, porosity=(0.40, 0.62))
    sections = channel_crops(ChannelsParams(n_train=80, n_validation=20, n_test=40, sand_proportion=0.5, seed=2))
    result = check_crops(sections, None, limits)
    assert (result.passed, result.critical, result.warnings) == (True, (), ())


def test_noise_taken_for_pores_is_a_warning() -> None:
    noise = np.random.default_rng(0).integers(40, 220, intact().crops.shape, dtype=np.uint8)
    segmentation = dataclasses.replace(intact().segmentation, smoothing=0.0, threshold=0.3)
    result = check(dataclasses.replace(intact(), crops=noise, segmentation=segmentation))
    assert result.passed
    assert [each.split(":")[0] for each in result.warnings] == ["the phase is more noise than structure"]


def test_a_place_that_another_slice_trains_on_is_a_warning() -> None:
    table = intact().table.copy()
    table.loc[:119, "slice"] = 0
    table.loc[120:, "slice"] = 1
    table.loc[140:, ["row", "column"]] = table.loc[:39, ["row", "column"]].to_numpy()
    result = check(dataclasses.replace(intact(), table=table))
    assert result.passed
    assert "in different slices" in result.warnings[0]


def test_a_volume_of_one_grey_value_is_refused() -> None:
    result = check_crops(intact(), {"shale.tif": np.full_like(VOLUME, 118)}, LIMITS)
    assert any(each.startswith("volumes are flat") for each in result.critical)


def test_crops_too_small_for_the_longest_lag_can_be_checked() -> None:
    assert check(cut_crops({"shale.tif": VOLUME}, MANIFEST, dataclasses.replace(PARAMS, size=16))).passed


def test_overlap_is_that_of_the_pixels_counted_one_by_one() -> None:
    crop_set = leaking()
    crops = crop_table(crop_set)
    size = crop_set.crops.shape[-1]
    trained = np.zeros(VOLUME.shape, bool)
    for each in crop_set.table[crop_set.table["split"] == "train"].itertuples():
        trained[each.slice, each.row : each.row + size, each.column : each.column + size] = True
    test = crop_set.table[crop_set.table["split"] == "test"].itertuples()
    expected = sum(
        trained[each.slice, each.row : each.row + size, each.column : each.column + size].any() for each in test
    )
    assert set_table(crop_set, crops, is_scan=True)["overlapping"].item() == expected > 0


def test_the_report_needs_no_network_and_says_the_verdict(tmp_path) -> None:
    write_report(check(saturated()), tmp_path / "docs")
    pages = {page.name: page.read_text(encoding="utf-8") for page in (tmp_path / "docs").iterdir()}
    assert set(pages) == {"index.html", "crops.html", "set.html", "volumes.html"}
    assert "refused" in pages["index.html"]
    assert "crops are saturated" in pages["index.html"]
    for page in pages.values():
        assert not re.search(r"https?://", page)


def test_equal_sets_give_equal_results_and_pages(tmp_path) -> None:
    results = [check(intact()), check(intact())]
    assert json.dumps(results[0].to_json(), allow_nan=False) == json.dumps(results[1].to_json(), allow_nan=False)
    for result, name in zip(results, ("one", "two"), strict=True):
        write_report(result, tmp_path / name)
    for page in (tmp_path / "one").iterdir():
        assert page.read_bytes() == (tmp_path / "two" / page.name).read_bytes()
