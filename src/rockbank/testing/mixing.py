"""Whether Markov chains have run long enough, from their samples alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.fft import irfft, next_fast_len, rfft
from scipy.stats import norm, rankdata


def effective_sample_size(chains: Float[np.ndarray, "c m"]) -> float:
    """Number of independent samples whose mean would be as good.

        c m / tau,   tau = -1 + 2 sum_k (rho_2k + rho_2k+1)

    over split chains, the sum cut where a pair turns negative and made to fall (Geyer 1992; Vehtari, Gelman, Simpson,
    Carpenter and Bürkner 2021).
    """
    halves = _split(chains)
    m = halves.shape[1]
    within, total = _variances(halves)
    if total == 0:
        return float(halves.size)
    centred = halves - halves.mean(axis=1, keepdims=True)
    n = next_fast_len(2 * m, real=True)
    covariance = irfft(np.abs(rfft(centred, n, axis=1)) ** 2, n, axis=1)[:, :m].mean(axis=0) / m
    rho = 1 - (within - covariance * m / (m - 1)) / total
    rho[0] = 1.0
    pairs = rho[: m // 2 * 2].reshape(-1, 2).sum(axis=1)
    is_over = pairs < 0
    pairs = np.minimum.accumulate(pairs[: is_over.argmax() if is_over.any() else len(pairs)])
    # Chains that swing to the other side and back beat independent ones, but not by more than can be estimated.
    tau = max(2 * pairs.sum() - 1, 1 / np.log10(halves.size))
    return float(halves.size / tau)


def r_hat(chains: Float[np.ndarray, "c m"]) -> float:
    """Rank-normalised split R-hat, the larger of that of the values and that of their distances from the median.

    1 where all chains sample the same; below 1.01 they may be taken together (Vehtari et al. 2021).
    """
    halves = _split(chains)
    return max(_split_r_hat(_ranked(halves)), _split_r_hat(_ranked(np.abs(halves - np.median(halves)))))


def _split(chains: Float[np.ndarray, "c m"]) -> Float[np.ndarray, "2c h"]:
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, chains.shape[1] - half :]])


def _variances(chains: Float[np.ndarray, "c m"]) -> tuple[float, float]:
    """Within chains, and the estimate of all."""
    m = chains.shape[1]
    within, between = float(chains.var(axis=1, ddof=1).mean()), float(chains.mean(axis=1).var(ddof=1))
    return within, within * (m - 1) / m + between


def _split_r_hat(halves: Float[np.ndarray, "c m"]) -> float:
    within, total = _variances(halves)
    return float(np.sqrt(total / within)) if within else float("inf")


def _ranked(values: Float[np.ndarray, "c m"]) -> Float[np.ndarray, "c m"]:
    ranks = rankdata(values, method="average").reshape(values.shape)
    return np.asarray(norm.ppf((ranks - 3 / 8) / (values.size + 1 / 4)))
