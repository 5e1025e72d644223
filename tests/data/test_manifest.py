from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry, VolumeError, load_manifest, save_manifest

ENTRY = VolumeEntry(
    file="shale.tif",
    voxel_size=60e-9,
    segmentation=SegmentationRule(smoothing=1.5, threshold="otsu"),
    licence="MIT",
    source="synthetic",
    sha256="a" * 64,
)


def written(folder: Path, **changes: object) -> Path:
    """A manifest on disk, one entry of which has some keys changed or, where the value is None, removed."""
    save_manifest(folder, Manifest(volumes=(ENTRY,)))
    path = folder / "manifest.yaml"
    raw = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        if value is None:
            del raw["volumes"][0][key]
        else:
            raw["volumes"][0][key] = value
    path.write_text(yaml.safe_dump(raw))
    return folder


def test_a_manifest_comes_back_as_it_was_saved(tmp_path) -> None:
    other = dataclasses.replace(ENTRY, file="other.tif", sha256="b" * 64, licence="CC-BY-4.0")
    manifest = Manifest(volumes=(ENTRY, other))
    save_manifest(tmp_path, manifest)
    assert load_manifest(tmp_path) == manifest
    assert manifest.voxel_size == 60e-9
    assert manifest.segmentation.threshold == "otsu"


def test_a_voxel_size_without_a_decimal_point_is_a_number(tmp_path) -> None:
    # YAML 1.1 takes 60e-9 for text.
    assert load_manifest(written(tmp_path, voxel_size="60e-9")).voxel_size == 60e-9


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"licence": None}, "missing key 'licence' in section 'volumes[0]'"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"voxel_size": 60.0}, "voxel_size: got 60.0; use metres"),
        ({"voxel_size": "sixty"}, "voxel_size: got 'sixty'"),
        ({"voxel_size": True}, "voxel_size: got True"),
        ({"file": "../shale.tif"}, "use a plain name"),
        ({"source": "  "}, "source: got '  '"),
        ({"sha256": "abc"}, "use 64 hexadecimal digits"),
        ({"segmentation": "otsu"}, "volumes[0].segmentation: expected a mapping, got 'otsu'"),
        ({"segmentation": {"smoothing": 1.0}}, "missing key 'threshold' in section 'volumes[0].segmentation'"),
        ({"segmentation": {"smoothing": -1, "threshold": "otsu"}}, "volumes[0].segmentation.smoothing: got -1"),
        ({"segmentation": {"smoothing": 1, "threshold": 118}}, "volumes[0].segmentation.threshold: got 118"),
        ({"segmentation": {"smoothing": 1, "threshold": "li"}}, "use 'otsu' or an intensity between 0 and 1"),
    ],
)
def test_a_faulty_entry_is_refused_with_file_and_key(tmp_path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(VolumeError) as error:
        load_manifest(written(tmp_path, **changes))
    assert str(tmp_path / "manifest.yaml") in str(error.value)
    assert says in str(error.value)


@pytest.mark.parametrize("text", ["", "volumes: 3", "volumes: []", "- a", "volumes: [", "volumes: [3]"])
def test_a_file_that_is_no_manifest_is_refused_by_name(tmp_path, text: str) -> None:
    (tmp_path / "manifest.yaml").write_text(text)
    with pytest.raises(VolumeError, match=r"manifest\.yaml: "):
        load_manifest(tmp_path)


def test_an_absent_manifest_tells_how_to_get_one(tmp_path) -> None:
    with pytest.raises(VolumeError, match="dvc pull"):
        load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"voxel_size": 50e-9}, "'shale.tif' has voxels of 6e-08 m, 'other.tif' of 5e-08 m"),
        ({"segmentation": SegmentationRule(smoothing=1.5, threshold=0.4)}, "'other.tif' by smoothing 1.5 px"),
        ({"file": "shale.tif"}, "listed twice"),
        ({}, "'other.tif' is the same volume as 'shale.tif', sha256 aaaaaaaaaaaa..; its pixels would be trained on"),
    ],
)
def test_volumes_of_one_set_agree(changes: dict[str, object], says: str) -> None:
    other = dataclasses.replace(ENTRY, **{"file": "other.tif", **changes})
    with pytest.raises(VolumeError, match=says):
        Manifest(volumes=(ENTRY, other))


@pytest.mark.parametrize(("voxel_size", "is_same"), [(5.99988e-8, True), (6.1e-8, False)])
def test_a_voxel_size_that_imagej_has_rounded_is_the_same(voxel_size: float, is_same: bool) -> None:
    other = dataclasses.replace(ENTRY, file="other.tif", sha256="b" * 64, voxel_size=voxel_size)
    with nullcontext() if is_same else pytest.raises(VolumeError, match="resample one"):
        assert Manifest(volumes=(ENTRY, other)).voxel_size == 60e-9
