import numpy as np
import pytest
import torch

from rockbank.metrics.fid import fid, fid_by_svd, fid_infinity

# torch-fidelity takes the mean of float32 features in single precision and eigenvalues of a product.
SINGLE = 1e-5


def whitened(rng, n, d):
    """Samples whose mean is exactly 0 and whose covariance is exactly the identity."""
    x = rng.standard_normal((n, d))
    x -= x.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    return x @ vectors / np.sqrt(values)


@pytest.fixture
def gaussians():
    rng = np.random.default_rng(3)
    d = 12
    s_1, s_2 = rng.uniform(0.5, 2, d), rng.uniform(0.5, 2, d)
    m_1, m_2 = rng.standard_normal(d), rng.standard_normal(d)
    closed_form = ((m_1 - m_2) ** 2).sum() + ((s_1 - s_2) ** 2).sum()
    f_1, f_2 = m_1 + s_1 * whitened(rng, 300, d), m_2 + s_2 * whitened(rng, 200, d)
    return torch.from_numpy(f_1), torch.from_numpy(f_2), closed_form


@pytest.mark.parametrize("distance", [fid, fid_by_svd])
def test_between_gaussians_it_is_the_closed_form(gaussians, distance):
    f_1, f_2, closed_form = gaussians
    assert distance(f_1, f_2) == pytest.approx(closed_form, rel=1e-10)  # round-off of the eigenvalues


@pytest.mark.parametrize("distance", [fid, fid_by_svd])
def test_it_is_symmetric_and_blind_to_order_shift_and_rotation(gaussians, distance):
    f_1, f_2, closed_form = gaussians
    rotation = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))[0]
    for other in (
        distance(f_2, f_1),
        distance(f_1.flip(0), f_2),
        distance(f_1 + 3.0, f_2 + 3.0),
        distance(f_1 @ rotation, f_2 @ rotation),
    ):
        assert other == pytest.approx(closed_form, rel=1e-10)


def test_it_scales_with_the_square_of_the_features(gaussians):
    f_1, f_2, closed_form = gaussians
    assert fid(2 * f_1, 2 * f_2) == pytest.approx(4 * closed_form, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "d"), [(60, 80, 20), (40, 30, 100)], ids=["n > d", "n < d"])
def test_the_svd_gives_what_torch_fidelity_gives(n, m, d):
    generator = torch.Generator().manual_seed(2)
    f_1 = torch.rand(n, d, generator=generator)
    f_2 = 0.2 + torch.rand(m, d, generator=generator) ** 2
    assert fid_by_svd(f_1, f_2) == pytest.approx(fid(f_1, f_2), rel=SINGLE)


def test_a_set_is_at_no_distance_from_itself():
    f = torch.rand(50, 8, generator=torch.Generator().manual_seed(4))
    assert fid_by_svd(f, f) == pytest.approx(0.0, abs=1e-12)


def test_the_extrapolation_takes_away_the_bias_of_two_sets_of_one_distribution():
    generator = torch.Generator().manual_seed(5)
    f_1, f_2 = (torch.randn(2000, 10, generator=generator) for _ in range(2))
    biased = fid(f_1, f_2)
    # Where N is far above d nearly all of the bias goes.
    assert abs(fid_infinity(f_1, f_2, seed=1)) < 0.5 * biased


def test_the_extrapolation_keeps_a_true_distance_and_its_seed():
    generator = torch.Generator().manual_seed(6)
    f_1, f_2 = (torch.randn(1500, 10, generator=generator) for _ in range(2))
    # Chance moves the mean's squared distance, 10, by about 2 * sqrt(10) * sqrt(2 / 1500).
    assert fid_infinity(f_1, f_2 + 1.0, seed=1) == pytest.approx(10.0, abs=0.7)
    assert fid_infinity(f_1, f_2 + 1.0, seed=1) == fid_infinity(f_1, f_2 + 1.0, seed=1)


def test_two_samples_are_enough_for_a_number():
    f = torch.rand(2, 3, generator=torch.Generator().manual_seed(7))
    assert np.isfinite(fid_infinity(f, f + 1.0, seed=1))
