"""A store that fails is one line of error in every command, and its traceback is had by --verbose."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from rockbank.cli.main import main
from rockbank.core.paths import ProjectPaths
from rockbank.gan.networks import build_generator
from rockbank.mlops import registry
from rockbank.rock.crops import CropSet, save_crops
from rockbank.rock.segmentation import Segmentation
from tests.pulled import write_pulled
from tests.tiny_generators import write_generator

Fail = Callable[[Path], object]
PARAMS = Path(__file__).parents[2] / "params.yaml"
CASE = Path(__file__).parents[2] / "cases" / "deepflow.yaml"
OF_IMPORT = ["--network", "table1", "--family", "shale", "--name", "mine", "--latent", "128"]
COMMANDS = {
    "models": ["models"],
    "models of one name": ["models", "shale"],
    "show": ["show", "shale@champion"],
    "promote": ["promote", "shale"],
    "promote --first": ["promote", "shale", "--first"],
    "rollback": ["rollback", "shale"],
    "register": ["register", "shale"],
    "import": ["import", "foreign.pth", *OF_IMPORT],
    "sample": ["sample", "shale@champion", "--n", "1", "-o", "grid.png"],
    "drift": ["drift", "scan.tif", "--voxel-size", "60e-9", "--model", "shale@champion"],
    "match": ["match", str(CASE), "--generator", "shale@champion"],
    "match --dry-run": ["match", str(CASE), "--generator", "shale@champion", "--dry-run"],
    "serve": ["serve", "--port", "0"],
}


@pytest.fixture
def shale(store: Path, made_once: Callable[..., Path]) -> Path:
    """As `write_shale` makes it."""
    return made_once(write_shale, store)


def write_shale(store: Path) -> Path:
    """A project with one version of `shale`, a generator that was pulled, foreign weights, crops and a scan."""
    (store / "params.yaml").write_text(PARAMS.read_text())
    write_generator(store / "generator")
    write_pulled("shale-texture", store / "generator")
    module = build_generator("table1", (128,), (1, 64, 64), torch.Generator().manual_seed(0))
    torch.save(module.state_dict(), store / "foreign.pth")
    save_crops(
        ProjectPaths().crops("shale"),
        CropSet(
            family="shale",
            crops=np.random.default_rng(0).integers(0, 256, (6, 1, 64, 64), dtype=np.uint8),
            table=pd.DataFrame({"split": ["train", "validation", "test"] * 2}),
            voxel_size=60e-9,
            segmentation=Segmentation(smoothing=1.0, threshold=0.5, phase="below"),
        ),
    )
    registry.push("shale", store / "generator")
    grey = np.random.default_rng(0).integers(0, 255, (4, 300, 300), dtype=np.uint8)
    tifffile.imwrite(store / "scan.tif", grey, photometric="minisblack")
    return store


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield


def _errors(command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> list[str]:
    monkeypatch.setattr("sys.argv", ["rockbank", *command])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 1
    # But for the service's log, which says so for each of its models, and what is told before the store is asked.
    return [line for line in capfd.readouterr().err.splitlines() if "error" in line or "Traceback" in line]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_failing_store_is_one_line_of_error(
    shale: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rockbank.mlops.sqlite.LOCK_SECONDS", 0.1)
    before = sorted(shale.iterdir())
    with _locked(shale):
        (line,) = _errors(command, monkeypatch, capfd)
    assert line.startswith("error ")
    assert f"{shale}/mlflow.db: another program keeps it locked; try again when that one has ended" in line
    assert sorted(shale.iterdir()) == before


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_outside_a_project_nothing_is_written(
    shale: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = shale.parent / "outside"
    outside.mkdir()
    (shale / "scan.tif").rename(outside / "scan.tif")
    monkeypatch.chdir(outside)
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    (line,) = _errors(command, monkeypatch, capfd)
    assert f"{outside}: not a project" in line or "params.yaml: no such file" in line
    assert [each.name for each in outside.iterdir()] == ["scan.tif"]


def test_the_traceback_is_had_by_verbose_wherever_it_stands(
    shale: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (shale / "mlflow.db").write_bytes(b"rock" * 1000)
    monkeypatch.setattr("rockbank.core.terminal._log.handlers", [])
    for command in (["--verbose", "models"], ["models", "--verbose"]):
        first, *_, last = _errors(command, monkeypatch, capfd)
        assert first.startswith("Traceback")
        assert last == (
            f"error {shale}/mlflow.db: it is not a sqlite database; restore it, or move it away and run "
            "'rockbank register'"
        )
