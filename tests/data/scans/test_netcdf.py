from __future__ import annotations

from pathlib import Path
from typing import Any

import hdf5plugin  # noqa: F401  before netCDF4, behind whose HDF5 its Blosc fails
import netCDF4
import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.netcdf import TYPES, write

GREY = np.random.default_rng(0).integers(0, 120, (6, 40, 48))


def write_blocks(folder: Path, starts: tuple[int, ...], **about: Any) -> None:
    folder.mkdir(exist_ok=True)
    for i, (start, stop) in enumerate(zip(starts, (*starts[1:], len(GREY)), strict=True)):
        block = {"zdim_range": np.int32([start, stop - 1]), "zdim_total": np.int32(6), "number_of_files": len(starts)}
        write(folder / f"block{i:08}.nc", GREY[start:stop].astype(np.int16), **{**block, **about})


@pytest.mark.parametrize(("format", "dtype"), [(format, dtype) for format in TYPES for dtype in TYPES[format]])
def test_a_variable_comes_back_as_it_was_written(tmp_path, format: str, dtype: str) -> None:
    write(tmp_path / "a.nc", GREY.astype(dtype), "grey", format)
    read = read_volume(tmp_path / "a.nc")
    assert read.dtype == dtype
    assert np.array_equal(read, GREY)


@pytest.mark.parametrize("format", TYPES)
@pytest.mark.parametrize(
    ("name", "about", "dtype"),
    [
        ("tomo", {}, "uint16"),
        ("tomo", {"of_value_signed": "false"}, "uint16"),
        ("tomo", {"of_value_signed": "true"}, "int16"),
        ("segmented", {}, "uint8"),
        ("grey", {}, "int16"),
        ("grey", {"of__Unsigned": "true"}, "uint16"),
    ],
)
def test_signed_types_are_read_as_they_are_meant(tmp_path, format: str, name: str, about, dtype: str) -> None:
    voxels = np.random.default_rng(0).integers(0, 2 ** (8 * np.dtype(dtype).itemsize), GREY.shape).astype(dtype)
    write(tmp_path / "a.nc", voxels.view(f"i{voxels.itemsize}"), name, format, **about)
    read = read_volume(tmp_path / "a.nc")
    assert read.dtype == dtype
    assert np.array_equal(read, voxels)


@pytest.mark.parametrize("format", TYPES)
def test_slices_of_an_unlimited_axis_are_read(tmp_path, format: str) -> None:
    write(tmp_path / "a.nc", GREY.astype(np.int16), format=format, n_slices=None)
    with open_scan(tmp_path / "a.nc") as source:
        assert np.array_equal(source.read(2, 4), GREY[2:4])


@pytest.mark.parametrize(
    ("name", "about", "nodata"),
    [
        ("tomo", {}, 65535),
        ("tomo_float", {}, float(np.float32(1e30))),
        ("segmented", {}, 255),
        ("tomo", {"stored": {"fill_value": -2}}, 65534),
        ("grey", {"of_missing_value": np.int16(-9)}, -9),
        ("grey", {}, -32767),
    ],
)
def test_what_is_no_data_is_declared(tmp_path, name: str, about, nodata: float) -> None:
    dtype = {"tomo_float": np.float32, "segmented": np.int8}.get(name, np.int16)
    write(tmp_path / "a.nc", GREY.astype(dtype), name, **about)
    with open_scan(tmp_path / "a.nc") as source:
        assert source.nodata == nodata


@pytest.mark.parametrize(
    ("size", "unit", "metres"),
    [(2.5, "um", 2.5e-6), (0.0025, "mm", 2.5e-6), (60.0, "nm", 6e-8), (1.0, "voxel", None)],
)
def test_a_voxel_size_is_read_in_its_unit(tmp_path, size: float, unit: str, metres: float | None) -> None:
    write(tmp_path / "a.nc", GREY.astype(np.int16), voxel_size_xyz=np.float32([size] * 3), voxel_unit=unit)
    assert read_scan(tmp_path / "a.nc").voxel_size == (None if metres is None else pytest.approx(metres, rel=1e-12))


def test_blocks_are_one_volume_in_order(tmp_path) -> None:
    write_blocks(tmp_path / "tomo_nc", (0, 2, 5), voxel_size_xyz=[2.0] * 3, voxel_unit="um")
    with open_scan(tmp_path / "tomo_nc") as source:
        assert source.voxel_size == pytest.approx(2e-6)
        assert np.array_equal(source.read(0, 6), GREY)
        assert np.array_equal(source.read(1, 3), GREY[1:3])
    with pytest.raises(VolumeError, match="add the folder"):
        read_volume(tmp_path / "tomo_nc/block00000000.nc")


def test_a_missing_or_double_block_is_named(tmp_path) -> None:
    write_blocks(tmp_path / "a", (0, 2, 4))
    (tmp_path / "a/block00000001.nc").unlink()
    with pytest.raises(VolumeError, match="slices 2 and on are missing"):
        read_volume(tmp_path / "a")
    write_blocks(tmp_path / "b", (0, 2, 4))
    (tmp_path / "b/block00000002.nc").unlink()
    with pytest.raises(VolumeError, match=r"4 slices in 2 files that say \[6\]"):
        read_volume(tmp_path / "b")
    write_blocks(tmp_path / "c", (0, 2, 4))
    (tmp_path / "c/copy.nc").write_bytes((tmp_path / "c/block00000001.nc").read_bytes())
    with pytest.raises(VolumeError, match="there twice"):
        read_volume(tmp_path / "c")


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"voxel_size_xyz": [2.0, 2.0, 3.0], "voxel_unit": "um"}, "no cubes"),
        ({"voxel_size_xyz": [2.0] * 3, "voxel_unit": "parsec"}, "parsec"),
        ({"of_scale_factor": 0.5}, "scale_factor"),
        ({"stored": {"chunksizes": (2, 40, 48)}, "n_slices": 9}, "never written"),
        ({"format": "NETCDF3_64BIT_DATA"}, "nccopy"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, about: dict[str, Any], said: str) -> None:
    write(tmp_path / "a.nc", GREY.astype(np.int16), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.nc")


def test_one_of_several_variables_is_named(tmp_path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w") as file:
        for axis, length in zip("zyx", GREY.shape, strict=True):
            file.createDimension(axis, length)
        for name in ("grey", "mask"):
            file.createVariable(name, "i2", tuple("zyx"))[:] = GREY + (name == "mask")
    with pytest.raises(VolumeError, match=r"grey.*mask"):
        read_volume(tmp_path / "a.nc")
    with pytest.raises(VolumeError, match="no variable 'tomo'"):
        read_volume(tmp_path / "a.nc", dataset="tomo")
    assert np.array_equal(read_volume(tmp_path / "a.nc", dataset="grey"), GREY)


@pytest.mark.parametrize("format", TYPES)
def test_a_damaged_file_is_refused(tmp_path, format: str) -> None:
    write(tmp_path / "a.nc", GREY.astype(np.int16), format=format, voxel_size_xyz=[2.0] * 3, voxel_unit="um")
    assert_cut_is_refused(tmp_path / "a.nc")
    assert_changes_are_survived(tmp_path / "a.nc", 300)
