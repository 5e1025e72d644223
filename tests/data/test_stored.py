from __future__ import annotations

import numpy as np
import pytest

from rockbank.data.stored import subsample


@pytest.mark.parametrize("shape", [(64, 64, 64), (6, 60, 90), (16, 32, 32), (5, 7, 9)])
def test_a_sample_of_the_voxels_has_some_of_every_column_and_row(shape: tuple[int, int, int]) -> None:
    n_voxels = int(np.prod(shape))
    n_most = min(n_voxels, 2**12)
    for axis in (1, 2):
        of_axis = np.broadcast_to(np.arange(shape[axis]).reshape(-1, *[1] * (2 - axis)), shape).copy()
        sample = subsample(((each, None) for each in of_axis), n_voxels, n_most)
        assert len(sample) >= n_most
        counts = np.bincount(sample, minlength=shape[axis])
        assert counts.min() > 0.8 * counts.mean()
