from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume

SHAPE = (3, 40, 48)
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
COMPRESSIONS = (None, "lzw", "zlib", "deflate", "packbits", "lzma", "zstd")
# Those whose codecs of tifffile take a predictor.
WITH_PREDICTOR = ("lzw", "zlib", "zstd")
LAYOUTS = ({}, {"rowsperstrip": 7}, {"tile": (16, 32)})


def voxels_of(dtype: str, shape: Sequence[int] = SHAPE) -> np.ndarray:
    """Values over the whole range of the type, smooth enough for predictors to matter."""
    rng = np.random.default_rng(len(dtype))
    ramp = np.cumsum(rng.normal(0, 1, math.prod(shape))).reshape(shape)
    if dtype.startswith("float"):
        return (ramp * 10).astype(dtype)
    limits = np.iinfo(dtype)
    scaled = (ramp - ramp.min()) / np.ptp(ramp)
    return (limits.min + scaled * (float(limits.max) - limits.min)).astype(dtype)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_lossless_tiff_is_read_as_it_was_written(tmp_path, compression, dtype: str, byteorder: str) -> None:
    voxels = voxels_of(dtype)
    predictors = (False, True) if compression in WITH_PREDICTOR else (False,)
    for bigtiff, predictor, layout in itertools.product((False, True), predictors, LAYOUTS):
        tifffile.imwrite(
            tmp_path / "a.tif",
            voxels,
            photometric="minisblack",
            byteorder=byteorder,
            compression=compression,
            predictor=predictor,
            bigtiff=bigtiff,
            **layout,
        )
        read = read_volume(tmp_path / "a.tif")
        assert read.dtype == dtype
        assert read.dtype.isnative
        assert np.array_equal(read, voxels), (bigtiff, predictor, layout)


@pytest.mark.parametrize("mode", ["L", "I;16", "I", "F"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"])
def test_tiffs_of_libtiff_are_read_as_they_were_written(tmp_path, compression: str | None, mode: str) -> None:
    dtype = {"L": "uint8", "I;16": "uint16", "I": "int32", "F": "float32"}[mode]
    voxels = voxels_of(dtype)
    first, *others = [Image.fromarray(each) for each in voxels]
    assert first.mode == mode
    first.save(tmp_path / "a.tif", save_all=True, append_images=others, compression=compression)
    read = read_volume(tmp_path / "a.tif")
    assert read.dtype == dtype
    assert np.array_equal(read, voxels)


def test_pixels_of_12_bits_are_read_from_packed_rows(tmp_path) -> None:
    voxels = np.random.default_rng(0).integers(0, 2**12, (40, 48))
    pairs = voxels.reshape(40, 24, 2)
    packed = np.stack([pairs[..., 0] >> 4, (pairs[..., 0] & 15) << 4 | pairs[..., 1] >> 8, pairs[..., 1] & 255], -1)
    _write_tiff(tmp_path / "a.tif", {256: 48, 257: 40, 258: 12, 259: 1, 262: 1, 277: 1}, packed.astype("u1").tobytes())
    read = read_volume(tmp_path / "a.tif")
    assert read.dtype == np.uint16
    assert np.array_equal(read[0], voxels)


def _write_tiff(path: Path, tags: dict[int, int], data: bytes) -> None:
    """One strip, which starts behind the only directory; every tag is a LONG."""
    tags = {**tags, 273: 0, 279: len(data)}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", code, 4, 1, tags[code]) for code in sorted(tags))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_stack_of_imagej_behind_one_page_is_whole_or_refused(tmp_path, byteorder: str) -> None:
    voxels = voxels_of("uint16", (8, 40, 48))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels, byteorder=byteorder, metadata=None, photometric="minisblack")
    about = "ImageJ=1.54f\nimages=8\nslices=8\nunit=um\nspacing=0.5\n"
    tifffile.imwrite(path, voxels[0], byteorder=byteorder, description=about, metadata=None, resolution=(2, 2))
    with path.open("ab") as file:
        file.write(voxels[1:].astype(f"{byteorder}u2").tobytes())
    scan = read_scan(path)
    assert np.array_equal(scan.voxels, voxels)
    assert scan.voxel_size == pytest.approx(0.5e-6)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 3 * voxels[0].nbytes)
    with pytest.raises(VolumeError, match="truncated, ImageJ's 'images' says 8 images, but the data of 5 are there"):
        read_volume(path)


def test_pages_are_held_against_the_description(tmp_path) -> None:
    voxels = voxels_of("uint8", (4, 40, 48))
    for about, says in {
        "ImageJ=1.54f\nimages=5\nslices=5\n": r"ImageJ's 'images' says 5 images, but 4 pages are there",
        "ImageJ=1.54f\nimages=4\nslices=3\n": r"'slices', 'frames' and 'channels' says 3 images, but 4 pages",
        '{"shape": [6, 40, 48]}': "description says 6 images, but 4 pages are there",
    }.items():
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for i, each in enumerate(voxels):
                tiff.write(each, metadata=None, description=about if i == 0 else None, contiguous=False)
        with pytest.raises(VolumeError, match=says):
            read_volume(tmp_path / "a.tif")


