from __future__ import annotations

import struct

import h5py
import hdf5plugin  # noqa: F401  before netCDF4, behind whose HDF5 its Blosc fails
import netCDF4
import numpy as np
import pytest
import scipy.io

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.matlab import write_mat5, write_mat73

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_of_version_5_comes_back(tmp_path, dtype: str, is_compressed: bool, order: str) -> None:
    write_mat5(tmp_path / "a.mat", GREY.astype(np.dtype(dtype).newbyteorder(order)), is_compressed=is_compressed)
    read = read_volume(tmp_path / "a.mat")
    assert read.dtype == dtype
    assert np.array_equal(read, GREY)


def test_doubles_that_are_stored_as_bytes_come_back_as_doubles(tmp_path) -> None:
    write_mat5(tmp_path / "a.mat", GREY.astype(np.float64), stored="uint8")
    read = read_volume(tmp_path / "a.mat")
    assert read.dtype == np.float64
    assert np.array_equal(read, GREY)


@pytest.mark.parametrize("how", [{}, {"chunks": (16, 16, 2), "compression": "gzip"}])
@pytest.mark.parametrize("dtype", TYPES)
def test_an_array_of_version_73_comes_back(tmp_path, dtype: str, how: dict[str, object]) -> None:
    write_mat73(tmp_path / "a.mat", GREY.astype(dtype), **how)
    with open_scan(tmp_path / "a.mat") as source:
        assert source.dtype == dtype
        assert np.array_equal(source.read(0, 5), GREY)
        assert np.array_equal(source.read(2, 4), GREY[2:4])


def test_an_array_of_version_73_by_another_program_comes_back(tmp_path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for axis, length in zip("xyz", GREY.T.shape, strict=True):
            file.createDimension(axis, length)
        variable = file.createVariable("grey", "u2", tuple("xyz"))
        variable[:] = GREY.T
        variable.MATLAB_class = "uint16"
    (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + (tmp_path / "a.nc").read_bytes())
    assert np.array_equal(read_volume(tmp_path / "a.mat"), GREY)


def test_an_image_is_a_volume_of_one_slice(tmp_path) -> None:
    write_mat5(tmp_path / "a.mat", GREY[0].astype(np.uint8))
    write_mat73(tmp_path / "b.mat", GREY[0].astype(np.uint8))
    for name in ("a.mat", "b.mat"):
        assert np.array_equal(read_volume(tmp_path / name), GREY[:1])


def test_a_volume_is_found_among_numbers_and_texts(tmp_path) -> None:
    others = {"pixel": 2.5, "sample": "shale", "angles": np.arange(9.0), "transform": np.eye(4)}
    scipy.io.savemat(tmp_path / "a.mat", {"grey": GREY.astype(np.uint8), **others})
    assert np.array_equal(read_volume(tmp_path / "a.mat"), GREY)
    scipy.io.savemat(tmp_path / "b.mat", {"grey": GREY.astype(np.uint8), "other": GREY.astype(np.uint8) + 1})
    with pytest.raises(VolumeError, match=r"2 arrays .*grey.*other"):
        read_volume(tmp_path / "b.mat")
    assert np.array_equal(read_volume(tmp_path / "b.mat", dataset="grey"), GREY)
    with pytest.raises(VolumeError, match="no array 'scan'"):
        read_volume(tmp_path / "b.mat", dataset="scan")


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (GREY > 60, "logical"),
        (GREY + 1j, "complex"),
        (GREY.astype(np.int64), "int64"),
        (np.array([[GREY]], dtype=object), "0 arrays"),
        (GREY[None].astype(np.uint8), "0 arrays"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, voxels: np.ndarray, said: str) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"grey": voxels})
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.mat")


def test_what_is_no_scan_is_refused_in_version_73(tmp_path) -> None:
    write_mat73(tmp_path / "a.mat", (GREY > 60).astype(np.uint8), kind="logical")
    with pytest.raises(VolumeError, match="logical"):
        read_volume(tmp_path / "a.mat", dataset="grey")
    with h5py.File(tmp_path / "b.mat", "w", userblock_size=512) as file:
        file.create_dataset("grey", GREY.shape[::-1], "u1", chunks=(48, 40, 1)).attrs["MATLAB_class"] = np.bytes_(
            "uint8"
        )
    with pytest.raises(VolumeError, match="never written"):
        read_volume(tmp_path / "b.mat")


@pytest.mark.parametrize(
    ("at", "value"),
    [(192, 43522), (192, 14), (196, 9599), (196, 9601)],  # where the values' type is, and how many bytes they are
)
def test_values_of_no_type_or_of_another_length_are_refused(tmp_path, at: int, value: int) -> None:
    write_mat5(tmp_path / "a.mat", GREY.astype(np.uint8))
    changed = bytearray((tmp_path / "a.mat").read_bytes())
    changed[at : at + 4] = struct.pack("<I", value)
    (tmp_path / "a.mat").write_bytes(changed)
    with pytest.raises(VolumeError, match="in 'grey', whose dimensions are"):
        read_volume(tmp_path / "a.mat")


def test_two_arrays_of_one_name_are_refused(tmp_path) -> None:
    write_mat5(tmp_path / "a.mat", GREY.astype(np.uint8))
    whole = (tmp_path / "a.mat").read_bytes()
    (tmp_path / "a.mat").write_bytes(whole + whole[128:])
    with pytest.raises(VolumeError, match="same name"):
        read_volume(tmp_path / "a.mat")


@pytest.mark.parametrize("version", ["5", "7", "7.3"])
def test_a_damaged_file_is_refused(tmp_path, version: str) -> None:
    voxels = GREY.astype(np.uint16)
    if version == "7.3":
        write_mat73(tmp_path / "a.mat", voxels)
    else:
        write_mat5(tmp_path / "a.mat", voxels, is_compressed=version == "7")
    assert_cut_is_refused(tmp_path / "a.mat")
    assert_changes_are_survived(tmp_path / "a.mat", 200)
