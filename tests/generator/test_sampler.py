"""A seed gives the same samples in every batch, as intensity, and they are written as what the suffix says."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.generator.card import ModelCard
from rockbank.generator.sampler import BATCH, Sampler
from rockbank.generator.writers import write_samples

VOXEL_SIZE = 60e-9


@pytest.fixture
def sampler(generator_folder: Callable[..., Path]) -> Sampler:
    folder = generator_folder()
    return Sampler(folder, ModelCard.load(folder))


def test_a_sample_depends_on_the_seed_and_on_its_place_alone(sampler: Sampler) -> None:
    few, many = sampler.sample(seed=7, n=5), sampler.sample(seed=7, n=2 * BATCH + 8)
    assert few.shape == (5, 1, 16, 16)
    # To the bit: onnxruntime sums a row of a product in the same order in every batch.
    np.testing.assert_array_equal(few, many[:5])
    np.testing.assert_array_equal(many, sampler.sample(seed=7, n=2 * BATCH + 8))


def test_another_seed_gives_other_samples(sampler: Sampler) -> None:
    assert np.abs(sampler.sample(seed=7, n=4) - sampler.sample(seed=8, n=4)).mean() > 0.1


def test_batches_are_the_samples_in_their_order(sampler: Sampler) -> None:
    batches = list(sampler.batches(seed=7, n=2 * BATCH + 1))
    assert [len(batch) for batch in batches] == [BATCH, BATCH, 1]
    np.testing.assert_array_equal(np.concatenate(batches), sampler.sample(seed=7, n=2 * BATCH + 1))


def test_batches_from_a_place_on_are_the_last_of_all(sampler: Sampler) -> None:
    batches = list(sampler.batches(seed=7, n=2 * BATCH + 1, begin=BATCH))
    np.testing.assert_array_equal(np.concatenate(batches), sampler.sample(seed=7, n=2 * BATCH + 1)[BATCH:])


def test_samples_are_intensity(sampler: Sampler) -> None:
    samples = sampler.sample(seed=7, n=BATCH)
    assert samples.dtype == np.float32
    assert samples.min() >= 0.0
    assert samples.max() <= 1.0
    assert samples.min() < 0.2 < 0.8 < samples.max()


def test_a_smaller_truncation_gives_more_typical_samples(sampler: Sampler) -> None:
    # tanh of a zero latent is the middle of the range.
    spread = [np.abs(sampler.sample(7, 8, truncation) - 0.5).mean() for truncation in (1.0, 0.5, 0.1)]
    assert spread == sorted(spread, reverse=True)


def test_an_array_is_written_whole(sampler: Sampler, tmp_path: Path) -> None:
    samples = sampler.sample(seed=7, n=3)
    write_samples(tmp_path / "samples.npy", samples, VOXEL_SIZE)
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy", allow_pickle=False), samples)


def test_a_stack_has_its_pages_and_its_scale(sampler: Sampler, tmp_path: Path) -> None:
    samples = sampler.sample(seed=7, n=3)
    write_samples(tmp_path / "stack.tif", samples, VOXEL_SIZE)
    with tifffile.TiffFile(tmp_path / "stack.tif") as tif:
        pages = tif.asarray()
        pixels, length = tif.pages[0].tags["XResolution"].value  # type: ignore[union-attr]
        unit = tif.pages[0].tags["ResolutionUnit"].value  # type: ignore[union-attr]
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["spacing"] == pytest.approx(VOXEL_SIZE * 1e6)
    assert unit == tifffile.RESUNIT.CENTIMETER
    # A TIFF holds the resolution as a ratio of two 32-bit integers.
    assert 0.01 * length / pixels == pytest.approx(VOXEL_SIZE, rel=1e-4)
    # 8 bits: half a grey level.
    np.testing.assert_allclose(pages / 255.0, samples[:, 0], rtol=0, atol=0.5 / 255 + 1e-6)


def test_a_picture_is_a_grid(sampler: Sampler, tmp_path: Path) -> None:
    write_samples(tmp_path / "grid.png", sampler.sample(seed=7, n=6), VOXEL_SIZE)
    with Image.open(tmp_path / "grid.png") as picture:
        columns, rows = picture.size
    assert columns > 4 * 16
    assert 2 * 16 < rows < columns


@pytest.mark.parametrize("name", ["grid.jpg", "samples.pt", "samples"])
def test_any_other_suffix_is_refused_and_nothing_is_written(sampler: Sampler, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "out"
    with pytest.raises(ValueError, match=r"use one of \['\.npy', '\.png', '\.tif'\]"):
        write_samples(folder / name, sampler.sample(seed=7, n=1), VOXEL_SIZE)
    assert not folder.exists()


def test_nothing_half_written_is_left(sampler: Sampler, tmp_path: Path) -> None:
    write_samples(tmp_path / "out" / "stack.tif", sampler.sample(seed=7, n=1), VOXEL_SIZE)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["stack.tif"]
