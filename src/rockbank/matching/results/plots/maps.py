"""Pictures of a match's rock: means and deviations, sections, columns at the wells, evolution, interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.matching.results.diagnostics import (
    TIME_MEAN_THRESHOLD,
    ensembles,
    facies_accuracy,
    has,
    of_members,
    perforations,
    total_loss,
)
from rockbank.matching.results.plots.style import COLOURS, LIMIT, TRUTH, WIDTH, compare, last, new_figure, to_text
from rockbank.plot.figures import GREY, tidy
from rockbank.plot.grids import FACIES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_N_SECTIONS, _N_STAGES, _N_POINTS = 4, 6, 5
_N_COLUMNS, _N_LOGS = 4, 40


def draw_facies_maps(dataset: xr.Dataset) -> Figure | None:
    """Mean and standard deviation of the facies probability, of prior and posterior, with wells and truth's outline."""
    if not has(dataset, "facies"):
        return None
    fields = {name: of_members(dataset, "facies", name).transpose("member", "y", "x").values for name in
              ensembles(dataset)}  # fmt: skip
    fields = {name: each for name, each in fields.items() if len(each)}
    if not fields:
        return None
    figure = new_figure(0.5 + len(fields) * (0.35 + tall(dataset, 2)))
    axes = figure.subplots(len(fields), 2, sharex=True, sharey=True, squeeze=False)
    for row, (name, each) in zip(axes, fields.items(), strict=True):
        mean = draw_map(row[0], dataset, each.mean(axis=0), cmap=facies_colours(), vmin=0, vmax=1)
        deviation = draw_map(row[1], dataset, each.std(axis=0), cmap="magma", vmin=0, vmax=0.5)
        row[0].set_title(f"{name}: mean of {len(each)}", fontsize=10)
        row[1].set_title(f"{name}: standard deviation", fontsize=10)
        for axis, outline in zip(row, ("black", "white"), strict=True):
            draw_truth(axis, dataset, outline)
            draw_well_lines(axis, dataset)
    name_axes(axes)
    figure.colorbar(mean, ax=axes[:, 0], location="bottom", label="probability of sand", shrink=0.7, aspect=35)
    figure.colorbar(deviation, ax=axes[:, 1], location="bottom", label="its deviation", shrink=0.7, aspect=35)
    return figure


