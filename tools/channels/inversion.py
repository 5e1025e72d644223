"""What a history match makes of each prior: the runs of `rockbank match` that a table holds against each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rockbank.core.errors import InputError
from rockbank.generator.card import WEIGHTS, ModelCard
from rockbank.matching.methods.status import RUNNING
from rockbank.matching.results.diagnostics import TIME_MEAN_THRESHOLD, facies_accuracy, iterates_to, norm_squared
from rockbank.matching.results.plots.style import last
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import GENERATOR
from tools.deepflow.runs import costed

ACCURACY = 0.98


def inversion(folder: Path, n_members: int) -> dict[str, Any]:
    """What the first `n_members` members of a run in a folder came to, JSON-ready.

    Raises:
        InputError: naming the folder whose run has no results, fewer members, or members that are not at their end.
    """
    dataset = costed(read_posterior(folder))
    if len(dataset.member) < n_members:
        raise InputError(f"{folder}: {len(dataset.member)} members; a row needs {n_members}: match more of them")
    dataset = dataset.isel(member=slice(n_members))
    if (dataset.status == RUNNING).any():
        raise InputError(f"{folder}: members are still running; 'rockbank match resume {folder}' takes them on")
    card, settings, end = ModelCard.load(folder / GENERATOR), json.loads(dataset.attrs["settings"]), last(dataset)
    time_mean, accuracy = dataset.time_mean.sel(ensemble=end).values, facies_accuracy(dataset, end)
    cost = dataset.history_cost.transpose("member", "iterate").values
    is_fit, is_right = time_mean <= TIME_MEAN_THRESHOLD, accuracy >= ACCURACY
    at = iterates_to(dataset.history_time_mean.transpose("member", "iterate").values, TIME_MEAN_THRESHOLD)
    to_fit = [of[int(i)] for of, i in zip(cost, at, strict=True) if np.isfinite(i)]
    between = dataset.interpolation_time_mean.values
    return {
        "generator": card.generator,
        "weights_sha256": card.files[WEIGHTS],
        "case": f"cases/{Path(settings['case']).name}",
        "method": settings["method"],
        "n_cells": dataset.sizes["facies_cell"],
        "members": n_members,
        "fit": int(is_fit.sum()),
        "right": int(is_right.sum()),
        "both": int((is_fit & is_right).sum()),
        "time_mean": _middle(time_mean),
        "accuracy": _middle(accuracy),
        "norm_squared": _middle(norm_squared(dataset, end) / dataset.sizes["latent"]),
        "cost_to_fit": _middle(np.array(to_fit)) if to_fit else None,
        "cost": _middle(np.fmax.reduce(cost, axis=1)),
        # Of each leg of the three great circles: how high the way between two solutions leads.
        "between": _middle(np.nanmax(between, axis=1)),
    }


def inversions(folders: Sequence[Path], n_members: int) -> dict[str, dict[str, Any]]:
    """Of each run, by the name of its folder."""
    return {folder.name: inversion(folder, n_members) for folder in folders}


def _middle(values: np.ndarray) -> list[float]:
    """Median, least and greatest."""
    return [float(f"{value:.4g}") for value in (np.median(values), values.min(), values.max())]
