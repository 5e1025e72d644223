"""Pictures of how an ensemble is spread: its losses, its latents, and whether its uncertainty is honest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.matching.results.calibration import expected_coverage, rank_histogram
from rockbank.matching.results.diagnostics import (
    PARTS,
    ensembles,
    forecast_coverage,
    forecast_ranks,
    norm_squared,
    observation_ranks,
    of_members,
    total_loss,
)
from rockbank.matching.results.plots.style import COLOURS, LIMIT, TRUTH, compare, last, new_figure, to_text
from rockbank.plot.figures import tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NAMES = {
    "loss": "total loss",
    "time_mean": "J",
    "loss_flow": "flow's part",
    "loss_wells": "wells' facies' part",
    "loss_prior": "prior's part, ½|z|²",
}
_N_BINS = 10


def draw_loss_histograms(dataset: xr.Dataset) -> Figure | None:
    """Total loss, its parts and J, of prior and posterior; parts that do not count are left out."""
    names = ensembles(dataset)
    found = {"loss": {name: total_loss(dataset, name) for name in names}}
    for part in (*PARTS, "time_mean"):
        found[part] = {name: dataset[part].sel(ensemble=name).values for name in names}
    known = {part: {name: each[each > 0] for name, each in mine.items()} for part, mine in found.items()}
    shown = [part for part in _NAMES if any(map(len, known[part].values()))]
    if not shown:
        return None
    n_rows = -(-len(shown) // 3)
    figure = new_figure(0.3 + 2.5 * n_rows)
    axes = figure.subplots(n_rows, min(3, len(shown)), squeeze=False).ravel()
    for axis, part in zip(axes, shown, strict=False):
        values = np.concatenate(list(known[part].values()))
        low, high = np.log10(values.min()), np.log10(values.max())
        # At least half a decade, so that a narrow spread looks narrow.
        room = max(0.05, (0.5 - (high - low)) / 2)
        compare(axis, known[part], np.logspace(low - room, high + room, 25))
        axis.set(xscale="log", xlabel=_NAMES[part])
        _mark_decades(axis, high - low)
        tidy(axis)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def _mark_decades(axis: Axes, n_decades: float) -> None:
    """Powers of ten; over few of them 2 and 5 times each as well. The rule writes what lies between over each other."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.xaxis.set_minor_formatter(NullFormatter())
    if n_decades < 1.5:
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: to_text(value)))


def draw_norms(dataset: xr.Dataset) -> Figure | None:
    """|z|^2 against the chi-squared distribution that draws of the prior have."""
    from scipy.stats import chi2

    norms = {name: norm_squared(dataset, name) for name in ensembles(dataset)}
    norms = {name: each[np.isfinite(each)] for name, each in norms.items()}
    if not any(map(len, norms.values())):
        return None
    n = dataset.sizes["latent"]
    high = 1.05 * max(float(chi2.ppf(0.9999, n)), *(float(each.max()) for each in norms.values() if len(each)))
    figure = new_figure(3.2)
    axis = figure.subplots()
    edges = np.linspace(0, high, 31)
    compare(axis, norms, edges)
    fine = np.linspace(0, high, 400)
    axis.plot(fine, 100 * (edges[1] - edges[0]) * chi2.pdf(fine, n), color=TRUTH, linewidth=1.6,
              label=f"chi-squared of {n}: draws of the prior")  # fmt: skip
    axis.set(xlabel="|z|²", xlim=(0, high))
    tidy(axis)
    axis.legend(loc="best", frameon=False, fontsize=9)
    return figure


def draw_calibration(dataset: xr.Dataset) -> Figure | None:
    """Coverage of the truth's forecast curve by curve, and the rank histograms of truth and observations."""
    forecasts = {name: forecast_ranks(dataset, name) for name in ensembles(dataset)}
    observed = {name: observation_ranks(dataset, name) for name in ensembles(dataset)}
    has_forecast = any(each is not None for each in forecasts.values())
    has_observed = any(each is not None for each in observed.values())
    if not has_forecast and not has_observed:
        return None
    n_curves = max(len(forecast_coverage(dataset, name)) for name in ensembles(dataset))
    figure = new_figure(max(3.3, 1.2 + 0.45 * n_curves))
    axes = list(np.ravel(figure.subplots(1, 2 * has_forecast + has_observed)))
    if has_forecast:
        _draw_coverage(axes.pop(0), dataset)
        _draw_ranks(axes.pop(0), forecasts, "rank of the truth's forecast")
    if has_observed:
        _draw_ranks(axes.pop(0), observed, "rank of the observations")
    return figure


def _draw_coverage(axis: Axes, dataset: xr.Dataset) -> None:
    by_ensemble = {name: forecast_coverage(dataset, name) for name in ensembles(dataset)}
    curves = max(by_ensemble.values(), key=len)
    width = 0.8 / len(by_ensemble)
    for i, (name, coverage) in enumerate(by_ensemble.items()):
        at = [place + (i + 0.5) * width - 0.4 for place, curve in enumerate(curves) if curve in coverage]
        axis.barh(at, [100 * each for each in coverage.values()], width, color=COLOURS[name], alpha=0.6, label=name)
    labels = [f"{dataset.well.values[i_well]}\n{quantity.replace('_', ' ')}" for quantity, i_well in curves]
    axis.set_yticks(range(len(labels)), labels, fontsize=8, parse_math=False)
    expected = 100 * expected_coverage(of_members(dataset, "bhp", last(dataset)).sizes["member"])
    axis.axvline(expected, color=LIMIT, linestyle="--", linewidth=1.5, label="expected")
    # Room for the legend, and the first curve on top.
    axis.set(xlim=(0, 104), xlabel="% of forecast times", ylim=(len(labels) - 0.4, -2.0))
    axis.set_title("truth within P10–P90", fontsize=10)
    tidy(axis)
    axis.legend(frameon=False, fontsize=8, loc="upper left")


def _draw_ranks(axis: Axes, by_ensemble: dict[str, Float[np.ndarray, "n m+1"] | None], title: str) -> None:
    # More bins than ranks would tell one rank twice.
    n_bins = min([_N_BINS, *(weights.shape[1] for weights in by_ensemble.values() if weights is not None)])
    edges = np.linspace(0, 1, n_bins + 1)
    for name, weights in by_ensemble.items():
        if weights is not None:
            parts = 100 * rank_histogram(weights, n_bins)
            axis.stairs(parts, edges, color=COLOURS[name], fill=True, alpha=0.3)
            axis.stairs(parts, edges, color=COLOURS[name], linewidth=1.5, label=name)
    axis.axhline(100 / n_bins, color=LIMIT, linestyle="--", linewidth=1.5, label="calibrated")
    axis.set(xlabel="rank: 0 below all, 1 above all", ylabel="%", xlim=(0, 1))
    axis.set_title(title, fontsize=10)
    tidy(axis)
    # Room for the legend.
    axis.set_ylim(0, 1.35 * axis.get_ylim()[1])
    axis.legend(loc="best", frameon=False, fontsize=8)
