import numpy as np
from PIL import Image

from rockbank.plot.panels import save_statistics


def curve(n, start):
    at = np.arange(start, start + n)
    real = np.exp(-at / n)
    return {"at": at, "real": real, "low": 0.8 * real, "high": 1.2 * real, "generated": np.linspace(1.0, 0.0, n)}


def curves():
    spectrum = curve(32, 1)
    grey = np.full(256, 1 / 256)
    return {
        "s2": curve(33, 0),
        "lineal_path": curve(33, 0),
        "spectrum": {**spectrum, "at": spectrum["at"] / 64},
        "grey": {"at": np.arange(256), "real": grey, "generated": grey[::-1]},
    }


def test_the_figure_is_a_whole_png_file_with_nothing_beside_it(tmp_path):
    save_statistics(tmp_path / "statistics.png", curves(), voxel_size=60e-9, title="shale")
    assert [path.name for path in tmp_path.iterdir()] == ["statistics.png"]
    with Image.open(tmp_path / "statistics.png") as picture:
        picture.load()
        assert picture.format == "PNG"


def test_a_rock_without_the_phase_is_drawn_too(tmp_path):
    none = curves()
    for key in ("s2", "lineal_path"):
        none[key] = {**none[key], **{name: np.zeros(33) for name in ("real", "low", "high", "generated")}}
    save_statistics(tmp_path / "statistics.png", none)
    assert (tmp_path / "statistics.png").is_file()
