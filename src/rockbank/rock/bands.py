"""Bands in which the mean curve of a generator's samples lies if it has learnt the rock: block bootstrap, sup-t."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri, stdtrit

from rockbank.core.errors import InputError

# A tile's side in crops.
TILE = 2
# Fewer blocks than this tell little about how much they differ.
N_BLOCKS_MIN = 12


@dataclass(frozen=True, kw_only=True)
class Band:
    """A simultaneous band about a mean curve.

    Attributes:
        centre: mean of the real curves.
        low: of the band at each lag.
        high: likewise.
    """

    centre: Float[np.ndarray, " r"]
    low: Float[np.ndarray, " r"]
    high: Float[np.ndarray, " r"]

    def contains(self, mean: Float[np.ndarray, " r"]) -> Bool[np.ndarray, " r"]:
        """At which lags a mean curve lies inside."""
        return np.asarray((self.low <= mean) & (mean <= self.high))


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Curves of crops of one region, with the block of rock that each crop lies in.

    Attributes:
        values: a curve a crop.
        blocks: 0, 1, ..; crops of one block are resampled together.
    """

    values: Float[np.ndarray, "n r"]
    blocks: Int[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.blocks):
            raise InputError(f"{len(self.values)} curves in {len(self.blocks)} blocks; give the block of each curve")
        if self.n_blocks < 2:
            raise InputError(
                f"{len(self.values)} curves in {self.n_blocks} blocks; a bootstrap needs at least 2 of them"
            )

    @property
    def n_blocks(self) -> int:
        """Blocks that have a curve."""
        return len(np.unique(self.blocks))


def blocks_of(table: pd.DataFrame, size: int) -> Int[np.ndarray, " n"]:
    """The block of rock that each crop lies in: a tile of 2 x 2 crops of one volume, through all of its slices.

    Overlapping crops and neighbouring ones resemble each other, and so do slices of a scan that follow each other.
    Where that makes fewer than 12 blocks, tiles of one crop are tried, then those of each slice by itself, and at
    last every crop is a block: bands of so little rock are too narrow.

    Args:
        table: volume, slice, row and column of each crop's corner.
        size: pixels a side of a crop.
    """
    for side, more in ((TILE * size, []), (size, []), (size, ["slice"])):
        keys = [table["volume"], table["row"] // side, table["column"] // side, *(table[key] for key in more)]
        blocks = np.asarray(table.groupby(keys).ngroup(), dtype=np.int64)
        if len(np.unique(blocks)) >= N_BLOCKS_MIN:
            return blocks
    return np.arange(len(table))


def bootstrap_band(
    real: Curves,
    learnt: Curves,
    n_samples: int,
    rng: np.random.Generator,
    level: float = 0.95,
    n_bootstraps: int = 2000,
) -> Band:
    """The band about the mean of held-out curves that a generator's mean curve should lie in at every lag.

    A generator that knows the law of the training region exactly still misses the mean of the held-out region by
    three errors: that of the held-out region and that of the training region, each a finite piece of the rock, and
    that of its own n_samples samples.

        D* = (T* - T) + (S* - T) - (H* - H),    band = H ± q se(D*),    q = level-quantile of max_r |D*_r| / se_r

    H and T are the means of the regions, H* and T* those of blocks drawn with replacement, S* that of n_samples
    training crops drawn one by one. The maximum over the lags makes the band hold for all of them at once
    (sup-t: Montiel Olea and Plagborg-Moller 2019, algorithm 2). q grows by Student's t over the normal quantile, as
    few blocks know se(D*) badly.

    Args:
        real: of held-out crops.
        learnt: of training crops.
        n_samples: whose mean will be held against the band.
        rng: of the resampling.
        level: part of the generators as good as the rock whose mean lies inside.
        n_bootstraps: resamplings.
    """
    n_learnt = len(learnt.values)
    weights = rng.multinomial(n_samples, np.full(n_learnt, 1 / n_learnt), size=n_bootstraps)
    misses = weights @ learnt.values / n_samples - learnt.values.mean(axis=0)
    misses += _block_errors(learnt, rng, n_bootstraps) - _block_errors(real, rng, n_bootstraps)
    error = misses.std(axis=0)
    # Where no curve differs from another the error is 0, and the band is the one value that all have.
    varies = error > 0
    largest = np.abs(misses[:, varies] / error[varies]).max(axis=1, initial=0.0)
    half_width = float(np.quantile(largest, level)) * error * _few_blocks(min(real.n_blocks, learnt.n_blocks), level)
    centre = real.values.mean(axis=0)
    return Band(centre=centre, low=centre - half_width, high=centre + half_width)


def _few_blocks(n_blocks: int, level: float) -> float:
    tail = 0.5 + level / 2
    return float(stdtrit(n_blocks - 1, tail) / ndtri(tail))


def _block_errors(curves: Curves, rng: np.random.Generator, n_bootstraps: int) -> Float[np.ndarray, "b r"]:
    """Means over blocks drawn with replacement, less the mean of all.

    Blocks drawn from n of them vary (n - 1) / n times as much as new ones would, which is put right.
    """
    _, i_block, counts = np.unique(curves.blocks, return_inverse=True, return_counts=True)
    n_blocks = len(counts)
    sums = np.zeros((n_blocks, curves.values.shape[1]))
    np.add.at(sums, i_block, curves.values)
    weights = rng.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=n_bootstraps)
    means = weights @ sums / (weights @ counts)[:, None]
    return np.asarray((means - curves.values.mean(axis=0)) * np.sqrt(n_blocks / (n_blocks - 1)))