def test_channels_of_imagej_are_no_slices(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", voxels_of("uint8"), imagej=True, metadata={"axes": "CYX", "mode": "composite"})
    with pytest.raises(VolumeError, match="channels in the mode 'composite'"):
        read_volume(tmp_path / "a.tif")


def edited(path: Path, code: int, value: int | Sequence[int]) -> None:
    """Give a tag of the first page another value, as a fault would."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[code].overwrite(value)


@pytest.mark.parametrize(
    ("code", "value", "says"),
    [
        (279, 0, "strip 0 of page 0 was never written"),
        (273, 0, "strip 0 of page 0 was never written"),
        (279, 1000, "strip 0 of page 0 has 1000 bytes where"),
        (258, 8, "strip 0 of page 0 has 3840 bytes where"),
        (256, 40, "strip 0 of page 0 has 3840 bytes where"),
        (257, 36, "strip 0 of page 0 has 3840 bytes where"),
        (262, 0, "zero is white"),
        (339, 6, "unknown sample format"),
    ],
)
def test_a_page_whose_tags_and_data_disagree_is_refused(tmp_path, code: int, value: int, says: str) -> None:
    tags = {256: 48, 257: 40, 258: 16, 259: 1, 262: 1, 277: 1, 339: 1, 278: 40}
    _write_tiff(tmp_path / "a.tif", tags, voxels_of("uint16", (40, 48)).tobytes())
    edited(tmp_path / "a.tif", code, value)
    with pytest.raises(VolumeError, match=says):
        read_volume(tmp_path / "a.tif")


@pytest.mark.parametrize("code", [256, 257, 258])
@pytest.mark.parametrize("compression", COMPRESSIONS[1:])
def test_a_compressed_page_whose_tags_and_data_disagree_is_refused(tmp_path, compression: str, code: int) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, voxels_of("uint16", (40, 48)), compression=compression, rowsperstrip=40, metadata=None)
    edited(path, code, {256: 46, 257: 38, 258: 8}[code])
    with pytest.raises(VolumeError, match="strip 0 of page 0 unpacks to 3840 bytes"):
        read_volume(path)


def test_a_strip_that_was_never_written_is_named(tmp_path) -> None:
    path = tmp_path / "a.tif"
    about = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, voxels_of("uint16"), compression="zlib", rowsperstrip=10, **about)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        counts = tiff.pages[1].tags[279]
        counts.overwrite((*counts.value[:2], 0, *counts.value[3:]))
    with pytest.raises(VolumeError, match="strip 2 of page 1 was never written"):
        read_volume(path)


@pytest.mark.parametrize(("codec", "dtype"), [("jpeg2000", "int32"), ("jpegxr", "float32")])
def test_a_codec_that_rounds_is_refused(tmp_path, codec: str, dtype: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", voxels_of(dtype), photometric="minisblack", compression=codec)
    with pytest.raises(VolumeError, match="which rounds values"):
        read_volume(tmp_path / "a.tif")


def test_pages_of_two_kinds_are_refused(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(voxels_of("uint16", (40, 48)), metadata=None)
        tiff.write(voxels_of("uint8", (40, 48)), metadata=None)
    with pytest.raises(VolumeError, match="not alike"):
        read_volume(tmp_path / "a.tif")


def test_a_block_of_slices_is_read_alone(tmp_path) -> None:
    voxels = voxels_of("uint16", (9, 40, 48))
    tifffile.imwrite(tmp_path / "a.tif", voxels, compression="zlib")
    with open_scan(tmp_path / "a.tif") as source:
        assert source.shape == voxels.shape
        assert np.array_equal(source.read(3, 7), voxels[3:7])


VOXEL_SIZES = [
    ({"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}, 1e-6),
    ({"resolution": (300, 300), "resolutionunit": "INCH"}, None),
    ({"resolution": (25400, 25400), "resolutionunit": "INCH"}, 1e-6),
    ({"resolution": (2, 2), "resolutionunit": "NONE"}, None),
    ({"imagej": True, "resolution": (0.448139, 0.448139), "metadata": {"unit": "micron"}}, 2.23145e-6),
    ({"imagej": True, "resolution": (20, 20), "metadata": {"unit": "nm", "spacing": 0.05}}, 5e-11),
    ({"imagej": True, "resolution": (20, 20), "metadata": {"unit": "pixel"}}, None),
    ({"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 60, "PhysicalSizeXUnit": "nm"}}, 60e-9),
]


@pytest.mark.parametrize(("options", "metres"), VOXEL_SIZES)
def test_the_voxel_size_is_read_where_it_is_stated(tmp_path, options: dict, metres: float | None) -> None:
    tifffile.imwrite(tmp_path / "a.tif", voxels_of("uint8"), photometric="minisblack", **options)
    found = read_scan(tmp_path / "a.tif").voxel_size
    assert found is None if metres is None else found == pytest.approx(metres, rel=1e-5)


def test_voxels_that_are_no_cubes_are_refused_with_their_sides(tmp_path) -> None:
    about = {"unit": "um", "spacing": 2.0}
    tifffile.imwrite(tmp_path / "a.tif", voxels_of("uint8"), imagej=True, resolution=(2, 2), metadata=about)
    with pytest.raises(VolumeError, match="x 5e-07, y 5e-07, z 2e-06 m"):
        read_volume(tmp_path / "a.tif")
