"""The Fréchet inception distance between two sets of features: FID."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

N_POINTS = 15


def fid(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """Fréchet distance between the Gaussians fitted to two sets of features, by torch-fidelity.

        d^2 = |mu_1 - mu_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2))      (Heusel et al. 2017, eq. 6)

    Biased up by a term that falls as 1/N: never compare values of different sample counts.
    """
    # It brings torchvision and torch's compiler: seconds that nothing but a score is worth.
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    statistics = (fid_features_to_statistics(real), fid_features_to_statistics(generated))
    return float(fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID])


def fid_by_svd(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"]) -> float:
    """The same distance, from the centred samples and without a covariance.

        tr (C_1 C_2)^(1/2) = sum of the singular values of X_1 X_2^T / sqrt((n - 1)(m - 1))

    since C = X^T X / (n - 1). At n = m = 100, d = 1280 it takes 3 ms where torch-fidelity takes 1 s, and at
    1000 0.3 s; torch-fidelity's eigenvalues of the rank-deficient product are off by 1e-6 of the distance there.
    """
    x_1, x_2 = real.double(), generated.double()
    mu_1, mu_2 = x_1.mean(dim=0), x_2.mean(dim=0)
    x_1, x_2 = _root((x_1 - mu_1) / np.sqrt(len(x_1) - 1)), _root((x_2 - mu_2) / np.sqrt(len(x_2) - 1))
    shared = torch.linalg.svdvals(x_1 @ x_2.T).sum()
    return float(((mu_1 - mu_2) ** 2).sum() + (x_1**2).sum() + (x_2**2).sum() - 2 * shared)


def fid_infinity(real: Float[Tensor, "n d"], generated: Float[Tensor, "m d"], seed: int) -> float:
    """The Fréchet distance extrapolated to infinitely many samples.

        FID(N) = FID_inf + b / N,   a least-squares line in 1/N      (Chong and Forsyth 2020, sec. 3)

    Both sets are drawn without replacement at N_POINTS sizes from N/2 to N, so that the bias of both goes
    away. Where N is not far above d the bias falls more slowly than 1/N and part of it stays: read the
    value beside the one of two real sets.
    """
    rng = np.random.default_rng(seed)
    n = min(len(real), len(generated))
    sizes = np.unique(np.linspace(max(2, n // 2), n, N_POINTS).astype(int))
    distances = [fid_by_svd(_draw(real, size, rng), _draw(generated, size, rng)) for size in sizes]
    if len(sizes) < 2:
        return distances[0]
    _, at_infinity = np.polyfit(1.0 / sizes, distances, deg=1)
    return float(at_infinity)


def _root(x: Float[Tensor, "n d"]) -> Float[Tensor, "k d"]:
    """The least rows with the same x^T x: those of R in x = Q R where n > d."""
    return torch.linalg.qr(x, mode="r").R if x.shape[0] > x.shape[1] else x


def _draw(values: Float[Tensor, "n d"], size: int, rng: np.random.Generator) -> Float[Tensor, "size d"]:
    return values[torch.from_numpy(rng.permutation(len(values))[:size])]
