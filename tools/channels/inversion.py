"""What a history match makes of each prior: the runs of `rockbank match` that a table holds against each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.core.terminal import progress
from rockbank.generator.card import WEIGHTS, ModelCard
from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.results.diagnostics import (
    TIME_MEAN_THRESHOLD,
    facies_accuracy,
    has,
    iterates_to,
    norm_squared,
)
from rockbank.matching.results.plots.style import last
from rockbank.matching.results.posterior import read_posterior
from rockbank.matching.run import GENERATOR, Run
from tools.deepflow.numbers import ACCURACY_BAR, final_cost
from tools.deepflow.runs import costed


def inversion(folder: Path, n_members: int) -> dict[str, Any]:
    """What the first `n_members` members of a run in a folder came to, JSON-ready.

    Raises:
        InputError: naming the folder whose run has no results, fewer members, no iterations, or members without an end.
    """
    dataset = costed(read_posterior(folder))
    if len(dataset.member) < n_members:
        raise InputError(f"{folder}: {len(dataset.member)} members; a row needs {n_members}: match more of them")
    dataset = dataset.isel(member=slice(n_members))
    if not has(dataset, "history_cost", "history_time_mean", "interpolation_time_mean"):
        raise InputError(f"{folder}: a run of '{json.loads(dataset.attrs['settings'])['method']}' without iterations "
                         "and great circles; give one that minimises, with flow and three members")  # fmt: skip
    unended = dataset.member[np.isin(dataset.status, (RUNNING, FAILED))].values
    if unended.size:
        raise InputError(f"{folder}: member {unended[0]} is {dataset.status.values[unended[0]]}, and has no end to "
                         f"count; 'rockbank match resume {folder}' takes on those that are running")  # fmt: skip
    card, settings, end = ModelCard.load(folder / GENERATOR), json.loads(dataset.attrs["settings"]), last(dataset)
    time_mean, accuracy = dataset.time_mean.sel(ensemble=end).values, facies_accuracy(dataset, end)
    cost = dataset.history_cost.transpose("member", "iterate").values
    is_fit, is_right = time_mean <= TIME_MEAN_THRESHOLD, accuracy >= ACCURACY_BAR
    at = iterates_to(dataset.history_time_mean.transpose("member", "iterate").values, TIME_MEAN_THRESHOLD)
    to_fit = [of[int(i)] for of, i in zip(cost, at, strict=True) if np.isfinite(i)]
    between = dataset.interpolation_time_mean.values
    latents = dataset.z.sel(ensemble=end).transpose("member", "latent").values
    return {
        "generator": card.generator,
        "weights_sha256": card.files[WEIGHTS],
        "case": f"cases/{Path(settings['case']).name}",
        "method": settings["method"],
        # Runs of before took all images as they are.
        "edges": settings.get("edges"),
        "n_cells": dataset.sizes["facies_cell"],
        "members": n_members,
        "fit": int(is_fit.sum()),
        "right": int(is_right.sum()),
        "both": int((is_fit & is_right).sum()),
        "time_mean": _summary(time_mean),
        "accuracy": _summary(accuracy),
        "time_mean_unsoftened": None if settings.get("edges") is None else _summary(unsoftened(folder, latents)),
        "norm_squared": _summary(norm_squared(dataset, end) / dataset.sizes["latent"]),
        "cost_to_fit": _summary(np.array(to_fit)) if to_fit else None,
        "cost": _summary(final_cost(dataset)),
        # Of each leg of the three great circles: how high the way between two solutions leads.
        "between": _summary(np.nanmax(between, axis=1)),
    }


def unsoftened(folder: Path, latents: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " m"]:
    """J of latents of a run that softened a generator's edges, with edges as in the images."""
    run = Run(folder)
    run.settings = replace(run.settings, edges=None)
    objective = run.objective
    with progress(f"members of {folder.name} with edges as in the images", len(latents)) as advance:
        found = []
        for z in latents:
            found.append(objective.at(z, objective.target(), with_run=True).parts.time_mean)
            advance(1)
    return np.array(found)


def inversions(folders: Sequence[Path], n_members: int) -> dict[str, dict[str, Any]]:
    """Of each run, by the name of its folder.

    Raises:
        InputError: for a run without a row, two folders of one name, or runs that are not alike but for the generator.
    """
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if folder.name in found:
            raise InputError(f"{folder}: another run is called '{folder.name}'; rename the folder")
        found[folder.name] = inversion(folder, n_members)
    for name in ("case", "method"):
        values = {folder: row[name] for folder, row in found.items()}
        if len(set(values.values())) > 1:
            raise InputError(f"matches: their {name} differs: {values}; hold runs against each other of one {name}")
    return found


def _summary(values: np.ndarray) -> list[float]:
    """Median, least and greatest."""
    return [float(f"{value:.4g}") for value in (np.median(values), values.min(), values.max())]
