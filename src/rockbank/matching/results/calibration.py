"""Whether an ensemble is as uncertain as it should be: bands, coverage and rank histograms, of arrays.

P10, P50 and P90 are the values that 10, 50 and 90 % lie below.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr

LEVELS = (0.1, 0.5, 0.9)
# Of the largest value: below it a simulator's round-off parts equal values, such as a water cut before breakthrough.
_SAME = 1e-6


def bands(values: Float[np.ndarray, "m *n"]) -> Float[np.ndarray, "3 *n"]:
    """P10, P50 and P90 of m members.

    The quantile of level p stands at rank p (m + 1) (Hyndman and Fan 1996, type 6), so that one more draw from where
    the members came from lies below it with probability p; numpy's default is too narrow for few members. Fewer than
    9 members reach no P10, and their least and greatest values stand in for it and for P90.
    """
    return np.asarray(np.quantile(values, LEVELS, axis=0, method="weibull"))


def expected_coverage(n_members: int) -> float:
    """How often P10..P90 of `bands` holds one more draw: 0.8, or less with fewer than 9 members."""
    low, _, high = np.clip(np.array(LEVELS) * (n_members + 1), 1, n_members) / (n_members + 1)
    return float(high - low)


def is_held(values: Float[np.ndarray, "m n"], truth: Float[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Where P10..P90 of the members hold the truth, bounds included."""
    low, _, high = bands(values)
    slack = _SAME * np.abs(values).max(initial=0.0)
    return np.asarray((low - slack <= truth) & (truth <= high + slack))


def rank_weights(values: Float[np.ndarray, "m n"], truth: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n m+1"]:
    """Probability of each rank of the truth among the members, 0 below all and m above all (Hamill 2001).

    A rank is certain but for ties, which share their ranks alike: the mean over breaking them at random.
    """
    m = len(values)
    slack = _SAME * np.abs(values).max(initial=0.0)
    low = (values < truth - slack).sum(axis=0)
    high = (values <= truth + slack).sum(axis=0)
    rank = np.arange(m + 1)
    is_possible = (low[:, None] <= rank) & (rank <= high[:, None])
    return np.asarray(is_possible / is_possible.sum(axis=1, keepdims=True))


def noisy_rank_weights(
    values: Float[np.ndarray, "m n"], observed: Float[np.ndarray, " n"], sigma: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "n m+1"]:
    """Probability of each rank of an observation among the members, each with noise of its own (Hamill 2001, sec. 4).

    Member i plus noise lies below the observation with p_i = Phi((d - s_i) / sigma), so the rank is the number of
    successes in m trials of these p_i; no noise is drawn.
    """
    weights = np.zeros((len(observed), len(values) + 1))
    weights[:, 0] = 1.0
    for p in ndtr((observed - values) / sigma):
        weights[:, 1:] = weights[:, 1:] * (1 - p)[:, None] + weights[:, :-1] * p[:, None]
        weights[:, 0] *= 1 - p
    return weights


def rank_histogram(weights: Float[np.ndarray, "n m+1"], n_bins: int) -> Float[np.ndarray, " bins"]:
    """Part of the truths in each of `n_bins` equal parts of the ensemble's range of ranks; flat where calibrated.

    Rank r stands for [r, r + 1] / (m + 1), so that n_bins need not divide m + 1.
    """
    edges = np.linspace(0, 1, weights.shape[1] + 1)
    below = np.append(0.0, np.cumsum(weights.mean(axis=0)))
    return np.diff(np.interp(np.linspace(0, 1, n_bins + 1), edges, below))


def rank_coverage(weights: Float[np.ndarray, "n m+1"]) -> float:
    """Part of the truths whose ranks lie in the middle 80 %: 0.8 where calibrated, whatever the number of members."""
    return float(rank_histogram(weights, 10)[1:-1].sum())
