"""The texture generator is one law over an endless plane; its noise belongs to the pixels that it falls on."""

import pytest
import torch
from torch import Tensor, nn

from rockbank.gan.networks import build_generator
from rockbank.gan.texture import CELL, FINER, MARGIN, N_COARSE, N_LATENT, TextureGenerator


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def generator() -> nn.Module:
    """Untrained, in double precision, so that nothing but the architecture tells two windows apart."""
    return build_generator("texture", (N_LATENT, 9, 9), (1, 16, 16), rng()).double().eval().requires_grad_(False)


def draw(*cells: int, seed: int = 1) -> Tensor:
    return torch.randn(1, N_LATENT, *cells, generator=rng(seed), dtype=torch.float64)


@pytest.mark.parametrize("cells", [(9, 9), (9, 14), (20, 11)])
def test_image_is_its_latent_without_the_margin(cells: tuple[int, int]) -> None:
    made = generator()(draw(*cells))
    assert made.shape == (1, 1, *(CELL * (each - 2 * MARGIN) for each in cells))


def test_window_of_the_latent_makes_the_window_of_the_image() -> None:
    module, z = generator(), draw(16, 15)
    part = module(z[:, :, 2:14, 1:13])
    # round-off of another order of sums
    torch.testing.assert_close(part, module(z)[:, :, 32:96, 16:80], rtol=0, atol=1e-12)


@pytest.mark.parametrize("i_level", range(len(FINER)))
def test_noise_of_a_cell_stays_near_its_pixels(i_level: int) -> None:
    module, z = generator(), draw(13, 13)
    start = N_COARSE + sum(scale**2 for scale in FINER[:i_level])
    other = z.clone()
    other[:, start : start + FINER[i_level] ** 2, 6, 6] += 1
    rows, columns = (module(other) != module(z))[0, 0].nonzero(as_tuple=True)
    # Pixels 32 to 47 of the image are those of cell 6; behind a level of pixels p come a 3 x 3 convolution at p and,
    # for each finer one, the doubling's and the convolution's reach, which a sum of halves bounds by 4 p.
    pixel = CELL // FINER[i_level]
    for at in (rows, columns):
        assert at.numel() > 0
        assert at.min() >= 32 - 4 * pixel
        assert at.max() <= 47 + 4 * pixel


def test_finest_noise_is_placed_pixel_by_pixel() -> None:
    module, z = generator(), draw(13, 13)
    other = z.clone()
    row, column = 5, 11
    other[:, N_LATENT - CELL**2 + row * CELL + column, 6, 6] += 1
    rows, columns = (module(other) != module(z))[0, 0].nonzero(as_tuple=True)
    # the 3 x 3 convolution behind it
    assert (rows.min(), rows.max()) == (32 + row - 1, 32 + row + 1)
    assert (columns.min(), columns.max()) == (32 + column - 1, 32 + column + 1)


def test_every_number_of_the_latent_is_used_somewhere() -> None:
    z = draw(13, 13).requires_grad_()
    module = generator()
    module(z).square().sum().backward()
    assert z.grad is not None
    assert (z.grad[0, :, 6, 6] != 0).all()


def test_widths_are_the_callers() -> None:
    made = TextureGenerator((8, 8, 4, 4, 2))(torch.randn(2, N_LATENT, 9, 10, generator=rng()))
    assert made.shape == (2, 1, 16, 32)
