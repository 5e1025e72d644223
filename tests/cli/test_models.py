"""Commands of the registry and `rockbank sample`: what is printed, and how they end."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from mlflow import MlflowClient
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from rockbank.cli.main import app
from rockbank.cli.models import table_of
from rockbank.core.errors import InputError
from rockbank.mlops import registry
from rockbank.stages.register import NonePassed
from tests.cli.commands import said
from tests.pulled import write_pulled
from tests.tiny_generators import write_generator

Make = Callable[..., Path]
PARAMS = Path(__file__).parents[2] / "params.yaml"


def two_versions(folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS.read_text())
    registry.push("shale", write_generator(folder / "generators" / "1", kid=0.1))
    registry.push("shale", write_generator(folder / "generators" / "2", kid=0.2))
    registry.set_alias("shale", registry.CANDIDATE, "1")


@pytest.fixture
def shale(store: Path, made_once: Callable[..., Path]) -> Path:
    """A working folder with params.yaml and two versions of `shale`, the first one the better."""
    return made_once(two_versions, store)


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
    (commit,) = (line for line in printed.splitlines() if "git commit" in line)
    assert "not known" in commit


def test_an_unknown_generator_is_one_line_of_error_with_the_known_ones(shale: Path, fails: Callable[..., str]) -> None:
    line = fails("show", "sandstone@champion")
    assert "sandstone@champion" in line
    assert "['shale']" in line
    assert "'shal': no version of it is registered; known are ['shale']" in fails("models", "shal")


def test_the_candidate_is_promoted_and_a_worse_one_refused(shale: Path, fails: Callable[..., str]) -> None:
    assert "shale@champion is version 1" in said("promote", "shale")
    assert "is version 1 already" in said("promote", "shale", "--first")
    line = fails("promote", "shale", "--version", "2")
    assert "'shale' version 2 is not promoted" in line
    assert registry.resolve("shale@champion").version == "1"


def test_a_model_that_is_not_registered_is_not_promoted(shale: Path, fails: Callable[..., str]) -> None:
    line = fails("promote", "sandstone")
    assert "sandstone@candidate: not in the registry" in line


def test_a_family_of_which_none_passed_does_not_stop_the_registration_of_the_others(
    store: Path, generator_folder: Make
) -> None:
    params = yaml.safe_load(PARAMS.read_text())
    # The first of them has no verdict, and neither has the last.
    gates = params["gate"]
    params["gate"] = {"channels": gates["channels"], "shale": gates["shale"], "coal": gates["shale"]}
    (store / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    write_pulled("shale-texture", generator_folder())
    result = CliRunner().invoke(app, ["register"])
    assert isinstance(result.exception, NonePassed)
    for family in ("channels", "coal"):
        assert f"no generator of '{family}' has a verdict" in str(result.exception)
    assert registry.resolve("shale@candidate").version == "1"


def test_rollback_gives_the_title_back(shale: Path, generator_folder: Make, fails: Callable[..., str]) -> None:
    assert "no earlier champion" in fails("rollback", "shale")
    said("promote", "shale")
    registry.push("shale", generator_folder(kid=0.05))
    assert "it was version 1" in said("promote", "shale", "--version", "3").replace("before, ", "")
    assert "shale@champion is version 1 again; it was version 3" in said("rollback", "shale")


def test_rollback_says_which_versions_were_deleted(shale: Path, generator_folder: Make) -> None:
    registry.push("shale", generator_folder(kid=0.05))
    for version in ("2", "1", "3"):
        said("promote", "shale", "--version", version)
    MlflowClient().delete_model_version("shale", "1")
    MlflowClient().delete_model_version("shale", "3")
    printed = said("rollback", "shale")
    assert "passed over version 1, which was deleted" in printed
    assert "shale@champion is version 2 again; there was none" in printed


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


def endless_and_not(folder: Path) -> None:
    registry.push("shale", write_generator(folder / "generators" / "1", endless=True))
    registry.push("shale", write_generator(folder / "generators" / "2"))


@pytest.fixture
def endless(store: Path, made_once: Callable[..., Path]) -> Path:
    """A working folder whose registry has an endless `shale`, version 1, and version 2 of one size."""
    return made_once(endless_and_not, store)


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
        (("shale/1", "--size", "8x8", "--workers", "4"), "--workers 4: this machine samples with all its cores"),
        (("shale/1", "--window", "0,0,8,8", "--workers", "4"), "--workers 4: this machine samples with all its cores"),
    ],
)
def test_a_size_that_cannot_be_had_is_one_line_of_error(
    endless: Path, fails: Callable[..., str], arguments: tuple[str, ...], says: str
) -> None:
    assert says in fails("sample", *arguments)
    assert not list(endless.glob("*.png"))


@pytest.mark.parametrize("arguments", [("--n", "0"), ("--seed", "-1"), ("--n", "many")])
def test_an_impossible_option_is_a_usage_error(shale: Path, arguments: tuple[str, str]) -> None:
    result = CliRunner().invoke(app, ["sample", "shale/1", *arguments])
    assert result.exit_code == 2


@pytest.mark.parametrize("words", [["models"], ["rollback"], ["promote"], ["promote", "--first"]])
@pytest.mark.parametrize("reference", ["shale/1", "shale@champion"])
def test_a_version_where_a_name_is_wanted_is_refused(shale: Path, words: list[str], reference: str) -> None:
    with pytest.raises(InputError, match=f"'{reference}': give the name of the registered model alone"):
        said(*words, reference)
