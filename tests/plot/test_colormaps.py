"""The colours are matplotlib's."""

import numpy as np
import pytest
from matplotlib import colormaps

from rockbank.plot.colormaps import coloured


@pytest.mark.parametrize("name", ["viridis", "cividis"])
def test_every_value_has_matplotlibs_colour(name: str) -> None:
    # All edges of the 256 steps, their neighbours on both sides, and places between.
    edges = np.linspace(0, 1, 257, dtype=np.float32)
    values = np.concatenate([edges, np.nextafter(edges, np.float32(0)), np.nextafter(edges, np.float32(1))[:-1]])
    values = np.concatenate([values, np.random.default_rng(0).random(1000, dtype=np.float32)])
    np.testing.assert_array_equal(coloured(values, name), colormaps[name](values, bytes=True)[:, :3])
