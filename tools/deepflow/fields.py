"""Curves and maps of the report on DeepFlow's case: its runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rockbank.flow.units import BAR, DAY
from rockbank.matching.results.calibration import bands
from rockbank.matching.results.diagnostics import has, observed_at
from rockbank.matching.results.plots.maps import draw_map, draw_truth, draw_well_lines, facies_colours
from rockbank.matching.results.plots.style import COLOURS, LIMIT, OBSERVED, TRUTH, last
from rockbank.plot.figures import drawing, tidy
from tools.deepflow.runs import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEANING = {"bhp": "pressure, bar", "water_rate": "water, m³/day", "oil_rate": "oil, m³/day"}
# Parts of the observations' range that the axes show below and above it; the prior goes far beyond.
_BELOW, _ABOVE = 0.25, 0.5


def draw_curves(path: Path, runs: Sequence[Results]) -> None:
    """P10 to P90 and the median of what was observed, a run to a row, over observations and truth."""
    keys = _observed(runs[0])
    with drawing(path, (9.0, 1.1 + 1.5 * len(runs))) as figure:
        axes = figure.subplots(len(runs), len(keys), sharex=True, sharey="col", squeeze=False)
        for row, run in zip(axes, runs, strict=True):
            for axis, (quantity, i_well) in zip(row, keys, strict=True):
                _draw_curve(axis, run.dataset, quantity, i_well)
            row[0].set_ylabel(run.plan.label.replace(", ", ",\n"), fontsize=8)
        for axis, (quantity, i_well) in zip(axes[0], keys, strict=True):
            name = runs[0].dataset.well.values[i_well]
            axis.set_title(f"{name}: {_MEANING[quantity]}", fontsize=10, parse_math=False)
        for axis in axes[-1]:
            axis.set_xlabel("days")
        for column, key in zip(axes.T, keys, strict=True):
            column[0].set_ylim(*_limits(runs, *key))
        named = {label: handle for axis in axes.ravel() for handle, label in zip(*axis.get_legend_handles_labels(),
                 strict=True)}  # fmt: skip
        figure.legend(list(named.values()), list(named), loc="outside upper center", ncols=4, frameon=False, fontsize=9)


def draw_maps(path: Path, runs: Sequence[Results]) -> None:
    """Mean and standard deviation of the facies probability, two runs to a row, with the truth's outline."""
    n_rows = -(-len(runs) // 2)
    with drawing(path, (12.0, 1.1 + 1.85 * n_rows)) as figure:
        axes = figure.subplots(n_rows, 4, sharex=True, sharey=True, squeeze=False)
        pairs = axes.reshape(-1, 2)
        for (left, right), run in zip(pairs, runs, strict=False):
            fields = run.dataset.facies.sel(ensemble=last(run.dataset)).transpose("member", "y", "x").values
            mean = draw_map(left, run.dataset, fields.mean(axis=0), cmap=facies_colours(), vmin=0, vmax=1)
            deviation = draw_map(right, run.dataset, fields.std(axis=0), cmap="magma", vmin=0, vmax=0.5)
            left.set_title(f"{run.plan.label}: mean of {len(fields)}", fontsize=9)
            right.set_title("standard deviation", fontsize=9)
            for axis, colour in ((left, "black"), (right, "white")):
                draw_truth(axis, run.dataset, colour)
                draw_well_lines(axis, run.dataset)
        for pair in pairs[len(runs) :]:
            for axis in pair:
                axis.set_visible(False)
        for axis in axes[:, 0]:
            axis.set_ylabel("y, m", fontsize=8)
        # The lowest of the left and of the right half.
        for axis in pairs[max(0, len(runs) - 2) : len(runs)].ravel():
            axis.set_xlabel("x, m", fontsize=8)
            axis.tick_params(labelbottom=True)
        bars: dict[str, Any] = {"location": "bottom", "shrink": 0.6, "aspect": 40}
        figure.colorbar(mean, ax=axes[:, :2], label="mean probability of sand", **bars)
        figure.colorbar(deviation, ax=axes[:, 2:], label="its standard deviation between members", **bars)


def _observed(run: Results) -> list[tuple[str, int]]:
    """Quantity and place of the well of each series of observations."""
    return [
        (quantity, i_well)
        for quantity in _MEANING
        for i_well in range(run.dataset.sizes["well"])
        if observed_at(run.dataset, quantity, i_well).any()
    ]


def _draw_curve(axis: Axes, dataset: xr.Dataset, quantity: str, i_well: int) -> None:
    unit = _unit(dataset, quantity, i_well)
    days, name = dataset.time.values / DAY, last(dataset)
    curves = dataset[quantity].sel(ensemble=name).transpose("member", "time", "well").values[..., i_well] / unit
    low, middle, high = bands(curves)
    colour = COLOURS[name]
    axis.fill_between(days, low, high, color=colour, alpha=0.3, linewidth=0, label=f"{name}, P10 to P90")
    axis.plot(days, middle, color=colour, linewidth=1.6, label=f"{name}, median")
    mine = observed_at(dataset, quantity, i_well)
    observed, sigma = dataset.observed.values[mine] / unit, dataset.sigma.values[mine] / abs(unit)
    times = dataset.observation_time.values[mine] / DAY
    axis.errorbar(times, observed, sigma, fmt=".", color=OBSERVED, markersize=3, elinewidth=0.7, label="observed ± σ")
    if has(dataset, f"truth_{quantity}"):
        truth = dataset[f"truth_{quantity}"].transpose("time", "well").values[:, i_well] / unit
        axis.plot(days, truth, "--", color=TRUTH, linewidth=1.0, label="truth")
    is_history = dataset.is_history.values.astype(bool)
    if is_history.any() and not is_history.all():
        axis.axvline(days[is_history][-1], color=LIMIT, linestyle=":", linewidth=1.5, label="forecast begins")
    axis.set_xlim(0, float(days[-1]))
    axis.tick_params(labelsize=8)
    tidy(axis)


def _limits(runs: Sequence[Results], quantity: str, i_well: int) -> tuple[float, float]:
    """Around all that was observed, and the truth."""
    shown = []
    for of in (run.dataset for run in runs):
        unit = _unit(of, quantity, i_well)
        shown.append(of.observed.values[observed_at(of, quantity, i_well)] / unit)
        if has(of, f"truth_{quantity}"):
            shown.append(of[f"truth_{quantity}"].transpose("time", "well").values[:, i_well] / unit)
    least, most = float(min(map(np.min, shown))), float(max(map(np.max, shown)))
    return least - _BELOW * (most - least), most + _ABOVE * (most - least)


def _unit(dataset: xr.Dataset, quantity: str, i_well: int) -> float:
    """In Pa or m^3/s; negative where a producer's rate is shown as positive."""
    if quantity == "bhp":
        return BAR
    return (1.0 if dataset.well_kind.values[i_well] == "injector" else -1.0) / DAY
