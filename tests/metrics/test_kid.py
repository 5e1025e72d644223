import numpy as np
import pytest
import torch

from rockbank.metrics.kid import N_SUBSETS, kid


def normal(n, d, seed, shift=0.0):
    return shift + torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def unbiased_mmd2(x, y):
    """Binkowski et al. 2018, eq. 4, in double precision, one pair at a time."""
    n, d = x.shape
    kernel = lambda a, b: (float(a @ b) / d + 1) ** 3  # noqa: E731
    within = [sum(kernel(s[i], s[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1)) for s in (x, y)]
    return sum(within) - 2 * sum(kernel(a, b) for a in x for b in y) / n**2


def test_it_is_the_mean_of_the_unbiased_mmd_over_subsets():
    x, y = normal(12, 4, 1), normal(12, 4, 2, shift=0.5)
    rng = np.random.RandomState(9)  # as torch-fidelity draws
    found = []
    for _ in range(N_SUBSETS):
        i, j = rng.choice(12, 6, replace=False), rng.choice(12, 6, replace=False)
        found.append(unbiased_mmd2(x[i].double().numpy(), y[j].double().numpy()))
    distance = kid(x, y, seed=9)
    assert distance.subset_size == 6
    assert distance.mean == pytest.approx(np.mean(found), rel=1e-4)  # single precision
    assert distance.std == pytest.approx(np.std(found), rel=1e-4)


def test_two_sets_of_one_distribution_are_at_no_distance():
    distance = kid(normal(400, 8, 1), normal(400, 8, 2), seed=1)
    assert abs(distance.mean) < 3 * distance.std


def test_it_grows_with_the_shift_and_is_the_same_for_the_same_seed():
    x = normal(200, 8, 1)
    near, far = (kid(x, normal(200, 8, 2, shift=shift), seed=1).mean for shift in (0.5, 1.0))
    assert 0 < near < far
    assert kid(x, normal(200, 8, 2, shift=1.0), seed=1).mean == far


def test_the_spread_over_subsets_is_never_that_of_one_subset_repeated():
    assert kid(normal(100, 8, 1), normal(100, 8, 2), seed=1).std > 0
