from __future__ import annotations

import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.itk import TYPES, write_metaimage, write_nrrd

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["a.mhd", "a.mha"])
def test_a_metaimage_comes_back_as_it_was_written(tmp_path, name: str, dtype: str, order: str) -> None:
    write_metaimage(tmp_path / name, GREY.astype(np.dtype(dtype).newbyteorder(order)))
    read = read_volume(tmp_path / name)
    assert read.dtype == dtype
    assert np.array_equal(read, GREY)


@pytest.mark.parametrize("name", ["a.mhd", "a.mha"])
@pytest.mark.parametrize(
    ("values", "about"),
    [
        (lambda voxels: zlib.compress(voxels.tobytes()), {"CompressedData": "True"}),
        (lambda voxels: " ".join(map(str, [*voxels.ravel(), ""])).encode(), {"BinaryData": "False"}),
    ],
)
def test_a_compressed_or_textual_metaimage_comes_back(tmp_path, name: str, values, about: dict[str, str]) -> None:
    voxels = GREY.astype(np.int16)
    write_metaimage(tmp_path / name, voxels, values(voxels), **about)
    with open_scan(tmp_path / name) as source:
        assert np.array_equal(source.read(1, 3), GREY[1:3])
        assert np.array_equal(source.read(3, 5), GREY[3:])


@pytest.mark.parametrize("header_size", [64, -1])
def test_a_metaimage_of_a_raw_file_with_a_header_comes_back(tmp_path, header_size: int) -> None:
    voxels = GREY.astype(">u2")
    write_metaimage(tmp_path / "a.mhd", voxels, bytes(64) + voxels.tobytes(), HeaderSize=header_size)
    assert np.array_equal(read_volume(tmp_path / "a.mhd"), GREY)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr"])
def test_an_nrrd_comes_back_as_it_was_written(tmp_path, name: str, dtype: str, encoding: str) -> None:
    write_nrrd(tmp_path / name, GREY.astype(dtype), encoding=encoding)
    read = read_volume(tmp_path / name)
    assert read.dtype == dtype
    assert np.array_equal(read, GREY)


def test_an_encoding_that_is_not_read_is_named(tmp_path) -> None:
    write_nrrd(tmp_path / "a.nrrd", GREY.astype(np.uint8), encoding="bzip2")
    with pytest.raises(VolumeError, match=r"a\.nrrd: encoding: bzip2 is not read; write it as raw or gzip$"):
        read_volume(tmp_path / "a.nrrd")


def test_a_big_endian_nrrd_comes_back(tmp_path) -> None:
    write_nrrd(tmp_path / "a.nrrd", GREY.astype(">u2"), encoding="raw", endian="big")
    assert np.array_equal(read_volume(tmp_path / "a.nrrd"), GREY)


@pytest.mark.parametrize("name", ["a.mhd", "a.mha", "a.nrrd", "a.nhdr"])
def test_an_image_is_a_volume_of_one_slice(tmp_path, name: str) -> None:
    (write_metaimage if "m" in name else write_nrrd)(tmp_path / name, GREY[0].astype(np.uint8))
    assert np.array_equal(read_volume(tmp_path / name), GREY[:1])


@pytest.mark.parametrize(
    ("about", "size"),
    [
        ({}, None),
        ({"ElementSpacing": "1 1 1"}, None),
        ({"ElementSpacing": "0.006 0.006 0.006"}, 6e-6),
        ({"ElementSpacing": "6 6 6", "DistanceUnits": "um"}, 6e-6),
        ({"ElementSpacing": "1 1 1", "DistanceUnits": "um"}, 1e-6),
    ],
)
def test_a_metaimage_has_its_voxel_size(tmp_path, about: dict[str, str], size: float | None) -> None:
    write_metaimage(tmp_path / "a.mha", GREY.astype(np.uint8), **about)
    assert read_scan(tmp_path / "a.mha").voxel_size == (None if size is None else pytest.approx(size))


