"""Quantities of a history match, member by member, from the one dataset of its results."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int

from rockbank.matching.methods.status import FAILED, RUNNING
from rockbank.matching.methods.table import METHODS
from rockbank.matching.problem.observations import QUANTITIES
from rockbank.matching.problem.point import CERTAIN
from rockbank.matching.results.calibration import (
    is_held,
    noisy_rank_weights,
    rank_weights,
)
from rockbank.matching.results.connectivity import is_connected
from rockbank.matching.results.verdict import Evidence, misfit_of_mean, spread_of_prior

PARTS = ("loss_flow", "loss_wells", "loss_prior")
# DeepFlow's: the loss to which it counted iterations, and a J of twice what noise leaves of its three curves.
LOSS_THRESHOLD, TIME_MEAN_THRESHOLD = 1e3, 2.0
# A curve that varies by less, of its size, is a control and says nothing.
_VARIES = 1e-3


def ensembles(dataset: xr.Dataset) -> list[str]:
    """ "prior", and where the method made one "posterior"."""
    return [str(name) for name in dataset.ensemble.values]


def has(dataset: xr.Dataset, *names: str) -> bool:
    """Whether the dataset has all of these, with at least one value each."""
    return all(name in dataset.variables and dataset[name].size > 0 for name in names)


def of_members(dataset: xr.Dataset, name: str, ensemble: str) -> xr.DataArray:
    """A variable over the members that have it; those that failed have not."""
    return dataset[name].sel(ensemble=ensemble).transpose("member", ...).dropna("member")


def perforations(dataset: xr.Dataset, kind: str) -> Int[np.ndarray, "n 2"]:
    """Places (j, i) of the perforations of the injectors or of the producers."""
    if not has(dataset, "perforation_well"):
        return np.zeros((0, 2), dtype=int)
    mine = np.zeros(dataset.sizes["perforation"], dtype=bool)
    for i in np.flatnonzero(dataset.well_kind.values == kind):
        mine |= is_of_well(dataset, "perforation_well", int(i))
    return np.stack([dataset.perforation_j.values[mine], dataset.perforation_i.values[mine]], axis=1).astype(int)


def is_of_well(dataset: xr.Dataset, name: str, i_well: int) -> Bool[np.ndarray, " n"]:
    """Where a variable of places along `well`, or of names of wells, says the i-th."""
    owner = dataset[name].values
    return np.asarray(owner == (i_well if owner.dtype.kind in "iu" else dataset.well.values[i_well]))


def series(dataset: xr.Dataset) -> list[tuple[str, int]]:
    """The curves that say something, quantity and place of the well; not those that a control holds for all members."""
    found: list[tuple[str, int]] = []
    for quantity in QUANTITIES:
        for i_well in range(dataset.sizes["well"]):
            curves = (
                dataset[quantity].isel(well=i_well).transpose(..., "time").values.reshape(-1, dataset.sizes["time"])
            )
            curves = curves[np.isfinite(curves).all(axis=1)]
            if len(curves):
                spread = np.ptp(curves, axis=0) if len(curves) > 1 else np.ptp(curves, axis=1)
                if spread.max() > _VARIES * np.abs(curves).max() or observed_at(dataset, quantity, i_well).any():
                    found.append((quantity, i_well))
    return found


def observed_at(dataset: xr.Dataset, quantity: str, i_well: int) -> Bool[np.ndarray, " observation"]:
    """Which observations are of one curve."""
    if not has(dataset, "observed"):
        return np.zeros(0, dtype=bool)
    return np.asarray(
        (dataset.observation_quantity.values == quantity) & is_of_well(dataset, "observation_well", i_well)
    )


def total_loss(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, " m"]:
    """The objective that the members ended with."""
    return np.asarray(sum(dataset[part].sel(ensemble=ensemble).values for part in PARTS))


def norm_squared(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, " m"]:
    """|z|^2, which a draw from the prior has around the length of z."""
    return np.asarray((dataset.z.sel(ensemble=ensemble) ** 2).sum("latent", skipna=False).values)


def wells_facies(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, "m cells"]:
    """Probability of sand in the wells' cells whose facies was seen; NaN for a member that failed."""
    if not has(dataset, "facies"):
        return np.zeros((dataset.sizes["member"], 0))
    facies = dataset.facies.sel(ensemble=ensemble).transpose("member", "y", "x").values
    if not has(dataset, "facies_is_sand"):
        return np.zeros((len(facies), 0))
    return np.asarray(facies[:, dataset.facies_cell_j.values, dataset.facies_cell_i.values])


