"""Pictures of a match over time and cost: fans of curves, losses against cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.flow.units import BAR, DAY
from rockbank.matching.results.calibration import bands
from rockbank.matching.results.diagnostics import (
    LOSS_THRESHOLD,
    TIME_MEAN_THRESHOLD,
    ensembles,
    has,
    iterations_to,
    loss_history,
    observed_at,
    of_members,
    series,
)
from rockbank.matching.results.plots.style import COLOURS, LIMIT, OBSERVED, TRUTH, last, new_figure
from rockbank.plot.figures import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# With fewer members each is drawn as a line.
_FEWEST_FOR_BANDS = 5
_MEANING = {"bhp": "bottom-hole pressure, bar", "water_rate": "water {}, m³/day", "oil_rate": "oil {}, m³/day"}


def draw_fans(dataset: xr.Dataset) -> Figure | None:
    """P10, P50 and P90 of each curve that says something, with observations, truth and where the forecast begins."""
    shown = series(dataset)
    if not shown:
        return None
    n_columns = 1 if len(shown) <= 3 else 2
    n_rows = -(-len(shown) // n_columns)
    figure = new_figure(0.5 + 2.7 * n_rows)
    axes = figure.subplots(n_rows, n_columns, sharex=True, squeeze=False).ravel()
    for axis, (quantity, i_well) in zip(axes, shown, strict=False):
        _draw_fan(axis, dataset, quantity, i_well)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for axis in axes[len(shown) - n_columns : len(shown)]:
        axis.set_xlabel("days")
        axis.tick_params(labelbottom=True)
    handles, labels = axes[0].get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    figure.legend(list(named.values()), list(named), loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def draw_losses(dataset: xr.Dataset) -> Figure | None:
    """The members' histories: total loss and J against the cost, with their medians and thresholds.

    None where they took no run of the simulator.
    """
    if not _has_history(dataset):
        return None
    cost = dataset.history_cost.transpose("member", "iterate").values
    if not np.nanmax(cost) > 0:
        return None
    panels = _panels(dataset)
    figure = new_figure(3.4)
    for axis, (label, history, threshold) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        for each, of_each in zip(cost, history, strict=True):
            axis.plot(each, of_each, color=COLOURS["posterior"], linewidth=0.8, alpha=0.45)
        at, median = _median_at_cost(cost, history)
        axis.plot(at, median, color=TRUTH, linewidth=2, label="median of members")
        axis.axhline(threshold, color=LIMIT, linestyle="--", linewidth=1.5, label=f"threshold {threshold:g}")
        axis.set(xlabel="cost, forward-solve equivalents", ylabel=label, yscale="log")
        tidy(axis)
        axis.legend(loc="best", frameon=False, fontsize=9)
    return figure


def draw_iterations(dataset: xr.Dataset) -> Figure | None:
    """After how many iterations the members reach the thresholds."""
    if not _has_history(dataset):
        return None
    panels = _panels(dataset)
    figure = new_figure(3.0)
    n_iterations = int(np.nanmax(dataset.history_iterations.values))
    kind = str(dataset.attrs.get("iteration", ""))
    xlabel = f"{kind}s" if kind else "iterations"
    width = max(1, -(-(n_iterations + 1) // 25))
    edges = np.arange(0, n_iterations + 1 + width, width) - 0.5
    for axis, (label, history, threshold) in zip(np.ravel(figure.subplots(1, len(panels))), panels, strict=True):
        reached = iterations_to(dataset, history, threshold)
        known = reached[np.isfinite(reached)]
        axis.hist(known, edges, color=COLOURS["posterior"], alpha=0.6)
        axis.set_title(f"{len(known)} of {len(reached)} members reach {label} ≤ {threshold:g}", fontsize=10)
        if len(known):
            axis.axvline(float(np.median(known)), color=TRUTH, linewidth=1.5, label=f"median {np.median(known):g}")
            axis.legend(loc="best", frameon=False, fontsize=9)
        axis.set(xlabel=xlabel, ylabel="members", xlim=(edges[0], edges[-1]))
        axis.locator_params(integer=True)
        tidy(axis)
    return figure


def _has_history(dataset: xr.Dataset) -> bool:
    """Whether any member has gone beyond its start."""
    return has(dataset, "history_cost") and bool(np.isfinite(loss_history(dataset)[:, 1:]).any())


def _panels(dataset: xr.Dataset) -> list[tuple[str, Float[np.ndarray, "m iterate"], float]]:
    found = [("total loss", loss_history(dataset), LOSS_THRESHOLD)]
    if has(dataset, "observed"):
        time_mean = dataset.history_time_mean.transpose("member", "iterate").values
        if np.isfinite(time_mean).any():
            found.append(("J", time_mean, TIME_MEAN_THRESHOLD))
    return found


def _median_at_cost(
    cost: Float[np.ndarray, "m iterate"], history: Float[np.ndarray, "m iterate"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Median of the members at any cost, each standing where it was at its last iterate; to where half have ended."""
    known = [np.isfinite(each) & np.isfinite(of_each) for each, of_each in zip(cost, history, strict=True)]
    members = [
        (each[is_known], of_each[is_known])
        for each, of_each, is_known in zip(cost, history, known, strict=True)
        if is_known.any()
    ]
    if not members:
        return np.zeros(0), np.zeros(0)
    begin = max(each[0] for each, _ in members)
    at = np.unique(np.concatenate([each for each, _ in members]))
    at = at[(at >= begin) & (at <= max(begin, float(np.median([each[-1] for each, _ in members]))))]
    stands = [of_each[np.searchsorted(each, at, side="right") - 1] for each, of_each in members]
    return at, np.median(stands, axis=0)


