"""An endless image has one law everywhere, whatever it is cut into: by its windows, across its tiles, at its border."""

import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from jaxtyping import Float

from rockbank.core.files import sha256
from rockbank.gan.networks import find_network
from rockbank.gan.onnx_export import export_onnx, parity
from rockbank.gan.texture import CELL, MARGIN, N_LATENT, TextureGenerator
from rockbank.generator.card import ONNX, ModelCard
from rockbank.generator.latents import Lattice, draw_latents, field_latents
from rockbank.generator.ranges import to_intensity
from rockbank.generator.sampler import Sampler
from rockbank.generator.windows import Window
from rockbank.rock.correlation import two_point_correlation
from tests.tiny_generators import write_generator

LATTICE = Lattice(cell=CELL, margin=MARGIN)
LATENT = (N_LATENT, 12, 12)
VALUE_RANGE = ((-1.0, 1.0),)
SIDE = 16 * CELL


@pytest.fixture(scope="module")
def generator() -> TextureGenerator:
    """A narrow one, untrained; its last layer is strong enough for grey values all over the range."""
    rng = torch.Generator().manual_seed(3)
    module = TextureGenerator((8, 8, 8, 8, 8))
    for layer in module.modules():
        if hasattr(layer, "draw_weights"):
            layer.draw_weights(rng)
    torch.nn.init.normal_(module.grey.weight, 0.0, 0.15, generator=rng)
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def folder(generator: TextureGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generator as a registered version's folder, with its graph as it is exported."""
    path = tmp_path_factory.mktemp("texture")
    export_onnx(generator, LATENT, path / "exported.onnx", LATTICE)
    return path


@pytest.fixture(scope="module")
def sampler(folder: Path) -> Sampler:
    about = ModelCard.load(write_generator(folder / "any", endless=True))
    graph = shutil.copyfile(folder / "exported.onnx", folder / "any" / ONNX)
    files = {**about.files, ONNX: sha256(graph)}
    changed = {"latent_shape": LATENT, "image_shape": (1, 64, 64), "lattice": LATTICE, "files": files}
    return Sampler(folder / "any", ModelCard(**{**vars(about), **changed}))


@pytest.fixture(scope="module")
def whole(sampler: Sampler) -> Float[np.ndarray, "1100 1300"]:
    """An endless image around its origin, 5 x 6 tiles and a bit."""
    return image(sampler, -300, -300, 1300, 1100)


def image(sampler: Sampler, x: int, y: int, width: int, height: int, sample: int = 0) -> np.ndarray:
    return np.concatenate(list(sampler.window(7, Window(x=x, y=y, width=width, height=height), sample)))


def test_the_table_of_networks_says_that_it_is_endless() -> None:
    assert find_network("texture").lattice == LATTICE
    assert find_network("table1").lattice is None


@pytest.mark.slow
def test_the_graph_takes_latents_of_any_extent_and_gives_what_torch_gives(
    generator: TextureGenerator, folder: Path
) -> None:
    # Ten layers of float32 sums, of order 1.
    assert 0 <= parity(generator, folder / "exported.onnx", LATENT, LATTICE) < 1e-5
    session = onnxruntime.InferenceSession(folder / "exported.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["n", N_LATENT, "h", "w"]
    for height, width in ((9, 9), (10, 33), (70, 9)):
        (got,) = session.run(None, {"latent": np.zeros((1, N_LATENT, height, width), np.float32)})
        assert got.shape == (1, 1, *LATTICE.image(height, width))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("x", "y", "width", "height"),
    [
        (0, 0, 64, 64),
        (-257, -1, 514, 258),
        (255, 255, 2, 2),
        (999, 799, 1, 1),
        (-300, 256, 1300, 1),
        (100, -300, 9, 900),
    ],
)
def test_windows_agree_with_the_whole_to_the_bit(
    sampler: Sampler, whole: np.ndarray, x: int, y: int, width: int, height: int
) -> None:
    expected = whole[y + 300 : y + 300 + height, x + 300 : x + 300 + width]
    np.testing.assert_array_equal(image(sampler, x, y, width, height), expected)


@pytest.mark.slow
def test_tiles_make_the_image_that_one_call_makes(
    generator: TextureGenerator, sampler: Sampler, whole: np.ndarray
) -> None:
    """No seam: torch, of the whole field in one piece, gives the same up to round-off."""
    latents = field_latents(7, 0, range(-19 - MARGIN, 50 + MARGIN), range(-19 - MARGIN, 63 + MARGIN), N_LATENT)
    one = generator(torch.from_numpy(latents[None])).numpy()
    expected = np.clip(to_intensity(one, VALUE_RANGE), 0, 1)[0, 0, 4 : 4 + 1100, 4 : 4 + 1300]
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)


