"""What makes the members of a match worth nothing as samples: that they collapsed, or do not fit the data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import RUNNING

# Of the prior's spread. Data that tell a latent so well leave a hundredth of its variance in each direction; of 100
# members of es-mda, which understates, 0.27 is left on DeepFlow's case, and of other methods 0.88 and more.
SPREAD_MIN = 0.1
# Median of the members' J, of which noise leaves about 1: data missed by three standard deviations and more.
TIME_MEAN_MAX = 10.0


def spread_ratio(prior: Float[np.ndarray, "m n"], posterior: Float[np.ndarray, "k n"]) -> float:
    """Standard deviation of the posterior's latents over that of the prior's, over all their numbers.

    NaN where one of them has fewer than two members.
    """
    if min(len(prior), len(posterior)) < 2:
        return float("nan")
    before, after = (float(z.var(axis=0, ddof=1).mean()) for z in (prior, posterior))
    return float(np.sqrt(after / before)) if before > 0 else float("nan")


def faults(spread: float, time_mean: Float[np.ndarray, " m"]) -> list[str]:
    """Why the members are no samples of the posterior, in words; none where they may be.

    Args:
        spread: of `spread_ratio`.
        time_mean: J of each member; NaN where nothing was observed.
    """
    found = []
    if spread < SPREAD_MIN:
        found.append(
            f"the members collapsed: their spread is {spread:.2g} of the prior's (less than {SPREAD_MIN:g}), which is "
            "no measure of what is unknown; take more members, es-mda-localised or rml"
        )
    known = time_mean[np.isfinite(time_mean)]
    if len(known) and np.median(known) > TIME_MEAN_MAX:
        found.append(
            f"the members do not fit the data: their median J is {np.median(known):.3g} (more than {TIME_MEAN_MAX:g}), "
            "where noise leaves about 1; give more iterations, or take gauss-newton or rml"
        )
    return found


def faults_of(dataset: xr.Dataset) -> list[str]:
    """Those of the posterior of a match; none of a run of the prior alone."""
    if "posterior" not in dataset.ensemble.values:
        return []
    time_mean = dataset.time_mean.sel(ensemble="posterior").values
    return faults(spread_of(dataset), np.asarray(time_mean, dtype=float))


def spread_of(dataset: xr.Dataset) -> float:
    """`spread_ratio` of a match's posterior; NaN of a run of the prior alone."""
    if "posterior" not in dataset.ensemble.values:
        return float("nan")
    z = dataset.z.transpose("ensemble", "member", "latent")
    prior, posterior = (z.sel(ensemble=name).dropna("member").values for name in ("prior", "posterior"))
    return spread_ratio(prior, posterior)


def faults_of_states(states: Sequence[State | None]) -> list[str]:
    """Those of a run's members where all have ended, from their checkpoints."""
    known = [state for state in states if state is not None and state.records]
    if not known or any(state is None or state.status == RUNNING for state in states):
        return []
    return faults(spread_of_states(states), np.array([state.last.parts.time_mean for state in known]))


def spread_of_states(states: Sequence[State | None]) -> float:
    """`spread_ratio` of the members' latents as they are now over those that they began with."""
    known = [state.records for state in states if state is not None and state.records]
    if not known:
        return float("nan")
    first, last = (np.array([records[i].z.ravel() for records in known]) for i in (0, -1))
    return spread_ratio(first, last)
