from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from rockbank.data.checks.limits import broken
from rockbank.data.checks.rules import crop_rules, set_rules, volume_rules
from rockbank.data.checks.suite import check_crops
from rockbank.data.checks.tables import crop_table, set_table, volume_table
from rockbank.data.cutting import cut_crops, resolve_whole
from rockbank.data.description import describe
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry
from rockbank.data.preview import Limits, preview
from rockbank.data.stored import Volume
from rockbank.data.synthetic.shale import sample_volume
from rockbank.params import CheckParams, PrepareParams
from rockbank.rock.correlation import two_point_correlation
from rockbank.rock.crops import to_intensity
from rockbank.rock.segmentation import segment

GREY = sample_volume(np.random.default_rng(5), n_slices=2, size=256)
RULE = SegmentationRule(smoothing=1.5, threshold="otsu")
ENTRY = VolumeEntry(file="a.tif", voxel_size=60e-9, segmentation=RULE, licence="MIT", source="a test", sha256="0" * 64)
MANIFEST = Manifest(volumes=(ENTRY,))
LIMITS = Limits(
    prepare=PrepareParams(
        size=32,
        n_train=300,
        n_validation=50,
        n_test=90,
        split="blocks",
        validation_fraction=0.1,
        test_fraction=0.25,
        block=2,
        seed=1,
    ),
    check=CheckParams(
        n_min=100, mean=(0.15, 0.85), std_min=0.01, saturated_max=0.25, porosity=(0.001, 0.35), duplicates_max=0.01
    ),
)


def dark(grey: np.ndarray) -> np.ndarray:
    return grey // 8


def with_margin(grey: np.ndarray) -> np.ndarray:
    out = grey.copy()
    out[:, :, :60] = 0
    return out


def clipped(grey: np.ndarray) -> np.ndarray:
    return np.where(grey > 120, 255, grey).astype(np.uint8)


def test_a_good_scan_has_nothing_to_be_said_of() -> None:
    found = preview(Volume.of(GREY), MANIFEST, LIMITS)
    assert found.passed
    assert found.critical == found.of_set == ()


@pytest.mark.parametrize(
    ("fault", "says"),
    [(dark, "too dark or too bright"), (with_margin, "crops are flat"), (clipped, "crops are saturated")],
)
def test_a_scan_that_the_check_would_refuse_is_told_at_once(fault, says: str) -> None:
    found = preview(Volume.of(fault(GREY)), MANIFEST, LIMITS)
    assert any(says in each for each in found.critical), found.critical


def test_porosity_is_that_of_the_set_and_can_be_changed_later() -> None:
    bright = replace(ENTRY, segmentation=SegmentationRule(smoothing=1.5, threshold=0.9))
    found = preview(Volume.of(GREY), Manifest(volumes=(bright,)), LIMITS)
    assert found.critical == ()
    assert found.of_set[0].startswith("porosity")
    assert not found.passed


def test_what_prepare_could_not_cut_is_a_warning() -> None:
    small = preview(Volume.of(GREY[:, :40, :40]), MANIFEST, LIMITS)
    assert any("'prepare' would stop" in each and "too few" in each for each in small.warnings)
    tiny = preview(Volume.of(GREY[:, :20, :20]), MANIFEST, LIMITS)
    assert tiny.crops is None
    assert any("less than a crop of 32" in each for each in tiny.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [dark, with_margin, clipped])
def test_the_words_are_those_of_great_expectations(fault) -> None:
    """The check's own verdict on the same tables is the reference."""
    volumes = {"a.tif": fault(GREY)}
    crop_set = cut_crops(volumes, MANIFEST, LIMITS.prepare)
    check = replace(LIMITS.check, porosity=(0.9, 1.0))
    result = check_crops(crop_set, volumes, check)
    crops = crop_table(crop_set)
    tables = [
        (crops, crop_rules(check)),
        (set_table(crop_set, crops, is_scan=True), set_rules(check, is_scan=True)),
        (volume_table(volumes, crop_set.voxel_size), volume_rules()),
    ]
    found = [each for table, rules in tables for each in broken(table, rules)]
    assert [reason for rule, reason in found if rule.severity == "critical"] == list(result.critical)
    assert [reason for rule, reason in found if rule.severity == "warning"] == list(result.warnings)
    assert result.critical


def test_empty_cells_are_left_out() -> None:
    rules = [rule for rule in crop_rules(LIMITS.check) if rule.arguments["column"] == "s2_16"]
    assert broken(pd.DataFrame({"s2_16": [0.5, np.nan]}), rules) == []
    assert len(broken(pd.DataFrame({"s2_16": [1.5, np.nan]}), rules)) == 1


def test_a_description_is_that_of_the_segmented_volume() -> None:
    volume = Volume.of(GREY)
    segmentation = resolve_whole(volume, RULE)
    crops = preview(volume, MANIFEST, LIMITS).crops
    described = describe(volume, segmentation, crops)
    pores = segment(to_intensity(GREY)[:, None], segmentation)
    assert described.porosity_mean == pytest.approx(pores.mean(), rel=1e-12)
    for i, axis in enumerate(("slice", "row", "column")):
        others = tuple(j for j in range(3) if j != i)
        assert described.porosity[axis] == pytest.approx(pores.mean(axis=others), rel=1e-12)
    assert np.array_equal(described.histogram, np.bincount(GREY.ravel(), minlength=256))
    assert np.array_equal(described.sections["row"], GREY[:, 128])
    assert np.array_equal(described.sections["column"], GREY[:, :, 128])
    assert crops is not None
    of_crops = segment(to_intensity(crops.crops), segmentation)
    # Crops' S2 is summed in single precision.
    expected = np.mean([two_point_correlation(each) for each in of_crops], axis=0)
    assert described.s2 == pytest.approx(expected, abs=1e-6)


def test_a_description_leaves_out_what_is_no_rock() -> None:
    rock = np.zeros(GREY.shape[1:], bool)
    rock[40:200, 50:220] = True
    masked = replace(Volume.of(np.where(rock, GREY, 0).astype(np.uint8)), rock=lambda i: rock)
    inside = Volume.of(GREY[:, 40:200, 50:220])
    segmentation = resolve_whole(masked, RULE)
    assert segmentation.threshold == pytest.approx(resolve_whole(inside, RULE).threshold, abs=2 / 255)
    described = describe(masked, segmentation, None)
    assert described.histogram.sum() == 2 * rock.sum()
    assert np.isnan(described.porosity["row"][0])
    # At the rim a mirrored image and a mean over the rock alone differ a little.
    assert described.porosity_mean == pytest.approx(describe(inside, segmentation, None).porosity_mean, abs=0.01)
