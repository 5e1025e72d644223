"""What a history match came to in numbers: a row for each member, and the headlines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from rockbank.matching.methods.status import FAILED, MAX_ITERATIONS_REACHED, RUNNING
from rockbank.matching.methods.table import counted
from rockbank.matching.results.calibration import bands, expected_coverage, rank_coverage
from rockbank.matching.results.diagnostics import (
    LOSS_THRESHOLD,
    PARTS,
    TIME_MEAN_THRESHOLD,
    connected,
    ensembles,
    evidence,
    facies_accuracy,
    forecast_coverage,
    has,
    iterates_to,
    iterations_to,
    loss_history,
    norm_squared,
    numbers,
    observation_ranks,
    oil_produced,
    spreads,
    total_loss,
    truth_is_connected,
)
from rockbank.matching.results.verdict import warnings


def table(dataset: xr.Dataset) -> pd.DataFrame:
    """A row for each member: how it ended, and what it was in the prior and is in the posterior.

    Columns: member, status, reason; iterations of the method, iterates, cost (forward-solve equivalents),
    iterations_to_loss, iterations_to_time_mean and the same of iterates (empty where the threshold was not reached);
    and with the name of each ensemble before:
    loss, loss_flow, loss_wells, loss_prior, time_mean, accuracy, norm_squared, connected, connected_dilated,
    oil_produced (m^3), and "parameter NAME" of each parameter that is a number. Of all members together, in each row:
    spread of the last ensemble, as `verdict` has it, and what it warns of.
    """
    columns: dict[str, Any] = {
        "member": dataset.member.values,
        "status": dataset.status.values.astype(str),
        "reason": dataset.reason.values.astype(str),
    }
    if has(dataset, "history_cost"):
        history = loss_history(dataset)
        iterations = dataset.history_iterations.transpose("member", "iterate").values
        columns["iterations"] = np.nan_to_num(np.fmax.reduce(iterations, axis=1)).astype(int)
        columns["iterates"] = np.maximum(np.isfinite(history).sum(axis=1) - 1, 0)
        columns["cost"] = np.fmax.reduce(dataset.history_cost.transpose("member", "iterate").values, axis=1)
        time_mean = dataset.history_time_mean.transpose("member", "iterate").values
        for name, values, limit in (
            ("loss", history, LOSS_THRESHOLD),
            ("time_mean", time_mean, TIME_MEAN_THRESHOLD),
        ):
            columns[f"iterations_to_{name}"] = iterations_to(dataset, values, limit)
            columns[f"iterates_to_{name}"] = iterates_to(values, limit)
    for name in ensembles(dataset):
        mine = {
            "loss": total_loss(dataset, name),
            **{part: dataset[part].sel(ensemble=name).values for part in (*PARTS, "time_mean")},
            "accuracy": facies_accuracy(dataset, name),
            "norm_squared": norm_squared(dataset, name),
            "connected": connected(dataset, name),
            "connected_dilated": connected(dataset, name, 1),
            "oil_produced": oil_produced(dataset, name).values,
            **{f"parameter {key}": values for key, values in numbers(dataset, name).items()},
        }
        columns |= {f"{name}_{key}": value for key, value in mine.items()}
    spread = evidence(dataset, ensembles(dataset)[-1]).spread
    columns |= {"spread": spread, "warning": "; ".join(warnings_of(dataset))}
    return pd.DataFrame(columns)


def warnings_of(dataset: xr.Dataset) -> tuple[str, ...]:
    """What makes the members of a match worth nothing, a line each; draws of the prior are what they are."""
    return warnings(evidence(dataset, "posterior")) if "posterior" in ensembles(dataset) else ()


def limit_in_words(dataset: xr.Dataset) -> str:
    """What the members may make at most, such as "40 Jacobians"; "" of an earlier version's dataset."""
    n, kind = dataset.attrs.get("max_iterations"), str(dataset.attrs.get("iteration", ""))
    return "" if n is None or not kind else counted(int(n), kind)


def summary(dataset: xr.Dataset) -> dict[str, Any]:
    """Headline numbers, ready for JSON: None where something is not known.

    Returns:
        warnings, of what makes the members worth nothing;
        members, done, running, failed; max_iterations_reached, of those done; limit, of the iterations in words;
        reasons, of each failure by member; n_latent; truth, with what of the following it has; and for each of
        ensembles: members; P10, P50 and P90 of loss, time_mean, norm_squared and oil_produced (m^3); mean accuracy; the
        parts of its members that are connected, connected_dilated and is_time_mean_reached; coverage_forecast, the
        expected_coverage, and coverage_observations; spread and misfit, as `verdict` has them; P10, P50 and P90 of
        "parameter NAME" of each that is a number, and "spread of NAME" of each.
    """
    rows = table(dataset)
    failed, n_running = rows[rows.status == FAILED], int((rows.status == RUNNING).sum())
    truth = None
    if has(dataset, "truth_oil_rate"):
        truth = float(oil_produced(dataset, None))
    return {
        "warnings": list(warnings_of(dataset)),
        "members": len(rows),
        "done": len(rows) - len(failed) - n_running,
        "running": n_running,
        "failed": len(failed),
        "max_iterations_reached": int((rows.status == MAX_ITERATIONS_REACHED).sum()),
        "limit": limit_in_words(dataset),
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
    found = evidence(dataset, name)
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
        "spread": found.spread,
        "misfit": found.misfit,
        "coverage_forecast": _mean(np.array(list(forecast.values()))),
        "coverage_observations": None if observed is None else rank_coverage(observed),
        "expected_coverage": expected_coverage(n_members) if n_members else None,
        **{f"parameter {key}": _levels(values[np.isfinite(values)]) for key, values in numbers(dataset, name).items()},
        **{f"spread of {key}": value for key, value in spreads(dataset, name).items()},
    }


def _levels(values: Float[np.ndarray, " m"]) -> list[float] | None:
    return [float(level) for level in bands(values)] if len(values) else None


def _mean(values: Float[np.ndarray, " m"]) -> float | None:
    return float(values.mean()) if len(values) else None
