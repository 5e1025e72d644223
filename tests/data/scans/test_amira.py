from __future__ import annotations

import zlib
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_scan, read_volume
from tests.data.scans.damaged import assert_changes_are_survived, assert_cut_is_refused

GREY = np.random.default_rng(0).integers(0, 120, (5, 40, 48))
TYPES = {"uint8": "byte", "int16": "short", "uint16": "ushort", "int32": "int", "float32": "float", "float64": "double"}
CODINGS = ("ASCII", "BINARY", "BINARY-LITTLE-ENDIAN", "HxZip", "HxByteRLE")


def run_lengths(values: bytes) -> bytes:
    """HxByteRLE: runs of one byte are written once, behind their count; others as they are, behind 128 + theirs."""
    coded = b""
    for byte, run in groupby(values):
        n = len(list(run))
        coded += bytes([127, byte]) * (n // 127)
        coded += bytes([n % 127, byte]) if n % 127 > 1 else bytes([129, byte]) * (n % 127)
    return coded


def write(
    path: Path, voxels: np.ndarray, coding: str = "BINARY-LITTLE-ENDIAN", program: str = "AmiraMesh", **about
) -> None:
    """A header as Amira's reference describes it, and one lattice of values."""
    words = coding if coding.startswith(("ASCII", "BINARY")) else "BINARY-LITTLE-ENDIAN"
    values = voxels.astype(voxels.dtype.newbyteorder(">" if words == "BINARY" else "<")).tobytes()
    if coding == "ASCII":
        values = "\n".join(map(str, voxels.ravel().tolist())).encode()
    elif coding == "HxZip":
        values = zlib.compress(values)
    elif coding == "HxByteRLE":
        values = run_lengths(values)
    how = f"({coding},{len(values)})" if coding.startswith("Hx") else ""
    columns, rows, *slices = reversed(voxels.shape)
    lengths = about.get("lengths", " ".join(map(str, (columns, rows, *slices))))
    box = about.get("box", f"BoundingBox 0 {(columns - 1) * 2} 0 {(rows - 1) * 2} 0 {(*slices, 1)[0] * 2 - 2},")
    header = (
        f"# {program} {words} 2.1\n\n# made by hand\n\ndefine Lattice {lengths}\n\nParameters {{\n"
        f'    {about.get("unit", "")}\n    Content "{lengths} {TYPES[voxels.dtype.name]}, uniform coordinates",\n'
        f'    {box}\n    CoordType "{about.get("coordinates", "uniform")}"\n}}\n\n'
        f"Lattice {{ {about.get('kind', TYPES[voxels.dtype.name])} Data }} @1{how}\n\n# Data section follows\n@1\n"
    )
    path.write_bytes(header.encode("utf-8") + values + b"\n")


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
