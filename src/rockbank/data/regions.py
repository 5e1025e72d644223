"""Regions of a slice for training, validation and test that share no pixel: strips, or blocks assigned at random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from rockbank.data.manifest import VolumeError
from rockbank.data.stored import Volume, subsample
from rockbank.params import PrepareParams
from rockbank.rock.crops import SPLITS

# The seed's stream of the assignment of blocks; those of the positions come before it.
STREAM = len(SPLITS)
# Random assignments of which the one with the most alike splits is taken: with 256 the porosities of training and test
# crops of a real scan are 0.010 apart, with one 0.028 (blocks of 3 crops of 64, mean over 20 seeds).
N_DRAWS = 256
# A block's pixels below this percentile of the volume are its dark ones, the pores or some of them.
DARK = 10
SUBSAMPLE = 2**22


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle, the same in every slice of a volume. Pixels."""

    row: int
    column: int
    n_rows: int
    n_columns: int


def split_regions(
    name: str,
    voxels: Volume | UInt8[np.ndarray, "slices rows columns"],
    params: PrepareParams,
    i_volume: int,
) -> dict[str, list[Region]]:
    """The regions of each split, which together are the whole slice.

    They are those of every slice: slices next to each other resemble each other (0.95 in a real scan), so regions
    that moved would leak.

    Args:
        name: of the volume, for errors.
        voxels: blocks that have a crop of rock are assigned so that the splits are alike in its grey values.
        params: size, split, fractions, side of a block and seed.
        i_volume: of the volumes, each of which has an assignment of its own.

    Raises:
        VolumeError: for a slice that is too small, naming the remedy.
    """
    volume = Volume.of(voxels)
    if params.split == "strips":
        return _strips(name, volume.shape[1:], params)
    blocks = _blocks(volume.shape[1:], params)
    if volume.rock is not None:
        counts = n_positions(volume, blocks, params.size).sum(axis=1)
        blocks = [block for block, n in zip(blocks, counts, strict=True) if n > 0]
    counts = _counts(name, volume.shape[1:], len(blocks), params)
    rng = np.random.default_rng([params.seed, STREAM, i_volume])
    members = _assign(_describe(volume, blocks, params.size), counts, rng)
    return {split: [blocks[i] for i in sorted(of_split)] for split, of_split in zip(SPLITS, members, strict=True)}


def _strips(name: str, shape: tuple[int, int], params: PrepareParams) -> dict[str, list[Region]]:
    """Training, validation and test from left to right."""
    n_rows, n_columns = shape
    right = n_columns - round(params.test_fraction * n_columns)
    left = right - round(params.validation_fraction * n_columns)
    regions = {}
    for split, begin, end in zip(SPLITS, (0, left, right), (left, right, n_columns), strict=True):
        if end - begin < params.size or n_rows < params.size:
            raise VolumeError(
                f"{name}: its {split} region is {n_rows} x {end - begin} pixels, less than a crop of {params.size}; "
                "use a smaller prepare.size, other fractions in prepare, or a larger volume"
            )
        regions[split] = [Region(row=0, column=begin, n_rows=n_rows, n_columns=end - begin)]
    return regions


def _blocks(shape: tuple[int, int], params: PrepareParams) -> list[Region]:
    """Blocks of nearly equal size, no side below `block` crops."""
    side = params.block * params.size
    rows, columns = (_edges(n, side) for n in shape)
    return [
        Region(row=int(top), column=int(left), n_rows=int(bottom - top), n_columns=int(right - left))
        for top, bottom in pairwise(rows)
        for left, right in pairwise(columns)
    ]


def _counts(name: str, shape: tuple[int, int], n_blocks: int, params: PrepareParams) -> tuple[int, ...]:
    """How many blocks each split gets."""
    n_test, n_validation = (max(1, round(f * n_blocks)) for f in (params.test_fraction, params.validation_fraction))
    n_train = n_blocks - n_validation - n_test
    if n_train < 1:
        side = params.block * params.size
        raise VolumeError(
            f"{name}: {shape[0]} x {shape[1]} pixels have {n_blocks} blocks of {side} x {side}, too few for "
            f"{n_test} of test, {n_validation} of validation and one of training; use a smaller prepare.block or "
            "prepare.size, smaller fractions, or 'split: strips'"
        )
    return (n_train, n_validation, n_test)


