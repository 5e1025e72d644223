"""The generator of bodies paints what its weights say, one body over the other, and changes smoothly."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from rockbank.gan import bodies
from rockbank.gan.bodies import BodiesGenerator
from rockbank.gan.networks import build_generator

HEIGHT, WIDTH, N_BODIES = 24, 40, 6
LATENT = 5 * N_BODIES + 2 * HEIGHT


def make(seed: int = 0) -> BodiesGenerator:
    """One of weights that no body has by accident, in float64."""
    rng = torch.Generator().manual_seed(seed)
    generator = build_generator("bodies", (LATENT,), (3, HEIGHT, WIDTH), rng)
    assert isinstance(generator, BodiesGenerator)
    with torch.no_grad():
        for each in generator.parameters():
            each.add_(0.1 * torch.randn(each.shape, generator=rng))
    return generator.double().requires_grad_(False)


def latents(n: int, seed: int = 1) -> Float[Tensor, "n latent"]:
    return torch.randn(n, LATENT, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logistic(x: Float[np.ndarray, "*dims"]) -> Float[np.ndarray, "*dims"]:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * x))


def painted(generator: BodiesGenerator, z: Float[np.ndarray, " latent"]) -> Float[np.ndarray, "3 h w"]:
    """The plain version: an image cell by cell, a body after the other."""
    weights = {name: each.numpy() for name, each in generator.state_dict().items()}
    of_bodies, of_rows = z[: 5 * N_BODIES].reshape(5, N_BODIES), z[5 * N_BODIES :].reshape(2, HEIGHT)

    def properties(facies: str, of: Float[np.ndarray, "2 m"]) -> Float[np.ndarray, "2 m"]:
        spread = bodies.SPREAD * np.log1p(np.exp(weights[f"{facies}.spread"]))
        return np.asarray(weights[f"{facies}.mean"] + spread * of)

    image = np.full((3, HEIGHT, WIDTH), -1.0)
    image[1:] = properties("shale", of_rows)[:, :, None]
    pieces = np.log1p(np.exp(weights["size_steps"])) * (bodies.LARGEST - bodies.SMALLEST) / bodies.N_SIZES
    quantiles = weights["least_size"] + np.concatenate([[0.0], np.cumsum(pieces)])
    knots = np.linspace(-bodies.REACH, bodies.REACH, bodies.N_KNOTS)
    for i in range(N_BODIES):
        x, y = norm.cdf(of_bodies[0, i]) * WIDTH - 0.5, norm.cdf(of_bodies[1, i]) * HEIGHT - 0.5
        size = np.interp(norm.cdf(of_bodies[2, i]), np.linspace(0, 1, bodies.N_SIZES + 1), quantiles)
        sand = properties("sand", of_bodies[3:, i, None])[:, 0]
        excess = max(0.0, 0.5 + 0.5 * image[0].mean() - bodies.PROPORTION * float(weights["enough"]))
        for column in range(WIDTH):
            along = (column - x) / size
            past = max(0.0, abs(along) - bodies.REACH) * size
            top = y + size * np.interp(along, knots, weights["top"]) + past
            base = y + size * np.interp(along, knots, weights["base"]) - past
            for row in range(HEIGHT):
                inside = min(row - top, base - row) - bodies.WITHDRAWAL * excess
                covered = logistic(np.array(bodies.STEEP * inside))
                for channel, value in enumerate((1.0, *sand)):
                    image[channel, row, column] += covered * (value - image[channel, row, column])
    return image


def test_images_are_those_of_the_plain_version() -> None:
    generator, z = make(), latents(3)
    images = generator(z).numpy()
    for image, latent in zip(images, z.numpy(), strict=True):
        assert np.abs(image - painted(generator, latent)).max() < 1e-9
    # some of both facies, and bodies that the last ones hide or that find sand enough
    assert 0.1 < (images[:, 0] > 0).mean() < 0.9


@pytest.mark.parametrize("steepness", [4.0, 11.0])
def test_derivatives_of_a_trained_one_are_those_of_its_images(steepness: float) -> None:
    generator, z, step = make().eval().softened(steepness), latents(1)[0].requires_grad_(), 1e-6
    weight = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def value(at: Tensor) -> Tensor:
        return (weight * generator(at[None])[0]).sum()

    (gradient,) = torch.autograd.grad(value(z), z)
    for i in (0, N_BODIES, 2 * N_BODIES, 3 * N_BODIES, 5 * N_BODIES, LATENT - 1):
        direction = step * torch.eye(LATENT, dtype=torch.float64)[i]
        measured = (value(z.detach() + direction) - value(z.detach() - direction)) / (2 * step)
        assert float(gradient[i]) == pytest.approx(float(measured), rel=1e-5, abs=1e-5)


# Torch compiles something at its first forward derivative by a function that it says is not to be used.
@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")
def test_derivatives_in_training_are_those_of_softer_edges() -> None:
    generator = build_generator("bodies", (5 + 2 * HEIGHT,), (3, HEIGHT, WIDTH), torch.Generator()).double()
    assert isinstance(generator, BodiesGenerator)
    weight = torch.randn(3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    place = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)  # and size, of the one body

    def value(of: BodiesGenerator, place: Tensor) -> Tensor:
        z = torch.cat([place, torch.zeros(2 + 2 * HEIGHT, dtype=torch.float64)])
        return (weight * of(z[None])[0]).sum()

    softer = generator.softened(bodies.SOFT)
    before, after = (float(value(of, place).detach()) for of in (generator, softer))
    assert before != pytest.approx(after, rel=1e-3)
    back, back_softer = (torch.func.grad(lambda at, of=of: value(of, at))(place) for of in (generator, softer))
    np.testing.assert_allclose(back.detach(), back_softer.detach(), rtol=1e-9)
    for direction in torch.eye(3, dtype=torch.float64):
        forward = torch.func.jvp(lambda at: value(generator, at), (place,), (direction,))[1]
        assert float(forward.detach()) == pytest.approx(float((back @ direction).detach()), rel=1e-9)


def test_softer_edges_have_the_same_weights_and_leave_those_of_the_generator() -> None:
    generator, z = make(), latents(2)
    images, softer = generator(z), generator.softened(2.0)
    grey = [((each[:, 0] > -0.9) & (each[:, 0] < 0.9)).double().mean() for each in (images, softer(z))]
    assert grey[0] < 0.1 < grey[1]
    assert torch.equal(generator(z), images)
    assert all(one is other for one, other in zip(generator.parameters(), softer.parameters(), strict=True))


def test_a_later_body_hides_an_earlier_one() -> None:
    generator = make()
    generator.enough.fill_(10.0)  # all of the section, so that no body draws back
    z = torch.zeros(1, LATENT, dtype=torch.float64)
    z[0, N_BODIES - 1 + 3 * N_BODIES] = 2.0  # the porosity of the last, in the same place as all others
    middle = generator(z)[0, :, HEIGHT // 2, WIDTH // 2]
    sand = generator.sand(torch.tensor([[[2.0], [0.0]]], dtype=torch.float64), facies=1.0)[0, :, 0]
    assert middle.tolist() == pytest.approx(sand.tolist(), abs=1e-4)


@pytest.mark.parametrize("enough", [0.2, 0.35])
def test_bodies_end_where_there_is_sand_enough(enough: float) -> None:
    generator = build_generator("bodies", (5 * 40 + 2 * 64,), (3, 64, 128), torch.Generator())
    with torch.no_grad():
        generator.enough.fill_(enough / bodies.PROPORTION)
        z = torch.randn(8, 5 * 40 + 2 * 64, generator=torch.Generator().manual_seed(0))
        sand = (generator(z)[:, 0] > 0).double().mean((1, 2))
    # by at most the last one that comes whole, some 8 % of the section
    assert enough - 0.02 < sand.min()
    assert sand.max() < enough + 0.09


@pytest.mark.parametrize(
    "change", [lambda z: z, lambda z: z.float(), lambda z: z.to(torch.bfloat16)], ids=["double", "single", "bf16"]
)
def test_only_double_latents_make_double_images(change: Callable[[Tensor], Tensor]) -> None:
    z = change(latents(2))
    wanted = torch.float64 if z.dtype is torch.float64 else torch.float32
    generator = make() if z.dtype is torch.float64 else make().float()
    with torch.autocast("cpu", torch.bfloat16):
        assert generator(z).dtype is wanted


def test_weights_need_no_draw() -> None:
    first, second = (
        build_generator("bodies", (LATENT,), (3, HEIGHT, WIDTH), torch.Generator().manual_seed(seed)).state_dict()
        for seed in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
