"""What a history match says of itself: numbers from the one dataset of its results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Int

from rockbank.matching.methods.state import FAILED, RUNNING, SPENT
from rockbank.matching.problem.objective import CERTAIN
from rockbank.matching.problem.observations import QUANTITIES
from rockbank.matching.results.calibration import (
    bands,
    expected_coverage,
    is_held,
    noisy_rank_weights,
    rank_coverage,
    rank_weights,
)
from rockbank.matching.results.connectivity import is_connected

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
    at = wells_facies(dataset, ensemble)
    if not at.shape[1]:
        return np.full(len(at), np.nan)
    is_right = (at > 0.5) == dataset.facies_is_sand.values.astype(bool)
    return np.where(np.isfinite(at).all(axis=1), is_right.mean(axis=1), np.nan)


def connected(dataset: xr.Dataset, ensemble: str, n_dilations: int = 0) -> Float[np.ndarray, " m"]:
    """1 where sand connects injectors with producers, 0 where not; NaN for a member that failed or without wells."""
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


def oil_produced(rates: xr.DataArray, dataset: xr.Dataset) -> xr.DataArray:
    """Oil that the producers gave until the last report, m^3, of oil rates (..., time, well) at the ends of steps."""
    steps = xr.DataArray(np.diff(dataset.time.values, prepend=0.0), dims="time")
    is_producer = xr.DataArray(dataset.well_kind.values == "producer", dims="well")
    return -(rates * steps).where(is_producer, 0.0).sum(["time", "well"], skipna=False)


def loss_history(dataset: xr.Dataset) -> Float[np.ndarray, "m iteration"]:
    """The objective at the start and after every iteration; NaN once a member has ended."""
    parts = [dataset[part.replace("loss", "history")].transpose("member", "iteration").values for part in PARTS]
    return np.asarray(sum(parts))


def norm_squared_history(dataset: xr.Dataset) -> Float[np.ndarray, "m iteration"]:
    """|z|^2 at the start and after every iteration; NaN once a member has ended."""
    if has(dataset, "history_norm_squared"):  # of a compact dataset, whose latents on the way are not whole
        return np.asarray(dataset.history_norm_squared.transpose("member", "iteration").values)
    squares = (dataset.z_path.astype(float) ** 2).sum("latent", skipna=False)
    return np.asarray(squares.transpose("member", "iteration").values)


def iterations_to(history: Float[np.ndarray, "m iteration"], threshold: float) -> Float[np.ndarray, " m"]:
    """The first iteration at which a member's history is at most the threshold; NaN where it never is."""
    is_below = history <= threshold
    return np.where(is_below.any(axis=1), is_below.argmax(axis=1), np.nan)


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


def table(dataset: xr.Dataset) -> pd.DataFrame:
    """A row for each member: how it ended, and what it was in the prior and is in the posterior.

    Columns: member, status, reason; iterations, cost (forward-solve equivalents), iterations_to_loss and
    iterations_to_time_mean (empty where the threshold was not reached); and with the name of each ensemble before:
    loss, loss_flow, loss_wells, loss_prior, time_mean, accuracy, norm_squared, connected, connected_dilated,
    oil_produced (m^3).
    """
    columns: dict[str, Any] = {
        "member": dataset.member.values,
        "status": dataset.status.values.astype(str),
        "reason": dataset.reason.values.astype(str),
    }
    if has(dataset, "history_cost"):
        history = loss_history(dataset)
        columns["iterations"] = np.maximum(np.isfinite(history).sum(axis=1) - 1, 0)
        columns["cost"] = np.fmax.reduce(dataset.history_cost.transpose("member", "iteration").values, axis=1)
        columns["iterations_to_loss"] = iterations_to(history, LOSS_THRESHOLD)
        time_mean = dataset.history_time_mean.transpose("member", "iteration").values
        columns["iterations_to_time_mean"] = iterations_to(time_mean, TIME_MEAN_THRESHOLD)
    for name in ensembles(dataset):
        mine = {
            "loss": total_loss(dataset, name),
            **{part: dataset[part].sel(ensemble=name).values for part in (*PARTS, "time_mean")},
            "accuracy": facies_accuracy(dataset, name),
            "norm_squared": norm_squared(dataset, name),
            "connected": connected(dataset, name),
            "connected_dilated": connected(dataset, name, 1),
            "oil_produced": oil_produced(dataset.oil_rate.sel(ensemble=name), dataset).values,
        }
        columns |= {f"{name}_{key}": value for key, value in mine.items()}
    return pd.DataFrame(columns)


def summary(dataset: xr.Dataset) -> dict[str, Any]:
    """Headline numbers, ready for JSON: None where something is not known.

    Returns:
        asked, done, running, failed; spent, of those done; reasons, of each failure by member; n_latent; truth, with
        what of the following it has; and for each of ensembles: members; P10, P50 and P90 of loss, time_mean,
        norm_squared and oil_produced (m^3); mean accuracy; the parts of its members that are connected,
        connected_dilated and is_time_mean_reached; coverage_forecast, the expected_coverage, and coverage_observations.
    """
    rows = table(dataset)
    failed, n_running = rows[rows.status == FAILED], int((rows.status == RUNNING).sum())
    truth = None
    if has(dataset, "truth_oil_rate"):
        truth = float(oil_produced(dataset.truth_oil_rate, dataset))
    return {
        "asked": len(rows),
        "done": len(rows) - len(failed) - n_running,
        "running": n_running,
        "failed": len(failed),
        "spent": int((rows.status == SPENT).sum()),
        "reasons": {str(row.member): str(row.reason) for row in failed.itertuples()},
        "n_latent": dataset.sizes["latent"],
        "truth": {
            "connected": truth_is_connected(dataset),
            "connected_dilated": truth_is_connected(dataset, 1),
            "oil_produced": truth,
        },
        "ensembles": {name: _summary_of(dataset, rows, name) for name in ensembles(dataset)},
    }


def _summary_of(dataset: xr.Dataset, rows: pd.DataFrame, name: str) -> dict[str, Any]:
    columns = [str(key) for key in rows if str(key).startswith(f"{name}_")]
    mine = {key.removeprefix(f"{name}_"): rows[key].dropna().to_numpy() for key in columns}
    n_members = len(mine["norm_squared"])
    has_flow = has(dataset, "observed")
    forecast = forecast_coverage(dataset, name)
    observed = observation_ranks(dataset, name)
    return {
        "members": n_members,
        "loss": _levels(mine["loss"]),
        "time_mean": _levels(mine["time_mean"]) if has_flow else None,
        "is_time_mean_reached": _mean(mine["time_mean"] <= TIME_MEAN_THRESHOLD) if has_flow else None,
        "accuracy": _mean(mine["accuracy"]),
        "connected": _mean(mine["connected"]),
        "connected_dilated": _mean(mine["connected_dilated"]),
        "norm_squared": _levels(mine["norm_squared"]),
        "oil_produced": _levels(mine["oil_produced"]),
        "coverage_forecast": _mean(np.array(list(forecast.values()))),
        "coverage_observations": None if observed is None else rank_coverage(observed),
        "expected_coverage": expected_coverage(n_members) if n_members else None,
    }


def _levels(values: Float[np.ndarray, " m"]) -> list[float] | None:
    return [float(level) for level in bands(values)] if len(values) else None


def _mean(values: Float[np.ndarray, " m"]) -> float | None:
    return float(values.mean()) if len(values) else None


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
