"""The order of the flow."""

import numpy as np

from rockbank.flow import Grid
from rockbank.flow.kernels.cell_ordering import order_cells
from rockbank.flow.kernels.transport import flow_order


def test_cells_come_behind_those_that_flow_into_them():
    ordering = order_cells(Grid(shape=(6, 5, 4), spacing=(1.0, 1.0, 1.0)))
    n = len(ordering.cell)
    p = np.random.default_rng(2).normal(size=n)
    flux = p[ordering.lower] - p[ordering.upper]
    order = np.empty(n, dtype=np.uint32)
    assert flow_order(flux, *ordering.adjacency, np.empty(n, dtype=np.uint32), order) == n
    at = np.argsort(order)
    behind = at[ordering.upper] - at[ordering.lower]
    assert (np.where(flux > 0, behind, -behind) > 0).all()


def test_a_flow_in_circles_has_no_order():
    ordering = order_cells(Grid(shape=(2, 2), spacing=(1.0, 1.0, 1.0)))
    circle = {(0, 1): 1.0, (1, 3): 1.0, (2, 3): -1.0, (0, 2): -1.0}
    flux = np.array([circle[int(l), int(u)] for l, u in zip(ordering.lower, ordering.upper, strict=True)])  # noqa: E741
    assert flow_order(flux, *ordering.adjacency, np.empty(4, dtype=np.uint32), np.empty(4, dtype=np.uint32)) == 0
