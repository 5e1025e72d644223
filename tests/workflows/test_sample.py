"""Samples to a file: written as they come, with progress, or refused before the first is made."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rockbank.core import terminal
from rockbank.core.errors import InputError
from rockbank.generator.card import ModelCard
from rockbank.generator.conditional import TooRare, parse_condition
from rockbank.generator.sampler import BATCH, Sampler
from rockbank.mlops import registry
from rockbank.mlops.registry import Entry
from rockbank.workflows.sample import sample_here
from tests.tiny_generators import write_generator

MODEL = "shale@champion"


@pytest.fixture
def pulled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A registry of one tiny generator, and progress that is said at once."""

    def pull(reference: str, folder: Path) -> tuple[Entry, ModelCard]:
        write_generator(folder)
        return Entry(name="shale", version="1", aliases=(), run_id=None, created=0.0, tags={}), ModelCard.load(folder)

    monkeypatch.setattr(registry, "pull", pull)
    monkeypatch.setattr(terminal, "LINE_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)


def peak_of(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["samples.npy", "stack.tif"])
def test_memory_does_not_grow_with_the_number_of_samples(pulled: None, name: str) -> None:
    n = 4096
    # What is made once, whatever the number: the generator, its reference, caches.
    fixed = peak_of(lambda: sample_here(MODEL, Path(name), BATCH, 7, None))
    peak = peak_of(lambda: sample_here(MODEL, Path(name), n, 7, None))
    # Of 16 x 16 pixels: 16 kB a batch, 4 MB in all; a TIFF's directories are 230 bytes a page, written one by one.
    assert peak - fixed < 300_000
    if name == "samples.npy":
        assert np.load(name, mmap_mode="r").shape == (n, 1, 16, 16)
    else:
        with tifffile.TiffFile(name) as tif:
            assert len(tif.pages) == n


def test_progress_is_said_as_the_samples_come(pulled: None, capsys: pytest.CaptureFixture[str]) -> None:
    sample_here(MODEL, Path("samples.npy"), 64, 7, None)
    assert "sampling shale@champion: 16 of 64" in capsys.readouterr().err


def test_a_picture_that_would_fill_memory_is_refused_before_the_generator_runs(
    pulled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: object, **keywords: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Sampler, "__init__", never)
    with pytest.raises(InputError, match=r"grid\.png: 300000 samples of 16 x 16 pixels; a PNG .* use \.tif or \.npy"):
        sample_here(MODEL, Path("grid.png"), 300_000, 7, None)
    assert list(Path().iterdir()) == []


def test_what_is_looked_for_says_how_much_was_sampled_before_the_first_is_found(
    pulled: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Within the rock's range, and too narrow for any sample.
    monkeypatch.setattr("rockbank.workflows.sample.MAX_TRIES", 64)
    condition = parse_condition("porosity", [0.50001, 0.50002])
    monkeypatch.setattr(type(condition), "check", lambda *arguments: None)
    Path("samples.npy").write_bytes(b"before")
    with pytest.raises(TooRare):
        sample_here(MODEL, Path("samples.npy"), 1, 7, None, condition)
    assert "sampling shale@champion: 0 of 1, 0.0 min  16 sampled" in capsys.readouterr().err
    assert Path("samples.npy").read_bytes() == b"before"
