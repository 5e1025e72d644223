"""A picture of results: rates and pressures over time, the rock, and maps of pressure and saturation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from rockbank.flow.units import BAR, DAY, MILLIDARCY
from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, drawing, tidy

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# Parts of the run at whose ends maps are plotted: most happens early.
_MOMENTS = (0.05, 0.2, 0.5, 1.0)
_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")
# Longer than this by its height, a map is stretched.
_FLATTEST = 4.0
# The page, in inches: its width, that of a map, and the heights of the curves.
_PAGE, _MAP, _CURVES = 13.0, 2.7, 2.9
_TALLEST = 1.4 * _MAP


def save_picture(path: Path, results: xr.Dataset) -> None:
    """Write the picture of results, as `rockbank.flow.results.netcdf` has them, as PNG.

    Wells are white: a triangle where they perforate one cell of the map, pointing down for an injector, and a line
    where they perforate several.
    """
    plane = _plane(results)
    width, height = (float(np.ptp(_edges(results, axis))) for axis in plane)
    is_stretched = not 1 / _FLATTEST <= width / height <= _FLATTEST
    tall = 0.6 * _MAP if is_stretched else min(_MAP * height / width, _TALLEST)
    maps: tuple[tuple[str, str, float, str], ...] = (
        ("pressure", "oil pressure, bar", BAR, "viridis"),
        ("saturation", "water saturation", 1.0, "GnBu"),
    )
    page = _CURVES + 1.45 + len(maps) * (tall + 0.4) + 0.4
    with drawing(path, (_PAGE, page)) as figure:
        # Places are known, and laying them out by the rule would take longer than all the rest.
        figure.set_layout_engine("none")
        figure.text(0.5, 1 - 0.15 / page, str(results.attrs.get("title", "")), fontsize=13, ha="center", va="top")

        def place(left: float, top: float, width: float, height: float) -> Axes:
            """Axes at inches from the left and the top of the page."""
            return figure.add_axes((left / _PAGE, 1 - (top + height) / page, width / _PAGE, height / page))

        _plot_rates(place(0.9, 0.75, 3.5, _CURVES), results)
        _plot_pressures(place(5.05, 0.75, 3.1, _CURVES), results)
        high = _CURVES if is_stretched else min(_CURVES, 3.2 * height / width)
        low = 0.75 + (_CURVES - high) / 2
        _plot_permeability(place(8.8, low, 3.2, high), place(12.15, low, 0.13, high), results, plane, is_stretched)
        for i_row, (name, label, unit, colours) in enumerate(maps):
            top = _CURVES + 1.6 + i_row * (tall + 0.4)
            moments = _moments(results)
            fields = [_flat(results[name].isel(time=i), plane) / unit for i in moments]
            limits = {"vmin": min(map(np.nanmin, fields)), "vmax": max(map(np.nanmax, fields)), "cmap": colours}
            for i_map, (i, field) in enumerate(zip(moments, fields, strict=True)):
                axis = place(0.9 + i_map * (_MAP + 0.13), top, _MAP, tall)
                image = _plot_map(axis, results, field, plane, is_stretched, **limits)
                axis.set_title(f"day {float(results.time[i]) / DAY:.4g}", fontsize=10)
                if i_map:
                    axis.set(ylabel="", yticklabels=[])
                if i_row < len(maps) - 1:
                    axis.set(xlabel="", xticklabels=[])
            bar = place(0.9 + len(moments) * (_MAP + 0.13), top, 0.13, tall)
            figure.colorbar(image, cax=bar, label=label)


def _plane(results: xr.Dataset) -> tuple[str, str]:
    """The axes of the maps: a cross-section where the grid is one cell wide, else the view from above."""
    if results.sizes["y"] == 1 and results.sizes["z"] > 1:
        return "x", "z"
    if results.sizes["x"] == 1 and results.sizes["z"] > 1:
        return "y", "z"
    return "x", "y"


def _moments(results: xr.Dataset) -> list[int]:
    """Report steps closest to the moments, each once."""
    time = results.time.values
    return sorted({int(np.abs(time - part * time[-1]).argmin()) for part in _MOMENTS})


def _flat(field: xr.DataArray, plane: tuple[str, str]) -> Float[np.ndarray, "v u"]:
    """The field on the plane; a mean over layers, where there are several."""
    (across,) = {"x", "y", "z"} - set(plane)
    return np.asarray(field.mean(across).transpose(plane[1], plane[0]).values)


def _plot_rates(axis: Axes, results: xr.Dataset) -> None:
    """What each well produces or injects; curves that are nothing throughout are left out."""
    days = results.time / DAY
    for i, well in enumerate(results.well.values):
        is_injector = str(results.well_kind[i].values) == "injector"
        for name, style in (("oil", "-"), ("water", "--")):
            rate = results[f"{name}_rate"][:, i] * DAY * (1 if is_injector else -1)
            if np.abs(rate).max() > 0:
                axis.plot(days, rate, style, color=_COLOURS[i % len(_COLOURS)], linewidth=1.8, label=f"{well} {name}")
    axis.set(xlabel="days", ylabel="m³/day, injected or produced", title="rates", ylim=(0, None))
    _end(axis, days)


def _plot_pressures(axis: Axes, results: xr.Dataset) -> None:
    days = results.time / DAY
    for i, well in enumerate(results.well.values):
        axis.plot(days, results.bhp[:, i] / BAR, color=_COLOURS[i % len(_COLOURS)], linewidth=1.8, label=str(well))
    axis.set(xlabel="days", ylabel="bar", title="bottom-hole pressures")
    _end(axis, days)


def _end(axis: Axes, days: xr.DataArray) -> None:
    axis.set_xlim(0, float(days[-1]))
    tidy(axis)
    axis.legend(loc="best", frameon=False, fontsize=9)


def _plot_permeability(axis: Axes, bar: Axes, results: xr.Dataset, plane: tuple[str, str], is_stretched: bool) -> None:
    from matplotlib.colors import LogNorm, Normalize

    name = "permeability" if "permeability" in results else "permeability_x"
    k = _flat(results[name], plane) / MILLIDARCY
    norm = (LogNorm if np.nanmax(k) > 3 * np.nanmin(k) else Normalize)(np.nanmin(k), np.nanmax(k))
    image = _plot_map(axis, results, k, plane, is_stretched, cmap="cividis", norm=norm)
    axis.set_title(name.replace("_", " along "), fontsize=12)
    assert bar.figure is not None
    bar.figure.colorbar(image, cax=bar, label="mD")


def _plot_map(
    axis: Axes,
    results: xr.Dataset,
    field: Float[np.ndarray, "v u"],
    plane: tuple[str, str],
    is_stretched: bool,
    **options: Any,
) -> Any:
    """The field at the cells' places and the wells on it."""
    edges = [_edges(results, name) for name in plane]
    image = axis.pcolormesh(*edges, np.ma.masked_invalid(field), rasterized=True, **options)
    axis.set_facecolor("#DDDDDD")
    axis.set_aspect("auto" if is_stretched else "equal")
    axis.set_xlim(edges[0][0], edges[0][-1])
    # Depth grows downwards.
    low, high = edges[1][0], edges[1][-1]
    axis.set_ylim(*((high, low) if plane[1] == "z" else (low, high)))
    axis.set(xlabel=f"{plane[0]}, m", ylabel="depth, m" if plane[1] == "z" else f"{plane[1]}, m")
    axis.tick_params(labelsize=8)
    _plot_wells(axis, results, plane)
    return image


