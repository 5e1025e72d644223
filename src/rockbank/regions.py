"""Regions of a slice for training, validation and test that share no pixel: strips, or blocks assigned at random."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rockbank.crops import SPLITS
from rockbank.manifest import VolumeError
from rockbank.params import PrepareParams

# The seed's stream of the assignment of blocks; those of the positions come before it.
STREAM = len(SPLITS)


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle, the same in every slice of a volume. Pixels."""

    row: int
    column: int
    n_rows: int
    n_columns: int


def split_regions(name: str, shape: tuple[int, int], params: PrepareParams, i_volume: int) -> dict[str, list[Region]]:
    """The regions of each split, which together are the whole slice.

    They are those of every slice: slices next to each other resemble each other (0.95 in a real scan), so regions
    that moved would leak.

    Args:
        name: of the volume, for errors.
        shape: rows and columns of a slice.
        params: size, split, fractions, side of a block and seed.
        i_volume: of the volumes, each of which has an assignment of its own.

    Raises:
        VolumeError: for a slice that is too small, naming the remedy.
    """
    if params.split == "strips":
        return _strips(name, shape, params)
    rng = np.random.default_rng([params.seed, STREAM, i_volume])
    return _blocks(name, shape, params, rng)


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


def _blocks(
    name: str, shape: tuple[int, int], params: PrepareParams, rng: np.random.Generator
) -> dict[str, list[Region]]:
    """Blocks of nearly equal size, no side below `block` crops, spread over the slice by stratified sampling."""
    side = params.block * params.size
    rows, columns = (_edges(n, side) for n in shape)
    n_blocks = (len(rows) - 1) * (len(columns) - 1)
    n_test, n_validation = (max(1, round(f * n_blocks)) for f in (params.test_fraction, params.validation_fraction))
    if n_test + n_validation >= n_blocks:
        raise VolumeError(
            f"{name}: {shape[0]} x {shape[1]} pixels have {n_blocks} blocks of {side} x {side}, too few for "
            f"{n_test} of test, {n_validation} of validation and one of training; use a smaller prepare.block or "
            "prepare.size, smaller fractions, or 'split: strips'"
        )
    order = _snake(len(rows) - 1, len(columns) - 1)
    test = _one_in_each_part(order, n_test, rng)
    left = [i for i in order if i not in test]
    validation = _one_in_each_part(left, n_validation, rng)
    members = {
        "train": [i for i in left if i not in validation],
        "validation": validation,
        "test": test,
    }
    return {split: [_region(rows, columns, i) for i in sorted(members[split])] for split in SPLITS}


def _edges(n: int, side: int) -> Int[np.ndarray, " n_edges"]:
    """Of as many parts as are at least `side` long; none where even one would be shorter."""
    n_parts = n // side
    return np.asarray(np.round(np.linspace(0, n, n_parts + 1)), dtype=np.int64)


def _snake(n_rows: int, n_columns: int) -> list[int]:
    """Blocks row by row, every other row backward, so that neighbours in the list are neighbours in the slice."""
    grid = np.arange(n_rows * n_columns).reshape(n_rows, n_columns)
    return [int(i) for i_row, row in enumerate(grid) for i in (row if i_row % 2 == 0 else row[::-1])]


def _one_in_each_part(items: Sequence[int], n: int, rng: np.random.Generator) -> list[int]:
    return [int(rng.choice(part)) for part in np.array_split(np.asarray(items), n)]


def _region(rows: Int[np.ndarray, " r"], columns: Int[np.ndarray, " c"], i_block: int) -> Region:
    i_row, i_column = divmod(i_block, len(columns) - 1)
    return Region(
        row=int(rows[i_row]),
        column=int(columns[i_column]),
        n_rows=int(rows[i_row + 1] - rows[i_row]),
        n_columns=int(columns[i_column + 1] - columns[i_column]),
    )


def whole(shape: tuple[int, int]) -> Region:
    """All of a slice."""
    return Region(row=0, column=0, n_rows=shape[0], n_columns=shape[1])


def n_pixels(regions: Iterable[Region]) -> int:
    """In one slice."""
    return sum(each.n_rows * each.n_columns for each in regions)
