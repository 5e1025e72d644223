"""The kernel inception distance between two sets of features: KID."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

N_SUBSETS = 100


@dataclass(frozen=True, kw_only=True)
class KidEstimate:
    """Unbiased squared MMD over random subsets: raw, not multiplied by 1000.

    Attributes:
        mean: over the subsets; about 0, and as often below, for two sets of one distribution.
        std: over the subsets.
        subset_size: samples of each set in a subset.
    """

    mean: float
    std: float
    subset_size: int


def kid(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"], seed: int) -> KidEstimate:
    """KID of two sets of features, by torch-fidelity, over N_SUBSETS subsets of half the samples.

        MMD^2 with k(x, y) = (x.y / d + 1)^3, unbiased      (Binkowski et al. 2018, sec. 4)

    Half: subsets of all samples would be one and the same, and their standard deviation 0.
    """
    # It brings torchvision and torch's compiler: seconds that nothing but a score is worth.
    from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

    subset_size = max(2, min(len(real), len(generated)) // 2)
    found = kid_features_to_metric(
        real, generated, kid_subsets=N_SUBSETS, kid_subset_size=subset_size, rng_seed=seed, verbose=False
    )
    return KidEstimate(
        mean=float(found[KEY_METRIC_KID_MEAN]), std=float(found[KEY_METRIC_KID_STD]), subset_size=subset_size
    )