def _plot_wells(axis: Axes, results: xr.Dataset, plane: tuple[str, str]) -> None:
    right, top = (sum(axis.get_xlim()) / 2, sum(axis.get_ylim()) / 2)
    is_upward = axis.get_ylim()[0] < axis.get_ylim()[1]
    for i, well in enumerate(results.well.values):
        mine = results.perforation_well.values == i
        u, v = (results[name].values[results[f"perforation_{name}"].values[mine]] for name in plane)
        if np.ptp(u) == 0 and np.ptp(v) == 0:
            marker = "v" if str(results.well_kind[i].values) == "injector" else "^"
            axis.plot(u[:1], v[:1], marker, color="white", markeredgecolor=GREY, markersize=8, clip_on=False)
        else:
            # White on a dark rim shows on every colour.
            axis.plot(u, v, color=GREY, linewidth=3.0)
            axis.plot(u, v, color="white", linewidth=1.4)
        # Names stand toward the middle of the map, so that they stay on it.
        is_left, is_low = float(u[-1]) < right, (float(v[-1]) < top) == is_upward
        axis.annotate(
            str(well),
            (float(u[-1]), float(v[-1])),
            textcoords="offset points",
            xytext=(7 if is_left else -7, 2 if is_low else -2),
            ha="left" if is_left else "right",
            va="bottom" if is_low else "top",
            fontsize=8,
            color="white",
            bbox={"facecolor": GREY, "alpha": 0.7, "edgecolor": "none", "pad": 1.2},
        )


def _edges(results: xr.Dataset, axis: str) -> Float[np.ndarray, " n+1"]:
    bounds = results[f"{axis}_bounds"].values
    return np.append(bounds[:, 0], bounds[-1, 1])