@pytest.mark.parametrize(
    ("about", "size"),
    [
        ({}, None),
        ({"spacings": [6.0] * 3}, None),
        ({"spacings": [6.0] * 3, "units": ["um"] * 3}, 6e-6),
        ({"space dimension": 3, "space directions": np.eye(3) * 6, "space units": ["um"] * 3}, 6e-6),
        ({"space": "left-posterior-superior", "space directions": np.eye(3) * 0.006}, 6e-6),
    ],
)
def test_an_nrrd_has_its_voxel_size(tmp_path, about: dict[str, object], size: float | None) -> None:
    write_nrrd(tmp_path / "a.nrrd", GREY.astype(np.uint8), **about)
    assert read_scan(tmp_path / "a.nrrd").voxel_size == (None if size is None else pytest.approx(size))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"ElementSpacing": "0.006 0.006 0.012"}, "no cubes"),
        ({"ElementSpacing": "6 6 6"}, "DistanceUnits"),
        ({"ElementSpacing": "6 6 6", "DistanceUnits": "parsec"}, "parsec"),
        ({"ElementNumberOfChannels": 2, "DimSize": "24 40 5"}, "2 values"),
        ({"DimSize": "48 40 6"}, "need 11520"),
        ({"DimSize": "48 40 4"}, "need 7680"),
        ({"DimSize": "48 -40 5"}, "a.mha"),
        ({"DimSize": "480000 400000 500000"}, "a.mha"),
    ],
)
def test_a_metaimage_that_is_no_scan_is_refused(tmp_path, about: dict[str, object], said: str) -> None:
    write_metaimage(tmp_path / "a.mha", GREY.astype(np.uint8), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.mha")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"spacings": [6.0, 6.0, 7.0], "units": ["um"] * 3}, "no cubes"),
        ({"spacings": [6.0, 6.0, 7.0]}, "no cubes"),
        ({"spacings": [6.0] * 3, "units": ["um", "um", "mm"]}, "'mm', 'um'"),
        ({"space": "left-posterior-superior", "space directions": np.eye(3) * 6}, "space units"),
    ],
)
def test_an_nrrd_that_is_no_scan_is_refused(tmp_path, about: dict[str, object], said: str) -> None:
    write_nrrd(tmp_path / "a.nrrd", GREY.astype(np.uint8), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.nrrd")


def test_a_header_without_its_values_is_refused(tmp_path) -> None:
    write_metaimage(tmp_path / "a.mhd", GREY.astype(np.uint8))
    write_nrrd(tmp_path / "b.nhdr", GREY.astype(np.uint8), encoding="raw")
    (tmp_path / "a.raw").unlink()
    (tmp_path / "b.raw").unlink()
    for name in ("a.mhd", "b.nhdr"):
        with pytest.raises(VolumeError, match="beside it"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize("is_absolute", [False, True])
def test_values_outside_the_headers_folder_are_refused(tmp_path, is_absolute: bool) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    write_metaimage(folder / "a.mhd", GREY.astype(np.uint8))
    write_nrrd(folder / "b.nhdr", GREY.astype(np.uint8), encoding="raw")
    for name in ("a.mhd", "b.nhdr"):
        values, header = Path(name).with_suffix(".raw").name, folder / name
        (folder / values).rename(tmp_path / values)
        named = str(tmp_path / values) if is_absolute else f"../{values}"
        header.write_text(header.read_text().replace(values, named))
        with pytest.raises(VolumeError, match="outside the folder; copy that beside it"):
            read_volume(header)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_damaged_metaimage_is_refused(tmp_path, name: str, is_compressed: bool) -> None:
    voxels = GREY.astype(np.uint16)
    values = zlib.compress(voxels.tobytes()) if is_compressed else None
    write_metaimage(tmp_path / name, voxels, values, CompressedData=is_compressed)
    assert_cut_is_refused(tmp_path / name, (tmp_path / name).with_suffix(".mha" if name == "a.mha" else ".raw"))
    assert_changes_are_survived(tmp_path / name, 150)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "ascii"])
def test_a_damaged_nrrd_is_refused(tmp_path, encoding: str) -> None:
    write_nrrd(tmp_path / "a.nrrd", GREY.astype(np.uint16) + 1000, encoding=encoding)
    assert_cut_is_refused(tmp_path / "a.nrrd")
    assert_changes_are_survived(tmp_path / "a.nrrd", 250)


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.mha", "SimpleITK"), ("a.nrrd", "SimpleITK"), ("a.dcm", "SimpleITK"), ("a.txm", "olefile"), ("a.zip", "zarr")],
)
def test_a_package_that_is_absent_is_named_with_its_extra(tmp_path, monkeypatch, name: str, package: str) -> None:
    write_metaimage(tmp_path / "a.mha", GREY.astype(np.uint8))
    (tmp_path / "a.mha").rename(tmp_path / name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(VolumeError, match=rf"'{package}', which is not installed.*rockbank\[scans\]"):
        read_volume(tmp_path / name)
