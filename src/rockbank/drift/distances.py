"""Drift: how far samples of rock are from a reference, and how far two sets of one and the same rock would be.

Distances between distributions are held against chance by resampling: a limit is a high quantile of the distances that
sets of the same size drawn from one distribution have, times a margin. `calibrate` takes samples as independent, which
those of a generator are. Crops of a scan are not, as neighbours share pixels and their surroundings: for them
`patches` parts a reference into a region and the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from rockbank.rock.correlation import two_point_curves
from rockbank.rock.descriptors import LAGS, porosity, specific_surface

N_RESAMPLES = 400
QUANTILE = 0.99
# A monitor compares some eight statistics hundreds of times a day. Of 10,000 windows of 256 of a normal, a skewed and
# a two-valued distribution this margin leaves 3 to 5 over a limit, 1.25 left 9 to 63; a mean 0.4 standard deviations
# off is still seen in every window.
MARGIN = 1.5
# What a region of fewer crops says is mostly chance.
N_PATCH_MIN = 32


@dataclass(frozen=True, kw_only=True)
class Distances:
    """Of two distributions, or what these may be at most.

    Attributes:
        wasserstein: area between the two cumulative distributions, in the unit of the statistic.
        ks: Kolmogorov and Smirnov's, the largest gap between them, in [0, 1].
    """

    wasserstein: float
    ks: float

    def is_over(self, limits: Distances) -> bool:
        """Whether either is larger than its limit."""
        return self.wasserstein > limits.wasserstein or self.ks > limits.ks


def phase_statistics(pores: Bool[np.ndarray, "n h w"]) -> dict[str, Float[np.ndarray, " n"]]:
    """Porosity, specific surface (1/pixel) and S2 at `LAGS` (s2_1, s2_2, ..) of each sample."""
    curves = two_point_curves(pores)
    at_lags = {f"s2_{lag}": curves[:, lag] for lag in LAGS if lag < curves.shape[1]}
    return {"porosity": porosity(pores), "specific_surface": specific_surface(pores), **at_lags}


def described_values(reference: Mapping[str, Any]) -> dict[str, Float[np.ndarray, " n"]]:
    """The values of each statistic in a `morphology.describe`, by the names of `phase_statistics`, and `difference`.

    Empty for a description that has none, as those had that were made before distributions were compared.
    """
    scalars = ("porosity", "specific_surface", "difference")
    found = {name: reference[name]["values"] for name in scalars if "values" in reference.get(name, {})}
    at_lags = reference.get("two_point", {}).get("values", {})
    found |= {f"s2_{lag}": values for lag, values in at_lags.items()}
    return {name: np.asarray(values, dtype=float) for name, values in found.items() if len(values)}


def as_described(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Values rounded to the six digits that a description keeps.

    Fractions of pixels take the same values again and again: rounded on one side only, equal ones would not tie, and
    the Kolmogorov-Smirnov distance would grow by the part of the samples that share a value.
    """
    return np.array([float(f"{value:.6g}") for value in values])


