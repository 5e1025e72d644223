"""Whether Markov chains have run long enough, from their samples alone, by arviz."""

from __future__ import annotations

import numpy as np
from arviz_stats.base import array_stats
from jaxtyping import Float


def effective_sample_size(chains: Float[np.ndarray, "c m"]) -> float:
    """Number of independent samples whose mean would be as good (Vehtari et al. 2021, of split chains)."""
    return float(array_stats.ess(chains, chain_axis=0, draw_axis=1, method="mean"))


def r_hat(chains: Float[np.ndarray, "c m"]) -> float:
    """Rank-normalised split R-hat, the larger of that of the values and that of their distances from the median.

    1 where all chains sample the same; below 1.01 they may be taken together (Vehtari et al. 2021).
    """
    return float(array_stats.rhat(chains, chain_axis=0, draw_axis=1, method="rank"))
