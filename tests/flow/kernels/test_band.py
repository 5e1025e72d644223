"""Factors of the pressure's band matrix."""

import numpy as np
import pytest

from rockbank.flow import Grid
from rockbank.flow.kernels.band import factorise, fill_band, solve_band
from rockbank.flow.kernels.cell_ordering import order_cells


@pytest.mark.parametrize("shape", [(9, 7), (4, 6), (3, 4, 5), (1, 5), (6, 1)])
def test_the_band_solves_the_pressures_matrix(shape):
    ordering = order_cells(Grid(shape=shape, spacing=(1.0, 1.0, 1.0)))
    rng = np.random.default_rng(1)
    n, conductance = len(ordering.cell), rng.uniform(0.1, 10, len(ordering.face))
    matrix = np.diag(rng.uniform(0.01, 0.1, n))
    for l, u, c in zip(ordering.lower, ordering.upper, conductance, strict=True):  # noqa: E741
        matrix[np.ix_([l, u], [l, u])] += c * np.array([[1, -1], [-1, 1]])
    band, x = np.empty((n, ordering.width)), rng.normal(size=n)
    fill_band(ordering.lower, ordering.upper, conductance, np.diag(matrix).copy(), band)
    solution = matrix @ x
    assert factorise(band)
    solve_band(band, solution)
    np.testing.assert_allclose(solution, x, rtol=1e-10)
    assert ordering.width <= 1 + np.prod(shape) // max(shape)


def test_a_matrix_that_is_not_positive_is_refused():
    ordering = order_cells(Grid(shape=(3, 2), spacing=(1.0, 1.0, 1.0)))
    band = np.empty((6, ordering.width))
    fill_band(ordering.lower, ordering.upper, np.ones(7), np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0]), band)
    assert not factorise(band)
