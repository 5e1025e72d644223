"""Pictures of parameters where there are no facies: permeability on the map, and numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.flow.units import MILLIDARCY
from rockbank.matching.results.diagnostics import ensembles, has, numbers, of_members, total_loss
from rockbank.matching.results.plots.maps import draw_map, evenly, name_axes, tall
from rockbank.matching.results.plots.style import compare, last, new_figure, to_text
from rockbank.plot.figures import GREY, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_N_MEMBERS = 3
_N_BINS = 20


def draw_permeability(dataset: xr.Dataset) -> Figure | None:
    """Mean and standard deviation of log10 k of prior and posterior, and the truth's where it is known."""
    if has(dataset, "facies") or not has(dataset, "permeability"):
        return None
    fields = {name: on_map(of_members(dataset, "permeability", name)) for name in ensembles(dataset)}
    fields = {name: each for name, each in fields.items() if len(each)}
    if not fields:
        return None
    has_truth = has(dataset, "truth_permeability")
    n_rows = len(fields) + has_truth
    low, high = _limits(np.concatenate([each.mean(axis=0).ravel() for each in fields.values()]))
    figure = new_figure(0.8 + n_rows * (0.35 + tall(dataset, 2)))
    axes = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    widest = max(float(np.nanmax(each.std(axis=0))) for each in fields.values())
    for row, (name, each) in zip(axes, fields.items(), strict=False):
        mean = draw_map(row[0], dataset, each.mean(axis=0), cmap="viridis", vmin=low, vmax=high)
        deviation = draw_map(row[1], dataset, each.std(axis=0), cmap="magma", vmin=0, vmax=widest or 1.0)
        row[0].set_title(f"{name}: mean of {len(each)}", fontsize=10)
        row[1].set_title(f"{name}: standard deviation", fontsize=10)
        for axis in row:
            draw_wells_on_map(axis, dataset)
    if has_truth:
        draw_map(axes[-1, 0], dataset, on_map(dataset.truth_permeability), cmap="viridis", vmin=low, vmax=high)
        axes[-1, 0].set_title("truth", fontsize=10)
        draw_wells_on_map(axes[-1, 0], dataset)
        axes[-1, 1].set_visible(False)
    name_axes(axes)
    label = "log₁₀ of permeability, mD" + (", mean over layers" if "layer" in dataset.permeability.dims else "")
    figure.colorbar(mean, ax=axes[:, 0], location="bottom", label=label, shrink=0.8, aspect=35)
    figure.colorbar(deviation, ax=axes[:, 1], location="bottom", label="its deviation", shrink=0.8, aspect=35)
    return figure


def draw_members(dataset: xr.Dataset) -> Figure | None:
    """Permeability of the best, the median and the worst member, before and after the match."""
    if has(dataset, "facies") or not has(dataset, "permeability"):
        return None
    loss = total_loss(dataset, last(dataset))
    order = [int(i) for i in np.argsort(loss) if np.isfinite(loss[i])]
    if not order:
        return None
    order = [order[i] for i in evenly(len(order), _N_MEMBERS)]
    names = ensembles(dataset)
    fields = {name: on_map(dataset.permeability.sel(ensemble=name)) for name in names}
    low, high = _limits(np.concatenate([fields[name][order].ravel() for name in names]))
    figure = new_figure(len(names) * (0.4 + tall(dataset, len(order))))
    axes = figure.subplots(len(names), len(order), sharex=True, sharey=True, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        for axis, i in zip(row, order, strict=True):
            draw_map(axis, dataset, fields[name][i], cmap="viridis", vmin=low, vmax=high)
            draw_wells_on_map(axis, dataset)
            said = to_text(total_loss(dataset, name)[i])
            axis.set_title(f"{name}, member {dataset.member.values[i]}, loss {said}", fontsize=9)
    name_axes(axes)
    return figure


def draw_numbers(dataset: xr.Dataset) -> Figure | None:
    """Histograms of the parameters that are numbers, of prior and posterior."""
    by_ensemble = {name: numbers(dataset, name) for name in ensembles(dataset)}
    names = list(by_ensemble[last(dataset)])
    if not names:
        return None
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = new_figure(0.3 + 2.4 * n_rows)
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis, name in zip(axes, names, strict=False):
        values = {ensemble: of[name][np.isfinite(of[name])] for ensemble, of in by_ensemble.items()}
        known = np.concatenate(list(values.values()))
        if known.size:
            room = 0.05 * (np.ptp(known) or abs(known[0]) or 1.0)
            compare(axis, values, np.linspace(known.min() - room, known.max() + room, _N_BINS + 1))
        # A name may hold a dollar, which would begin a formula.
        axis.set_title(name, fontsize=10, parse_math=False)
        tidy(axis)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


def on_map(permeability: xr.DataArray) -> Float[np.ndarray, "*m y x"]:
    """log10 of a permeability in mD, averaged over layers; NaN where there is no flow in any."""
    dims = [dim for dim in ("layer", "y", "x") if dim in permeability.dims]
    k = permeability.transpose(..., *dims)
    with np.errstate(divide="ignore", invalid="ignore"):
        of = k.copy(data=np.log10(k.values / MILLIDARCY))
    of = of.where(np.isfinite(of))
    return np.asarray((of.mean("layer", skipna=True) if "layer" in of.dims else of).values)


def draw_wells_on_map(axis: Axes, dataset: xr.Dataset) -> None:
    """Injectors point up, producers down."""
    if not has(dataset, "perforation_well"):
        return
    owner = dataset.perforation_well.values
    for i_well, kind in enumerate(dataset.well_kind.values):
        mine = owner == (i_well if owner.dtype.kind in "iu" else dataset.well.values[i_well])
        places = sorted({*zip(dataset.perforation_i.values[mine], dataset.perforation_j.values[mine], strict=True)})
        x, y = dataset.x.values[[i for i, _ in places]], dataset.y.values[[j for _, j in places]]
        axis.plot(x, y, color=GREY, linewidth=2 if len(places) > 1 else 0)
        marker = "^" if kind == "injector" else "v"
        axis.plot(x[:1], y[:1], marker=marker, color="white", markeredgecolor="black", markersize=6, linestyle="")


def _limits(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.01, 0.99])
    return float(low), float(high if high > low else low + 1.0)
