"""What the benchmarks on DeepFlow's case begin from is in the results that are kept, without checkpoints."""

import numpy as np
import pytest
import xarray as xr

from benchmarks.matching.match import latents
from benchmarks.matching.valley import iterates
from rockbank.matching.results.compact import compact
from tests.matching.synthetic import matched

N_LATENT = 6
FAR = 100.0


@pytest.fixture
def whole() -> xr.Dataset:
    """Of three members: two that creep and then go from Jacobian to Jacobian, and one that failed."""
    of = matched(n_members=3, n_latent=N_LATENT, n_iterations=4, failed=(2,))
    dims = ("member", "iterate")
    of["history_flow"] = (dims, [[900.0, 890, 500, 450, 20], [2000, 900, 899, 50, 20], [np.nan] * 5])
    of["history_wells"] = of["history_prior"] = (dims, np.zeros((3, 5)))
    of["cost_jacobians"] = (dims, np.array([[0.0, 1, 2, 2, 3], [0, 1, 2, 3, 3], [np.nan] * 5]))
    of["cost_reduced"] = (dims, np.zeros((3, 5)))
    path = np.random.default_rng(0).normal(size=(3, 5, N_LATENT)).astype(np.float32)
    of["z_path"] = ((*dims, "latent"), path)
    return of


@pytest.mark.parametrize("is_compact", [False, True])
def test_the_valley_is_looked_at_where_a_first_step_took_off_little_or_much(
    whole: xr.Dataset, is_compact: bool
) -> None:
    dataset = compact(whole) if is_compact else whole
    creeps = list(iterates(dataset, FAR, lambda took: took < 0.05))
    goes = list(iterates(dataset, FAR, lambda took: took > 0.3))
    # Where no Jacobian was made, as at the third of the first member, or the loss is above 1,000, none is taken.
    assert [(member, iterate, flow) for member, iterate, _, flow in creeps] == [(0, 0, 900), (1, 1, 900)]
    assert [(member, iterate, flow) for member, iterate, _, flow in goes] == [(0, 1, 890), (1, 2, 899)]
    for member, iterate, z, _ in (*creeps, *goes):
        np.testing.assert_array_equal(z, whole.z_path[member, iterate])


def test_latents_to_time_are_of_members_that_ended(whole: xr.Dataset) -> None:
    found = latents(compact(whole))
    assert len(found) == 2 * 3
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], whole.z[0, 0])
    np.testing.assert_array_equal(found[-1], whole.z[1, 1])
    with pytest.raises(ValueError, match="none of the run's members has ended"):
        latents(compact(whole.isel(member=[2])))
