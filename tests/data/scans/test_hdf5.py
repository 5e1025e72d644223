from __future__ import annotations

import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_volume

VOXELS = np.random.default_rng(1).integers(0, 2**16, (6, 40, 48)).astype(np.uint16)


def linked(path: Path) -> Path:
    """A file as beamlines write it: the detector's data, and other names for them."""
    with h5py.File(path, "w") as file:
        file["entry/instrument/detector/data"] = VOXELS
        file["entry/measurement"] = h5py.SoftLink("/entry/instrument/detector")
        file["entry/tomo/soft"] = h5py.SoftLink("/entry/measurement/data")
        file["entry/tomo/relative"] = h5py.SoftLink("soft")
        file["entry/tomo/hard"] = file["entry/instrument/detector/data"]
        file["nowhere"] = h5py.SoftLink("/entry/lost")
        file["circle"] = h5py.SoftLink("/circle")
        file["entry/tomo/up"] = file["entry"]
    return path


@pytest.mark.parametrize(
    "name", ["entry/instrument/detector/data", "/entry/measurement/data", "entry/tomo/soft", "entry/tomo/relative"]
)
def test_a_data_set_is_read_by_whatever_link(tmp_path, name: str) -> None:
    assert np.array_equal(read_volume(linked(tmp_path / "a.h5"), dataset=name), VOXELS)


def test_several_names_of_the_only_data_set_are_one(tmp_path) -> None:
    assert np.array_equal(read_volume(linked(tmp_path / "a.h5")), VOXELS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere", "'/entry/lost' is not there, which 'nowhere' leads to"),
        ("circle", "more than 16 links, perhaps in a circle"),
        ("entry/tomo", "'entry/tomo' is no data set; it holds ['entry/instrument/detector/data'"),
        ("entry/tomo/soft/deeper", "'/entry/instrument/detector/data/deeper' is not there"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(tmp_path, name: str, says: str) -> None:
    with pytest.raises(VolumeError, match=re.escape(says)):
        read_volume(linked(tmp_path / "a.h5"), dataset=name)


def test_a_link_to_a_file_in_the_folder_is_followed(tmp_path) -> None:
    (tmp_path / "raw").mkdir()
    linked(tmp_path / "raw" / "b.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink("raw/b.h5", "/entry/tomo/soft")
    assert np.array_equal(read_volume(tmp_path / "a.h5", dataset="data"), VOXELS)
    assert np.array_equal(read_volume(tmp_path / "a.h5"), VOXELS)


@pytest.mark.parametrize("target", ["b.h5", "../b.h5", "/etc/hostname"])
def test_a_link_to_a_file_that_is_absent_or_elsewhere_is_refused(tmp_path, target: str) -> None:
    (tmp_path / "in").mkdir()
    linked(tmp_path / "b.h5")
    with h5py.File(tmp_path / "in" / "a.h5", "w") as file:
        file["data"] = h5py.ExternalLink(target, "/entry/tomo/soft")
    with pytest.raises(VolumeError, match=f"lies in other files, in '{target}'"):
        read_volume(tmp_path / "in" / "a.h5", dataset="data")


def test_chunks_that_were_never_written_are_named(tmp_path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("grey", VOXELS.shape, "u2", chunks=(2, 20, 48))
        data[:4] = VOXELS[:4]
        data[4:, :20] = VOXELS[4:, :20]
    with pytest.raises(
        VolumeError, match=re.escape("1 of the 6 chunks of '/grey' were never written, such as")
    ) as error:
        read_volume(tmp_path / "a.h5")
    assert "at (4, 20, 0)" in str(error.value)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("grey", VOXELS.shape, "u2")
    with pytest.raises(VolumeError, match="'/grey' was never written"):
        read_volume(tmp_path / "b.h5")


def test_a_virtual_data_set_is_refused(tmp_path) -> None:
    layout = h5py.VirtualLayout(VOXELS.shape, "u2")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "grey", VOXELS.shape)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("grey", layout)
    with pytest.raises(VolumeError, match="lies in other files"):
        read_volume(tmp_path / "a.h5")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_every_type_is_read_as_it_was_written(tmp_path, kind: str, order: str) -> None:
    options = ({}, {"chunks": (2, 16, 16)}, {"compression": "gzip", "shuffle": True}, {"compression": "lzf"})
    voxels = (np.sqrt(VOXELS) if kind[0] == "f" else VOXELS).astype(f"{order}{kind}")
    for i, each in enumerate(options):
        with h5py.File(tmp_path / f"{i}.h5", "w") as file:
            file.create_dataset("grey", data=voxels, **each)
        with open_scan(tmp_path / f"{i}.h5") as source:
            read = source.read(0, 6)
            assert np.array_equal(source.read(1, 4), read[1:4])
        assert read.dtype == np.dtype(kind)
        assert np.array_equal(read, voxels)


def test_filters_of_other_packages_are_read(tmp_path) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    for name in ("Blosc", "Blosc2", "Bitshuffle", "LZ4", "Zstd", "BZip2"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file.create_dataset("grey", data=VOXELS, **getattr(hdf5plugin, name)())
        assert np.array_equal(read_volume(tmp_path / f"{name}.h5"), VOXELS)


def test_a_filter_that_is_not_installed_is_named_with_the_extra(tmp_path, monkeypatch) -> None:
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("grey", data=VOXELS, **hdf5plugin.LZ4())
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    monkeypatch.setattr(h5py.h5z, "filter_avail", lambda code: False)
    with pytest.raises(VolumeError, match=r"needs the package 'hdf5plugin', .* 'rockbank\[scans\]'"):
        read_volume(tmp_path / "a.h5")


@pytest.mark.parametrize(("declare", "value"), [("_FillValue", -9.0), ("fillvalue", -5.0), ("nothing", None)])
def test_a_fill_value_is_declared_no_data(tmp_path, declare: str, value: float | None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        more = {"fillvalue": value} if declare == "fillvalue" else {}
        data = file.create_dataset("grey", data=VOXELS.astype("f4"), **more)
        if declare == "_FillValue":
            data.attrs["_FillValue"] = np.float32(value)
    with open_scan(tmp_path / "a.h5") as source:
        assert source.nodata == value
