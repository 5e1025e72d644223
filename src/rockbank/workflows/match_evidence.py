"""What a run's members tell of their worth, before it begins and on its way; afterwards its dataset tells more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.matching.methods.state import State
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.results.posterior import POSTERIOR, fingerprint, read_posterior
from rockbank.matching.results.verdict import Evidence, spread_of_prior
from rockbank.matching.run import Run

NO_DATA = "none: nothing is observed, so that the match gives draws of the prior"


def planned(run: Run) -> Evidence:
    """Before any member has begun."""
    case, settings = run.case, run.settings
    return Evidence(
        n_members=settings.members,
        n_latent=run.objective.n_latent,
        n_data=settings.flow * len(case.observations) + settings.wells * len(case.facies.cells),
        spread=None,
        misfit=None,
        is_smoother=run.spec.is_ensemble,
    )


def reached(run: Run, states: Sequence[State | None]) -> Evidence:
    """Of the members that have ended, without the case, as their checkpoints have them."""
    ended = [state for state in states if state is not None and state.status not in (RUNNING, FAILED)]
    data = ended[0].memory.get("data", np.zeros((1, 0))) if ended else np.zeros((1, 0))
    return Evidence(
        n_members=len(ended),
        n_latent=len(ended[0].last.z) if ended else 0,
        n_data=data.shape[1],
        spread=spread_now(ended) if run.spec.iteration else None,
        misfit=None,
        is_smoother=run.spec.is_ensemble,
    )


def spread_now(states: Sequence[State | None]) -> float | None:
    """The latents' spread over the members as they are now, by the prior's; None of fewer than two."""
    z = latents_now(states)
    return spread_of_prior(z) if len(z) > 1 else None


def latents_now(states: Sequence[State | None]) -> Float[np.ndarray, "m n"]:
    """Of the members that have begun and not failed."""
    return np.array([each.last.z for each in states if each is not None and each.records and each.status != FAILED])


def reported(run: Run) -> xr.Dataset | None:
    """The dataset that lies there, if it is of the members as they are now."""
    if not (run.folder / POSTERIOR).is_file():
        return None
    dataset = read_posterior(run.folder)
    return dataset if dataset.attrs.get("checkpoints_sha256") == fingerprint(run) else None
