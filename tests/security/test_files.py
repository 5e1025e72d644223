"""Case files, decks and scans made by an enemy are refused in bounded time and memory."""

import gzip
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rockbank.core.errors import InputError
from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan
from rockbank.flow.casefile.file import load_case, load_case_file
from rockbank.params import load_params

CASES = Path(__file__).parents[2] / "cases"


def _aliases(depth: int) -> str:
    levels = ["a0: &a0 [0,0,0,0,0,0,0,0,0]"]
    levels += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth)]
    return "\n".join([*levels, f"title: *a{depth - 1}"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_aliases(10), "its aliases repeat more than 1000000 values"),
        (_aliases(3), "expected"),
        ("title: &a [*a]", "an alias stands within what it names"),
        ("a: &a {x: 1}\n" + "\n".join(f"b{i}: {{<<: *a}}" for i in range(9)), "unknown key"),
        ("title: " + "[" * 50_000, "not YAML"),
        ("title: " + "9" * 10_000, "title: expected|digits"),
        ("start: 2000-99-99", "month must be in|start: expected a date"),
        ("title: !!python/object/apply:os.mkdir [taken]", "could not determine a constructor"),
        ("title: \x00", "not YAML"),
    ],
    ids=["aliases", "few aliases", "circle", "merges", "nested", "digits", "date", "code", "control"],
)
def test_a_hostile_case_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "case.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_case_file(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value)) < 5000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (_aliases(10), "its aliases repeat more than 1000000 values"),
        (_aliases(3), "unknown"),
        ("prepare: &a [*a]", "an alias stands within what it names"),
        ("a: &a {x: 1}\n" + "\n".join(f"b{i}: {{<<: *a}}" for i in range(9)), "unknown"),
        ("prepare: " + "[" * 50_000, "not YAML"),
        ("prepare: {size: " + "9" * 10_000 + "}", "digits|size"),
        ("prepare: !!python/object/apply:os.mkdir [taken]", "could not determine a constructor"),
    ],
    ids=["aliases", "few aliases", "circle", "merges", "nested", "digits", "code"],
)
def test_hostile_params_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        load_params()
    assert "params.yaml" in str(caught.value)
    assert len(str(caught.value)) < 5000
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    "include", ["/etc/passwd", "../../../../../../etc/passwd", "/dev/zero", "/proc/self/mem", "case.DATA", "missing"]
)
def test_a_deck_that_includes_what_is_no_deck_is_refused(tmp_path: Path, include: str) -> None:
    path = tmp_path / "case.DATA"
    path.write_text(f"RUNSPEC\nINCLUDE\n '{include}' /\n")
    with pytest.raises(InputError, match=r"case\.DATA|passwd"):
        load_case(path)


def test_a_deck_of_endless_repeats_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "case.DATA"
    path.write_text("RUNSPEC\nDIMENS\n 1000000 1000000 1000000 /\nGRID\nPORO\n 1000000000*0.2 /\nPERMX\n 99*9*9*1 /\n")
    with pytest.raises(InputError):
        load_case(path)


def _png(width: int, height: int, data: bytes) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def _tiff_bomb(path: Path) -> None:
    """A page of 10^12 pixels, whose one strip is a deflate of nothing."""
    tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression="zlib")
    raw = bytearray(path.read_bytes())
    for tag in (256, 257, 278):
        at = raw.find(struct.pack("<HH", tag, 3))
        at = at if at >= 0 else raw.find(struct.pack("<HH", tag, 4))
        raw[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 10**6)
    path.write_bytes(raw)


def _write(name: str, path: Path) -> None:
    if name == "bomb.tif":
        _tiff_bomb(path)
    elif name == "laughs.tif":
        entities = '<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12))
        xml = f'<?xml version="1.0"?><!DOCTYPE OME [{entities}]><OME>&a11;</OME>'
        tifffile.imwrite(path, np.zeros((2, 16, 16), np.uint8), description=xml, metadata=None)
    elif name == "bomb.png":
        path.write_bytes(_png(2**20, 2**20, zlib.compress(bytes(2**20))))
    elif name == "header.npy":
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000, 10000, 10000), }"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    elif name == "code.npy":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif name == "header.mha":
        path.write_text("ObjectType = Image\nNDims = 3\nDimSize = 10000 10000 10000\nElementType = MET_UCHAR\n"
                        "CompressedData = True\nCompressedDataSize = 20\nElementDataFile = LOCAL\n")  # fmt: skip
    elif name == "bomb.nrrd":
        path.write_bytes(b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 100000 10000 1000\nencoding: gzip\n"
                         b"endian: little\n\n" + gzip.compress(bytes(2**20)))  # fmt: skip
    elif name == "header.am":
        path.write_text(
            "# AmiraMesh BINARY-LITTLE-ENDIAN 2.1\ndefine Lattice 10000 10000 10000\nLattice { byte Data } @1\n@1\n"
        )
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../evil", "x")
            archive.writestr("zarr.json", '{"zarr_format": 3, "node_type": "group", "x": "' + " " * 2**22 + '"}')


@pytest.mark.parametrize(
    "name",
    ["bomb.tif", "laughs.tif", "bomb.png", "header.npy", "code.npy", "header.mha", "bomb.nrrd", "header.am",
     "zarr.zip"],
)  # fmt: skip
def test_a_scan_that_declares_or_unpacks_to_more_than_there_is_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    _write(name, folder / name)
    with pytest.raises(VolumeError, match=name.replace(".", r"\.")), open_scan(folder / name) as source:
        np.asarray(source)
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, "scans"])