def _draw_fan(axis: Axes, dataset: xr.Dataset, quantity: str, i_well: int) -> None:
    days = dataset.time.values / DAY
    kind, unit = str(dataset.well_kind.values[i_well]), BAR
    if quantity != "bhp":
        unit = (1.0 if kind == "injector" else -1.0) / DAY
    held = []
    for name in ensembles(dataset):
        values = of_members(dataset, quantity, name).transpose("member", "time", "well").values[..., i_well] / unit
        if len(values):
            _draw_ensemble(axis, days, values, name)
        if len(values) and name == last(dataset):
            held += list(bands(values)[[0, 2]])
    if has(dataset, f"truth_{quantity}"):
        truth = dataset[f"truth_{quantity}"].transpose("time", "well").values[:, i_well] / unit
        axis.plot(days, truth, color=TRUTH, linewidth=1.4, linestyle="--", label="truth")
        held.append(truth)
    mine = observed_at(dataset, quantity, i_well)
    if mine.any():
        observed, sigma = dataset.observed.values[mine] / unit, dataset.sigma.values[mine] / abs(unit)
        style: dict[str, Any] = {"fmt": "o", "color": OBSERVED, "markersize": 3, "elinewidth": 1, "zorder": 3}
        axis.errorbar(dataset.observation_time.values[mine] / DAY, observed, sigma, label="observed ± σ", **style)
        held += [observed - 2 * sigma, observed + 2 * sigma]
    is_history = dataset.is_history.values.astype(bool)
    if not is_history.all():
        end = days[is_history][-1] if is_history.any() else 0.0
        axis.axvline(end, color=LIMIT, linewidth=1.5, linestyle=":", label="forecast begins")
    verb = "injected" if kind == "injector" else "produced"
    # A well's name may hold a dollar, which would begin a formula.
    axis.set_title(f"{dataset.well.values[i_well]}: {_MEANING[quantity].format(verb)}", fontsize=10, parse_math=False)
    axis.set_xlim(0, float(days[-1]))
    tidy(axis)
    if held:
        _limit(axis, min(map(np.min, held)), max(map(np.max, held)))


def _draw_ensemble(axis: Axes, days: Float[np.ndarray, " t"], values: Float[np.ndarray, "m t"], name: str) -> None:
    colour = COLOURS[name]
    if len(values) < _FEWEST_FOR_BANDS:
        for i, curve in enumerate(values):
            axis.plot(days, curve, color=colour, linewidth=1.5, label=f"{name}, each member" if i == 0 else None)
        return
    low, middle, high = bands(values)
    axis.fill_between(days, low, high, color=colour, alpha=0.28, linewidth=0, label=f"{name} P10–P90")
    axis.plot(days, middle, color=colour, linewidth=1.8, label=f"{name} P50")


def _limit(axis: Axes, low: float, high: float) -> None:
    """Cut the axis where the prior goes far beyond what is of interest, and say so."""
    bottom, top = axis.get_ylim()
    far = 1.5 * max(high - low, 1e-3 * abs(high))
    for is_cut, limit, place in ((top > high + far, top, "top"), (bottom < low - far, bottom, "bottom")):
        if is_cut:
            axis.annotate(
                f"the prior goes on to {limit:,.0f}",
                (0.995, 0.97 if place == "top" else 0.03),
                xycoords="axes fraction",
                ha="right",
                va=place,
                fontsize=8,
                color=COLOURS["prior"],
            )
    axis.set_ylim(max(bottom, low - far), min(top, high + far))
