"""Synthetic rocks."""

import numpy as np
import pytest

from rockbank.flow.casefile.synthetic import synthetic_channels, synthetic_layers


def test_synthetic_rocks_are_those_of_their_seed_and_law() -> None:
    k, phi = synthetic_channels(7)
    assert k.shape == phi.shape == (128, 64)
    # DeepFlow's map: a thousandth of a darcy is left in shale, and 1.001 in sand; float32 facies are 0 or 1 exactly.
    np.testing.assert_allclose(np.unique(k), [1e-15, 1.001e-12], rtol=1e-12)
    assert 0.1 <= phi.min() < phi.max() <= 0.4
    np.testing.assert_array_equal(synthetic_channels(7)[0], k)
    assert not np.array_equal(synthetic_channels(8)[0], k)
    law = {"permeability": 1e-13, "log_deviation": 1.5, "porosity": 0.2, "porosity_deviation": 0.03}
    k, phi = synthetic_layers((50, 1, 40), 3, lengths=(8, 0, 1), **law)
    # Y has mean 0 and deviation 1 over the cells, to round-off.
    assert np.log(k).mean() == pytest.approx(np.log(1e-13), rel=1e-12)
    assert np.log(k).std() == pytest.approx(1.5, rel=1e-12)
    assert phi.mean() == pytest.approx(0.2, rel=1e-9)
    with pytest.raises(ValueError, match="lengths: got 2 for the 3 axes"):
        synthetic_layers((50, 1, 40), 3, lengths=(8, 1), **law)
