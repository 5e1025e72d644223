"""The projected critic sees frozen features, four scales alike, through layers of spectral norm 1."""

import pytest
import torch

from rockbank.gan.networks import build_critic
from rockbank.gan.projected import PYRAMID, ProjectedCritic, SpectralConv2d


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def critic(width: int = 8) -> ProjectedCritic:
    built = build_critic("texture", (1, 64, 64), width, 0.0, rng(), None)
    assert isinstance(built, ProjectedCritic)
    return built


def images(n: int = 2) -> torch.Tensor:
    return torch.rand(n, 1, 64, 64, generator=rng(1)) * 2 - 1


def test_every_scale_has_as_many_patches() -> None:
    module = critic()
    maps = module.project(images())
    assert [each.shape[1] for each in maps] == [channels for _, channels in PYRAMID]
    values = [head(each) for head, each in zip(module.heads, maps, strict=True)]
    assert [each.shape for each in values] == [(2, 16)] * 4
    assert torch.equal(torch.cat(values, dim=1), module(images()))


def test_frozen_features_are_neither_learnt_nor_saved() -> None:
    module = critic()
    assert not any(name.startswith("features") for name in module.state_dict())
    assert not any(each.requires_grad for each in module.features.parameters())
    module.judge(module.project(images())).sum().backward()
    assert all(each.grad is None for each in module.features.parameters())
    assert all(each.grad is not None for each in module.parameters())


def test_frozen_features_go_where_the_critic_goes() -> None:
    module = critic().double()
    assert all(each.dtype == torch.float64 for each in module.features.parameters())


def test_image_gets_a_gradient_through_the_frozen_features() -> None:
    x = images().requires_grad_()
    critic()(x).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).float().mean() > 0.9


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
