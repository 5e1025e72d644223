"""Any window of an endless image is the same part of it, and is written in memory that does not grow with it."""

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from rockbank.generator.card import ModelCard
from rockbank.generator.latents import field_latents
from rockbank.generator.sampler import Sampler
from rockbank.generator.windows import PLACE_MAX, SIDE_MAX, Window, bands, n_tiles, parse_size, parse_window
from rockbank.generator.writers import write_images
from rockbank.rock.crops import to_bytes
from tests.tiny_generators import LATTICE, endless_images

VOXEL_SIZE = 60e-9
Make = Callable[..., Path]


@pytest.fixture
def sampler(generator_folder: Make) -> Sampler:
    folder = generator_folder(endless=True)
    return Sampler(folder, ModelCard.load(folder))


def window_of(sampler: Sampler, x: int, y: int, width: int, height: int, seed: int = 7, sample: int = 0) -> np.ndarray:
    return np.concatenate(list(sampler.window(seed, Window(x=x, y=y, width=width, height=height), sample)))


def test_a_window_is_what_the_naive_reference_gives_of_the_whole_field(sampler: Sampler) -> None:
    rows, columns = range(-21, 31), range(-31, 41)
    whole = endless_images(field_latents(7, 2, rows, columns, 8)[None])[0, 0]
    # The whole's first pixel lies a margin of one cell within the field.
    got = window_of(sampler, x=-50, y=-33, width=101, height=77, sample=2)
    expected = (whole[40 - 33 : 40 - 33 + 77, 60 - 50 : 60 - 50 + 101] + 1) / 2
    # Sums of 40 products of order 1 in float32.
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "width", "height"),
    [(0, 0, 1, 1), (-40, -40, 200, 150), (31, 31, 2, 2), (-1, 60, 33, 50), (100, -40, 60, 3), (-32, 0, 32, 32)],
)
def test_windows_agree_with_the_whole_to_the_bit(sampler: Sampler, x: int, y: int, width: int, height: int) -> None:
    whole = window_of(sampler, -40, -40, 200, 150)
    np.testing.assert_array_equal(
        window_of(sampler, x, y, width, height), whole[y + 40 : y + 40 + height, x + 40 : x + 40 + width]
    )


def test_a_sample_without_a_size_is_the_window_at_the_origin(sampler: Sampler) -> None:
    samples = sampler.sample(seed=7, n=3)
    for i, sample in enumerate(samples):
        # Another extent of the call: up to its last bits.
        np.testing.assert_allclose(sample[0], window_of(sampler, 0, 0, 16, 16, sample=i), rtol=0, atol=1e-6)
    assert np.abs(samples[0] - samples[1]).mean() > 0.1


def test_each_pixel_belongs_to_one_tile_of_its_window() -> None:
    window = Window(x=-33, y=-1, width=98, height=34)
    count = np.zeros((34, 98), dtype=int)
    top = 0
    for tiles in bands(window, LATTICE):
        for tile in tiles:
            # 32 pixels a tile: where it lies, by its own numbers.
            assert 32 * tile.row + tile.rows.start == window.y + top
            assert 32 * tile.column + tile.columns.start == window.x + tile.left
            height, width = (part.stop - part.start for part in (tile.rows, tile.columns))
            count[top : top + height, tile.left : tile.left + width] += 1
        top += height
        assert all(left.left < right.left for left, right in pairwise(tiles))
    assert (count == 1).all()
    assert n_tiles(window, LATTICE) == 3 * 5


def test_a_generator_of_one_size_refuses_any_other_and_names_its_own(generator_folder: Make) -> None:
    folder = generator_folder()
    sampler = Sampler(folder, ModelCard.load(folder))
    with pytest.raises(ValueError, match="size: 'tiny' makes images of 16 x 16 pixels only; leave the size out"):
        sampler.window(7, Window(x=0, y=0, width=32, height=32))


@pytest.mark.parametrize("text", ["64", "64x", "x64", "64x-1", "1.5x2", "64,64", "64x64x64", "²x2", ""])
def test_a_size_of_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="WIDTHxHEIGHT in pixels, such as 4096x2048"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0,0,64", "0,0,64,64,1", "a,0,1,1", "0x0x1x1", "0,0,-1,1", "--1,0,1,1"])
def test_a_window_of_another_form_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(ValueError, match="X,Y,WIDTH,HEIGHT in pixels"):
        parse_window(text)


def test_sizes_and_windows_are_read_in_the_order_of_their_form() -> None:
    assert parse_size("4096x2048") == Window(x=0, y=0, width=4096, height=2048)
    assert parse_window("-512, 3,1,16384") == Window(x=-512, y=3, width=1, height=16384)


