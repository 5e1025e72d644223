from __future__ import annotations

import struct

import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.compound import write_compound
from tools.scan_writers.xradia import DATA_TYPES, streams_of, write

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))


@pytest.mark.parametrize("dtype", DATA_TYPES)
def test_a_reconstruction_comes_back_with_its_voxel_size(tmp_path, dtype: str) -> None:
    write(tmp_path / "a.txm", GREY.astype(dtype))
    with open_scan(tmp_path / "a.txm") as source:
        assert source.dtype == dtype
        assert source.voxel_size == pytest.approx(6e-8, rel=1e-12)
        assert np.array_equal(source.read(0, 5), GREY)
        assert np.array_equal(source.read(2, 4), GREY[2:4])


def test_more_than_a_hundred_slices_are_in_order(tmp_path) -> None:
    voxels = np.random.default_rng(0).integers(0, 256, (205, 32, 32)).astype(np.uint8)
    write(tmp_path / "a.txm", voxels)
    assert np.array_equal(read_volume(tmp_path / "a.txm"), voxels)


def test_a_file_without_a_pixel_size_has_none(tmp_path) -> None:
    write(tmp_path / "a.txm", GREY.astype(np.uint16), PixelSize=None, Angles=None)
    assert read_scan(tmp_path / "a.txm").voxel_size is None


def test_projections_are_refused_with_their_number_and_angles(tmp_path) -> None:
    angles = np.linspace(-90, 90, 5, dtype="<f4").tobytes()
    for name in ("a.txrm", "b.txm"):
        write(tmp_path / name, GREY.astype(np.uint16), Angles=angles)
        with pytest.raises(VolumeError, match="5 projections at angles of -90 to 90 degrees"):
            read_volume(tmp_path / name)


def test_slices_may_keep_the_angles_of_their_projections(tmp_path) -> None:
    streams = streams_of(GREY.astype(np.uint16), Angles=np.linspace(-90, 90, 5, dtype="<f4").tobytes())
    write_compound(tmp_path / "a.txm", {**streams, "ReconSettings/CenterShift": bytes(4)})
    assert np.array_equal(read_volume(tmp_path / "a.txm"), GREY)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"NoOfImages": struct.pack("<i", 6)}, "1 of 6 slices are missing, the first is ImageData1/Image6"),
        ({"NoOfImages": struct.pack("<i", 4)}, "says 4 slices, but has 5"),
        ({"ImageWidth": struct.pack("<i", 40)}, "3840 bytes in ImageData1/Image1 where a slice needs 3200"),
        ({"ImageHeight": None}, "ImageInfo/ImageHeight"),
        ({"DataType": struct.pack("<i", 8)}, "type 8"),
        ({"DataType": b""}, "empty"),
        ({"PixelSize": struct.pack("<f", 0)}, "voxels of x 0"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, about: dict[str, bytes | None], said: str) -> None:
    write(tmp_path / "a.txm", GREY.astype(np.uint16), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.txm")


def test_a_missing_slice_is_named(tmp_path) -> None:
    streams = streams_of(GREY.astype(np.uint16))
    del streams["ImageData1/Image3"]
    write_compound(tmp_path / "a.txm", streams)
    with pytest.raises(VolumeError, match="the first is ImageData1/Image3"):
        read_volume(tmp_path / "a.txm")


@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_a_damaged_file_is_refused(tmp_path, dtype: str) -> None:
    write(tmp_path / "a.txm", GREY.astype(dtype))
    assert_cut_is_refused(tmp_path / "a.txm")
    assert_changes_are_survived(tmp_path / "a.txm", 512)
