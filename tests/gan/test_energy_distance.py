"""The energy distance tells laws apart, by its closed form, without a bias that favours a lack of variety."""

import numpy as np
import pytest
import torch
from scipy.stats import energy_distance

from rockbank.gan.energy_distance import EnergyDistance, two_point
from rockbank.rock.correlation import directional_correlation


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_distance_of_numbers_is_scipys() -> None:
    known = torch.randn(400, 1, generator=rng())
    x = 0.5 + 2 * torch.randn(300, 1, generator=rng(1))
    # scipy's is the root of the biased one, of E|X - X'| over n^2 pairs, with the constant
    within = float(torch.cdist(x, x).mean())
    between = float(torch.cdist(known, known).mean())
    wanted = energy_distance(x[:, 0], known[:, 0]) ** 2 + between - within / 299
    # float32; the features come in units of the set's standard deviation
    assert float(EnergyDistance([(known,)])((x,))) * float(known.std()) == pytest.approx(wanted, rel=1e-4)


def test_samples_of_the_set_are_nearer_than_any_shifted_ones() -> None:
    known = torch.randn(2000, 3, generator=rng())
    distance = EnergyDistance([(known[:1000],), (known[1000:],)])
    x = torch.randn(500, 3, generator=rng(1))
    near = float(distance((x,)))
    assert all(float(distance((x + shift,))) > near for shift in (-0.5, 0.5))
    assert all(float(distance((x * scale,))) > near for scale in (0.5, 2.0))


def test_mean_over_batches_does_not_depend_on_their_size() -> None:
    known = torch.randn(500, 2, generator=rng())
    x = torch.randn(20_000, 2, generator=rng(2)) * 0.8
    distance = EnergyDistance([(known,)])
    of = {size: np.array([float(distance((part,))) for part in x.split(size)]) for size in (2, 20)}
    error = np.hypot(*(values.std() / len(values) ** 0.5 for values in of.values()))
    # unbiased: within 4 standard errors; the biased estimate is off by E|X - X'| / n, 0.4 at n = 2
    assert abs(of[2].mean() - of[20].mean()) < 4 * error
    assert error < 0.02


def test_gradient_is_bounded_however_far_a_sample_is() -> None:
    known = torch.randn(100, 4, generator=rng())
    x = (1e4 * torch.randn(8, 4, generator=rng(1))).requires_grad_()
    EnergyDistance([(known,)])((x,)).backward()
    assert x.grad is not None
    # each of the three means of distances has a gradient of at most 1 a feature's unit
    assert x.grad.norm(dim=1).sum() < 4 / known.std(dim=0).min()


def test_two_point_probability_of_a_phase_is_that_of_the_metrics() -> None:
    phase = torch.rand(3, 12, 20, generator=rng()) < 0.4
    wanted = np.array([directional_correlation(each) for each in phase.numpy()])
    found = torch.stack(two_point(phase.double()), dim=1)
    assert found.numpy() == pytest.approx(wanted, abs=1e-12)
