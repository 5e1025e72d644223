from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from rockbank.core.files import sha256
from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.cutting import cut_crops
from rockbank.data.grey_scale import find_grey_scale, scaled_slices
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeEntry, VolumeError, load_manifest
from rockbank.data.masks import Mask
from rockbank.data.scans.source import Source
from rockbank.data.stored import open_volumes
from rockbank.data.synthetic.shale import sample_volume
from rockbank.params import PrepareParams
from rockbank.rock.crops import to_intensity
from rockbank.rock.segmentation import segment

GREY = sample_volume(np.random.default_rng(5), n_slices=2, size=128)
OTSU = SegmentationRule(smoothing=1.5, threshold="otsu")
PARAMS = PrepareParams(
    size=64,
    n_train=500,
    n_validation=50,
    n_test=90,
    split="blocks",
    validation_fraction=0.1,
    test_fraction=0.25,
    block=3,
    seed=1,
)
ROCKS = Path(__file__).parents[2].parent / "shared" / "data" / "rocks"


def add(paths: list[Path], folder: Path, **changes: Any) -> list[VolumeEntry]:
    """Options of reading and of adding may be changed alike."""
    reading = {"voxel_size": 60e-9, **changes}
    known = {each.name for each in fields(ScanOptions)}
    adding = {"segmentation": OTSU, "licence": "MIT", "source": "a test", **changes}
    added = add_volumes(
        paths,
        folder,
        options=ScanOptions(**{key: value for key, value in reading.items() if key in known}),
        **{key: value for key, value in adding.items() if key not in known},
    )
    return [each.entry for each in added]


def read_volumes(folder: Path, manifest: Manifest) -> dict[str, np.ndarray]:
    with open_volumes(folder, manifest) as volumes:
        return {name: np.asarray(each) for name, each in volumes.items()}


def normalise(voxels: np.ndarray, path: Path) -> np.ndarray:
    source = Source(path=path, shape=voxels.shape, dtype=voxels.dtype, read=lambda start, stop: voxels[start:stop])
    scale = find_grey_scale(source, Mask(), lambda n: None)
    return np.stack([grey for grey, _ in scaled_slices(source, Mask(), scale, lambda n: None)])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    np.save(folder / "one.npy", GREY.astype(np.uint16) * 100)
    np.save(folder / "two.npy", GREY[:, ::-1].astype(np.float32) / 7 - 5)
    return folder