@pytest.mark.slow
def test_samples_without_a_size_are_windows_at_the_origin(sampler: Sampler) -> None:
    for i, sample in enumerate(sampler.sample(seed=7, n=2)):
        np.testing.assert_allclose(sample[0], image(sampler, 0, 0, 64, 64, sample=i), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_the_law_at_the_border_of_an_image_is_that_of_its_middle(generator: TextureGenerator) -> None:
    """Of 500 images of 5 x 5 cells: mean, spread and the difference of neighbours, in each cell against all of them.

    Images are independent, and so the standard error of a cell's statistic is its spread over the images by the root
    of their number. Twelve other seeds gave 1.7 to 3.9 for the largest of the 25 x 3 differences, in standard errors.
    """
    n = 500
    images = generator(torch.from_numpy(draw_latents(11, n, (N_LATENT, 13, 13), lattice=LATTICE))).numpy()[:, 0]
    assert images.std() > 0.1
    assert largest_difference(images) < 5.0


def largest_difference(images: Float[np.ndarray, "n h w"]) -> float:
    """Of a cell's statistics from those of all cells, in standard errors."""
    cells = images.reshape(len(images), 5, CELL, 5, CELL).transpose(0, 1, 3, 2, 4)
    statistics = {
        "mean": cells.mean(axis=(3, 4)),
        "square": (cells**2).mean(axis=(3, 4)),
        "difference": ((cells[..., 1:] - cells[..., :-1]) ** 2).mean(axis=(3, 4)),
    }
    largest = 0.0
    for values in statistics.values():
        # Against the mean of the same image's cells: what is common to an image is no difference between its cells.
        inside = values - values.mean(axis=(1, 2), keepdims=True)
        standard_error = inside.std(axis=0) / len(images) ** 0.5
        largest = max(largest, float(np.abs(inside.mean(axis=0) / standard_error).max()))
    return largest


def test_the_statistics_of_the_border_would_show_a_padding(generator: TextureGenerator) -> None:
    """Against a test that cannot fail: latents that are zero beyond the image change the law at its border."""
    latents = draw_latents(11, 200, (N_LATENT, 13, 13), lattice=LATTICE)
    latents[:, :, :MARGIN] = 0.0
    assert largest_difference(generator(torch.from_numpy(latents)).numpy()[:, 0]) > 8.0


@pytest.mark.slow
def test_two_point_correlation_and_spectrum_across_tiles_are_those_inside(sampler: Sampler) -> None:
    """24 strips of 64 x 256 pixels astride a border of tiles against 24 in the middle of tiles, all of other images.

    S2 at each lag up to 32 and the spectrum along the strip in 16 bands; the standard error of a difference of means is
    that of both groups together. Ten other sets of strips gave at most 3.1 for S2 and 2.9 for the spectrum.
    """
    # The same phases within a cell, so that only the border of tiles is between the two: columns 224 and 96 are both
    # whole cells.
    astride, inside = [], []
    for i in range(24):
        rows = image(sampler, 0, 0, 2 * SIDE, 64, sample=i)
        astride.append(rows[:, SIDE - 64 : SIDE + 64])
        inside.append(image(sampler, 0, 0, SIDE, 64, sample=100 + i)[:, 64:192])
    for statistic in (correlations, spectrum):
        one, other = (np.array([statistic(strip) for strip in strips]) for strips in (astride, inside))
        standard_error = np.sqrt((one.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / 24)
        differences = np.abs(one.mean(axis=0) - other.mean(axis=0)) / standard_error
        assert differences.max() < 5.0, differences


def correlations(strip: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " r"]:
    return two_point_correlation(strip < 0.5)[:32]


def spectrum(strip: Float[np.ndarray, "h w"]) -> Float[np.ndarray, " k"]:
    """Of the rows, in 16 bands, as logarithms."""
    power = (np.abs(np.fft.rfft(strip - strip.mean(), axis=1)) ** 2).mean(axis=0)[1:65]
    return np.log(power.reshape(16, 4).mean(axis=1))
