import numpy as np
import pytest
from PIL import Image

from rockbank.plot.curves import save_s2, save_training
from rockbank.plot.grids import grid, save_grid, save_real_against_generated


def rock(n, c=1, h=16, w=24):
    return np.random.default_rng(1).random((n, c, h, w), dtype=np.float32)


def test_a_grid_holds_each_sample_in_reading_order():
    samples = rock(5)
    tiled = grid(samples, 3)
    assert tiled.dtype == np.uint8
    assert tiled.shape == (2 * 18 - 2, 3 * 26 - 2)
    np.testing.assert_array_equal(tiled[18:34, 26:50], np.round(samples[4, 0] * 255))
    assert np.all(tiled[18:, 52:] == 255)  # no sixth sample


def test_a_grid_of_sections_has_facies_porosity_and_density():
    samples = rock(2, c=3)
    samples[:, 0] = [[[0.0]], [[1.0]]]
    tiled = grid(samples, 2)
    assert tiled.shape == (3 * 16 + 4 * 2, 2 * 26 - 2, 3)
    shale, sand = tiled[0, 0], tiled[0, 26]
    assert np.ptp(shale.astype(int)) < 20  # grey
    assert sand[0] > sand[2] + 100  # yellow


def test_fewer_samples_than_columns_make_a_narrower_grid():
    assert grid(rock(2), 8).shape == (16, 50)


def test_values_outside_the_scale_are_clipped():
    assert grid(np.array([[[[-1.0, 2.0]]]], dtype=np.float32), 1).tolist() == [[0, 255]]


@pytest.mark.parametrize(("samples", "n_columns"), [(rock(2, c=2), 2), (rock(0), 2), (rock(2), 0)])
def test_a_grid_that_cannot_be_made_is_an_error(samples, n_columns):
    with pytest.raises(ValueError, match=r"grid|got"):
        grid(samples, n_columns)


@pytest.mark.parametrize("c", [1, 3])
def test_pictures_are_whole_png_files_with_nothing_beside_them(tmp_path, c):
    samples, curves = rock(20, c=c), np.linspace(0.3, 0.1, 9) * np.linspace(0.8, 1.2, 20)[:, None]
    history = {"step": [1, 2, 3], "critic_loss": [1.0, 0.5, 0.2], "kid": [np.nan, 0.3, np.nan]}
    save_grid(tmp_path / "grid.png", samples)
    save_real_against_generated(tmp_path / "both.png", samples, samples[::-1], voxel_size=60e-9, title="shale")
    save_s2(tmp_path / "s2.png", curves, curves[:5], voxel_size=60e-9, title="shale")
    save_training(tmp_path / "training.png", history, title="shale")
    written = sorted(path.name for path in tmp_path.iterdir())
    assert written == ["both.png", "grid.png", "s2.png", "training.png"]
    for name in written:
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert picture.format == "PNG"


def test_the_grid_is_read_back_as_it_was(tmp_path):
    samples = rock(4)
    save_grid(tmp_path / "grid.png", samples, n_columns=2)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "grid.png")), grid(samples, 2))


def test_plots_do_without_a_voxel_size_and_without_evaluations(tmp_path):
    save_s2(tmp_path / "s2.png", np.full((3, 4), 0.2), np.full((2, 4), 0.1))
    save_training(tmp_path / "training.png", {"step": [1, 2], "critic_loss": [1.0, 2.0], "kid": [np.nan, np.nan]})
    assert (tmp_path / "s2.png").is_file()


def test_a_failed_plot_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="step"):
        save_training(tmp_path / "training.png", {"kid": [1.0]})
    assert list(tmp_path.iterdir()) == []
