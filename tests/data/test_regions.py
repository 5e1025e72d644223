from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rockbank.data.manifest import VolumeError
from rockbank.data.regions import Region, n_pixels, split_regions, whole
from rockbank.params import PrepareParams
from rockbank.rock.crops import SPLITS

BLOCKS = PrepareParams(
    size=16,
    n_train=1,
    n_validation=1,
    n_test=1,
    split="blocks",
    validation_fraction=0.1,
    test_fraction=0.25,
    block=3,
    seed=1,
)
SIDE = BLOCKS.size * BLOCKS.block


def counted(regions: dict[str, list[Region]], shape: tuple[int, int]) -> np.ndarray:
    """In how many regions each pixel is."""
    count = np.zeros(shape, int)
    for of_split in regions.values():
        for at in of_split:
            count[at.row : at.row + at.n_rows, at.column : at.column + at.n_columns] += 1
    return count


def grey(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """A volume of two slices without any structure."""
    return np.random.default_rng(seed).integers(0, 256, (2, *shape), dtype=np.uint8)


shapes = st.tuples(st.integers(2 * SIDE, 6 * SIDE), st.integers(2 * SIDE, 6 * SIDE))


@settings(deadline=None, max_examples=25)
@given(shape=shapes, seed=st.integers(0, 99), split=st.sampled_from(["blocks", "strips"]))
def test_the_regions_tile_a_slice_without_overlap(shape: tuple[int, int], seed: int, split: str) -> None:
    params = replace(BLOCKS, seed=seed, split=split, validation_fraction=0.2)
    regions = split_regions("a.tif", grey(shape), params, 0)
    assert tuple(regions) == SPLITS
    assert (counted(regions, shape) == 1).all()


@settings(deadline=None, max_examples=25)
@given(shape=shapes, seed=st.integers(0, 99))
def test_fractions_are_met_within_a_block_and_no_block_is_narrower_than_required(
    shape: tuple[int, int], seed: int
) -> None:
    regions = split_regions("a.tif", grey(shape), replace(BLOCKS, seed=seed), 0)
    blocks = [at for of_split in regions.values() for at in of_split]
    assert min(min(at.n_rows, at.n_columns) for at in blocks) >= SIDE
    fractions = {"validation": BLOCKS.validation_fraction, "test": BLOCKS.test_fraction}
    for split, fraction in fractions.items():
        assert len(regions[split]) >= 1
        assert abs(len(regions[split]) - fraction * len(blocks)) < 1
    # The blocks differ by a pixel a side.
    largest = max(n_pixels([at]) for at in blocks)
    assert abs(n_pixels(regions["test"]) - BLOCKS.test_fraction * n_pixels([whole(shape)])) < 2 * largest


def test_the_splits_are_alike_where_the_rock_is_not() -> None:
    # From black at the left to white at the right, so that a strip has a mean far from that of the others.
    voxels = np.broadcast_to(np.linspace(0, 255, 8 * SIDE), (2, 6 * SIDE, 8 * SIDE)).astype(np.uint8)
    mean_gap = {}
    for split in ("blocks", "strips"):
        regions = split_regions("a.tif", voxels, replace(BLOCKS, split=split, validation_fraction=0.2), 0)
        means = [
            np.concatenate(
                [voxels[0, at.row : at.row + at.n_rows, at.column : at.column + at.n_columns].ravel() for at in parts]
            ).mean()
            for parts in regions.values()
        ]
        mean_gap[split] = np.ptp(means)
    # A chance assignment of 10 of 48 blocks errs by a standard deviation of 74 / sqrt(10) = 23 or so.
    assert mean_gap["blocks"] < 12
    assert mean_gap["strips"] > 100


def test_a_seed_gives_one_assignment_another_volume_or_seed_another() -> None:
    voxels = grey((8 * SIDE, 8 * SIDE))
    first = split_regions("a.tif", voxels, BLOCKS, 0)
    assert split_regions("a.tif", voxels, BLOCKS, 0) == first
    assert split_regions("a.tif", voxels, BLOCKS, 1) != first
    assert split_regions("a.tif", voxels, replace(BLOCKS, seed=2), 0) != first


def test_a_volume_of_one_grey_value_is_split_as_well() -> None:
    regions = split_regions("a.tif", np.full((1, 3 * SIDE, 3 * SIDE), 118, np.uint8), BLOCKS, 0)
    assert [len(regions[split]) for split in SPLITS] == [6, 1, 2]


@pytest.mark.parametrize("shape", [(SIDE - 1, 20 * SIDE), (2 * SIDE - 1, 3 * SIDE - 1)])
def test_a_slice_of_fewer_than_three_blocks_is_refused_with_the_remedy(shape: tuple[int, int]) -> None:
    with pytest.raises(VolumeError, match=r"a\.tif: .*too few.*smaller prepare\.block or prepare\.size.*strips"):
        split_regions("a.tif", grey(shape), BLOCKS, 0)
    assert len(split_regions("a.tif", grey((SIDE, 3 * SIDE)), BLOCKS, 0)["train"]) == 1


@pytest.mark.parametrize(
    ("fractions", "split"), [((0.2, 0.05), "test"), ((0.05, 0.2), "validation"), ((0.6, 0.3), "train")]
)
def test_a_strip_narrower_than_a_crop_is_refused(fractions: tuple[float, float], split: str) -> None:
    validation, test = fractions
    params = replace(BLOCKS, split="strips", validation_fraction=validation, test_fraction=test)
    with pytest.raises(VolumeError, match=rf"a\.tif: its {split} region is 128 x \d+ pixels"):
        split_regions("a.tif", grey((128, 128)), params, 0)
