"""Members that collapsed, or do not fit the data, are said to be no samples; good ones are not."""

from __future__ import annotations

import numpy as np
import pytest

from rockbank.matching.results.worth import SPREAD_MIN, faults, spread_ratio

FITTED = np.ones(20)


def ensemble(spread: float, *, n_members: int = 20, n_latent: int = 100) -> np.ndarray:
    return spread * np.random.default_rng(0).standard_normal((n_members, n_latent))


@pytest.mark.parametrize("spread", [1.0, 0.5, 0.01])
def test_the_spread_is_that_of_the_latents_over_the_priors(spread: float) -> None:
    prior, posterior = ensemble(1.0), ensemble(1.0) * spread + 3.0
    assert spread_ratio(prior, posterior) == pytest.approx(spread, rel=1e-12)


def test_one_member_has_no_spread_and_no_fault() -> None:
    assert np.isnan(spread_ratio(ensemble(1.0), ensemble(1.0, n_members=1)))
    assert faults(float("nan"), FITTED) == []


def test_samples_that_fit_have_no_fault() -> None:
    assert faults(0.9, FITTED) == []
    assert faults(2 * SPREAD_MIN, np.full(20, np.nan)) == []


def test_collapse_is_a_fault_whatever_the_fit() -> None:
    (said,) = faults(0.002, FITTED)
    assert said.startswith("the members collapsed: their spread is 0.002 of the prior's")


def test_members_that_miss_the_data_are_a_fault_and_one_that_does_is_none() -> None:
    (said,) = faults(0.9, np.full(20, 45.2))
    assert "do not fit the data: their median J is 45.2" in said
    assert faults(0.9, np.array([*FITTED, 1e6])) == []


def test_an_ensemble_smoother_of_too_few_members_collapses() -> None:
    """Updates that lie in the span of few members leave them no spread, whatever the data say of the latent."""
    from rockbank.matching.methods.es_mda import EsMda

    rng, method = np.random.default_rng(1), EsMda()
    slopes = rng.standard_normal((100, 60))
    truth = rng.standard_normal(100) @ slopes

    def spread_after(n_members: int) -> float:
        prior = z = rng.standard_normal((n_members, 100))
        for _ in range(4):
            noise = rng.standard_normal((n_members, 60))
            z = method.assimilate(z, z @ slopes, truth, np.full(60, 0.1), noise, alpha=4.0)
        return spread_ratio(prior, z)

    assert faults(spread_after(4), FITTED)
    assert not faults(spread_after(200), FITTED)
