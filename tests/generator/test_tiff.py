"""What the layout says before the first pixel is what readers find, on both sides of 4 GiB."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile

from rockbank.generator.tiff import Layout

VOXEL_SIZE = 60e-9


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (2, 257, 3), (1, 1024, 5), (4, 16, 16)])
def test_a_stack_is_read_back(shape: tuple[int, int, int]) -> None:
    layout = Layout(*shape, VOXEL_SIZE)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    written = layout.head() + pixels.tobytes() + b"".join(layout.tail())
    assert not layout.is_big
    assert len(written) == layout.size
    with tifffile.TiffFile(io.BytesIO(written)) as tif:
        for page, expected in zip(tif.pages, pixels, strict=True):
            np.testing.assert_array_equal(page.asarray(), expected)


def test_a_stack_beyond_four_gibibytes_is_a_bigtiff(tmp_path: Path) -> None:
    n, side = 6, 30_000
    layout = Layout(n, side, side, VOXEL_SIZE)
    assert layout.is_big
    assert layout.size > 2**32
    assert not Layout(4, side, side, VOXEL_SIZE).is_big
    last = np.arange(side, dtype=np.uint8)
    head, tail = layout.head(), b"".join(layout.tail())
    # A sparse file: only what is written takes room.
    with (tmp_path / "big.tif").open("wb") as file:
        file.write(head)
        file.seek(len(head) + (n * side - 1) * side)
        file.write(last.tobytes())
        file.write(tail)
        assert file.tell() == layout.size
    with tifffile.TiffFile(tmp_path / "big.tif") as tif:
        assert tif.is_bigtiff
        assert len(tif.pages) == n
        page = tif.pages[n - 1]
        assert page.shape == (side, side)
        assert sum(page.databytecounts) == side * side
        pixels, length = page.tags["YResolution"].value  # type: ignore[union-attr]
        assert 0.01 * length / pixels == pytest.approx(VOXEL_SIZE, rel=1e-4)
        assert page.dataoffsets[0] == len(head) + (n - 1) * side * side
    mapped = tifffile.memmap(tmp_path / "big.tif", page=n - 1, mode="r")
    np.testing.assert_array_equal(mapped[-1], last)
    assert not mapped[-2].any()
