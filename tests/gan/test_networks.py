"""The networks have the layers, sizes and keys of the papers."""

from pathlib import Path

import pytest
import torch
from torch import nn

from rockbank.gan.networks import BUILDERS, Dropout, build_critic, build_generator, find_network
from rockbank.gan.weights import load_foreign

DEEPFLOW = (
    Path(__file__).parents[2].parent / "shared" / "data" / "deepflow" / "generator_facies_multichannel_4_6790.pth"
)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("height", [16, 64, 256])
@pytest.mark.parametrize("width", [16, 48])
def test_table1_fits_any_multiple_of_16(height: int, width: int) -> None:
    image = (1, height, width)
    generator = build_generator("table1", (8,), image, rng())
    critic = build_critic("table1", image, 4, 0.25, rng(), rng(1))
    made = generator(torch.randn(2, 8, generator=rng()))
    assert made.shape == (2, *image)
    assert made.abs().max() <= 1
    assert critic(made).shape == (2,)


def test_table1_has_the_published_kernels() -> None:
    generator = build_generator("table1", (128,), (1, 64, 64), rng())
    critic = build_critic("table1", (1, 64, 64), 64, 0.0, rng(), None)
    kinds = nn.Conv2d | nn.ConvTranspose2d
    kernels = [
        [(*layer.kernel_size, layer.in_channels, layer.out_channels, layer.stride) for layer in module.modules()
         if isinstance(layer, kinds)]
        for module in (generator, critic)
    ]  # fmt: skip
    assert kernels == [
        [(3, 3, 128, 128, (2, 2)), (3, 3, 128, 64, (2, 2)), (3, 3, 64, 1, (2, 2))],
        [(5, 5, 1, 64, (2, 2)), (5, 5, 64, 128, (2, 2)), (5, 5, 128, 256, (2, 2))],
    ]


def n_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_table1_has_as_many_parameters_as_its_layers() -> None:
    # linear, three convolutions of which the last has an offset, two batch norms
    generator = 8192 * 129 + 9 * 128 * 128 + 9 * 128 * 64 + 9 * 64 + 1 + 2 * 128 + 2 * 64
    assert n_parameters(build_generator("table1", (128,), (1, 64, 64), rng())) == generator
    # three convolutions of which the first has an offset, two batch norms, linear
    critic = 25 * 64 + 64 + 25 * 64 * 128 + 25 * 128 * 256 + 2 * 128 + 2 * 256 + 256 * 64 + 1
    assert n_parameters(build_critic("table1", (1, 64, 64), 64, 0.0, rng(), None)) == critic


def test_deepflow_has_as_many_parameters_as_published() -> None:
    assert n_parameters(build_generator("deepflow", (50, 1, 2), (3, 64, 128), rng())) == 639_603


def test_bodies_have_as_many_parameters_as_their_law() -> None:
    # the least size, and what is sand enough; pieces of the sizes; knots of the outline; properties of both facies
    assert n_parameters(build_generator("bodies", (368,), (3, 64, 128), rng())) == 2 + 16 + 2 * 33 + 2 * 4


def test_deepflow_critic_sees_eight_patches() -> None:
    critic = build_critic("deepflow", (3, 64, 128), 4, 0.0, rng(), None)
    patches = critic.patches(critic.network(torch.zeros(2, 3, 64, 128)))  # type: ignore[operator]
    assert patches.shape == (2, 1, 2, 4)
    assert critic(torch.zeros(2, 3, 64, 128)).shape == (2,)


@pytest.mark.skipif(not DEEPFLOW.is_file(), reason="the published DeepFlow checkpoint is not at hand")
def test_deepflow_checkpoint_gives_channels_in_range() -> None:
    generator = load_foreign(DEEPFLOW, network="deepflow", latent=(50, 1, 2), image=(3, 64, 128))
    with torch.no_grad():
        made = generator(torch.randn(64, 50, 1, 2, generator=rng()))
    sand = (made[:, 0] > 0).float().mean()
    # published: 0.460 +- 0.086 a sample, so +- 0.011 over 64
    assert sand == pytest.approx(0.460, abs=0.04)
    assert made[:, :2].abs().max() <= 1
    assert made[:, 2].min() > 0


def test_each_network_has_a_range_for_each_channel() -> None:
    shapes = {
        "table1": ((8,), (1, 16, 16)),
        "deepflow": ((6, 1, 1), (3, 64, 64)),
        "texture": ((372, 9, 9), (1, 16, 16)),
        "bodies": ((5 * 3 + 2 * 16,), (3, 16, 32)),
    }
    assert set(shapes) == set(BUILDERS)
    for name, (latent, image) in shapes.items():
        made = build_generator(name, latent, image, rng())(torch.randn(2, *latent, generator=rng()))
        assert made.shape == (2, *image)
        assert len(find_network(name).value_range) == image[0]


@pytest.mark.parametrize(
    ("name", "latent", "image", "says"),
    [
        ("table2", (8,), (1, 16, 16), "table2"),
        ("table1", (8, 1), (1, 16, 16), "latent"),
        ("table1", (8,), (1, 24, 16), "multiples of 16"),
        ("table1", (8,), (3, 16, 16), "one channel"),
        ("deepflow", (50,), (3, 64, 128), "latent"),
        ("deepflow", (50, 1, 1), (3, 64, 128), "image"),
        ("texture", (372, 12, 12), (1, 64, 80), r"of \[372, 12, 13\]"),
        ("texture", (372, 12, 12), (1, 60, 64), "multiples of 16"),
        ("bodies", (368,), (1, 64, 128), "3 channels"),
        ("bodies", (128,), (3, 64, 128), "128 for the rows"),
        ("bodies", (366,), (3, 64, 128), r"such as \[368\]"),
        ("bodies", (368, 1), (3, 64, 128), "one number"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    name: str, latent: tuple[int, ...], image: tuple[int, int, int], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        build_generator(name, latent, image, rng())


def test_weights_come_from_the_given_generator_alone() -> None:
    before = torch.get_rng_state()
    first = build_generator("table1", (8,), (1, 16, 16), rng(3)).state_dict()
    again = build_generator("table1", (8,), (1, 16, 16), rng(3)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert torch.equal(before, torch.get_rng_state())


def test_dropout_keeps_the_mean_and_its_masks_follow_its_generator() -> None:
    x = torch.ones(200_000)
    dropped = Dropout(0.25, rng(1))(x)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    # standard error sqrt(0.25 / 0.75 / 200,000) = 0.0013
    assert dropped.mean() == pytest.approx(1, abs=0.006)
    assert torch.equal(dropped, Dropout(0.25, rng(1))(x))
    assert torch.equal(Dropout(0.25, rng(1)).eval()(x), x)