@pytest.mark.parametrize(
    ("window", "says"),
    [
        ((0, 0, 0, 5), "sides from 1 to 16384"),
        ((0, 0, 5, SIDE_MAX + 1), "got 5 x 16385"),
        ((PLACE_MAX + 1, 0, 1, 1), "stay within"),
        ((0, -PLACE_MAX - 1, 1, 1), "stay within"),
    ],
)
def test_a_window_out_of_bounds_is_refused(window: tuple[int, int, int, int], says: str) -> None:
    x, y, width, height = window
    with pytest.raises(ValueError, match=says):
        Window(x=x, y=y, width=width, height=height)


def test_the_farthest_window_can_be_had(sampler: Sampler) -> None:
    assert window_of(sampler, PLACE_MAX, -PLACE_MAX, 3, 2).shape == (2, 3)


def ramp(n: int, height: int, width: int) -> Iterator[np.ndarray]:
    """Bands of images whose every row is of one value, its number over those of all."""
    total = n * height
    for i in range(n):
        for top in range(0, height, 100):
            rows = np.arange(i * height + top, i * height + min(top + 100, height), dtype=np.float32)
            yield np.repeat(rows[:, None] / total, width, axis=1)


@pytest.mark.parametrize("n", [1, 3])
def test_a_tiff_has_its_pages_in_strips_and_its_scale(tmp_path: Path, n: int) -> None:
    path = tmp_path / "big.tif"
    write_images(path, ramp(n, 601, 35), n=n, height=601, width=35, voxel_size=VOXEL_SIZE)
    expected = to_bytes(np.concatenate(list(ramp(n, 601, 35))).reshape(n, 601, 35))
    with tifffile.TiffFile(path) as tif:
        assert len(tif.pages) == n
        assert not tif.is_bigtiff
        for page, pixels in zip(tif.pages, expected, strict=True):
            np.testing.assert_array_equal(page.asarray(), pixels)
            assert page.tags["RowsPerStrip"].value == 256  # type: ignore[union-attr]
        pixels, length = tif.pages[0].tags["XResolution"].value  # type: ignore[union-attr]
        assert 0.01 * length / pixels == pytest.approx(VOXEL_SIZE, rel=1e-4)
        assert tif.imagej_metadata is not None
    # As it lies on the disk, without being read.
    np.testing.assert_array_equal(tifffile.memmap(path, mode="r").reshape(n, 601, 35), expected)
    with Image.open(path) as picture:
        assert picture.n_frames == n  # type: ignore[attr-defined]
        picture.seek(n - 1)
        np.testing.assert_array_equal(np.asarray(picture), expected[-1])


def test_an_array_and_a_picture_hold_the_same(tmp_path: Path) -> None:
    for name in ("big.npy", "big.png"):
        write_images(tmp_path / name, ramp(1, 250, 33), n=1, height=250, width=33, voxel_size=VOXEL_SIZE)
    expected = np.concatenate(list(ramp(1, 250, 33)))
    np.testing.assert_array_equal(np.load(tmp_path / "big.npy", mmap_mode="r"), expected[None, None])
    with Image.open(tmp_path / "big.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), to_bytes(expected))


def test_memory_does_not_grow_with_the_image(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        write_images(tmp_path / "a.tif", ramp(1, 12_000, 1000), n=1, height=12_000, width=1000, voxel_size=VOXEL_SIZE)
        write_images(tmp_path / "a.npy", ramp(1, 12_000, 1000), n=1, height=12_000, width=1000, voxel_size=VOXEL_SIZE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A band of 100 rows has 400 kB, and a few copies; the array has 48 MB.
    assert peak < 4e6


@pytest.mark.parametrize(("n", "side"), [(2, 64), (1, 8193)])
def test_a_picture_that_would_fill_memory_is_refused_before_anything_is_computed(
    tmp_path: Path, n: int, side: int
) -> None:
    def never() -> Iterator[np.ndarray]:
        raise AssertionError
        yield

    with pytest.raises(ValueError, match=r"a PNG takes one image of at most 67108864 pixels: use \.tif or \.npy"):
        write_images(tmp_path / "a.png", never(), n=n, height=side, width=side, voxel_size=VOXEL_SIZE)
    assert not list(tmp_path.iterdir())


def test_an_image_whose_bands_break_off_is_not_there(tmp_path: Path) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((10, 10), dtype=np.float32)
        raise RuntimeError("no more")

    (tmp_path / "a.tif").write_bytes(b"before")
    with pytest.raises(RuntimeError, match="no more"):
        write_images(tmp_path / "a.tif", broken(), n=1, height=20, width=10, voxel_size=VOXEL_SIZE)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert (tmp_path / "a.tif").read_bytes() == b"before"
