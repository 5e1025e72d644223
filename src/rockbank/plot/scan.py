"""The figure of a scan: sections, grey values, S2, and porosity along the axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, UInt8

from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, drawing, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"slice": BLUE, "row": ORANGE, "column": GREEN}
# Across each axis: what is along the section's sides.
SIDES = {"slice": ("column", "row"), "row": ("column", "slice"), "column": ("row", "slice")}
# A section of a few slices is drawn higher than it is, so that something is seen.
FLATTEST = 0.25
# Letters of the verdict that fit the figure's width.
LINE = 165


def save_scan(
    path: Path,
    *,
    sections: Mapping[str, UInt8[np.ndarray, "height width"]],
    histogram: Int[np.ndarray, "256"],
    porosity: Mapping[str, Float[np.ndarray, " n"]],
    s2: Float[np.ndarray, " r"] | None,
    threshold: float,
    porosity_mean: float,
    voxel_size: float,
    title: str,
    verdict: Sequence[str],
) -> None:
    """Write the figure of one volume.

    Args:
        path: of the PNG.
        sections: the middle one across each axis.
        histogram: voxels of rock by grey value.
        porosity: along each axis.
        s2: by lag in voxels; None draws none.
        threshold: intensity of the segmentation.
        porosity_mean: of all rock.
        voxel_size: metres.
        title: above all.
        verdict: what the data check would say, a line each.
    """
    with drawing(path, (12.0, 8.4)) as figure:
        axes = figure.subplots(2, 3)
        for axis, (name, section) in zip(axes[0], sections.items(), strict=True):
            _draw_section(axis, name, section)
        _draw_histogram(axes[1, 0], histogram, threshold)
        _draw_s2(axes[1, 1], s2, voxel_size)
        _draw_porosity(axes[1, 2], porosity, porosity_mean)
        figure.suptitle(title, fontsize=12)
        figure.supxlabel(
            "\n".join(part for line in verdict for part in wrap(line, LINE)), fontsize=9, x=0.01, ha="left"
        )


def _draw_section(axis: Axes, name: str, section: UInt8[np.ndarray, "height width"]) -> None:
    height, width = section.shape
    is_flat = height < FLATTEST * width
    aspect = FLATTEST * width / height if is_flat else 1.0
    axis.imshow(section, cmap="gray", vmin=0, vmax=255, aspect=aspect, interpolation="nearest")
    across, down = SIDES[name]
    axis.set(xlabel=across, ylabel=down)
    stretched = f", {down}s stretched {aspect:.0f} times" if is_flat else ""
    axis.set_title(f"middle {name}{stretched}", fontsize=10)


def _draw_histogram(axis: Axes, histogram: Int[np.ndarray, "256"], threshold: float) -> None:
    axis.fill_between(np.arange(256), histogram / histogram.sum(), step="mid", color=BLUE, alpha=0.3, linewidth=0)
    axis.axvline(255 * threshold, color=ORANGE, linewidth=1.2)
    axis.set_title(f"grey values; pores up to {255 * threshold:.0f} after smoothing", fontsize=10)
    axis.set(xlabel="grey value", ylabel="fraction of voxels", xlim=(0, 255), ylim=(0, None))
    tidy(axis)


def _draw_s2(axis: Axes, s2: Float[np.ndarray, " r"] | None, voxel_size: float) -> None:
    axis.set_title("two-point correlation of pores", fontsize=10)
    if s2 is None:
        axis.text(0.5, 0.5, "no crop of prepare.size fits", ha="center", transform=axis.transAxes, color=GREY)
        axis.set_axis_off()
        return
    lags = np.arange(len(s2)) * voxel_size * 1e6
    axis.plot(lags, s2, color=BLUE, linewidth=1.6, label="S2(r)")
    axis.axhline(s2[0] ** 2, color=GREY, linewidth=1, linestyle="--", label="S2(0)², no correlation")
    axis.set(xlabel="lag r (µm)", ylabel="probability", xlim=(0, lags[-1]), ylim=(0, None))
    axis.legend(loc="best", frameon=False, fontsize=9)
    tidy(axis)


def _draw_porosity(axis: Axes, porosity: Mapping[str, Float[np.ndarray, " n"]], mean: float) -> None:
    for name, values in porosity.items():
        at = np.linspace(0, 1, len(values)) if len(values) > 1 else np.array([0.5])
        axis.plot(at, values, "o" if len(values) == 1 else "-", color=COLOURS[name], linewidth=1.2, label=f"by {name}")
    axis.axhline(mean, color=GREY, linewidth=1, linestyle="--")
    axis.set_title(f"porosity along the axes; {mean:.3g} on average", fontsize=10)
    axis.set(xlabel="place along the axis, first to last", ylabel="porosity", xlim=(0, 1), ylim=(0, None))
    axis.legend(loc="best", frameon=False, fontsize=9)
    tidy(axis)