def distances(values: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"]) -> Distances:
    """Wasserstein's and Kolmogorov and Smirnov's distance of two samples."""
    return Distances(
        wasserstein=float(stats.wasserstein_distance(values, reference)),
        ks=float(stats.ks_2samp(values, reference, method="asymp").statistic),
    )


@dataclass(frozen=True, kw_only=True)
class GreyScale:
    """A set's grey values on a scale of its own: two of its percentiles at 0 and 1, as scans are normalised.

    Exposure and gain of a scanner are then no difference, the shape of the histogram is.

    Attributes:
        low: intensity that becomes 0.
        high: intensity that becomes 1.
        edges: of the levels, on the scale.
        cumulative: part of the pixels below each edge.
        level: between two levels that occur, on the scale: a stretched scan leaves levels out.
    """

    low: float
    high: float
    edges: Float[np.ndarray, " levels+1"]
    cumulative: Float[np.ndarray, " levels+1"]
    level: float

    @classmethod
    def of(cls, counts: Int[np.ndarray, " levels"], percentiles: tuple[float, float]) -> GreyScale:
        """From a histogram whose first level is intensity 0 and whose last is 1."""
        n = len(counts)
        edges = (np.arange(n + 1) - 0.5) / (n - 1)
        cumulative = np.concatenate([[0.0], np.cumsum(counts) / counts.sum()])
        # Within a level values are taken as spread evenly, else the scale would jump by levels.
        low, high = (float(each) for each in np.interp(np.array(percentiles) / 100, cumulative, edges))
        scaled = (edges - low) / (high - low)
        return cls(low=low, high=high, edges=scaled, cumulative=cumulative, level=1.0 / np.count_nonzero(counts))

    def scaled(self, intensity: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Intensities on the scale."""
        return np.asarray((intensity - self.low) / (self.high - self.low))

    def distances(self, reference: GreyScale) -> Distances:
        """Between the two cumulative distributions, each linear within a level.

        A gap that a shift by one level closes is none: rounding to levels shifts values and percentiles by half of one,
        and where a histogram has a narrow peak that alone is several per cent of the pixels.
        """
        both = np.sort(np.concatenate([self.edges, reference.edges]))
        level = max(self.level, reference.level)
        mine, its = (np.interp(both, each.edges, each.cumulative) for each in (self, reference))
        mine_before, its_before = (np.interp(both - level, each.edges, each.cumulative) for each in (self, reference))
        gap = np.maximum(mine_before - its, its_before - mine).max()
        return Distances(wasserstein=float(np.trapezoid(np.abs(mine - its), both)), ks=max(0.0, float(gap)))


def calibrate(
    source: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"], size: int, rng: np.random.Generator
) -> Distances:
    """What `size` new values of the distribution that `source` is a sample of may be away from `reference`.

    Args:
        source: `reference` itself, or accepted samples: then what these are away from it is allowed for.
        reference: what the values are going to be compared with.
        size: of a window.
        rng: of the resampling.
    """
    ordered = np.sort(reference)
    resampled = []
    for _ in range(N_RESAMPLES):
        # Once because the source is itself a sample, and once more for the window.
        again = rng.choice(source, len(source))
        resampled.append(quick_distances(rng.choice(again, size), ordered))
    return limits(resampled)


def limits(resampled: list[Distances]) -> Distances:
    """The quantile of distances between sets of one distribution, times the margin.

    The gap of two distributions is at most 1, which nothing exceeds: its limit is at most halfway from the quantile.
    """
    gap = float(np.quantile([each.ks for each in resampled], QUANTILE))
    return Distances(
        wasserstein=MARGIN * float(np.quantile([each.wasserstein for each in resampled], QUANTILE)),
        ks=min(MARGIN * gap, (1 + gap) / 2),
    )


def least_mean(source: Float[np.ndarray, " n"], size: int, rng: np.random.Generator) -> float:
    """What the mean of `size` new values of the distribution of `source` is at least, by that quantile and margin."""
    means = [float(rng.choice(rng.choice(source, len(source)), size).mean()) for _ in range(N_RESAMPLES)]
    return float(np.quantile(means, 1 - QUANTILE)) / MARGIN


def quick_distances(values: Float[np.ndarray, " n"], ordered: Float[np.ndarray, " m"]) -> Distances:
    """`distances` of values and a sorted reference in a tenth of the time, as scipy's also make p-values and checks."""
    values = np.sort(values)
    both = np.sort(np.concatenate([values, ordered]))
    gap = np.abs(
        np.searchsorted(values, both, side="right") / len(values)
        - np.searchsorted(ordered, both, side="right") / len(ordered)
    )
    return Distances(wasserstein=float((gap[:-1] * np.diff(both)).sum()), ks=float(gap.max()))


def patches(
    volume: Shaped[np.ndarray, " n"],
    row: Int[np.ndarray, " n"],
    column: Int[np.ndarray, " n"],
    fraction: float,
    rng: np.random.Generator,
) -> Iterator[tuple[Int[np.ndarray, " inside"], Int[np.ndarray, " outside"]]]:
    """Regions of a reference, each with what lies around it: crops next to a random one, through all slices.

    A new scan is a region of its own, so a limit from crops drawn here and there would be too tight for it.

    Args:
        volume: that each crop was cut from.
        row: of its corner, pixels.
        column: likewise.
        fraction: of the crops that a region holds; at most half.
        rng: of the crops in the middle.

    Yields:
        `N_RESAMPLES` times the indices inside and outside.
    """
    n = len(row)
    n_inside = min(max(round(fraction * n), N_PATCH_MIN), n // 2)
    far = 1 + int(max(np.ptp(row), np.ptp(column)))
    for middle in rng.integers(n, size=N_RESAMPLES):
        away = np.maximum(np.abs(row - row[middle]), np.abs(column - column[middle]))
        # Where a volume is smaller than the region, another volume goes on with it.
        order = np.argsort(away + far * (volume != volume[middle]), kind="stable")
        yield order[:n_inside], order[n_inside:]


def calibrate_by_patches(
    compare: Callable[[Int[np.ndarray, " inside"], Int[np.ndarray, " outside"]], Mapping[str, Distances]],
    parted: Iterator[tuple[Int[np.ndarray, " inside"], Int[np.ndarray, " outside"]]],
) -> dict[str, Distances]:
    """The limits of each statistic, from what `compare` finds between regions of one reference and their rests."""
    resampled: dict[str, list[Distances]] = {}
    for inside, outside in parted:
        for name, each in compare(inside, outside).items():
            resampled.setdefault(name, []).append(each)
    return {name: limits(each) for name, each in resampled.items()}
