"""`rockbank drift`: what is the same rock, what is another, and what cannot be compared."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner

from rockbank.cli.main import app, main
from rockbank.core.files import sha256, write_json
from rockbank.data.adding import ScanOptions, add_volumes
from rockbank.data.cutting import cut_crops
from rockbank.data.manifest import SegmentationRule, load_manifest
from rockbank.data.scans.reader import read_volume
from rockbank.data.stored import open_volumes
from rockbank.drift.compare import STATISTICS
from rockbank.generator.card import CARD, REFERENCE, VERDICT, ModelCard, fingerprints
from rockbank.mlops import registry
from rockbank.params import load_params
from rockbank.rock.crops import save_crops
from rockbank.rock.descriptors import describe

PARAMS = Path(__file__).parents[2] / "params.yaml"
ROCKS = Path(__file__).parents[3] / "shared" / "data" / "rocks"
SIZE = 32
OVER, ERROR = 3, 1


def write_scan(path: Path, seed: int, *, grain: float = 2.0, gain: float = 1.0) -> Path:
    """Slices of a rock with round pores: a blurred noise below its tenth percentile, and the scanner's own noise."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal((4, 256, 320)), (0, grain, grain), mode="wrap")
    grey = np.where(field < np.quantile(field, 0.1), 60.0, 150.0) + 8 * rng.standard_normal(field.shape)
    tifffile.imwrite(path, np.clip(np.round(20 + gain * grey), 0, 255).astype(np.uint8), photometric="minisblack")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose crops were prepared from a scan."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copyfile(PARAMS, folder / "params.yaml")
    write_scan(folder / "first.tif", 1)
    rule = SegmentationRule(smoothing=1.5, threshold="otsu")
    add_volumes(
        [folder / "first.tif"],
        folder / "data",
        options=ScanOptions(voxel_size=60e-9),
        segmentation=rule,
        licence="MIT",
        source="synthetic",
    )
    manifest = load_manifest(folder / "data")
    params = replace(load_params(PARAMS).prepare, size=SIZE, n_train=400, n_validation=50, n_test=50)
    with open_volumes(folder / "data", manifest) as volumes:
        save_crops(folder / "artifacts/data/shale", cut_crops(volumes, manifest, params, "shale"))
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, from which the command is run."""
    folder = tmp_path / "project"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def said(*arguments: str | Path, status: int = 0) -> str:
    """What the command prints on standard output."""
    result = CliRunner().invoke(app, ["drift", *map(str, arguments)], env={"COLUMNS": "120"}, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to fail, and gives its error as a person sees it."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["rockbank", "drift", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == ERROR
        line = capfd.readouterr().err.strip().split("\n")[-1]
        assert line.startswith("error ")
        assert not Path("drift.html").exists()
        return line

    return run


@pytest.mark.slow
def test_another_scan_of_the_same_rock_is_within_the_limits(project: Path) -> None:
    printed = said(write_scan(project / "again.tif", 2), "--voxel-size", "60e-9", "--n", "300")
    assert "400 of the 400 training crops" in printed
    assert "all 10 statistics are within their limits" in printed
    assert ">" not in printed
    assert (project / "drift.html").is_file()


@pytest.mark.slow
def test_a_change_of_exposure_alone_is_no_drift_as_adding_undoes_it(project: Path) -> None:
    scan = write_scan(project / "dark.tif", 2, gain=0.8)
    assert "within their limits" in said(scan, "--voxel-size", "60e-9", "--n", "300")


@pytest.mark.slow
def test_another_rock_is_over_the_limits_and_the_commands_that_retrain_are_reported(project: Path) -> None:
    scan = write_scan(project / "coarse.tif", 2, grain=4.0)
    printed = said(scan, "--voxel-size", "60e-9", "--n", "300", status=OVER)
    assert "statistics are over a limit" in printed
    add = f"rockbank data add {scan} --voxel-size 6e-08 --smoothing 1.5 --threshold otsu"
    commands = [add, "dvc add data", "dvc repro", "rockbank promote shale"]
    positions = [printed.index(command) for command in commands]
    assert positions == sorted(positions)


@pytest.mark.slow
def test_noise_is_another_rock(project: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (2, 128, 256), dtype=np.uint8)
    np.save(project / "noise.npy", grey)
    assert "10 of 10 statistics are over a limit" in said("noise.npy", "--voxel-size", "60e-9", status=OVER)


@pytest.mark.slow
def test_the_report_has_every_statistic_every_picture_and_no_outside_host(project: Path) -> None:
    scan = write_scan(project / "<b>&.tif", 2)
    said(scan, "--voxel-size", "60e-9", "--n", "100", "-o", "reports/new.html")
    html = (project / "reports/new.html").read_text(encoding="utf-8")
    for words in STATISTICS.values():
        assert f">{words}<" in html
    assert "<b>" not in html
    assert "http" not in html
    pictures = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    assert html.count("<img") == len(pictures) == 4
    for picture in pictures:
        with Image.open(BytesIO(base64.b64decode(picture))) as image:
            assert image.width > 1000
    assert [path.name for path in (project / "reports").iterdir()] == ["new.html"]


def test_a_dry_run_reads_the_scan_and_writes_nothing(project: Path) -> None:
    scan = write_scan(project / "again.tif", 2)
    before = sorted(project.rglob("*"))
    printed = said(scan, "--voxel-size", "60e-9", "--dry-run")
    assert "1000 of 32 x 32 pixels" in printed
    assert sorted(project.rglob("*")) == before


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report(project: Path) -> None:
    scan = write_scan(project / "again.tif", 2)
    pages = []
    for name in ("one.html", "two.html"):
        said(scan, "--voxel-size", "60e-9", "--n", "100", "-o", name)
        pages.append((project / name).read_bytes())
    assert pages[0] == pages[1]


def test_a_threshold_given_as_a_number_is_taken_as_it_is(project: Path) -> None:
    manifest = project / "data/manifest.yaml"
    manifest.write_text(manifest.read_text().replace("threshold: otsu", "threshold: 0.25"))
    printed = said(write_scan(project / "again.tif", 2), "--voxel-size", "60e-9", "--dry-run")
    assert "at most 0.250 of the grey scale" in printed
    assert "(as given)" in " ".join(printed.split())


def test_voxels_of_another_size_are_not_compared(project: Path, fails: Callable[..., str]) -> None:
    line = fails(write_scan(project / "fine.tif", 2), "--voxel-size", "11.4e-9")
    assert "fine.tif: voxels of 1.14e-08 m" in line
    assert "6e-08 m; resample" in line


def test_a_scan_without_a_voxel_size_is_not_compared(project: Path, fails: Callable[..., str]) -> None:
    assert "--voxel-size" in fails(write_scan(project / "again.tif", 2))


def test_a_file_that_is_no_scan_is_not_compared(project: Path, fails: Callable[..., str]) -> None:
    (project / "scan.tif").write_bytes(b"no scan")
    assert "scan.tif: cannot be read as a TIFF" in fails("scan.tif", "--voxel-size", "60e-9")


def test_without_training_crops_the_remedies_are_reported(project: Path, fails: Callable[..., str]) -> None:
    shutil.rmtree(project / "artifacts")
    line = fails(write_scan(project / "again.tif", 2), "--voxel-size", "60e-9")
    assert "dvc repro prepare" in line
    assert "--model shale@champion" in line


def register(folder: Path, reference: dict, **changed: object) -> None:
    """A version of `shale` with this reference.json."""
    write_json(folder / REFERENCE, reference)
    replace(ModelCard.load(folder), files=fingerprints(folder), **changed).save(folder)
    write_json(folder / VERDICT, {"passed": True, "reasons": [], "card_sha256": sha256(folder / CARD)})
    registry.push("shale", folder)


def binary(path: Path, seed: int, porosity: float) -> Path:
    pores = np.random.default_rng(seed).random((4, 128, 128)) < porosity
    np.save(path, np.where(pores, 40, 200).astype(np.uint8))
    return path


def test_a_registered_version_is_compared_with_by_its_own_values(
    store: Path, generator_folder: Callable[..., Path]
) -> None:
    shutil.copyfile(PARAMS, store / "params.yaml")
    register(generator_folder(), describe(np.random.default_rng(0).random((500, 16, 16)) < 0.2))
    same, other = binary(store / "same.npy", 1, 0.2), binary(store / "other.npy", 1, 0.3)
    printed = said(same, "--voxel-size", "60e-9", "--model", "shale/1", "--n", "100")
    assert "500 test crops registered with shale/1" in printed
    assert "grey" not in printed.split("limits")[1].split("statistic")[1]
    assert "limits" in said(other, "--voxel-size", "60e-9", "--model", "shale/1", "--n", "100", status=OVER)
    assert (store / "drift.html").read_text().count("<img") == 2


def test_a_version_registered_without_values_is_not_compared_with(
    store: Path, generator_folder: Callable[..., Path], fails: Callable[..., str]
) -> None:
    shutil.copyfile(PARAMS, store / "params.yaml")
    register(generator_folder(), {"n": 9, "porosity": {"mean": 0.2, "std": 0.1}})
    line = fails(binary(store / "scan.npy", 1, 0.2), "--voxel-size", "60e-9", "--model", "shale/1")
    assert "has no values to compare with" in line


def test_a_family_that_is_not_scanned_is_not_compared_with(
    store: Path, generator_folder: Callable[..., Path], fails: Callable[..., str]
) -> None:
    shutil.copyfile(PARAMS, store / "params.yaml")
    registry.push("channels", generator_folder(family="channels"))
    line = fails(binary(store / "scan.npy", 1, 0.2), "--voxel-size", "60e-9", "--model", "channels/1")
    assert "channels, which is not scanned" in line


@pytest.mark.slow
@pytest.mark.skipif(not ROCKS.is_dir(), reason="the real scans are not beside the repository")
@pytest.mark.parametrize("scan", ["shale_fibsem", "sandstone_microct/Sandstone_Versa0050.tif"])
def test_real_rock_is_not_what_was_made_up_here(project: Path, tmp_path: Path, scan: str) -> None:
    # Without the voxel size that a file of it declares, which is another than the data set's.
    np.save(tmp_path / "scan.npy", read_volume(ROCKS / scan))
    said(tmp_path / "scan.npy", "--voxel-size", "60e-9", "--n", "300", status=OVER)