def _edges(n: int, side: int) -> Int[np.ndarray, " n_edges"]:
    """Of as many parts as are at least `side` long; none where even one would be shorter."""
    return np.asarray(np.round(np.linspace(0, n, n // side + 1)), dtype=np.int64)


def _describe(volume: Volume, blocks: Sequence[Region], size: int) -> Float[np.ndarray, "n_blocks 3"]:
    """Mean, standard deviation and dark fraction of each block's crops, scaled to variance 1 over the blocks."""
    dark = np.percentile(subsample(volume.slices(), volume.size, SUBSAMPLE), DARK)
    # Sums over the slices of each pixel: of ones, grey values, their squares, and dark ones.
    sums = np.zeros((4, *volume.shape[1:]))
    for grey, rock in volume.slices():
        known = np.ones(grey.shape, bool) if rock is None else rock
        for total, each in zip(sums, (known, grey, grey.astype(np.uint16) ** 2, grey <= dark), strict=True):
            total += np.where(known, each, 0)
    values = []
    for at in blocks:
        # A pixel counts as often as crops hold it, many times as often in the middle of a block as at its rim.
        weight = np.outer(n_holding(at.n_rows, size), n_holding(at.n_columns, size))
        n, mean, square, is_dark = (
            float((each[at.row : at.row + at.n_rows, at.column : at.column + at.n_columns] * weight).sum())
            for each in sums
        )
        mean, square, is_dark = mean / n, square / n, is_dark / n
        values.append((mean, np.sqrt(max(0.0, square - mean**2)), is_dark))
    found = np.array(values)
    spread = found.std(axis=0)
    return np.asarray((found - found.mean(axis=0)) / np.where(spread > 0, spread, 1.0))


def n_positions(volume: Volume, regions: Sequence[Region], size: int) -> Int[np.ndarray, "n_regions slices"]:
    """How many crops each region has in each slice, all of which are rock."""
    corners = [(at.n_rows - size + 1, at.n_columns - size + 1) for at in regions]
    if volume.rock is None:
        return np.repeat([[rows * columns] for rows, columns in corners], len(volume), axis=1)
    counts = np.empty((len(regions), len(volume)), np.int64)
    for i in range(len(volume)):
        is_rock = crops_of_rock(volume.rock(i), size)
        for i_region, (at, (rows, columns)) in enumerate(zip(regions, corners, strict=True)):
            counts[i_region, i] = is_rock[at.row : at.row + rows, at.column : at.column + columns].sum()
    return counts


def crops_of_rock(rock: Bool[np.ndarray, "rows columns"], size: int) -> Bool[np.ndarray, "rows_1 columns_1"]:
    """By their upper left corners, whether crops are rock all over."""
    sums = np.zeros((rock.shape[0] + 1, rock.shape[1] + 1), np.int64)
    sums[1:, 1:] = rock.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return np.asarray(inside == size**2)


def n_holding(n: int, size: int) -> Int[np.ndarray, " n"]:
    """Of the n - size + 1 crops along one side, how many hold each pixel."""
    i = np.arange(n)
    return np.minimum(np.minimum(i + 1, n - i), min(size, n - size + 1))


def _assign(
    described: Float[np.ndarray, "n_blocks 3"], counts: Sequence[int], rng: np.random.Generator
) -> list[Int[np.ndarray, " n"]]:
    """The blocks of each split: of many random assignments the one whose splits differ least in their means.

    Rerandomisation (Morgan and Rubin 2012); the difference is summed over the splits, squared.
    """
    ends = np.cumsum(counts)[:-1]
    draws = [np.split(rng.permutation(len(described)), ends) for _ in range(N_DRAWS)]
    return min(draws, key=lambda members: sum(float((described[each].mean(axis=0) ** 2).sum()) for each in members))


def whole(shape: tuple[int, int]) -> Region:
    """All of a slice."""
    return Region(row=0, column=0, n_rows=shape[0], n_columns=shape[1])


def n_pixels(regions: Iterable[Region]) -> int:
    """In one slice."""
    return sum(each.n_rows * each.n_columns for each in regions)
