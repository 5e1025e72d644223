from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    generate_uid,
)

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.dicom import STEP, SYNTAXES, TYPES, write_series, write_slice

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("dtype", TYPES)
def test_a_series_comes_back_in_the_order_of_its_positions(tmp_path, dtype: str, syntax: str) -> None:
    write_series(tmp_path / "a", GREY.astype(dtype), syntax=syntax)
    with open_scan(tmp_path / "a") as source:
        assert source.dtype == dtype
        assert source.voxel_size == pytest.approx(STEP * 1e-3)
        assert np.array_equal(source.read(0, 5), GREY)
        assert np.array_equal(source.read(1, 3), GREY[1:3])


def test_a_file_is_a_volume_of_one_slice(tmp_path) -> None:
    write_slice(tmp_path / "a.dcm", GREY[0].astype(np.uint16), 0)
    assert np.array_equal(read_volume(tmp_path / "a.dcm"), GREY[:1])


def test_slope_and_intercept_of_each_slice_are_applied(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    for i, pixels in enumerate(GREY.astype(np.int16)):
        slope = {"RescaleSlope": str(i + 0.5), "RescaleIntercept": "-1000"}
        write_slice(tmp_path / f"a/{i}.dcm", pixels, i, **slope)
    expected = GREY * (np.arange(5) + 0.5)[:, None, None] - 1000
    assert np.array_equal(read_volume(tmp_path / "a"), expected)


def test_the_padding_value_is_no_data_as_it_is_rescaled(tmp_path) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint16), PixelPaddingValue=7, RescaleSlope="2", RescaleIntercept="-5")
    with open_scan(tmp_path / "a") as source:
        assert source.nodata == 9


def test_slices_without_positions_are_ordered_by_number(tmp_path) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint8), ImagePositionPatient=None, SpacingBetweenSlices=STEP)
    scan = read_scan(tmp_path / "a")
    assert np.array_equal(scan.voxels, GREY)
    assert scan.voxel_size == pytest.approx(STEP * 1e-3)


def test_one_of_several_series_is_named(tmp_path) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint8))
    other = generate_uid(entropy_srcs=["other"])
    for i, pixels in enumerate(GREY.astype(np.uint8)):
        write_slice(tmp_path / f"a/other{i}", pixels + 1, i, SeriesInstanceUID=other)
    with pytest.raises(VolumeError, match="2 DICOM series"):
        read_volume(tmp_path / "a")
    with pytest.raises(VolumeError, match=r"no series '1\.2'"):
        read_volume(tmp_path / "a", dataset="1.2")
    assert np.array_equal(read_volume(tmp_path / "a", dataset=other), GREY + 1)


@pytest.mark.parametrize("has_positions", [True, False])
def test_gaps_and_twins_are_named(tmp_path, has_positions: bool) -> None:
    about = {} if has_positions else {"ImagePositionPatient": None}
    write_series(tmp_path / "a", GREY.astype(np.uint8), **about)
    write_slice(tmp_path / "a/twin", GREY[2].astype(np.uint8), 2, **about)
    with pytest.raises(VolumeError, match=r"(IM0003 and twin|twin and IM0003) are at the same position"):
        read_volume(tmp_path / "a")
    (tmp_path / "a/twin").unlink()
    (tmp_path / "a/IM0002").unlink()
    with pytest.raises(VolumeError, match=r"IM0003 and IM0001 are .* missing between"):
        read_volume(tmp_path / "a")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1"),
        ({"PixelSpacing": [STEP, 2 * STEP]}, "no cubes"),
        ({"PixelSpacing": [2 * STEP, 2 * STEP]}, "no cubes"),
        ({"ImagePositionPatient": None, "InstanceNumber": None}, "order is unknown"),
        ({"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 9}, "range of padding"),
        (
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0, "Columns": 16},
            "3 values",
        ),
    ],
)
def test_a_series_that_is_no_scan_is_refused(tmp_path, about: dict[str, Any], said: str) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint8), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"PixelSpacing": [2 * STEP, 2 * STEP]}, "pixel spacing"),
        ({"ImageOrientationPatient": [0, 1, 0, 1, 0, 0]}, "orientation"),
        ({"ImagePositionPatient": [STEP, 0, 5 * STEP]}, "shifted"),
        ({"ImagePositionPatient": None}, "number of coordinates"),
        ({"Rows": 48, "Columns": 40}, "shape"),
    ],
)
def test_a_slice_unlike_the_others_is_named(tmp_path, about: dict[str, Any], said: str) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint8))
    write_slice(tmp_path / "a/IM0099", GREY[0].astype(np.uint8), 5, **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a")


def test_a_damaged_slice_is_refused(tmp_path) -> None:
    write_series(tmp_path / "a", GREY.astype(np.uint16))
    whole = (tmp_path / "a/IM0001").read_bytes()  # the last slice, whose loss leaves no gap
    for n_bytes in (0, 100, 132, 300, len(whole) // 2, len(whole) - 200, len(whole) - 1):
        (tmp_path / "a/IM0001").write_bytes(whole[:n_bytes])
        with pytest.raises(VolumeError):
            read_volume(tmp_path / "a")
    write_slice(tmp_path / "a.dcm", GREY[0].astype(np.uint16), 0)
    assert_cut_is_refused(tmp_path / "a.dcm")
    assert_changes_are_survived(tmp_path / "a.dcm", 700)
