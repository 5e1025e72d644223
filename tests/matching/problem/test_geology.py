"""From images to rock: which way round, by which numbers, and how it changes with the latent."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from rockbank.gan.networks import build_generator
from rockbank.matching.problem.geology import Geology, RockGenerator, WellFacies
from rockbank.testing.small import SmoothGenerator

HEIGHT, WIDTH = 2, 3


class Ramp(nn.Module):
    """An image whose facies tell column and row, in grey values of [-1, 3], and whose porosity is z_0."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, z):
        column, row = torch.arange(WIDTH).to(z), torch.arange(HEIGHT).to(z)
        facies = -1 + 4 * (0.1 * column[None, :] + 0.5 * row[:, None]).expand(len(z), -1, -1)
        porosity = z[:, :1, None].expand(-1, HEIGHT, WIDTH)
        return self.scale * torch.stack([facies, porosity], dim=1)


def ramp(geology=None):
    return RockGenerator(Ramp(), (2,), ((-1.0, 3.0), (0.0, 2.0)), geology or Geology())


def test_columns_of_the_image_run_along_i_and_rows_down_j():
    section = ramp()(torch.tensor([0.5, 0.0], dtype=torch.float64))
    assert section.facies.shape == (WIDTH, HEIGHT)
    expected = 0.1 * torch.arange(WIDTH)[:, None] + 0.5 * torch.arange(HEIGHT)[None, :]
    assert section.facies.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_rock_is_linear_in_facies_and_porosity_variable():
    geology = Geology(permeability_range=2e-12, least_permeability=3e-15, porosity_range=0.2, least_porosity=0.05)
    section = ramp(geology)(torch.tensor([0.5, 0.0], dtype=torch.float64))
    assert section.permeability.numpy() == pytest.approx(2e-12 * section.facies.numpy() + 3e-15, rel=1e-12)
    assert section.porosity.numpy() == pytest.approx(0.2 * 0.25 + 0.05, rel=1e-12)


def test_without_a_porosity_channel_it_is_the_least_everywhere():
    section = ramp(Geology(porosity=None))(torch.tensor([0.5, 0.0], dtype=torch.float64))
    assert (section.porosity == 0.1).all()


@pytest.mark.parametrize(("geology", "named"), [(Geology(facies=2), "facies"), (Geology(porosity=2), "porosity")])
def test_channel_that_the_generator_has_not_is_refused(geology, named):
    with pytest.raises(ValueError, match=rf"geology\.{named}: got channel 2; the generator has 2, counted from 0"):
        ramp(geology)


def smooth(n_latent=30):
    """More numbers than are differentiated at a time."""
    return RockGenerator(SmoothGenerator(n_latent, (5, 4)), (n_latent,), ((-1.0, 1.0),) * 2, Geology())


def test_jacobian_is_that_of_the_variables():
    rock, z = smooth(), torch.randn(30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.func.jacrev(rock.variables)(z).movedim(-1, 0)
    # float32
    assert rock.jacobian(z.numpy()).numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_latents_may_come_one_by_one_or_together():
    rock, z = smooth(4), torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = rock.variables(z)
    assert together.dtype == torch.float64
    assert together.numpy() == pytest.approx(torch.stack([rock.variables(one) for one in z]).numpy(), abs=1e-14)


def test_variables_lie_between_nought_and_one():
    variables = smooth(4).variables(20 * torch.randn(50, 4, generator=torch.Generator().manual_seed(0)).double())
    assert 0 <= variables.min() < 0.01
    assert 0.99 < variables.max() <= 1


def test_wells_facies_are_read_at_their_cells():
    field = torch.arange(12.0).reshape(4, 3)
    facies = WellFacies(cells=((0, 2), (3, 1)), is_sand=torch.tensor([True, False]))
    assert facies.at(field).tolist() == [2.0, 10.0]
    assert facies.at(torch.stack([field, -field])).tolist() == [[2.0, 10.0], [-2.0, -10.0]]
    none = replace(facies, cells=(), is_sand=torch.zeros(0, dtype=torch.bool))
    assert none.at(torch.stack([field, field])).shape == (2, 0)


def test_gradients_reach_the_latent_and_not_the_weights():
    module, z = Ramp(), torch.zeros(2, dtype=torch.float64, requires_grad=True)
    rock = RockGenerator(module, (2,), ((-1.0, 3.0), (0.0, 2.0)), Geology())
    rock(z).porosity.sum().backward()
    assert z.grad.numpy() == pytest.approx([0.3 * WIDTH * HEIGHT / 2, 0], rel=1e-12)
    assert not rock(z.detach()).porosity.requires_grad


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")
def test_the_jacobian_of_softened_bodies_in_single_precision_is_that_in_double():
    bodies = build_generator("bodies", (5 * 8 + 2 * 12,), (3, 12, 20), torch.Generator()).eval().softened(4.0)
    rock = RockGenerator(bodies, (64,), ((-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0)), Geology())
    z = torch.randn(64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(rock.variables, z).movedim(-1, 0)
    assert expected.abs().max() > 0.1
    np.testing.assert_allclose(rock.jacobian(z.numpy()), expected, rtol=0, atol=1e-4)


def test_normalisation_is_folded_into_the_convolutions_before_it():
    torch.manual_seed(3)
    network = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Tanh()).double()
    network[1].running_mean[:], network[1].running_var[:] = torch.randn(2), torch.rand(2) + 0.1
    module = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.Upsample((5, 4)), network).double().eval()
    rock = RockGenerator(module, (2,), ((-1.0, 1.0),) * 2, Geology())
    z = torch.randn(3, 2, dtype=torch.float64)
    expected = (1 + module(z)) / 2
    assert rock.variables(z).numpy() == pytest.approx(expected.detach().mT.numpy(), abs=1e-14)
    assert isinstance(network[1], nn.BatchNorm2d)
