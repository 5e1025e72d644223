"""Curves of scores and of trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from rockbank.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, drawing, tidy


def save_s2(
    path: Path,
    real: Float[np.ndarray, "n r"],
    generated: Float[np.ndarray, "m r"],
    *,
    voxel_size: float | None = None,
    title: str = "",
) -> None:
    """Write the two-point correlations: mean curves, and bands of one standard deviation between samples.

    Args:
        path: of the PNG.
        real: S2 of each held-out sample at lags 0, 1, .. pixels.
        generated: likewise.
        voxel_size: metres; None leaves the lags in pixels.
        title: above the axes.
    """
    lags, unit = _lags(real.shape[1], voxel_size)
    with drawing(path, (7.0, 4.4)) as figure:
        axis = figure.subplots()
        for curves, colour, style, name in (
            (real, BLUE, "-", "real, held out"),
            (generated, ORANGE, "--", "generated"),
        ):
            mean, std = curves.mean(axis=0), curves.std(axis=0)
            low, high = np.maximum(mean - std, 0), mean + std
            if curves is real:
                axis.fill_between(lags, low, high, color=colour, alpha=0.18, linewidth=0)
            else:
                # Two filled bands would mix into a third colour.
                axis.plot(lags, low, ":", lags, high, ":", color=colour, linewidth=1)
            axis.plot(lags, mean, style, color=colour, linewidth=2, label=f"{name}, {len(curves)} samples ± 1 std")
        porosity = float(real[:, 0].mean())
        axis.axhline(porosity**2, color=GREY, linewidth=1, linestyle="-.", label="square of the real phase fraction")
        axis.set(xlabel=f"lag r ({unit})", ylabel="S2(r), probability", title=title)
        axis.set_xlim(0, float(lags[-1]))
        axis.set_ylim(bottom=0)
        tidy(axis)
        axis.legend(loc="best", frameon=False, fontsize=9)


def save_training(path: Path, history: Mapping[str, Sequence[float]], *, title: str = "") -> None:
    """Write the losses and, below, the validation KID and S2 distance over the generator's steps.

    Args:
        path: of the PNG.
        history: from a column's name to its values, NaN where a step has none: step, and any of
            critic_loss, generator_loss, wasserstein, kid, s2_distance.
        title: above all.
    """
    if "step" not in history:
        raise InputError(f"a history needs a column 'step', got {sorted(history)}")
    panels = (
        ("loss", (("critic_loss", BLUE, "-"), ("generator_loss", ORANGE, "-"), ("wasserstein", GREEN, "--"))),
        ("validation KID", (("kid", BLUE, "o-"),)),
        ("validation S2 distance", (("s2_distance", BLUE, "o-"),)),
    )
    shown = [(name, [line for line in lines if line[0] in history]) for name, lines in panels]
    shown = [(name, lines) for name, lines in shown if lines]
    with drawing(path, (7.0, 0.8 + 2.2 * max(1, len(shown)))) as figure:
        axes = figure.subplots(max(1, len(shown)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (name, lines) in zip(axes, shown, strict=False):
            for key, colour, style in lines:
                _plot_known(axis, history["step"], history[key], colour, style, key.replace("_", " "))
            axis.set_ylabel(name)
            tidy(axis)
            if len(lines) > 1:
                axis.legend(loc="best", frameon=False, fontsize=9, ncols=len(lines))
        axes[-1].set_xlabel("generator step")
        figure.suptitle(title, fontsize=12)


def _plot_known(
    axis: Axes, steps: Sequence[float], values: Sequence[float], colour: str, style: str, label: str
) -> None:
    known = np.isfinite(np.asarray(values, dtype=float))
    x, y = np.asarray(steps, dtype=float)[known], np.asarray(values, dtype=float)[known]
    axis.plot(x, y, style, color=colour, linewidth=1.5, markersize=4, label=label)
    if style.startswith("o") and y.size:
        best = int(np.argmin(y))
        axis.annotate(
            f"least: {y[best]:.3g}",
            (float(x[best]), float(y[best])),
            textcoords="offset points",
            xytext=(0, 9),
            ha="center",
            fontsize=8,
            color=GREY,
        )
        axis.margins(x=0.08, y=0.18)


def _lags(n: int, voxel_size: float | None) -> tuple[Float[np.ndarray, " n"], str]:
    if voxel_size is None:
        return np.arange(n, dtype=float), "pixels"
    scale, unit = _length_unit(n * voxel_size)
    return np.arange(n) * voxel_size / scale, unit


def _length_unit(length: float) -> tuple[float, str]:
    """The unit in which `length` (metres) reads as a number of at least 1: its size in metres and its name."""
    for scale, unit in ((1.0, "m"), (1e-3, "mm"), (1e-6, "µm")):
        if length >= scale:
            return scale, unit
    return 1e-9, "nm"
