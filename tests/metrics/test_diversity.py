import numpy as np
import pytest
import torch

from rockbank.metrics.diversity import coarse, diversity, mean_pairwise_distance, memorisation


def rock(n, seed, c=1, h=32, w=32):
    return np.random.default_rng(seed).random((n, c, h, w), dtype=np.float32)


def test_the_mean_pairwise_distance_is_over_different_rows_and_any_batch():
    values = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])
    assert mean_pairwise_distance(values) == pytest.approx(10 / 3, rel=1e-6)
    assert mean_pairwise_distance(values, batch=2) == pytest.approx(10 / 3, rel=1e-6)


def test_diversity_is_one_for_the_same_law_a_half_for_half_the_spread_and_zero_for_one_image():
    generator = torch.Generator().manual_seed(1)
    real, other = (torch.randn(300, 20, generator=generator) for _ in range(2))
    assert diversity(real, other) == pytest.approx(1.0, abs=0.05)  # chance, 300 samples
    assert diversity(real, other / 2 + 7) == pytest.approx(0.5, abs=0.03)
    assert diversity(real, real[:1].expand(300, -1)) == pytest.approx(0.0, abs=1e-3)


def test_memorisation_is_zero_for_copies_and_one_for_unseen_rock():
    train, test = rock(200, 1), rock(100, 2)
    assert memorisation(train, test, train[:80]) == 0.0
    assert memorisation(train, test, rock(100, 3)) == pytest.approx(1.0, abs=0.02)  # chance


def test_copies_are_seen_through_noise():
    train, test = rock(200, 1), rock(100, 2)
    copies = train[:80] + np.float32(0.1) * (rock(80, 5) - np.float32(0.5))
    assert memorisation(train, test, copies) < 0.2


def test_integers_count_as_the_intensity_they_stand_for():
    train, test, generated = (np.round(rock(40, seed) * 255).astype(np.uint8) for seed in (1, 2, 3))
    as_intensity = [part.astype(np.float32) / 255 for part in (train, test, generated)]
    assert memorisation(train, test, generated) == pytest.approx(memorisation(*as_intensity), rel=1e-6)


def test_coarse_images_have_sixteen_cells_on_the_shorter_side():
    assert coarse(rock(3, 1, c=3, h=64, w=128)).shape == (3, 3 * 16 * 32)
    block = coarse(rock(5, 1, h=32, w=32), batch=2)
    np.testing.assert_allclose(block[4, 0], rock(5, 1)[4, 0, :2, :2].mean(), rtol=1e-6)
