"""The figure of a generator's statistics over the bands of the rock: S2, lineal path, spectrum and grey values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rockbank.plot.figures import BLUE, ORANGE, drawing, tidy
from rockbank.rock.grey import grey_distance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = Mapping[str, Sequence[float]]
# (key, title, y label, x scale, y scale).
PANELS = (
    ("s2", "two-point correlation", "S2(r), probability", "linear", "linear"),
    ("lineal_path", "lineal path", "L(r), probability", "linear", "log"),
    ("spectrum", "radial power spectrum", "power of the grey values", "log", "log"),
)
# Of frequencies, 1/pixel.
TICKS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
# What lies below the real curve's least value is of no interest on a logarithmic axis, but for this factor.
BELOW = 3.0


def save_statistics(
    path: Path, curves: Mapping[str, Curve], *, voxel_size: float | None = None, title: str = ""
) -> None:
    """Write the mean curves of real and generated rock with the 95 % band, and both grey histograms.

    Args:
        path: of the PNG.
        curves: s2, lineal_path and spectrum with at, real, low, high and generated; grey with at, real and generated.
        voxel_size: metres; says how large a pixel is. None says nothing.
        title: above all.
    """
    pixel = "" if voxel_size is None else f" of {voxel_size * 1e9:.3g} nm"
    with drawing(path, (10.0, 7.6)) as figure:
        axes = figure.subplots(2, 2).ravel()
        for axis, (key, name, y_label, x_scale, y_scale) in zip(axes, PANELS, strict=False):
            x_label = f"frequency (waves per pixel{pixel})" if key == "spectrum" else f"lag r (pixels{pixel})"
            axis.set(xlabel=x_label, ylabel=y_label, xscale=x_scale, yscale=y_scale)
            _draw_band(axis, curves[key], name)
        _draw_grey(axes[-1], curves["grey"])
        for axis in axes:
            tidy(axis)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
        figure.suptitle(title, fontsize=12)


def _draw_band(axis: Axes, curve: Curve, name: str) -> None:
    at, real, low, high, generated = (
        np.asarray(curve[key], dtype=float) for key in ("at", "real", "low", "high", "generated")
    )
    outside = (generated < low) | (generated > high)
    bottom = 0.0
    if axis.get_yscale() == "log":
        known = real[real > 0]
        bottom = float(known.min()) / BELOW if known.size else 1e-12
    axis.fill_between(
        at, np.maximum(low, bottom), np.maximum(high, bottom), color=BLUE, alpha=0.2, linewidth=0, label="95 % band"
    )
    axis.plot(at, real, "-", color=BLUE, linewidth=1.6, label="real, held out")
    axis.plot(at, generated, "--", color=ORANGE, linewidth=1.6, label="generated")
    axis.plot(at[outside], generated[outside], "o", color=ORANGE, markersize=4, label="generated, outside the band")
    axis.set_title(f"{name}: inside at {np.sum(~outside)} of {len(at)}", fontsize=10)
    if axis.get_xscale() == "log":
        axis.set_xticks([tick for tick in TICKS if tick >= at[0]])
        axis.set_xticks([], minor=True)
        axis.xaxis.set_major_formatter("{x:g}")
    axis.set_xlim(float(at[0]), float(at[-1]))
    axis.set_ylim(bottom=bottom)


def _draw_grey(axis: Axes, grey: Curve) -> None:
    at, real, generated = (np.asarray(grey[key], dtype=float) for key in ("at", "real", "generated"))
    axis.fill_between(at, real, step="mid", color=BLUE, alpha=0.2, linewidth=0)
    axis.step(at, real, where="mid", color=BLUE, linewidth=1.2)
    axis.step(at, generated, where="mid", color=ORANGE, linewidth=1.2, linestyle="--")
    levels = grey_distance(real, generated) * at[-1]
    axis.set_title(f"grey values: {levels:.2g} levels apart on average", fontsize=10)
    axis.set(xlabel=f"grey level of {at[-1]:.0f}", ylabel="fraction of pixels")
    axis.set_xlim(float(at[0]), float(at[-1]))
    axis.set_ylim(bottom=0)