def test_what_is_added_is_read_back(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    entries = add([scans / "one.npy", scans / "two.npy"], data)
    manifest = load_manifest(data)
    assert manifest.volumes == tuple(entries)
    assert [each.file for each in entries] == ["one.tif", "two.tif"]
    assert entries[0].sha256 == sha256(data / "one.tif")
    volumes = read_volumes(data, manifest)
    # The normalisation forgets scale and offset, so that one is the other upside down up to a rounding.
    assert np.abs(volumes["one.tif"].astype(int) - volumes["two.tif"][:, ::-1]).max() <= 1
    assert sorted(contents(data)) == ["manifest.yaml", "one.tif", "two.tif"]


def test_adding_to_a_data_set_keeps_what_is_there(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    first = add([scans / "one.npy"], data)
    second = add([scans / "two.npy"], data)
    assert load_manifest(data).volumes == (*first, *second)


def test_a_scan_under_another_name_is_refused_in_one_command_and_in_two(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    tifffile.imwrite(scans / "copy.tif", GREY.astype(np.uint16) * 100, photometric="minisblack")
    same = r"'copy\.tif' is the same volume as 'one\.tif', .*; its pixels would be trained on and tested on"
    with pytest.raises(VolumeError, match=same):
        add([scans / "one.npy", scans / "copy.tif"], data)
    first = add([scans / "one.npy"], data)
    before = contents(data)
    for dry_run in (True, False):
        with pytest.raises(VolumeError, match=same):
            add([scans / "copy.tif"], data, dry_run=dry_run)
    assert contents(data) == before
    assert load_manifest(data).volumes == tuple(first)


def test_replacing_a_data_set_leaves_only_what_is_new(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    add([scans / "one.npy"], data, voxel_size=10e-9)
    (data / "notes.txt").touch()
    second = add([scans / "two.npy"], data, replace=True)
    assert load_manifest(data).volumes == tuple(second)
    assert sorted(contents(data)) == ["manifest.yaml", "notes.txt", "two.tif"]
    with pytest.raises(VolumeError, match="no such file"):
        add([scans / "three.npy"], data, replace=True)
    assert load_manifest(data).volumes == tuple(second)


def test_a_dry_run_tells_the_entries_and_writes_nothing(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    assert [each.file for each in add([scans / "one.npy"], data, dry_run=True)] == ["one.tif"]
    assert not data.exists()
    assert add([scans / "one.npy"], data, dry_run=True) == add([scans / "one.npy"], data)


def test_a_slice_keeps_the_order_of_its_grey_values() -> None:
    scan = np.random.default_rng(1).normal(1000, 200, (2, 64, 64)).astype(np.float32)
    out = normalise(scan, Path("a.npy"))
    order = np.argsort(scan.ravel())
    assert (np.diff(out.ravel()[order].astype(int)) >= 0).all()
    # 0.1 % is clipped at each end, and half a grey value more rounds to it.
    assert 0.0005 < (out == 0).mean() < 0.003
    assert 0.0005 < (out == 255).mean() < 0.003


def test_a_hot_pixel_does_not_set_the_scale() -> None:
    scan = np.random.default_rng(2).normal(30000, 2000, (2, 128, 128)).astype(np.uint16)
    hot = scan.copy()
    hot[0, 0, 0] = 65535
    difference = np.abs(normalise(hot, Path("a")).astype(int) - normalise(scan, Path("a")))
    difference[0, 0, 0] = 0
    # The percentile moves by one of the 33 pixels above it: 0.4 grey values on average, exponentially spread.
    assert difference.max() <= 3


def test_a_mask_with_a_rare_phase_keeps_it() -> None:
    mask = np.zeros((1, 200, 200), np.uint8)
    mask[0, 3, 3] = 1
    assert normalise(mask, Path("a"))[0, 3, 3] == 255


BAD = {
    "a missing voxel size": ({"voxel_size": None}, "good.npy: its voxel size is not known; give it in metres"),
    "an absurd voxel size": ({"voxel_size": 60.0}, "good.npy: voxel_size: got 60.0"),
    "no voxel size at all": ({"voxel_size": float("nan")}, "good.npy: voxel_size: got nan"),
    "another voxel size than the set's": ({"voxel_size": 50e-9}, "'there.tif' has voxels of 6e-08 m, 'good.tif' of"),
    "another rule than the set's": (
        {"segmentation": SegmentationRule(smoothing=1.5, threshold=0.4)},
        "'there.tif' is segmented by smoothing 1.5 px and threshold otsu and 'good.tif' by",
    ),
    "no licence": ({"licence": ""}, "good.npy: licence: got ''"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_option_writes_nothing(tmp_path: Path, fault: str) -> None:
    data = tmp_path / "data"
    np.save(tmp_path / "there.npy", GREY)
    np.save(tmp_path / "good.npy", GREY)
    add([tmp_path / "there.npy"], data)
    before = contents(data)
    changes, says = BAD[fault]
    with pytest.raises(VolumeError) as error:
        add([tmp_path / "good.npy"], data, **changes)
    assert says in str(error.value)
    assert contents(data) == before


@pytest.mark.parametrize("bad", ["absent.tif", "flat.npy", "broken.tif", "one.png"])
def test_one_bad_file_among_good_ones_writes_nothing(tmp_path: Path, scans: Path, bad: str) -> None:
    np.save(scans / "flat.npy", np.full((64, 64), 7, np.uint8))
    (scans / "broken.tif").write_bytes((scans / "one.npy").read_bytes())
    tifffile.imwrite(scans / "one.png", GREY, photometric="minisblack")
    data = tmp_path / "data"
    with pytest.raises(VolumeError, match=bad.replace(".", r"\.")):
        add([scans / "one.npy", scans / bad], data)
    assert not data.exists()


def test_a_name_that_is_taken_is_refused(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    add([scans / "one.npy"], data)
    before = contents(data)
    with pytest.raises(VolumeError, match=r"'one\.tif', which is already listed in"):
        add([scans / "one.npy"], data)
    np.save(tmp_path / "two.npy", GREY)
    with pytest.raises(VolumeError, match=r"'two\.tif', which is already the name of"):
        add([scans / "two.npy", tmp_path / "two.npy"], data)
    (data / "two.tif").write_bytes(b"somebody's")
    with pytest.raises(VolumeError, match="rename the file first"):
        add([scans / "two.npy"], data)
    assert contents(data) == before | {"two.tif": b"somebody's"}
    with pytest.raises(VolumeError, match="no paths given"):
        add([], data)


def test_a_side_car_gives_the_voxel_size(tmp_path: Path) -> None:
    GREY.tofile(tmp_path / "a.raw")
    (tmp_path / "a.json").write_text(json.dumps({"shape": GREY.shape, "dtype": "uint8", "voxel_size": 5e-8}))
    assert add([tmp_path / "a.raw"], tmp_path / "data", voxel_size=None)[0].voxel_size == 5e-8
    with pytest.raises(VolumeError, match="it declares voxels of 5e-08 m, but 6e-08 m was given"):
        add([tmp_path / "a.raw"], tmp_path / "other", voxel_size=6e-8)


def test_a_data_set_in_an_hdf5_file_is_added_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["dark"], file["grey"] = GREY[0], GREY
    assert add([tmp_path / "a.h5"], tmp_path / "data", dataset="grey")[0].file == "a.tif"


def test_a_volume_that_is_absent_or_changed_is_refused(tmp_path: Path, scans: Path) -> None:
    data = tmp_path / "data"
    add([scans / "one.npy"], data)
    manifest = load_manifest(data)
    tifffile.imwrite(data / "one.tif", GREY, photometric="minisblack")
    with pytest.raises(VolumeError, match=r"one\.tif: sha256 is"):
        read_volumes(data, manifest)
    (data / "one.tif").unlink()
    with pytest.raises(VolumeError, match="but absent; run 'dvc pull'"):
        read_volumes(data, manifest)


@pytest.mark.skipif(not ROCKS.is_dir(), reason="the real scans are not beside the project")
def test_a_real_shale_scan_becomes_crops_with_the_porosity_of_its_slices(tmp_path: Path) -> None:
    (added,) = add([ROCKS / "shale_fibsem"], tmp_path / "data")
    assert added.file == "shale_fibsem.tif"
    manifest = load_manifest(tmp_path / "data")
    volumes = read_volumes(tmp_path / "data", manifest)
    assert volumes[added.file].shape == (14, 1104, 1720)
    crop_set = cut_crops(volumes, manifest, PARAMS)
    # The slices have 6.3 %; 500 crops of 64 x 64 with features of that size err by about 0.5 % each way.
    porosity = segment(to_intensity(crop_set.train), crop_set.segmentation).mean()
    assert porosity == pytest.approx(0.063, abs=0.02)


@pytest.mark.skipif(not ROCKS.is_dir(), reason="the real scans are not beside the project")
def test_a_real_sandstone_slice_is_added(tmp_path: Path) -> None:
    add([ROCKS / "sandstone_microct" / "Sandstone_Versa0000.tif"], tmp_path / "data", voxel_size=2.2315e-6)
    manifest = load_manifest(tmp_path / "data")
    assert read_volumes(tmp_path / "data", manifest)["Sandstone_Versa0000.tif"].shape == (1, 1024, 996)


def test_files_of_one_set_are_added_once(tmp_path: Path) -> None:
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" '
        'DimensionOrder="XYZCT" Type="uint8" SizeX="128" SizeY="128" SizeZ="2" SizeC="1" SizeT="1">'
        '<TiffData FirstZ="0" IFD="0"><UUID FileName="a.ome.tif">urn:uuid:a</UUID></TiffData>'
        '<TiffData FirstZ="1" IFD="0"><UUID FileName="b.ome.tif">urn:uuid:b</UUID></TiffData></Pixels></Image></OME>'
    )
    for name, page in zip("ab", GREY, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", page, description=xml, metadata=None)
    with pytest.raises(VolumeError, match="the same volume as"):
        add([tmp_path / "a.ome.tif", tmp_path / "b.ome.tif"], tmp_path / "data")
    add([tmp_path / "a.ome.tif"], tmp_path / "data")
    assert np.array_equal(
        read_volumes(tmp_path / "data", load_manifest(tmp_path / "data"))["a.ome.tif"], normalise(GREY, Path("a"))
    )
