"""What flows through the perforations, against what its definition says."""

import numpy as np
import pytest

from rockbank.flow.equations.problem import BHP, OIL, RATE, WATER
from rockbank.flow.kernels.well_flow import (
    add_to_cells,
    bhp_at_rates,
    flows_rightly,
    inflow,
    inflow_change,
    injected_and_produced,
    strengths,
)

CELL, WELL = np.array([0, 3, 3, 5, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
INJECTS, SIGN = np.array([1, 1, 0, 0, 0, 0], dtype=bool), np.array([1.0, -1.0, -1.0])
N_CELLS = 6


@pytest.fixture
def cells():
    random = np.random.default_rng(0)
    return {"p": random.uniform(1e7, 2e7, N_CELLS), "m_w": random.random(N_CELLS), "m_o": random.random(N_CELLS)}


@pytest.fixture
def strong(cells):
    """Strength, what counts, and the part of water, under a rate of both, of oil and of water."""

    def of(kinds, is_open):
        index, ratio, found = np.arange(1.0, 7.0), np.full(N_CELLS, 1.1), np.empty((3, len(CELL)))
        strengths(CELL, WELL, INJECTS, is_open, index, np.array(kinds), cells["m_w"], cells["m_o"], ratio, *found)
        return found

    return of


def test_water_displaces_both_phases_and_only_the_phase_under_a_rate_counts(strong, cells):
    is_open = np.array([1, 1, 1, 0, 1, 1], dtype=bool)
    strength, counted, water = strong((RATE, OIL, WATER), is_open)
    m_w, m_o = cells["m_w"][CELL], cells["m_o"][CELL]
    both = np.where(INJECTS, m_w + 1.1 * m_o, m_w + m_o)
    np.testing.assert_allclose(water, np.where(INJECTS, 1.0, m_w / both), rtol=1e-14)
    np.testing.assert_allclose(strength, np.arange(1.0, 7.0) * both * is_open, rtol=1e-14)
    counts = np.array([m_w[0] + 1.1 * m_o[0], m_w[1] + 1.1 * m_o[1], *m_o[2:4], *m_w[4:]])
    np.testing.assert_allclose(counted, np.arange(1.0, 7.0) * counts, rtol=1e-14)


def test_at_the_pressures_of_the_rates_the_rates_flow(strong, cells):
    is_open = np.ones(len(CELL), dtype=bool)
    strength, counted, _ = strong((RATE, RATE, RATE), is_open)
    rates, head, (bhp, total), through = np.array([3.0, -2.0, -1.0]), np.arange(6) * 1e4, np.empty((2, 3)), np.empty(6)
    bhp_at_rates(CELL, WELL, is_open, counted, rates, head, cells["p"], bhp, total)
    inflow(CELL, WELL, strength, bhp, head, cells["p"], through)
    # Differences of pressures: round-off of 1e7 Pa by strengths of some m^3/s for 1 Pa.
    np.testing.assert_allclose(np.bincount(WELL, through), rates, atol=1e-7)
    np.testing.assert_allclose(total, np.bincount(WELL, strength), rtol=1e-14)


def test_where_rates_hold_they_stay_and_the_power_is_that_of_the_drops(strong, cells):
    strength, _, _ = strong((RATE, BHP, OIL), np.ones(len(CELL), dtype=bool))
    dp, more, is_rated = cells["p"] - 1.5e7, np.empty(6), np.array([True, False, True])
    power = inflow_change(CELL, WELL, strength, is_rated, dp, more)
    lost = np.bincount(WELL, more)
    np.testing.assert_allclose(lost[is_rated] / np.abs(more).sum(), 0.0, atol=1e-14)
    np.testing.assert_allclose(more[2:4], -strength[2:4] * dp[CELL[2:4]], rtol=1e-14)
    assert power == pytest.approx((more**2 / strength).sum(), rel=1e-12)


def test_perforations_of_one_cell_add_up_and_the_wrong_way_counts_as_nothing():
    through = np.array([1.0, -2.0, -3.0, 4.0, -5.0, -6.0])
    field, injected, produced = np.zeros(N_CELLS), np.ones(N_CELLS), np.ones(N_CELLS)
    add_to_cells(CELL, through, field)
    np.testing.assert_array_equal(field, [1, -5, -6, -5, 0, 4])
    injected_and_produced(CELL, INJECTS, through, injected, produced)
    np.testing.assert_array_equal(injected, [1, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(produced, [0, 5, 6, 3, 0, 0])


def test_a_perforation_flows_rightly_where_its_drop_has_the_sign_of_an_open_well():
    p, bhp, head = np.array([1.0, 3.0, 1.0, 3.0, 0.0, 1.0]), np.array([2.0, 2.0, 2.0]), np.zeros(6)
    rightly = np.empty(6, dtype=bool)
    flows_rightly(CELL, WELL, np.array([False, False, True]), SIGN, bhp, head, p, rightly)
    np.testing.assert_array_equal(rightly, [True, False, True, False, False, False])
