"""Datasets of earlier versions under the names of now."""

from __future__ import annotations

import numpy as np
import xarray as xr

from rockbank.matching.methods.status import current_status
from rockbank.matching.methods.table import JACOBIAN, METHODS

# Dimensions and variables of version 0.1.0.
_NAMES = {
    "iteration": "iterate",
    "evolution_iteration": "evolution_iterate",
    "leg": "segment",
    "leg_members": "segment_members",
    "cost_passes": "cost_generator_evaluations",
}


def renamed(dataset: xr.Dataset) -> xr.Dataset:
    """The dataset with the names, the statuses and the counts that this version writes."""
    names = {old: new for old, new in _NAMES.items() if old in dataset.dims or old in dataset.variables}
    dataset = dataset.rename(names)
    if "status" in dataset:
        words = [current_status(str(word)) for word in dataset.status.values]
        status = dataset.status.copy(data=np.array(words, dtype=object))
        # It has the width of the old words, to which a file written again would cut the new ones.
        status.encoding = {}
        dataset["status"] = status
    if "history_cost" in dataset and "history_iterations" not in dataset:
        dataset["history_iterations"] = _iterations(dataset)
    return dataset


def _iterations(dataset: xr.Dataset) -> xr.DataArray:
    """What was not counted then: Jacobians, of the methods that make them, and else iterates."""
    spec = METHODS.get(str(dataset.attrs.get("method", "")))
    counts = [name for name in ("cost_jacobians", "cost_reduced") if name in dataset]
    if spec is not None and spec.iteration == JACOBIAN and counts:
        return xr.DataArray(sum(dataset[name] for name in counts))
    iterates = xr.DataArray(np.arange(float(dataset.sizes["iterate"])), dims="iterate")
    return iterates.where(np.isfinite(dataset.history_cost)).transpose("member", "iterate")
