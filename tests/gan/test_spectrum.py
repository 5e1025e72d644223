"""The spectral distance is that of the radial spectra; a generator whose noise is fitted has the rock's spectrum."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from rockbank.gan.batches import WEIGHTS, reseed
from rockbank.gan.networks import build_generator
from rockbank.gan.spectrum import NOISE, SpectralDistance, fit_spectrum
from rockbank.generator.ranges import to_network
from rockbank.rock.grey import ROUNDING, radial_spectrum
from tests.gan.test_training import KINDS

CPU = torch.device("cpu")
RANGE = ((-1.0, 1.0),)


def rock(n: int, seed: int, sigma: float = 1.5) -> np.ndarray:
    """Crops of a smooth texture, each of its own contrast."""
    rng = np.random.default_rng(seed)
    images = ndimage.gaussian_filter(rng.standard_normal((n, 1, 32, 32)), (0, 0, sigma, sigma), mode="wrap")
    images *= rng.uniform(0.1, 0.2, (n, 1, 1, 1)) / images.std()
    return np.clip(255 * (0.5 + images), 0, 255).astype(np.uint8)


def shown(crops: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(to_network(np.float32(crops / 255), RANGE))


def test_the_distance_is_that_of_radial_spectra() -> None:
    crops, others = rock(40, seed=1), rock(7, seed=2, sigma=1.2)
    known = radial_spectrum(crops[:, 0] / 255)
    r = (radial_spectrum(others[:, 0] / 255) - known.mean(axis=0)) / (known.std(axis=0) + ROUNDING)
    wanted = np.mean([(r[i] * r[j]).mean() for i in range(7) for j in range(7) if i != j])
    assert float(SpectralDistance(crops, RANGE, CPU)(shown(others))) == pytest.approx(wanted, rel=1e-3)


def test_crops_of_the_same_rock_are_nearer_than_blurred_noisy_or_brighter_ones() -> None:
    distance, same = SpectralDistance(rock(400, seed=1), RANGE, CPU), shown(rock(400, seed=2))
    near = float(distance(same))
    noisy = same + 0.02 * torch.randn(same.shape, generator=torch.Generator().manual_seed(3))
    for other in (shown(rock(400, seed=2, sigma=1.7)), noisy, 1.3 * same):
        assert float(distance(other)) > 10 * abs(near)


def test_the_mean_over_batches_does_not_depend_on_their_size() -> None:
    distance, images = SpectralDistance(rock(400, seed=1), RANGE, CPU), shown(rock(4000, seed=2))
    of = {size: np.array([float(distance(part)) for part in images.split(size)]) for size in (2, 20)}
    error = np.hypot(*(values.std() / len(values) ** 0.5 for values in of.values()))
    # with the pairs of an image with itself it would be off by the variance over n: by 1 / 2 and by 1 / 20
    assert abs(of[2].mean() - of[20].mean()) < 4 * error < 0.45


def test_a_fit_changes_the_noise_alone_and_comes_to_the_rock_by_the_same_seed_alike() -> None:
    params = replace(KINDS["projected"], spectral_steps=80)
    rng = reseed(torch.Generator(), 1, WEIGHTS, 0)
    weights = build_generator(params.network, params.latent, (1, 32, 32), rng).state_dict()
    # more contrast and more noise than an untrained generator has
    weights |= {name: 5 * each for name, each in weights.items() if name.endswith(NOISE)}
    weights["grey.weight"] *= 2
    distance = SpectralDistance(crops := _samples(weights, params.latent), RANGE, CPU)
    spoilt = {name: 0.5 * each if name.endswith(NOISE) else each for name, each in weights.items()}
    fitted = fit_spectrum(spoilt, crops, params, CPU)
    before, after = (float(distance(shown(_samples(each, params.latent, 2)))) for each in (spoilt, fitted))
    assert after < before / 20
    for name, each in fitted.items():
        assert torch.equal(each, spoilt[name]) != name.endswith(NOISE)
    first, again = (fit_spectrum(spoilt, crops, replace(params, spectral_steps=2), CPU) for _ in range(2))
    assert all(torch.equal(each, again[name]) for name, each in first.items())


def _samples(weights: dict[str, torch.Tensor], latent: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Crops that a generator makes, 8 bits."""
    generator = build_generator("texture", latent, (1, 32, 32), torch.Generator())
    generator.load_state_dict(weights)
    with torch.no_grad():
        images = generator(torch.randn(256, *latent, generator=torch.Generator().manual_seed(seed)))
    return np.clip(127.5 * (images.numpy() + 1), 0, 255).astype(np.uint8)
