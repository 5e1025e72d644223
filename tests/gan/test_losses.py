"""Losses and penalties meet their closed forms, and the penalty's double backward is right."""

import pytest
import torch
from torch import nn

from rockbank.gan.losses import LOSSES, find_loss, gradient_norms, gradient_penalty, interpolate, lipschitz_penalty
from rockbank.gan.losses import make_optimiser as make
from rockbank.gan.networks import build_critic


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_critic(norm: float) -> tuple[torch.Tensor, object]:
    """D(x) = w . x with |w| = `norm`."""
    w = torch.randn(1, 4, 4, generator=rng(1), dtype=torch.float64)
    w = (w * norm / w.norm()).requires_grad_()
    return w, lambda x: (w * x).sum(dim=(1, 2, 3))


@pytest.mark.parametrize("norm", [0.3, 1.0, 2.5])
def test_penalties_of_a_linear_critic_have_their_closed_form(norm: float) -> None:
    _, critic = linear_critic(norm)
    x = torch.randn(5, 1, 4, 4, generator=rng(), dtype=torch.float64)
    norms = gradient_norms(critic, x)
    # float32 round-off: the norm is taken in single precision
    assert gradient_penalty(norms).item() == pytest.approx((norm - 1) ** 2, abs=1e-6)
    assert lipschitz_penalty(norms).item() == pytest.approx(max(0, norm - 1) ** 2, abs=1e-6)


def test_lipschitz_penalty_leaves_a_gentle_critic_alone() -> None:
    w, critic = linear_critic(0.9)
    lipschitz_penalty(gradient_norms(critic, torch.zeros(3, 1, 4, 4, dtype=torch.float64))).backward()
    assert torch.equal(w.grad, torch.zeros_like(w))


def test_gradient_penalty_pulls_a_linear_critic_by_its_closed_form() -> None:
    # d/dw (|w| - 1)^2 = 2 (|w| - 1) w / |w|
    w, critic = linear_critic(2.5)
    gradient_penalty(gradient_norms(critic, torch.zeros(3, 1, 4, 4, dtype=torch.float64))).backward()
    torch.testing.assert_close(w.grad, 2 * 1.5 * w.detach() / 2.5, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["table1", "deepflow"])
def test_penalty_has_the_right_gradient_in_each_critic(name: str) -> None:
    image = (3, 64, 64) if name == "deepflow" else (1, 16, 16)
    critic = build_critic(name, image, 2, 0.0, rng(), None)
    for layer in critic.modules():
        # A smooth critic, or the kinks of (leaky) ReLU would hide the rate.
        if isinstance(layer, nn.Sequential):
            for i, each in enumerate(layer):
                if isinstance(each, nn.ReLU | nn.LeakyReLU):
                    layer[i] = nn.Softplus()
    x = torch.rand(3, *image, generator=rng(2))
    parameters = list(critic.parameters())
    direction = [torch.randn(each.shape, generator=rng(3)) * each.detach().abs().mean() for each in parameters]

    def shifted(h: float) -> float:
        with torch.no_grad():
            for each, along in zip(parameters, direction, strict=True):
                each.add_(along, alpha=h)
        value = gradient_norms(critic, x).sum().item()
        with torch.no_grad():
            for each, along in zip(parameters, direction, strict=True):
                each.sub_(along, alpha=h)
        return value

    gradients = torch.autograd.grad(gradient_norms(critic, x).sum(), parameters, allow_unused=True)
    pairs = zip(gradients, direction, strict=True)
    wanted = sum(float((g * along).sum()) for g, along in pairs if g is not None)
    h = 1e-2
    # central differences of float32: truncation h^2 and cancellation 1e-7 / h, both below 1 %
    assert (shifted(h) - shifted(-h)) / (2 * h) == pytest.approx(wanted, rel=2e-2)


def test_bf16_penalty_is_near_the_one_in_float32() -> None:
    critic = build_critic("table1", (1, 64, 64), 16, 0.0, rng(), None)
    x = torch.rand(8, 1, 64, 64, generator=rng(1)) * 2 - 1
    parameters = list(critic.parameters())
    results = []
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            norms = gradient_norms(critic, x)
        penalty = gradient_penalty(norms)
        gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
        results.append((norms.detach(), torch.cat([each.flatten() for each in gradients if each is not None])))
    (exact_norms, exact), (norms, rough) = results
    # bf16 keeps 8 bits: 0.4 % a product, averaged over many
    torch.testing.assert_close(norms, exact_norms, rtol=0.02, atol=0)
    assert torch.nn.functional.cosine_similarity(exact, rough, dim=0) > 0.99


def test_interpolates_lie_between_with_one_weight_a_sample() -> None:
    real, generated = torch.zeros(50, 1, 3, 3), torch.ones(50, 1, 3, 3)
    x_hat = interpolate(real, generated, rng())
    assert torch.equal(x_hat, x_hat[:, :, :1, :1].expand_as(x_hat))
    assert 0 <= x_hat.min() < x_hat.max() <= 1


def test_wasserstein_losses_are_differences_of_means() -> None:
    real, generated = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.5])
    for name in ("wgan-gp", "wgan-lp"):
        assert LOSSES[name].critic(real, generated).item() == -1.5
        assert LOSSES[name].generator(generated).item() == -0.5


def test_cross_entropy_of_an_undecided_discriminator_is_log_2() -> None:
    logits = torch.zeros(4)
    loss = find_loss("dcgan")
    assert loss.penalty is None
    assert loss.critic(logits, logits).item() == pytest.approx(2 * 0.6931472, rel=1e-6)
    assert loss.generator(logits).item() == pytest.approx(0.6931472, rel=1e-6)


def test_generator_gradient_does_not_vanish_where_the_discriminator_is_sure() -> None:
    logits = torch.full((4,), -50.0, requires_grad=True)
    find_loss("dcgan").generator(logits).backward()
    # d/dl of mean softplus(-l) is -s(-l) / n, which is -1 / 4 for l = -50
    torch.testing.assert_close(logits.grad, torch.full((4,), -0.25))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="loss: got 'least-squares'"):
        find_loss("least-squares")
    with pytest.raises(ValueError, match="optimiser: got 'sgd'"):
        make("sgd", [nn.Parameter(torch.zeros(1))], 1e-3, (0.0, 0.9))


def test_hinge_leaves_alone_what_is_right_by_a_margin() -> None:
    hinge = LOSSES["hinge"]
    right = torch.tensor([1.0, 2.5])
    assert hinge.critic(right, -right) == 0
    # mean of 1 - 0.5 and 0, plus mean of 1 + 0 and 1 + 2
    assert hinge.critic(torch.tensor([0.5, 3.0]), torch.tensor([0.0, 2.0])).item() == pytest.approx(0.25 + 2.0)
