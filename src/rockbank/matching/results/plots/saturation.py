"""Pictures of observed maps of saturation beside what the members show there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from rockbank.flow.units import DAY
from rockbank.matching.results.diagnostics import ensembles, has, of_members
from rockbank.matching.results.plots.fields import draw_wells_on_map
from rockbank.matching.results.plots.maps import draw_map, draw_well_lines, evenly, name_axes, tall
from rockbank.matching.results.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_SURVEYS = 4


def draw_saturation_maps(dataset: xr.Dataset) -> Figure | None:
    """A row for each survey: the observed saturation, and the members' means before and after the match."""
    if not has(dataset, "observed", "simulated", "cell_observation"):
        return None
    at = dataset.cell_observation.values.astype(int)
    is_map = dataset.observation_quantity.values[at] == "saturation"
    times = np.unique(dataset.observation_time.values[at[is_map]])
    means = {name: of_members(dataset, "simulated", name) for name in ensembles(dataset)}
    means = {name: each.mean("member") for name, each in means.items() if each.sizes["member"]}
    if not times.size or not means:
        return None
    times = times[evenly(len(times), _N_SURVEYS)]
    columns = {"observed": dataset.observed.values} | {f"{name}: mean": each.values for name, each in means.items()}
    figure = new_figure(0.8 + len(times) * (0.35 + tall(dataset, len(columns))))
    axes = figure.subplots(len(times), len(columns), sharex=True, sharey=True, squeeze=False)
    for row, time in zip(axes, times, strict=True):
        mine = np.flatnonzero(is_map & (dataset.observation_time.values[at] == time))
        for axis, (title, values) in zip(row, columns.items(), strict=True):
            image = draw_map(axis, dataset, _on_map(dataset, mine, values[at[mine]]), cmap="Blues", vmin=0, vmax=1)
            axis.set_title(f"{title}, day {time / DAY:g}", fontsize=10)
            if has(dataset, "facies"):
                draw_well_lines(axis, dataset)
            else:
                draw_wells_on_map(axis, dataset)
    name_axes(axes)
    label = "saturation of water" + (", mean over observed layers" if "cell_observation_k" in dataset else "")
    figure.colorbar(image, ax=axes.ravel().tolist(), location="bottom", label=label, shrink=0.5, aspect=35)
    return figure


def _on_map(
    dataset: xr.Dataset, cells: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]
) -> Float[np.ndarray, "y x"]:
    """Means over layers; NaN where nothing was observed."""
    shape = dataset.sizes["y"], dataset.sizes["x"]
    place = tuple(dataset[f"cell_observation_{axis}"].values[cells].astype(int) for axis in "ji")
    total, n = np.zeros(shape), np.zeros(shape)
    np.add.at(total, place, values)
    np.add.at(n, place, 1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)
