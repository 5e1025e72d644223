from __future__ import annotations

import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused
from tools.scan_writers.amira import CODINGS, TYPES, write

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))


@pytest.mark.parametrize(
    ("dtype", "coding"),
    [(dtype, each) for dtype in TYPES for each in CODINGS if each != "HxByteRLE" or dtype == "uint8"],
)
def test_a_lattice_comes_back_as_it_was_written(tmp_path, dtype: str, coding: str) -> None:
    write(tmp_path / "a.am", GREY.astype(dtype), coding)
    with open_scan(tmp_path / "a.am") as source:
        assert source.dtype == dtype
        assert np.array_equal(source.read(0, 5), GREY)
        assert np.array_equal(source.read(2, 4), GREY[2:4])


def test_runs_of_a_segmentation_come_back(tmp_path) -> None:
    voxels = (GREY > 100).astype(np.uint8)
    voxels[1:3] = 1
    write(tmp_path / "a.am", voxels, "HxByteRLE", "Avizo")
    assert np.array_equal(read_volume(tmp_path / "a.am"), voxels)


def test_an_image_is_a_volume_of_one_slice(tmp_path) -> None:
    write(tmp_path / "a.am", GREY[0].astype(np.uint8))
    write(tmp_path / "b.am", GREY[:1].astype(np.uint8))
    for name in ("a.am", "b.am"):
        assert np.array_equal(read_volume(tmp_path / name), GREY[:1])


@pytest.mark.parametrize(
    ("unit", "size"),
    [("", None), ('Units { Coordinates "µm" },', 2e-6), ('Units {\n Coordinates "nm"\n}', 2e-9)],
)
def test_a_voxel_size_is_that_of_the_box_around_centres(tmp_path, unit: str, size: float | None) -> None:
    write(tmp_path / "a.am", GREY.astype(np.uint8), unit=unit)
    assert read_scan(tmp_path / "a.am").voxel_size == (None if size is None else pytest.approx(size))


def test_one_of_several_lattices_is_named(tmp_path) -> None:
    header = (
        "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\ndefine Lattice 48 40 5\ndefine Markers 2\n"
        "Markers { float[3] Coordinates } = @1\nLattice { byte Grey } = @2\nLattice { byte Labels } = @3\n@1\n"
    )
    voxels = GREY.astype(np.uint8)
    values = (bytes(24), b"\n@2\n", voxels.tobytes(), b"\n@3\n", (voxels + 1).tobytes(), b"\n")
    (tmp_path / "a.am").write_bytes(header.encode() + b"".join(values))
    with pytest.raises(VolumeError, match=r"Grey.*Labels"):
        read_volume(tmp_path / "a.am")
    assert np.array_equal(read_volume(tmp_path / "a.am", dataset="Grey"), GREY)
    assert np.array_equal(read_volume(tmp_path / "a.am", dataset="Labels"), GREY + 1)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"lengths": "48 40 4"}, "values behind"),
        ({"lengths": "48 40 6"}, "truncated"),
        ({"kind": "byte[3]", "lengths": "16 40 5"}, "3 values a voxel"),
        ({"kind": "complex"}, "complex"),
        ({"coordinates": "rectilinear"}, "rectilinear"),
        ({"box": "BoundingBox 0 94 0 78 0 12,"}, "no cubes"),
        ({"unit": 'Units { Coordinates "parsec" }'}, "parsec"),
    ],
)
def test_what_is_no_scan_is_refused(tmp_path, about: dict[str, str], said: str) -> None:
    write(tmp_path / "a.am", GREY.astype(np.uint8), **about)
    with pytest.raises(VolumeError, match=said):
        read_volume(tmp_path / "a.am")


@pytest.mark.parametrize("coding", CODINGS)
def test_a_damaged_file_is_refused(tmp_path, coding: str) -> None:
    write(tmp_path / "a.am", GREY.astype(np.uint8), coding)
    assert_cut_is_refused(tmp_path / "a.am")
    assert_changes_are_survived(tmp_path / "a.am", 300)
