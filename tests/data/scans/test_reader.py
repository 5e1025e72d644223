from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume

GREY = np.random.default_rng(0).integers(0, 200, (5, 40, 48))
INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")


def write_raw(path: Path, voxels: np.ndarray, **about: object) -> None:
    voxels.tofile(path)
    path.with_suffix(".json").write_text(json.dumps({"shape": voxels.shape, "dtype": voxels.dtype.name, **about}))


def write_hdf5(path: Path, voxels: np.ndarray, name: str = "scan/grey") -> None:
    with h5py.File(path, "w") as file:
        file[name] = voxels
        file["scan/angles"] = np.zeros(5)


WRITERS: dict[str, Callable[[Path, np.ndarray], object]] = {
    "a.tif": tifffile.imwrite,
    "b.TIFF": lambda path, voxels: tifffile.imwrite(path, voxels, compression="zlib", photometric="minisblack"),
    "c.npy": np.save,
    "d.h5": write_hdf5,
    "e.hdf5": write_hdf5,
    "f.raw": write_raw,
}


@pytest.mark.parametrize("dtype", [*INTEGERS, "float32"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_volume_comes_back_as_it_was_written(tmp_path, name: str, dtype: str) -> None:
    voxels = (GREY - 100 * (dtype == "int8")).astype(dtype)
    WRITERS[name](tmp_path / name, voxels)
    read = read_volume(tmp_path / name)
    assert read.dtype == dtype
    assert np.array_equal(read, voxels)


@pytest.mark.parametrize("name", WRITERS)
def test_an_image_is_a_volume_of_one_slice(tmp_path, name: str) -> None:
    WRITERS[name](tmp_path / name, GREY[0].astype(np.uint8))
    assert np.array_equal(read_volume(tmp_path / name), GREY[:1])


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_png_comes_back_as_it_was_written(tmp_path, dtype: str) -> None:
    Image.fromarray(GREY[0].astype(dtype)).save(tmp_path / "a.png")
    read = read_volume(tmp_path / "a.png")
    assert read.dtype == dtype
    assert np.array_equal(read[0], GREY[0])


def test_an_lzw_tiff_is_read(tmp_path) -> None:
    pages = [Image.fromarray(each.astype(np.uint8)) for each in GREY]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    assert np.array_equal(read_volume(tmp_path / "a.tif"), GREY)


def test_a_big_endian_raw_file_is_read_with_its_voxel_size(tmp_path) -> None:
    write_raw(tmp_path / "a.raw", GREY.astype(">u2"), dtype="uint16", byte_order="big", voxel_size=6e-8)
    scan = read_scan(tmp_path / "a.raw")
    assert np.array_equal(scan.voxels, GREY)
    assert scan.voxel_size == 6e-8


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_a_raw_file_is_read_by_its_type_byte_order_and_offset(tmp_path, kind: str, order: str) -> None:
    sign = {"little": "<", "big": ">"}[order]
    values = GREY.astype(f"{sign}{kind}")
    for about in ({"dtype": f"{sign}{kind}"}, {"dtype": kind, "byte_order": order}):
        (tmp_path / "a.raw").write_bytes(bytes(512) + values.tobytes())
        (tmp_path / "a.json").write_text(json.dumps({"shape": values.shape, "offset": 512, **about}))
        assert np.array_equal(read_volume(tmp_path / "a.raw"), values)


def test_a_data_set_of_an_hdf5_file_can_be_named(tmp_path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["dark"], file["grey"] = GREY[0], GREY.astype(np.uint8)
    with pytest.raises(VolumeError, match=r"name one of \['dark', 'grey'\]"):
        read_volume(tmp_path / "a.h5")
    assert np.array_equal(read_volume(tmp_path / "a.h5", dataset="/grey"), GREY)
    with pytest.raises(VolumeError, match="no data set 'bright'"):
        read_volume(tmp_path / "a.h5", dataset="bright")


def test_a_folder_of_slices_is_one_volume_in_the_order_of_its_numbers(tmp_path) -> None:
    for i, each in zip(range(8, 13), GREY, strict=True):
        tifffile.imwrite(tmp_path / f"slice{i}.tif", each.astype(np.uint8))
    (tmp_path / "notes.txt").write_text("taken in May")
    assert np.array_equal(read_volume(tmp_path), GREY)


def test_a_data_set_is_named_only_where_a_file_has_several(tmp_path) -> None:
    np.save(tmp_path / "a.npy", GREY.astype(np.uint8))
    with pytest.raises(VolumeError, match="an npy file has no data sets to name, got 'grey'"):
        read_volume(tmp_path / "a.npy", dataset="grey")


def png_header(columns: int, rows: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def tiff_bytes(voxels: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, voxels, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def npy_bytes(voxels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, voxels)
    return buffer.getvalue()


def png_bytes(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


BYTES = GREY.astype(np.uint8)
COLOUR = np.stack([GREY[0]] * 3, axis=-1).astype(np.uint8)
WITH_NAN = np.where(GREY > 190, np.nan, GREY).astype(np.float32)
BAD_FILES = {
    "half.tif": (tiff_bytes(BYTES)[:3000], "truncated|cannot be read"),
    "half_deflated.tif": (tiff_bytes(BYTES, compression="zlib")[:3000], "truncated|cannot be read"),
    "half_pages.tif": (tiff_bytes(BYTES, metadata=None)[:-1500], "truncated|cannot be read"),
    "lost_pages.tif": (tiff_bytes(BYTES, metadata=None)[:-2000], "truncated after"),
    "text.tif": (b"this is no picture", "cannot be read as a TIFF"),
    "empty.tif": (b"", "cannot be read as a TIFF"),
    "colour.tif": (tiff_bytes(COLOUR, photometric="rgb"), "rgb, not grey"),
    "white.tif": (tiff_bytes(BYTES, photometric="miniswhite"), "zero is white"),
    "nan.tif": (tiff_bytes(WITH_NAN), "voxels are NaN, the first at slice 0, row 0, column 14"),
    "small.tif": (tiff_bytes(BYTES[:, :8, :8]), "too small"),
    "four.tif": (tiff_bytes(np.stack([BYTES, BYTES])), "4 dimensions"),
    "zeros.tif": (
        tiff_bytes(np.zeros((80, 1024, 1024), np.uint8), compression="zlib", rowsperstrip=1024),
        "which no scan does",
    ),
    "half.png": (png_bytes(Image.fromarray(BYTES[0]))[:900], "its pixels are 852 bytes where its header needs 1960"),
    "text.png": (b"no picture either", "not a PNG"),
    "colour.png": (png_bytes(Image.fromarray(COLOUR)), "not grey"),
    "palette.png": (png_bytes(Image.fromarray(BYTES[0]).convert("P")), "not grey"),
    "bomb.png": (png_header(30_000, 30_000), "which no scan does"),
    "vast.png": (png_header(2**31 - 1, 2**31 - 1), "cut it into smaller volumes"),
    "half.npy": (npy_bytes(BYTES)[:3000], "truncated"),
    "text.npy": (b"0, 1, 2", "cannot be read as an npy"),
    "objects.npy": (npy_bytes(np.full((40, 40), {}, object)), "values of type object"),
    "complex.npy": (npy_bytes(BYTES.astype(complex)), "values of type complex128"),
    "colour.npy": (npy_bytes(COLOUR), "looks like colour"),
    "line.npy": (npy_bytes(BYTES.ravel()), "1 dimensions"),
    "nan.npy": (npy_bytes(WITH_NAN), "NaN"),
    "infinite.npy": (npy_bytes(np.where(np.isnan(WITH_NAN), np.inf, WITH_NAN)), "voxels are inf"),
    "text.h5": (b"no hdf5", "cannot be read as an HDF5"),
    "alone.raw": (BYTES.tobytes(), "side-car alone.json is absent"),
    "scan.vol": (b"DICM", r"unknown suffix '\.vol'"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_by_name_with_a_remedy(tmp_path, name: str, capfd) -> None:
    content, says = BAD_FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VolumeError, match=says) as error:
        read_volume(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name))
    assert capfd.readouterr() == ("", "")


def test_an_hdf5_bomb_is_refused_before_it_is_read(tmp_path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("grey", (1000, 1000, 1000), "u1", chunks=(1, 1000, 1000), compression="gzip")
    with pytest.raises(VolumeError, match="which no scan does"):
        read_volume(tmp_path / "a.h5")


def test_the_limit_on_voxels_comes_before_decoding(tmp_path) -> None:
    for name, write in WRITERS.items():
        write(tmp_path / name, BYTES)
        with pytest.raises(VolumeError, match="declares 9600 voxels, more than 5000"):
            read_volume(tmp_path / name, voxels_max=5000)


@pytest.mark.parametrize(
    ("side_car", "says"),
    [
        ('{"shape": [5, 40, 48], "dtype": "uint16"}', "9600 bytes where"),
        ('{"shape": [5, 40, 48]}', "cannot be understood"),
        ('{"shape": [5, 40, 48], "dtype": "grey"}', "cannot be understood"),
        ('{"shape": [5, 40, 48], "dtype": "uint8", "byte_order": "odd"}', "cannot be understood"),
        (
            '{"shape": [5, 40, 48], "dtype": "uint8", "byteorder": "big"}',
            r"unknown keys \['byteorder'\]; known are \['shape'",
        ),
        (
            '{"shape": [5, 40, 24], "dtype": ">u2", "byte_order": "little"}',
            "another byte order than byte_order 'little'",
        ),
        ('{"shape": [5, 40, 48.5], "dtype": "uint8"}', "not of integers"),
        ('{"shape": [5, 40, 48], "dtype": "uint8", "offset": -1}', "offset -1; use the number of bytes"),
        ('{"shape": [5, 40, 48], "dtype": "uint8", "offset": 512}', "behind a header of 512 needs 10112"),
        ('{"shape": [5, 40, 48], "dtype": "uint8", "voxel_size": 0}', "voxel_size 0; use metres"),
        ("[]", "cannot be understood"),
        ("{", "cannot be understood"),
        ('{"shape": [-5, -40, 48], "dtype": "uint8"}', "too small"),
        ('{"shape": [5, 40, 48], "dtype": "object"}', "values of type object"),
    ],
)
def test_a_faulty_side_car_is_refused(tmp_path, side_car: str, says: str) -> None:
    BYTES.tofile(tmp_path / "a.raw")
    (tmp_path / "a.json").write_text(side_car)
    with pytest.raises(VolumeError, match=says):
        read_volume(tmp_path / "a.raw")


def test_a_folder_of_unlike_slices_is_refused_by_the_slices_name(tmp_path) -> None:
    with pytest.raises(VolumeError, match="holds no slices"):
        read_volume(tmp_path)
    tifffile.imwrite(tmp_path / "a.tif", BYTES[0])
    tifffile.imwrite(tmp_path / "b.tif", BYTES[0, :, :40])
    with pytest.raises(VolumeError, match=r"b\.tif: \(40, 40\) of uint8, but a\.tif is \(40, 48\)"):
        read_volume(tmp_path)
    tifffile.imwrite(tmp_path / "b.tif", BYTES)
    with pytest.raises(VolumeError, match=r"b\.tif: has 5 slices"):
        read_volume(tmp_path)


def test_an_absent_path_is_refused(tmp_path) -> None:
    with pytest.raises(VolumeError, match="no such file or folder"):
        read_volume(tmp_path / "a.tif")


def test_slices_that_declare_nan_to_be_no_data_are_one_volume(tmp_path) -> None:
    for i in range(3):
        tag = (42113, "s", 0, "nan", True)  # GDAL's
        tifffile.imwrite(tmp_path / f"{i}.tif", BYTES[i].astype(np.float32), extratags=[tag])
    with open_scan(tmp_path) as scan:
        assert scan.shape == (3, 40, 48)
        assert np.isnan(scan.nodata)
