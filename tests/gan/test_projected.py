"""The projected critic sees frozen features, four scales alike, through layers of spectral norm 1."""

import numpy as np
import pytest
import torch
from torch import nn

from rockbank.gan.features import PYRAMID, FrozenFeatures, pool
from rockbank.gan.networks import build_critic
from rockbank.gan.projected import SpectralConv2d


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def critic(width: int = 8) -> nn.Module:
    return build_critic("texture", (1, 64, 64), width, 0.0, rng(), None)


def features() -> FrozenFeatures:
    return FrozenFeatures(((-1.0, 1.0),), torch.device("cpu"))


def images(n: int = 2, n_channels: int = 1) -> torch.Tensor:
    return torch.rand(n, n_channels, 64, 64, generator=rng(1)) * 2 - 1


def test_every_scale_has_as_many_patches() -> None:
    module, maps = critic().eval(), features()(images())
    assert [(64 // each.shape[2], each.shape[1]) for each in maps] == list(PYRAMID)
    values = [head(each) for head, each in zip(module.heads, maps, strict=True)]  # type: ignore[arg-type]
    assert [each.shape for each in values] == [(2, 16)] * 4
    assert torch.equal(torch.cat(values, dim=1), module(maps))


def test_image_gets_a_gradient_through_the_frozen_features() -> None:
    x = images().requires_grad_()
    critic()(features()(x)).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).float().mean() > 0.9


def test_features_are_those_of_images_from_black_to_white_whatever_the_networks_range() -> None:
    image = images(n_channels=3)
    shifted = torch.cat([image[:, :2], (image[:, 2:] + 1) / 2], dim=1)
    plain = FrozenFeatures(((-1.0, 1.0),) * 3, torch.device("cpu"))(image)
    ours = FrozenFeatures(((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)), torch.device("cpu"))(shifted)
    for one, other in zip(plain, ours, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)  # float32


def test_pooled_features_are_means_and_standard_deviations() -> None:
    maps = (torch.randn(3, 5, 6, 7, generator=rng()),)
    (pooled,) = pool(maps)
    flat = maps[0].numpy().reshape(3, 5, -1)
    assert pooled.numpy() == pytest.approx(np.concatenate([flat.mean(2), flat.std(2, ddof=1)], axis=1), abs=1e-5)


@pytest.mark.parametrize(("n_in", "n_out", "kernel"), [(6, 4, 3), (3, 16, 4), (5, 1, 1)])
def test_power_iteration_finds_the_largest_singular_value(n_in: int, n_out: int, kernel: int) -> None:
    layer = SpectralConv2d(n_in, n_out, kernel)
    layer.draw_weights(rng())
    for _ in range(300):
        layer(torch.zeros(1, n_in, kernel, kernel))
    layer.eval()
    largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
    unit = torch.eye(n_in * kernel**2).unflatten(1, (n_in, kernel, kernel))
    used = (layer(unit) - layer(torch.zeros_like(unit[:1]))).flatten(1).T
    # float32 and the iteration's rest
    torch.testing.assert_close(used, layer.weight.detach().flatten(1) / largest, rtol=1e-3, atol=1e-5)


def test_power_iteration_moves_in_training_alone() -> None:
    layer = SpectralConv2d(4, 4, 3)
    layer.draw_weights(rng())
    before = layer.left.clone()
    layer.eval()(torch.zeros(1, 4, 3, 3))
    assert torch.equal(layer.left, before)
    layer.train()(torch.zeros(1, 4, 3, 3))
    assert not torch.equal(layer.left, before)


def test_weights_come_from_the_given_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again = critic().state_dict(), critic().state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(before, torch.get_rng_state())
    assert all(bool(torch.isfinite(each).all()) for each in first.values())
