from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.reader import open_scan, read_volume

VOXELS = np.random.default_rng(3).integers(0, 2**16, (6, 40, 48)).astype(np.uint16)
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
# Two planes a file; files are named so that their order by name is not that of the planes.
FILES = {"c.ome.tif": (0, 1), "a.ome.tif": (2, 3), "b.ome.tif": (4, 5)}


def write_set(
    folder: Path, files: dict[str, Sequence[int]] = FILES, *, z: int = 6, more: str = "", order: str = "XYZCT"
) -> None:
    """A set as Bio-Formats writes it: every file has the XML of all."""
    uuids = {name: f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_DNS, name)}" for name in files}
    data = "".join(
        f'<TiffData FirstZ="{plane}" FirstC="0" FirstT="0" IFD="{i}" PlaneCount="1">'
        f'<UUID FileName="{name}">{uuids[name]}</UUID></TiffData>'
        for name, planes in files.items()
        for i, plane in enumerate(planes)
    )
    for name, planes in files.items():
        xml = (
            f'<OME xmlns="{OME}" UUID="{uuids[name]}"><Image ID="Image:0"><Pixels ID="Pixels:0" '
            f'DimensionOrder="{order}" Type="uint16" SizeX="48" SizeY="40" SizeZ="{z}" SizeC="1" SizeT="1">'
            f"{data}{more}</Pixels></Image></OME>"
        )
        with tifffile.TiffWriter(folder / name) as tiff:
            for i, plane in enumerate(planes):
                tiff.write(
                    VOXELS[min(plane, 5)],
                    description=xml if i == 0 else None,
                    metadata=None,
                    photometric="minisblack",
                    contiguous=False,
                )


@pytest.mark.parametrize("name", FILES)
def test_a_set_is_read_whole_and_in_order_from_any_of_its_files(tmp_path, name: str) -> None:
    write_set(tmp_path)
    with open_scan(tmp_path / name) as source:
        assert {each.name for each in source.parts} == set(FILES)
        assert np.array_equal(source.read(0, 6), VOXELS)
        assert np.array_equal(source.read(1, 5), VOXELS[1:5])


def test_a_folder_that_is_a_set_is_one_volume(tmp_path) -> None:
    write_set(tmp_path)
    assert np.array_equal(read_volume(tmp_path), VOXELS)


def test_a_file_of_tifffile_with_all_planes_is_read(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", VOXELS, photometric="minisblack", metadata={"axes": "ZYX"})
    assert np.array_equal(read_volume(tmp_path / "a.ome.tif"), VOXELS)
    tifffile.imwrite(tmp_path / "b.ome.tif", VOXELS, photometric="minisblack", metadata={"axes": "TYX"})
    assert np.array_equal(read_volume(tmp_path / "b.ome.tif"), VOXELS)


def test_a_missing_file_of_a_set_is_named(tmp_path) -> None:
    write_set(tmp_path)
    (tmp_path / "b.ome.tif").unlink()
    with pytest.raises(VolumeError, match=r"1 of the 3 files of its set are absent: b\.ome\.tif"):
        read_volume(tmp_path / "c.ome.tif")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"c.ome.tif": (0, 1), "b.ome.tif": (4, 5)}, "plane 2 of 6 is stored nowhere"),
        ({"c.ome.tif": (0, 1, 2), "a.ome.tif": (2, 3), "b.ome.tif": (4, 5)}, "plane 2 of 6 is stored 2 times"),
        ({"c.ome.tif": (0, 1), "a.ome.tif": (2, 3), "b.ome.tif": (4, 5, 6)}, "plane 6 is stored, but there are 6"),
    ],
)
def test_a_plane_that_is_missing_or_double_is_named(tmp_path, files: dict, says: str) -> None:
    write_set(tmp_path, files)
    with pytest.raises(VolumeError, match=says):
        read_volume(tmp_path / "c.ome.tif")


def test_a_page_that_is_two_planes_is_named(tmp_path) -> None:
    write_set(tmp_path, {"c.ome.tif": (0, 1, 2, 3, 4)}, more='<TiffData FirstZ="5" IFD="4" PlaneCount="1"/>')
    with pytest.raises(VolumeError, match=r"page 4 of c\.ome\.tif is stored as several planes"):
        read_volume(tmp_path / "c.ome.tif")


def test_a_file_with_fewer_pages_than_the_set_says_is_named(tmp_path) -> None:
    write_set(tmp_path)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        about = tiff.ome_metadata
    tifffile.imwrite(tmp_path / "a.ome.tif", VOXELS[2], description=about, metadata=None)
    with pytest.raises(VolumeError, match=r"a\.ome\.tif: 1 pages where the OME-XML of c\.ome\.tif says 2"):
        read_volume(tmp_path / "c.ome.tif")


def test_pages_are_held_against_the_xml(tmp_path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", VOXELS, photometric="minisblack", metadata={"axes": "ZYX"})
    content = (tmp_path / "a.ome.tif").read_bytes()
    (tmp_path / "a.ome.tif").write_bytes(content.replace(b'Type="uint16"', b'Type="int16" '))
    with pytest.raises(VolumeError, match=r"OME-XML says \(40, 48\) of int16, its pages are \(40, 48\) of uint16"):
        read_volume(tmp_path / "a.ome.tif")
    (tmp_path / "a.ome.tif").write_bytes(content.replace(b"</Pixels>", b"</Pixel> "))
    with pytest.raises(VolumeError, match="OME-XML is broken"):
        read_volume(tmp_path / "a.ome.tif")


def test_channels_and_several_images_are_refused(tmp_path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tiff:
        tiff.write(VOXELS, photometric="minisblack", metadata={"axes": "ZYX"})
        tiff.write(VOXELS, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(VolumeError, match="OME-XML has 2 images"):
        read_volume(tmp_path / "a.ome.tif")
    tifffile.imwrite(tmp_path / "b.ome.tif", VOXELS, photometric="minisblack", metadata={"axes": "CYX"})
    with pytest.raises(VolumeError, match="6 channels"):
        read_volume(tmp_path / "b.ome.tif")
