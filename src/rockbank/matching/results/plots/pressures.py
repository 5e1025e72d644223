"""A picture of pressures that were measured at depths of wells, beside what the members show there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rockbank.flow.units import BAR, DAY
from rockbank.matching.results.diagnostics import ensembles, has, of_members
from rockbank.matching.results.plots.style import COLOURS, OBSERVED, new_figure
from rockbank.plot.figures import tidy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_PANELS, _N_COLUMNS = 12, 3


def draw_pressures(dataset: xr.Dataset) -> Figure | None:
    """Pressure against depth, a panel for each well and time: observed, and of each member before and after."""
    if not has(dataset, "observed", "simulated", "cell_observation"):
        return None
    at = dataset.cell_observation.values.astype(int)
    is_pressure = dataset.observation_quantity.values[at] == "pressure"
    wells, times = dataset.observation_well.values[at], dataset.observation_time.values[at]
    panels = sorted(set(zip(wells[is_pressure].tolist(), times[is_pressure].tolist(), strict=True)))[:_N_PANELS]
    if not panels:
        return None
    n_columns = min(_N_COLUMNS, len(panels))
    n_rows = -(-len(panels) // n_columns)
    figure = new_figure(0.6 + 3.0 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    style: dict[str, Any] = {"fmt": "o", "color": OBSERVED, "markersize": 4, "elinewidth": 1.5, "zorder": 3}
    for axis, (well, time) in zip(axes, panels, strict=False):
        mine = np.flatnonzero(is_pressure & (wells == well) & (times == time))
        mine = mine[dataset.cell_observation_depth.values[mine].argsort()]
        depth, rows = dataset.cell_observation_depth.values[mine], at[mine]
        for name in ensembles(dataset):
            values = of_members(dataset, "simulated", name).transpose("member", "observation").values[:, rows] / BAR
            for i, profile in enumerate(values):
                label = name if i == 0 else None
                axis.plot(profile, depth, "-", marker=".", color=COLOURS[name], linewidth=1, alpha=0.6, label=label)
        observed, sigma = dataset.observed.values[rows] / BAR, dataset.sigma.values[rows] / BAR
        axis.errorbar(observed, depth, xerr=sigma, label="observed ± σ", **style)
        # A well's name may hold a dollar, which would begin a formula.
        axis.set_title(f"{well}, day {time / DAY:g}", fontsize=10, parse_math=False)
        axis.set(xlabel="pressure at the cell's centre, bar", ylabel="depth, m")
        axis.invert_yaxis()
        tidy(axis)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
