"""What a person types, what is printed, and how it ends."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from rockbank.cli.main import app, main
from rockbank.cli.models import table_of
from rockbank.flow.results.netcdf import read_results
from rockbank.mlops import registry

Make = Callable[..., Path]
PARAMS = Path(__file__).parents[2] / "params.yaml"


def said(*arguments: str | Path, status: int = 0) -> str:
    """What the command prints on standard output; an error of its own comes out as it is."""
    result = CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "120"}, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout


@pytest.fixture
def fails(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that has to fail as a person sees it: exit status 1, and lines of errors alone after any bar."""

    def run(*arguments: str | Path) -> str:
        monkeypatch.setattr("sys.argv", ["rockbank", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        printed = capfd.readouterr()
        assert printed.out == ""
        lines = printed.err.strip().split("\n")
        errors = [line for line in lines if line.startswith("error ")]
        bars = lines[: len(lines) - len(errors)]
        assert errors
        assert lines == bars + errors
        assert all(re.match(r"(reading|writing) .* of \d+, |.*--:--", bar) for bar in bars), printed.err
        return "\n".join(errors)

    return run


@pytest.fixture
def shale(store: Path, generator_folder: Make) -> Path:
    """A working folder with params.yaml and two versions of `shale`, the first one the better."""
    (store / "params.yaml").write_text(PARAMS.read_text())
    registry.push("shale", generator_folder(kid=0.1))
    registry.push("shale", generator_folder(kid=0.2))
    registry.set_alias("shale", registry.CANDIDATE, "1")
    return store


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.tif"
    grey = np.random.default_rng(0).integers(0, 255, (4, 64, 64), dtype=np.uint8)
    tifffile.imwrite(path, grey, photometric="minisblack")
    return path


def test_a_dry_run_says_what_would_be_added_and_writes_nothing(scan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = said("data", "add", scan, "--voxel-size", "60e-9", "--folder", data, "--dry-run")
    assert "would add" in printed
    assert "6e-08 m per voxel" in printed
    assert not data.exists()


def test_a_scan_that_the_check_would_refuse_is_not_added(tmp_path: Path, fails: Callable[..., str]) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (256, 256), dtype=np.uint8)
    grey[:, :100] = 0
    tifffile.imwrite(tmp_path / "margin.tif", grey)
    for more in ((), ("--dry-run",)):
        line = fails(
            "data", "add", tmp_path / "margin.tif", "--voxel-size", "60e-9", "--folder", tmp_path / "data", *more
        )
        assert "crops are flat" in line
        assert "crop blank margins off the volume, or change check.std_min" in line
    assert not (tmp_path / "data").exists()


def test_show_draws_a_scan_and_says_what_the_check_would_say(scan: Path, tmp_path: Path) -> None:
    printed = said("data", "show", scan, "--voxel-size", "60e-9", "-o", tmp_path / "scan.png", status=3)
    assert "'check' would refuse it:\nporosity" in printed
    with Image.open(tmp_path / "scan.png") as picture:
        assert picture.size == (1800, 1260)


def test_after_adding_a_scan_the_next_commands_are_reported(scan: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    printed = said("data", "add", scan, "--voxel-size", "60e-9", "--folder", data)
    assert f"dvc add {data}" in printed
    assert (data / "manifest.yaml").is_file()


def test_a_scan_without_a_voxel_size_is_one_line_of_error(
    scan: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    line = fails("data", "add", scan, "--folder", tmp_path / "data")
    assert "scan.tif" in line
    assert "voxel" in line
    assert not (tmp_path / "data").exists()


def test_a_threshold_that_is_no_number_is_one_line_of_error(
    scan: Path, tmp_path: Path, fails: Callable[..., str]
) -> None:
    fails("data", "add", scan, "--voxel-size", "60e-9", "--threshold", "high", "--folder", tmp_path / "data")


def test_an_empty_registry_says_how_to_fill_it(store: Path) -> None:
    assert "no generator is registered yet; 'dvc repro'" in said("models")


def test_the_table_of_models_has_versions_aliases_scores_and_extractor(shale: Path) -> None:
    printed = said("models", "--next")
    for shown in ("shale/1", "shale/2", "tiny", "@candidate", "0.1", "0.2", "Extractor: tiny"):
        assert shown in printed
    assert "rockbank sample shale@champion" in printed


@pytest.mark.parametrize(("model", "generator"), [("channels", "channels-wgan-lp"), ("shale", "shale-texture")])
def test_the_table_of_models_fits_80_columns(model: str, generator: str) -> None:
    scores = {
        "fid": "163.3",
        "kid": "-0.000123",
        "s2_distance": "0.00123",
        "diversity": "0.0123",
        "memorisation": "0.982",
    }
    entry = registry.Entry(
        name=model,
        version="112",
        aliases=("candidate", "champion"),
        run_id=None,
        created=0.0,
        tags={"generator": generator, **scores},
    )
    console = Console(width=80, file=io.StringIO())
    console.print(table_of([entry]))
    printed = console.file.getvalue()
    assert "…" not in printed
    for shown in (f"{model}/112", "@candidate", generator, "diversity", "S2 dist.", "memor.", "-0.000123", "0.982"):
        assert shown in printed


def test_one_generator_is_shown_with_its_scores_and_fingerprints(shale: Path) -> None:
    printed = said("show", "shale/1")
    for shown in ("tiny", "wgan-gp", "1 x 16 x 16", "6e-08 m", "large.kid: 0.1", "generator.onnx", "sha256"):
        assert shown in printed


def test_an_unknown_generator_is_one_line_of_error_with_the_known_ones(shale: Path, fails: Callable[..., str]) -> None:
    line = fails("show", "sandstone@champion")
    assert "sandstone@champion" in line
    assert "['shale']" in line


def test_the_candidate_is_promoted_and_a_worse_one_refused(shale: Path, fails: Callable[..., str]) -> None:
    assert "shale@champion is version 1" in said("promote", "shale")
    assert "is version 1 already" in said("promote", "shale", "--first")
    line = fails("promote", "shale", "--version", "2")
    assert "'shale' version 2 is not promoted" in line
    assert registry.resolve("shale@champion").version == "1"


def test_a_model_that_is_not_registered_is_not_promoted(shale: Path, fails: Callable[..., str]) -> None:
    line = fails("promote", "sandstone")
    assert "sandstone@candidate: not in the registry" in line


def test_rollback_gives_the_title_back(shale: Path, generator_folder: Make, fails: Callable[..., str]) -> None:
    assert "no earlier champion" in fails("rollback", "shale")
    said("promote", "shale")
    registry.push("shale", generator_folder(kid=0.05))
    assert "it was version 1" in said("promote", "shale", "--version", "3").replace("before, ", "")
    assert "shale@champion is version 1 again; it was version 3" in said("rollback", "shale")


def test_samples_are_written_as_array_stack_and_picture(shale: Path) -> None:
    for name in ("samples.npy", "stack.tif", "grid.png"):
        printed = said("sample", "shale/1", "--n", "5", "--seed", "7", "-o", name)
        assert printed == f"wrote {name}: 5 of shale/1 (tiny), seed 7\n"
    samples = np.load("samples.npy", allow_pickle=False)
    assert samples.shape == (5, 1, 16, 16)
    with tifffile.TiffFile("stack.tif") as tif:
        pixels, length = tif.pages[0].tags["XResolution"].value  # type: ignore[union-attr]
        # 8 bits: half a grey level.
        np.testing.assert_allclose(tif.asarray() / 255.0, samples[:, 0], rtol=0, atol=0.5 / 255 + 1e-6)
    # The card's 60 nm, as a ratio of two 32-bit integers of pixels a centimetre.
    assert 0.01 * length / pixels == pytest.approx(60e-9, rel=1e-4)
    with Image.open("grid.png") as picture:
        assert picture.size[0] > picture.size[1] > 16


def test_the_same_seed_gives_the_same_file(shale: Path) -> None:
    for name in ("a.npy", "b.npy"):
        said("sample", "shale/1", "--n", "3", "--seed", "11", "-o", name)
    assert Path("a.npy").read_bytes() == Path("b.npy").read_bytes()


def test_a_file_that_cannot_be_written_is_one_line_of_error(shale: Path, fails: Callable[..., str]) -> None:
    assert "cannot write '.jpg'" in fails("sample", "shale/1", "-o", "grid.jpg")
    assert not Path("grid.jpg").exists()


@pytest.fixture
def endless(store: Path, generator_folder: Make) -> Path:
    """A working folder whose registry has an endless `shale`, version 1, and version 2 of one size."""
    registry.push("shale", generator_folder(endless=True))
    registry.push("shale", generator_folder())
    return store


def test_an_endless_generator_is_written_at_any_size_and_a_window_of_it_is_its_part(endless: Path) -> None:
    printed = said("sample", "shale/1", "--size", "150x70", "--seed", "7", "-o", "big.npy")
    assert printed == "wrote big.npy: 1 x 150 x 70 pixels of shale/1 (tiny), seed 7\n"
    whole = np.load("big.npy", mmap_mode="r")
    assert whole.shape == (1, 1, 70, 150)
    printed = said("sample", "shale/1", "--window", "-9,20,100,50", "--seed", "7", "--n", "2", "-o", "part.tif")
    assert "2 x 100 x 50 pixels at (-9, 20)" in printed
    pages = tifffile.imread("part.tif")
    assert pages.shape == (2, 50, 100)
    # 8 bits: half a grey level.
    np.testing.assert_allclose(pages[0, :, 9:] / 255.0, whole[0, 0, 20:70, :91], rtol=0, atol=0.5 / 255 + 1e-6)
    said("sample", "shale/1", "--size", "20x10", "-o", "small.png")
    with Image.open("small.png") as picture:
        assert picture.size == (20, 10)
        np.testing.assert_allclose(np.asarray(picture) / 255.0, whole[0, 0, :10, :20], rtol=0, atol=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("shale/2", "--size", "64x64"), "'tiny' makes images of 16 x 16 pixels only; leave the size out"),
        (("shale/1", "--size", "64"), "use WIDTHxHEIGHT in pixels, such as 4096x2048"),
        (("shale/1", "--window", "1,2,3"), "use X,Y,WIDTH,HEIGHT in pixels"),
        (("shale/1", "--size", "16385x1"), "use sides from 1 to 16384 pixels"),
        (("shale/1", "--size", "8x8", "--window", "0,0,8,8"), "give one of them"),
        (("shale/1", "--size", "8x8", "--n", "2"), "a PNG takes one image"),
        (("shale/1", "--size", "8x8", "-o", "a.jpg"), "cannot write '.jpg'"),
    ],
)
def test_a_size_that_cannot_be_had_is_one_line_of_error(
    endless: Path, fails: Callable[..., str], arguments: tuple[str, ...], says: str
) -> None:
    assert says in fails("sample", *arguments)
    assert not list(endless.glob("*.png"))


CASE = """
title: A few cells
grid: {shape: [6, 5], spacing: [10 m, 10 m, 5 m]}
rock: {permeability: 100 mD, porosity: 0.2}
fluid:
  water: {viscosity: 0.5 cP, density: 1000}
  oil: {viscosity: 2 cP, density: 800}
  curves: {water: {residual: 0.2, span: 0.6}, oil: {residual: 0.2, span: 0.6}}
wells:
  INJ: {kind: injector, cells: {i: 0, j: 0}}
  PROD: {kind: producer, cells: {i: 5, j: 4}}
schedule:
  unit: day
  steps: [1, 5 x 3]
  controls: {INJ: {rate: 20 m3/day}, PROD: {bhp: 150 bar}}
initial: {pressure: 200 bar}
"""


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A case file alone in a folder of its own, from which the command is run."""
    monkeypatch.chdir(tmp_path)
    Path("few.yaml").write_text(CASE)
    return Path("few.yaml")


def test_a_case_is_simulated_and_what_was_asked_for_is_written(case: Path) -> None:
    printed = said("simulate", case, "--picture", "few.png", "--deck", "few.DATA", "--summary", "--verbose")
    for shown in ("A few cells", "6 x 5 = 30", "INJ (injector, 1)", "4, 16 days", "oil recovered", "iterations"):
        assert shown in printed
    names = ["few.nc", "few.png", "few.DATA", "FEW.SMSPEC", "FEW.UNSMRY"]
    assert [line.removeprefix("wrote ") for line in printed.splitlines() if line.startswith("wrote ")] == names
    assert sorted(path.name for path in Path().iterdir()) == sorted([*names, "few.yaml"])


def test_the_deck_of_a_case_is_a_case(case: Path) -> None:
    said("simulate", case, "--deck", "few.DATA", "-o", "case.nc")
    said("simulate", "few.DATA", "--method", "newton")
    curves = [read_results(Path(name)).oil_rate.values for name in ("case.nc", "few.nc")]
    # Newton's 1e-3 of a cell's pore volume, against the sequential 1e-6.
    np.testing.assert_allclose(curves[1], curves[0], atol=0.01 * np.abs(curves[0]).max())


def test_a_dry_run_checks_the_case_and_writes_nothing(case: Path) -> None:
    assert "6 x 5 = 30" in said("simulate", case, "--dry-run")
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        (("span: 0.6", "spam: 0.6"), (), "few.yaml: unknown key 'spam' in section 'fluid.curves.water'"),
        (("100 mD", "100 bar"), (), "few.yaml: rock.permeability: unknown unit 'bar' of a permeability"),
        (("{i: 5, j: 4}", "{i: 6, j: 4}"), (), "few.yaml: wells: well 'PROD': cell (6, 4) is outside the grid"),
        (
            ("", ""),
            ("--method", "fastest"),
            "options: got method 'fastest'; known are ['auto', 'sequential', 'newton']",
        ),
        (("", ""), ("--tolerance", "-1"), "options: got tolerance -1.0; it must be positive"),
        (("", ""), ("-o", "few.csv"), "--output: got 'few.csv'; use a name that ends in .nc"),
    ],
)
def test_a_case_that_cannot_be_run_is_one_line_of_error(
    case: Path,
    fails: Callable[..., str],
    change: tuple[str, str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    case.write_text(CASE.replace(*change, 1))
    assert says in fails("simulate", case, *arguments)
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize("dry_run", [("--dry-run",), ()])
@pytest.mark.parametrize(
    ("changes", "arguments", "says"),
    [
        ([("PROD:", "PRODUCER-EAST:")], ("--summary",), "wells ['PRODUCER-EAST']: Eclipse takes names of up to 8"),
        ([("PROD:", "'P/2':"), ("INJ:", "I N:")], ("--deck", "f.DATA"), "wells ['I N', 'P/2']: Eclipse takes names"),
        ([("200 bar}", "200 bar, saturation: 20}")], (), "few.yaml: initial saturation: got 20 in cell (0, 0) and 29"),
        ([("200 bar}", "-1 bar}")], (), "few.yaml: initial: pressure: got -100000 in cell (0, 0) and 29 more; it must"),
        ([("{bhp: 150 bar}", "{oil: 20 m3/day}")], (), "few.yaml: schedule: in report step 1 no well under 'bhp'"),
        ([("20 m3/day}, PROD: {bhp: 150 bar}", "20 m3/day}")], (), "few.yaml: schedule: controls wells ['INJ']"),
        (
            [("{i: 0, j: 0}}", "{i: 0, j: 0}, radius: 99}")],
            (),
            "few.yaml: well 'INJ': radius 99.0 m and skin 0.0 leave",
        ),
        (
            [("  curves:", "  gravity: true\n  curves:")],
            ("--method", "sequential"),
            "method 'sequential' does not apply",
        ),
        ([], ("-o", "there/few.nc"), "there/few.nc: is a folder; give the name of a file"),
        ([], ("-o", "few.yaml/few.nc"), "few.nc: cannot be written, "),
        ([], ("--picture", "few.yaml/sub/few.png"), "few.png: cannot be written, "),
    ],
)
def test_a_dry_run_refuses_what_the_run_would_refuse(
    case: Path,
    fails: Callable[..., str],
    changes: list[tuple[str, str]],
    arguments: tuple[str, ...],
    says: str,
    dry_run: tuple[str, ...],
) -> None:
    text = CASE
    for old, new in changes:
        text = text.replace(old, new)
    case.write_text(text)
    Path("there/few.nc").mkdir(parents=True)
    assert says in fails("simulate", case, *arguments, *dry_run)
    assert sorted(path.name for path in Path().iterdir()) == ["few.yaml", "there"]


def test_a_deck_is_not_written_over_the_deck_that_is_run(case: Path, fails: Callable[..., str]) -> None:
    said("simulate", case, "--deck", "few.DATA", "-o", "case.nc")
    before = Path("few.DATA").read_text()
    for dry_run in (("--dry-run",), ()):
        assert "--deck: got 'few.DATA', which is the case" in fails(
            "simulate", "few.DATA", "--deck", "few.DATA", *dry_run
        )
    assert Path("few.DATA").read_text() == before


def test_ctrl_c_leaves_nothing_half_written(
    case: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    # In the midst of writing the results, when their file is there already.
    monkeypatch.setattr("xarray.Dataset.to_netcdf", lambda _, path, **__: (Path(path).touch(), interrupt()))
    monkeypatch.setattr("sys.argv", ["rockbank", "simulate", str(case)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert "stopped; nothing is half written" in capfd.readouterr().err
    assert [path.name for path in Path().iterdir()] == ["few.yaml"]


@pytest.mark.parametrize("arguments", [("--n", "0"), ("--seed", "-1"), ("--n", "many")])
def test_an_impossible_option_is_a_usage_error(shale: Path, arguments: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["sample", "shale/1", *arguments])
    assert result.exit_code == 2
