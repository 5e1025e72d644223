from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.zarr import CHUNKS, write_ome, write_v2, write_v3, zipped

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))
TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_an_array_comes_back_as_it_was_written(
    tmp_path, write: Callable[..., None], dtype, order, is_compressed
) -> None:
    write(tmp_path / "a", GREY.astype(np.dtype(dtype).newbyteorder(order)), is_compressed)
    for path in (tmp_path / "a", zipped(tmp_path / "a")):
        with open_scan(path) as source:
            assert source.dtype == dtype
            assert np.array_equal(source.read(0, 5), GREY)
            assert np.array_equal(source.read(1, 4), GREY[1:4])


def test_an_image_is_a_volume_of_one_slice(tmp_path) -> None:
    write_v3(tmp_path / "a", GREY[0].astype(np.uint8), chunks=(32, 32))
    assert np.array_equal(read_volume(tmp_path / "a"), GREY[:1])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_full_resolution_of_an_ome_zarr_is_read_with_its_voxel_size(tmp_path, version: str) -> None:
    write_ome(tmp_path / "a", GREY.astype(np.uint16), version, unit={"unit": "micrometer"})
    scan = read_scan(tmp_path / "a")
    assert np.array_equal(scan.voxels, GREY)
    assert scan.voxel_size == pytest.approx(5e-7)


@pytest.mark.parametrize("axes", ["zyx", "xyz", "yxz", "tczyx"])
def test_axes_of_an_ome_zarr_are_read_by_their_names(tmp_path, axes: str) -> None:
    voxels = np.transpose(GREY, ["zyx".index(each) for each in axes if each in "zyx"]).astype(np.uint8)
    write_ome(tmp_path / "a", voxels.reshape((1,) * (len(axes) - 3) + voxels.shape), "0.5", axes)
    with open_scan(tmp_path / "a") as source:
        assert source.voxel_size is None
        assert np.array_equal(source.read(0, 5), GREY)
        assert np.array_equal(source.read(2, 4), GREY[2:4])


@pytest.mark.parametrize(
    ("shape", "axes", "about", "said"),
    [
        ((2, 5, 40, 48), "czyx", {}, "2 steps along axis 'c'"),
        ((5, 40, 48), "zyx", {"unit": {"unit": "micrometer"}, "scale": [1, 2, 2]}, "no cubes"),
        ((5, 40, 48), "zyx", {"unit": {"unit": "parsec"}}, "parsec"),
        ((5, 40, 48), "czyx", {}, "3 axes, but 4"),
    ],
)
def test_an_ome_zarr_that_is_no_scan_is_refused(tmp_path, shape, axes: str, about: dict[str, Any], said: str) -> None:
    about.setdefault("scale", [0.5] * len(axes))
    write_ome(tmp_path / "a", np.ones(shape, np.uint8), "0.4", axes, **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a")


@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_a_missing_chunk_is_named(tmp_path, write: Callable[..., None]) -> None:
    write(tmp_path / "a", GREY.astype(np.uint8))
    name = "1.0.0" if write is write_v2 else "c/1/0/0"
    (tmp_path / "a" / name).unlink()
    for path in (tmp_path / "a", zipped(tmp_path / "a")):
        with pytest.raises(VolumeError, match=f"1 of 6 chunks .*{name}"):
            read_volume(path)


def test_one_of_several_arrays_is_named(tmp_path) -> None:
    root = zarr.open_group(str(tmp_path / "a"), mode="w")
    root.create_array("scan/grey", data=GREY.astype(np.uint8), chunks=CHUNKS)
    root.create_array("angles", data=np.ones(9))
    assert np.array_equal(read_volume(tmp_path / "a"), GREY)
    root.create_array("mask", data=GREY.astype(np.uint8), chunks=CHUNKS)
    with pytest.raises(VolumeError, match=r"mask.*scan/grey"):
        read_volume(tmp_path / "a")
    with pytest.raises(VolumeError, match="no array 'raw'"):
        read_volume(tmp_path / "a", dataset="raw")
    assert np.array_equal(read_volume(tmp_path / "a", dataset="scan/grey"), GREY)


@pytest.mark.parametrize("codec", ["blosc", "zstd"])
def test_a_compressed_array_of_the_library_is_read(tmp_path, codec: str) -> None:
    compressors = {"blosc": zarr.codecs.BloscCodec(), "zstd": zarr.codecs.ZstdCodec()}[codec]
    zarr.create_array(str(tmp_path / "a"), data=GREY.astype(np.uint16), chunks=CHUNKS, compressors=compressors)
    assert np.array_equal(read_volume(tmp_path / "a"), GREY)


def test_an_array_of_shards_is_read(tmp_path) -> None:
    zarr.create_array(str(tmp_path / "a"), data=GREY.astype(np.uint16), chunks=(1, 20, 24), shards=(2, 40, 48))
    assert np.array_equal(read_volume(tmp_path / "a"), GREY)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("write", [write_v2, write_v3])
def test_a_damaged_array_is_refused(tmp_path, write: Callable[..., None], is_compressed: bool) -> None:
    write(tmp_path / "a", GREY.astype(np.uint16), is_compressed)
    header, chunk = (".zarray", "1.0.0") if write is write_v2 else ("zarr.json", "c/1/0/0")
    assert_cut_is_refused(tmp_path / "a", tmp_path / "a" / chunk)
    assert_cut_is_refused(zipped(tmp_path / "a"))
    whole = (tmp_path / "a" / header).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        changed = bytearray(whole)
        changed[int(rng.integers(len(whole)))] = int(rng.integers(32, 127))
        (tmp_path / "a" / header).write_bytes(changed)
        try:
            read = read_volume(tmp_path / "a", voxels_max=2**22)
        except VolumeError:
            continue
        assert read.size
    shutil.rmtree(tmp_path / "a")
    assert_changes_are_survived(tmp_path / "a.zip", 300)


class Runs:
    """What pickle, where it is let, makes a file of."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("codec", ["pickle", "json2", "vlen-utf8"])
@pytest.mark.parametrize("key", ["compressor", "filters"])
@pytest.mark.parametrize("dtype", ["|u1", "|O"])
def test_a_codec_of_objects_is_refused_and_runs_nothing(tmp_path: Path, codec: str, key: str, dtype: str) -> None:
    mark, path = tmp_path / "it ran", tmp_path / "a.zarr"
    write_v2(path, GREY.astype(np.uint8), chunks=GREY.shape)
    about = json.loads((path / ".zarray").read_text())
    about |= {"dtype": dtype, "compressor": None, key: {"id": codec} if key == "compressor" else [{"id": codec}]}
    (path / ".zarray").write_text(json.dumps(about))
    (path / "0.0.0").write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(VolumeError, match=r"a\.zarr"):
        read_volume(path)
    assert not mark.exists()


def test_a_codec_of_version_3_that_is_not_its_own_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    mark, path = tmp_path / "it ran", tmp_path / "a.zarr"
    write_v3(path, GREY.astype(np.uint8), chunks=GREY.shape)
    about = json.loads((path / "zarr.json").read_text())
    about["codecs"] = [about["codecs"][0], {"name": "numcodecs.pickle", "configuration": {}}]
    (path / "zarr.json").write_text(json.dumps(about))
    (path / "c" / "0" / "0" / "0").write_bytes(pickle.dumps(Runs(mark)))
    with pytest.raises(VolumeError, match=r"numcodecs\.pickle"):
        read_volume(path)
    assert not mark.exists()