def unseen_cells(dataset: xr.Dataset, ensemble: str) -> Int[np.ndarray, " m"]:
    """How many of the wells' cells are wrong and so certain that the objective is flat there; 0 for one that failed."""
    if has(dataset, "unseen_cells"):  # of a compact dataset, whose facies are rounded
        return np.asarray(dataset.unseen_cells.sel(ensemble=ensemble).values)
    at = wells_facies(dataset, ensemble)
    if not at.shape[1]:
        return np.zeros(len(at), dtype=int)
    wrong = np.abs(at - dataset.facies_is_sand.values.astype(bool))
    return np.asarray((wrong >= 1 - CERTAIN).sum(axis=1))


def facies_accuracy(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, " m"]:
    """Part of the wells' cells where the facies is right; NaN for a member that failed or where none was seen."""
    if not has(dataset, "facies") and "accuracy" in dataset:
        return np.asarray(dataset.accuracy.sel(ensemble=ensemble).values)
    at = wells_facies(dataset, ensemble)
    if not at.shape[1]:
        return np.full(len(at), np.nan)
    is_right = (at > 0.5) == dataset.facies_is_sand.values.astype(bool)
    return np.where(np.isfinite(at).all(axis=1), is_right.mean(axis=1), np.nan)


def connected(dataset: xr.Dataset, ensemble: str, n_dilations: int = 0) -> Float[np.ndarray, " m"]:
    """1 where sand connects injectors with producers, 0 where not; NaN for a member that failed or without wells."""
    if not has(dataset, "facies"):
        return np.full(dataset.sizes["member"], np.nan)
    facies = dataset.facies.sel(ensemble=ensemble).transpose("member", "y", "x").values
    wells = perforations(dataset, "injector"), perforations(dataset, "producer")
    is_known = np.isfinite(facies).all(axis=(1, 2)) & (min(map(len, wells)) > 0)
    return np.where(is_known, is_connected(facies, *wells, n_dilations), np.nan)


def truth_is_connected(dataset: xr.Dataset, n_dilations: int = 0) -> bool | None:
    """Whether sand connects the wells in the truth; None where it is not known."""
    wells = perforations(dataset, "injector"), perforations(dataset, "producer")
    if not has(dataset, "truth_facies") or min(map(len, wells)) == 0:
        return None
    return bool(is_connected(dataset.truth_facies.transpose("y", "x").values[None], *wells, n_dilations)[0])


def oil_produced(dataset: xr.Dataset, ensemble: str | None) -> xr.DataArray:
    """Oil that the producers gave until the last report, m^3, of an ensemble's members or, with None, of the truth.

    Datasets of before have no volumes: there it is the rates at the ends of report steps times their lengths, which is
    right where none of them was cut into several.
    """

    def found(name: str) -> xr.DataArray:
        return dataset[f"truth_{name}"] if ensemble is None else dataset[name].sel(ensemble=ensemble)

    if has(dataset, "oil_volume"):
        injected = found("oil_volume").isel(time=-1)
    else:
        steps = xr.DataArray(np.diff(dataset.time.values, prepend=0.0), dims="time")
        injected = (found("oil_rate") * steps).sum("time", skipna=False)
    is_producer = xr.DataArray(dataset.well_kind.values == "producer", dims="well")
    return -injected.where(is_producer, 0.0).sum("well", skipna=False)


def loss_history(dataset: xr.Dataset) -> Float[np.ndarray, "m iterate"]:
    """The objective at every iterate, the start first; NaN once a member has ended."""
    parts = [dataset[part.replace("loss", "history")].transpose("member", "iterate").values for part in PARTS]
    return np.asarray(sum(parts))


def norm_squared_history(dataset: xr.Dataset) -> Float[np.ndarray, "m iterate"]:
    """|z|^2 at the start and after every iterate; NaN once a member has ended."""
    if has(dataset, "history_norm_squared"):  # of a compact dataset, whose latents on the way are not whole
        return np.asarray(dataset.history_norm_squared.transpose("member", "iterate").values)
    squares = (dataset.z_path.astype(float) ** 2).sum("latent", skipna=False)
    return np.asarray(squares.transpose("member", "iterate").values)


def iterations_to(
    dataset: xr.Dataset, history: Float[np.ndarray, "m iterate"], threshold: float
) -> Float[np.ndarray, " m"]:
    """Iterations of the method until a member's history is at most the threshold; NaN where it never is."""
    iterate = iterates_to(history, threshold)
    iterations = dataset.history_iterations.transpose("member", "iterate").values
    reached = np.take_along_axis(iterations, np.nan_to_num(iterate).astype(int)[:, None], axis=1)[:, 0]
    return np.where(np.isfinite(iterate), reached, np.nan)