def draw_sections(dataset: xr.Dataset) -> Figure | None:
    """Members from the least to the greatest loss, as they were in the prior and are in the posterior."""
    if not has(dataset, "facies"):
        return None
    loss = total_loss(dataset, last(dataset))
    order = [int(i) for i in np.argsort(loss) if np.isfinite(loss[i])]
    if not order:
        return None
    order = [order[i] for i in evenly(len(order), _N_SECTIONS)]
    panels = [
        (f"{name}, member {dataset.member.values[i]}, loss {to_text(total_loss(dataset, name)[i])}", name, i)
        for i in order
        for name in ensembles(dataset)
    ]
    n_rows = -(-len(panels) // 2)
    n_first = int(has(dataset, "truth_facies"))
    figure = new_figure((n_rows + n_first) * (0.33 + tall(dataset, 2)))
    axes = figure.subplots(n_rows + n_first, 2, sharex=True, sharey=True, squeeze=False)
    if n_first:
        _draw_section(axes[0, 0], dataset, dataset.truth_facies.transpose("y", "x").values, "truth")
        axes[0, 1].set_visible(False)
    below = axes[n_first:].ravel()
    for axis, (title, name, i) in zip(below, panels, strict=False):
        field = dataset.facies.sel(ensemble=name).transpose("member", "y", "x").values[i]
        _draw_section(axis, dataset, field, title)
    for axis in below[len(panels) :]:
        axis.set_visible(False)
    name_axes(axes)
    return figure


def draw_wells(dataset: xr.Dataset) -> Figure | None:
    """Accuracy of the facies at the wells, and below, what was seen there beside what the members have."""
    if not has(dataset, "facies"):
        return None
    accuracy = {name: facies_accuracy(dataset, name) for name in ensembles(dataset)}
    known = {name: each[np.isfinite(each)] for name, each in accuracy.items()}
    if not any(map(len, known.values())):
        return None
    columns = np.unique(dataset.facies_cell_i.values)[:_N_COLUMNS]
    figure = new_figure(5.6)
    grid = figure.add_gridspec(2, len(columns), height_ratios=(1, 1.5))
    top = figure.add_subplot(grid[0, :])
    compare(top, known, np.linspace(0, 1, 26))
    top.set(xlabel="part of the wells' cells with the right facies", xlim=(0, 1.0))
    top.legend(loc="best", frameon=False, fontsize=9)
    tidy(top)
    for place, column in enumerate(columns):
        _draw_logs(figure.add_subplot(grid[1, place]), dataset, int(column))
    return figure


def draw_evolution(dataset: xr.Dataset) -> Figure | None:
    """One member's section from its start to its end."""
    if not has(dataset, "facies_path") or dataset.sizes["evolution"] < 2:
        return None
    path = dataset.facies_path.transpose("evolution", "y", "x").values
    stages = evenly(len(path), _N_STAGES)
    n_rows = -(-len(stages) // 2)
    figure = new_figure(n_rows * (0.33 + tall(dataset, 2)))
    axes = figure.subplots(n_rows, 2, sharex=True, sharey=True, squeeze=False)
    for axis, i in zip(axes.ravel(), stages, strict=False):
        _draw_section(axis, dataset, path[i], f"iterate {int(dataset.evolution_iterate.values[i])}")
    for axis in axes.ravel()[len(stages) :]:
        axis.set_visible(False)
    name_axes(axes)
    return figure


def draw_interpolation(dataset: xr.Dataset) -> Figure | None:
    """Loss and sections on the great circles between solutions."""
    if not has(dataset, "interpolation_total", "interpolation_facies"):
        return None
    n_segments, n_points = dataset.sizes["segment"], dataset.sizes["point"]
    stops = evenly(n_points, _N_POINTS)
    height = n_segments * (0.45 + tall(dataset, len(stops)))
    figure = new_figure(2.9 + height)
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2.9, height)).ravel()
    axis = above.subplots()
    along = np.arange(n_segments)[:, None] + np.linspace(0, 1, n_points)
    lines = [("interpolation_total", "total loss", COLOURS["posterior"])]
    if has(dataset, "interpolation_time_mean", "observed"):
        lines.append(("interpolation_time_mean", "J", TRUTH))
        axis.axhline(TIME_MEAN_THRESHOLD, color=LIMIT, linestyle="--", linewidth=1.2, label="threshold of J")
    for name, label, colour in lines:
        axis.plot(along.ravel(), dataset[name].transpose("segment", "point").values.ravel(), "o-", color=colour,
                  markersize=3, label=label)  # fmt: skip
    ends = dataset.segment_members.transpose("segment", "end").values
    stations = [*ends[:, 0], ends[-1, 1]]
    axis.set_xticks(range(n_segments + 1), [f"member {member}" for member in stations])
    axis.set(yscale="log", ylabel="loss", xlim=(0, n_segments))
    tidy(axis)
    axis.legend(loc="best", frameon=False, fontsize=9, ncols=3)
    fields = dataset.interpolation_facies.transpose("segment", "point", "y", "x").values
    for i_segment, row in enumerate(below.subplots(n_segments, len(stops), squeeze=False)):
        for stop, panel in zip(stops, row, strict=True):
            draw_map(panel, dataset, fields[i_segment, stop], cmap=facies_colours(), vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            part = stop / max(1, n_points - 1)
            name = f"{part:.0%} of the arc" if 0 < part < 1 else f"member {ends[i_segment, int(part)]}"
            panel.set_title(name, fontsize=8)
    return figure


def _draw_logs(axis: Axes, dataset: xr.Dataset, column: int) -> None:
    """A column of the grid where facies were seen: on the left what was seen, then each member."""
    mine = np.flatnonzero(dataset.facies_cell_i.values == column)
    mine = mine[np.argsort(dataset.facies_cell_j.values[mine])]
    j = dataset.facies_cell_j.values[mine]
    facies = of_members(dataset, "facies", last(dataset)).transpose("member", "y", "x").values
    shown = evenly(len(facies), _N_LOGS)
    n_wide = max(1, len(shown) // 8)
    seen = np.repeat(dataset.facies_is_sand.values[mine].astype(float)[:, None], n_wide, axis=1)
    gap = np.full_like(seen, np.nan)
    log = np.concatenate([seen, gap, facies[np.ix_(shown, j, [column])][..., 0].T], axis=1)
    axis.imshow(log, cmap=facies_colours(), vmin=0, vmax=1, aspect="auto", interpolation="none")
    axis.set_xticks([(n_wide - 1) / 2, 2 * n_wide + (len(shown) - 1) / 2], ["seen", f"{last(dataset)}'s members"])
    at = np.linspace(0, len(j) - 1, min(len(j), 5)).round().astype(int)
    axis.set_yticks(at, [f"{dataset.y.values[j[i]]:.0f}" for i in at])
    axis.set(ylabel="y, m", title=f"at x = {dataset.x.values[column]:g} m")
    axis.title.set_fontsize(10)
    axis.tick_params(length=0, labelsize=9)
    axis.spines[:].set_visible(False)


def _draw_section(axis: Axes, dataset: xr.Dataset, field: Float[np.ndarray, "y x"], title: str) -> None:
    draw_map(axis, dataset, field, cmap=facies_colours(), vmin=0, vmax=1)
    draw_well_lines(axis, dataset)
    axis.set_title(title, fontsize=10)


def draw_map(axis: Axes, dataset: xr.Dataset, field: Float[np.ndarray, "y x"], **options: Any) -> Any:
    """A section in metres; the image comes back, for a colour bar."""
    (left, right), (top, bottom) = _extent(dataset.x.values), _extent(dataset.y.values)
    image = axis.imshow(field, extent=(left, right, bottom, top), interpolation="none", **options)
    axis.tick_params(labelsize=8)
    return image


def draw_truth(axis: Axes, dataset: xr.Dataset, colour: str) -> None:
    """The outline of its sand, where it is known."""
    if not has(dataset, "truth_facies"):
        return
    truth = dataset.truth_facies.transpose("y", "x").values
    if min(truth.shape) > 1 and truth.min() < 0.5 < truth.max():
        axis.contour(dataset.x.values, dataset.y.values, truth, [0.5], colors=colour, linewidths=0.8)


def draw_well_lines(axis: Axes, dataset: xr.Dataset) -> None:
    """White on a dark rim shows on every colour; the injector's line is whole, the producer's is broken."""
    for kind, style in (("injector", "-"), ("producer", "--")):
        at = perforations(dataset, kind)
        for column in np.unique(at[:, 1]):
            y = dataset.y.values[np.sort(at[at[:, 1] == column, 0])]
            x = np.full_like(y, dataset.x.values[column])
            marker = "o" if len(y) == 1 else None
            axis.plot(x, y, color=GREY, linewidth=3, marker=marker, markersize=6)
            axis.plot(x, y, style, color="white", linewidth=1.4, marker=marker, markersize=3)


def name_axes(axes: Any) -> None:
    """Metres below the last row, and left of the first column."""
    for axis in axes[-1]:
        axis.set_xlabel("x, m", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("y, m", fontsize=9)


def facies_colours() -> Colormap:
    """Of the probability of sand."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("facies", (FACIES / 255).tolist())


def _extent(centres: Float[np.ndarray, " n"]) -> tuple[float, float]:
    half = (centres[-1] - centres[0]) / max(1, 2 * (len(centres) - 1)) or 0.5
    return float(centres[0] - half), float(centres[-1] + half)


def tall(dataset: xr.Dataset, n_columns: int) -> float:
    """Inches of height of a map where `n_columns` of them share the width."""
    (left, right), (top, bottom) = _extent(dataset.x.values), _extent(dataset.y.values)
    wide = WIDTH / n_columns - 0.5
    return float(np.clip(wide * abs((bottom - top) / (right - left)), 0.3, 1.3 * wide))


def evenly(n: int, n_most: int) -> list[int]:
    """At most `n_most` of 0 .. n - 1, with both ends."""
    return sorted({int(i) for i in np.linspace(0, n - 1, min(n, n_most)).round()})
