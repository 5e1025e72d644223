"""Faulty headers: what is read is what was written, or an error of ours; never another array or exception."""

from __future__ import annotations

import io
import json
import struct
import zlib
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import read_volume

VOXELS = np.random.default_rng(4).integers(0, 2**16, (3, 40, 48)).astype(np.uint16)
# Every run overwrites its files.
SETTINGS = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
LAYOUTS = {
    "whole": {},
    "strips": {"rowsperstrip": 8},
    "zlib": {"compression": "zlib", "rowsperstrip": 8},
    "lzw": {"compression": "lzw", "rowsperstrip": 7},
    "packbits": {"compression": "packbits"},
    "tiles": {"tile": (16, 32), "compression": "zlib"},
    "big": {"bigtiff": True, "byteorder": ">"},
}
# Lengths, offsets, counts, and how data are packed. Sign, predictor and byte order have no redundancy in a TIFF.
TAGS = {256: "width", 257: "length", 258: "bits", 259: "compression", 262: "photometric", 277: "samples",
        278: "rows per strip", 273: "offsets", 279: "counts", 322: "tile width", 323: "tile length",
        324: "tile offsets", 325: "tile counts"}  # fmt: skip


def tiff_bytes(layout: str) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, VOXELS, photometric="minisblack", metadata=None, **LAYOUTS[layout])
    return buffer.getvalue()


def npy_bytes() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, VOXELS)
    return buffer.getvalue()


def png_bytes() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(VOXELS[0]).save(buffer, "png")
    return buffer.getvalue()


def hdf5_bytes() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("grey", data=VOXELS, chunks=(1, 20, 48), compression="gzip", fletcher32=True)
    return buffer.getvalue()


FILES = {
    **{f"{layout}.tif": tiff_bytes(layout) for layout in LAYOUTS},
    "a.npy": npy_bytes(),
    "a.png": png_bytes(),
    "a.h5": hdf5_bytes(),
}


def read_or_refused(path: Path) -> np.ndarray | None:
    try:
        return read_volume(path, voxels_max=2**22)
    except VolumeError:
        return None


def is_as_written(read: np.ndarray | None) -> bool:
    return read is None or (read.dtype == VOXELS.dtype and np.array_equal(read, VOXELS[: len(read)]))


@pytest.mark.parametrize("n_missing", [1, 2, 3, 40])
def test_a_strip_of_lzw_cut_within_its_last_code_is_refused(tmp_path: Path, n_missing: int) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(FILES["lzw.tif"])
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tag = tiff.pages[1].tags[279]
        tag.overwrite([count - n_missing * (i == 2) for i, count in enumerate(tag.value)])
    with pytest.raises(VolumeError, match="strip 2 of page 1 has no end, as LZW demands"):
        read_volume(path)


@pytest.mark.parametrize("layout", LAYOUTS)
@SETTINGS
@given(data=st.data())
def test_a_tiff_with_a_wrong_tag_is_read_right_or_refused(tmp_path: Path, layout: str, data: st.DataObject) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(FILES[f"{layout}.tif"])
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        page = tiff.pages[data.draw(st.integers(0, 2), "page")]
        tag = page.tags[data.draw(st.sampled_from([code for code in TAGS if code in page.tags]), "tag")]
        value = list(tag.value) if isinstance(tag.value, tuple) else [int(tag.value)]
        i = data.draw(st.integers(0, len(value) - 1), "which")
        right = value[i]
        near = st.integers(-9, 9).map(lambda step: right + step)
        value[i] = data.draw(st.one_of(near, st.integers(0, 70), st.integers(0, 2**16 - 1)), "value")
        assume(value[i] >= 0)
        # A few bytes before data are padding, which nothing tells from data.
        assume(tag.code not in (273, 324) or not right - 64 < value[i] < right)
        tag.overwrite(value if len(value) > 1 else value[0])
    read = read_or_refused(path)
    assert is_as_written(read)
    assert read is None or len(read) == 3


@pytest.mark.parametrize("name", FILES)
@SETTINGS
@given(data=st.data())
def test_a_file_that_is_cut_short_is_refused(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = FILES[name]
    (tmp_path / name).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    read = read_or_refused(tmp_path / name)
    # What is lost may be padding, or the end of a PNG, but no slice.
    assert is_as_written(read)
    assert read is None or len(read) == (1 if name == "a.png" else 3)


@pytest.mark.parametrize("name", FILES)
@SETTINGS
@given(data=st.data())
def test_bytes_that_are_overwritten_never_make_another_exception(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    content = bytearray(FILES[name])
    places = st.one_of(st.integers(0, min(600, len(content) - 1)), st.integers(0, len(content) - 1))
    for at in data.draw(st.lists(places, min_size=1, max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    (tmp_path / name).write_bytes(content)
    read_or_refused(tmp_path / name)


@SETTINGS
@given(columns=st.integers(1, 100), rows=st.integers(1, 100), depth=st.sampled_from([1, 2, 4, 8, 16]))
def test_a_png_with_wrong_lengths_is_refused(tmp_path: Path, columns: int, rows: int, depth: int) -> None:
    content = bytearray(FILES["a.png"])
    assume(rows * (1 + (columns * depth + 7) // 8) != 40 * (1 + 48 * 2))
    content[16:25] = struct.pack(">IIB", columns, rows, depth)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(VolumeError):
        read_volume(tmp_path / "a.png")


@SETTINGS
@given(
    shape=st.lists(st.integers(-3, 100), min_size=0, max_size=4),
    dtype=st.sampled_from(["u1", "<u2", ">i4", "f8", "O", "nonsense", "V4", "c8", "U3"]),
    offset=st.integers(-5, 5000),
)
def test_a_side_car_that_does_not_fit_is_refused(tmp_path: Path, shape: list[int], dtype: str, offset: int) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(VOXELS.tobytes())
    path.with_suffix(".json").write_text(json.dumps({"shape": shape, "dtype": dtype, "offset": offset}))
    with suppress(TypeError):
        assume(offset + np.prod(shape, dtype=float) * np.dtype(dtype).itemsize != VOXELS.nbytes)
    with pytest.raises(VolumeError):
        read_volume(path)


@SETTINGS
@given(value=st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=4), st.lists, max_leaves=4))
@pytest.mark.parametrize("key", ["shape", "dtype", "byte_order", "voxel_size", "offset", "nodata"])
def test_a_side_car_of_any_values_is_read_or_refused(tmp_path: Path, key: str, value: object) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(VOXELS.tobytes())
    path.with_suffix(".json").write_text(json.dumps({"shape": VOXELS.shape, "dtype": "uint16", key: value}))
    with suppress(VolumeError):
        read_volume(path)