def iterates_to(history: Float[np.ndarray, "m iterate"], threshold: float) -> Float[np.ndarray, " m"]:
    """The first iterate, counted from 0, at which a member's history is at most the threshold; NaN if none is."""
    is_below = history <= threshold
    return np.where(is_below.any(axis=1), is_below.argmax(axis=1), np.nan)


def numbers(dataset: xr.Dataset, ensemble: str) -> dict[str, Float[np.ndarray, " m"]]:
    """Parameters that are numbers, by name, of each member; NaN of one that failed."""
    if not has(dataset, "parameters"):
        return {}
    values = dataset.parameters.sel(ensemble=ensemble).transpose("parameter", "member").values
    return dict(zip((str(name) for name in dataset.parameter.values), values, strict=True))


def spreads(dataset: xr.Dataset, ensemble: str) -> dict[str, float | None]:
    """Of the latent's numbers of each parameter, by name, as `spread_of_prior`; {} where all are one's."""
    if not has(dataset, "latent_parameter"):
        return {}
    owner = dataset.latent_parameter.values.astype(str)
    z = of_members(dataset, "z", ensemble).transpose("member", "latent").values
    names = list(dict.fromkeys(owner.tolist()))
    return {name: spread_of_prior(z[:, owner == name]) for name in names} if len(names) > 1 else {}


def evidence(dataset: xr.Dataset, ensemble: str) -> Evidence:
    """What the members that ended tell of themselves as an ensemble."""
    has_ended = ~np.isin(dataset.status.values.astype(str), (RUNNING, FAILED))
    z = of_members(dataset.isel(member=has_ended), "z", ensemble).values
    settings = _settings(dataset)
    spec = METHODS.get(str(dataset.attrs.get("method")))
    n_data, misfit = 0, None
    if settings.get("flow", True) and has(dataset, "observed", "simulated"):
        simulated = of_members(dataset.isel(member=has_ended), "simulated", ensemble).values
        n_data, misfit = simulated.shape[1], misfit_of_mean(simulated, dataset.observed.values, dataset.sigma.values)
    if settings.get("wells", True) and has(dataset, "facies_is_sand"):
        n_data += dataset.sizes["facies_cell"]
    return Evidence(
        n_members=len(z),
        n_latent=z.shape[1],
        n_data=n_data,
        spread=spread_of_prior(z),
        misfit=misfit,
        is_smoother=spec is not None and spec.is_ensemble,
    )


def _settings(dataset: xr.Dataset) -> dict[str, Any]:
    """Of the run, as far as the dataset says them."""
    try:
        found = json.loads(str(dataset.attrs.get("settings", "{}")))
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def forecast_coverage(dataset: xr.Dataset, ensemble: str) -> dict[tuple[str, int], float]:
    """Part of the forecast's times at which P10..P90 hold the truth, of each curve; {} without truth or forecast."""
    found = {}
    for key, (values, truth) in _forecasts(dataset, ensemble).items():
        found[key] = float(is_held(values, truth).mean())
    return found


def forecast_ranks(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, "n m+1"] | None:
    """Rank weights of the truth's forecast, all curves and times; None without truth or forecast."""
    forecasts = _forecasts(dataset, ensemble).values()
    return np.concatenate([rank_weights(*each) for each in forecasts]) if forecasts else None


def observation_ranks(dataset: xr.Dataset, ensemble: str) -> Float[np.ndarray, "n m+1"] | None:
    """Rank weights of the observations among members with noise; None without observations.

    Of the posterior they look calibrated too easily: it has seen them.
    """
    if not has(dataset, "observed", "simulated"):
        return None
    simulated = of_members(dataset, "simulated", ensemble).values
    return noisy_rank_weights(simulated, dataset.observed.values, dataset.sigma.values) if len(simulated) else None


def _forecasts(
    dataset: xr.Dataset, ensemble: str
) -> dict[tuple[str, int], tuple[Float[np.ndarray, "m t"], Float[np.ndarray, " t"]]]:
    """Members' and truth's forecast of each curve that says something; those of fewer than two members are left out."""
    is_forecast = ~dataset.is_history.values.astype(bool)
    if not is_forecast.any() or not has(dataset, "truth_bhp", "truth_water_rate", "truth_oil_rate"):
        return {}
    found = {}
    for quantity, i_well in series(dataset):
        values = (
            of_members(dataset, quantity, ensemble).transpose("member", "time", "well").values[:, is_forecast, i_well]
        )
        truth = dataset[f"truth_{quantity}"].transpose("time", "well").values[is_forecast, i_well]
        if len(values) > 1:
            found[quantity, i_well] = values, truth
    return found
