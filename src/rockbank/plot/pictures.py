"""Pictures of rock and of its scores: sample grids, S2 curves with bands, training curves.

Grids are arrays of bytes; plots are drawn by matplotlib without a display. Colours are Okabe and Ito's (2008),
which colour-blind readers tell apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from rockbank.core.files import replacing
from rockbank.plot.colormaps import coloured
from rockbank.rock.crops import to_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#595959"
GAP, WHITE = 2, 255
# Shale and sand, as on a geologist's log.
FACIES = np.array([[84, 84, 92], [240, 201, 92]], dtype=float)
MAPS = ("viridis", "cividis")


def grid(intensity: Float[np.ndarray, "n c h w"], n_columns: int) -> UInt8[np.ndarray, "H W *rgb"]:
    """Samples side by side, row after row, on white.

    Args:
        intensity: in [0, 1], clipped; 1 channel, or 3: facies, porosity and density of a channel section,
            which are shown one below the other.
        n_columns: samples in a row.

    Returns:
        Bytes, (H, W) for one channel and (H, W, 3) for three.
    """
    n, c, h, w = intensity.shape
    if c not in (1, 3):
        raise ValueError(f"samples of shape {intensity.shape}; a grid needs 1 channel or 3")
    if n == 0 or n_columns < 1:
        raise ValueError(f"got {n} samples in {n_columns} columns; give at least one of each")
    tiles = to_bytes(intensity[:, 0])[..., None] if c == 1 else _section_tiles(intensity)
    h = tiles.shape[1]
    n_columns = min(n_columns, n)
    n_rows = -(-n // n_columns)
    sheet = np.full((n_rows * (h + GAP) - GAP, n_columns * (w + GAP) - GAP, tiles.shape[3]), WHITE, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // n_columns) * (h + GAP), (i % n_columns) * (w + GAP)
        sheet[top : top + h, left : left + w] = tile
    return np.asarray(sheet[..., 0] if c == 1 else sheet)


def save_grid(path: Path, intensity: Float[np.ndarray, "n c h w"], n_columns: int = 4) -> None:
    """Write the grid of samples as PNG, whole or not at all."""
    with replacing(path) as beside:
        Image.fromarray(grid(intensity, n_columns)).save(beside, format="PNG")


def save_real_against_generated(
    path: Path,
    real: Float[np.ndarray, "n c h w"],
    generated: Float[np.ndarray, "m c h w"],
    *,
    voxel_size: float | None = None,
    title: str = "",
    n_shown: int = 16,
) -> None:
    """Write a picture of real samples on the left and generated ones on the right.

    Args:
        path: of the PNG.
        real: intensity in [0, 1].
        generated: likewise.
        voxel_size: metres; says how large a sample is. None says nothing.
        title: above both.
        n_shown: of each.
    """
    n_columns, n_rows = (4, 4) if real.shape[1] == 1 else (4, 2)
    n_shown = min(n_shown, len(real), len(generated), n_columns * n_rows)
    sheets = [grid(samples[:n_shown], n_columns) for samples in (real, generated)]
    height, width = sheets[0].shape[:2]
    with drawing(path, (10.0, 4.9 * height / width + 0.9)) as figure:
        axes = figure.subplots(1, 2, gridspec_kw={"wspace": 0.04})
        for axis, name, sheet in zip(axes, ("real, held out", "generated"), sheets, strict=True):
            axis.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(name, fontsize=11)
            axis.set_axis_off()
        about = "" if real.shape[1] == 1 else "each: facies (sand yellow), porosity, density"
        if voxel_size is not None:
            h, w = real.shape[2:]
            scale, unit = _length_unit(max(h, w) * voxel_size)
            size = f"one sample is {w * voxel_size / scale:.3g} x {h * voxel_size / scale:.3g} {unit}"
            about = f"{size}; {about}" if about else size
        figure.supxlabel(about, fontsize=9, color=GREY)
        figure.suptitle(title, fontsize=12)


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
        axis.legend(frameon=False, fontsize=9)


def save_training(path: Path, history: Mapping[str, Sequence[float]], *, title: str = "") -> None:
    """Write the losses and, below, the validation KID and S2 distance over the generator's steps.

    Args:
        path: of the PNG.
        history: from a column's name to its values, NaN where a step has none: step, and any of
            critic_loss, generator_loss, wasserstein, kid, s2_distance.
        title: above all.
    """
    if "step" not in history:
        raise ValueError(f"a history needs a column 'step', got {sorted(history)}")
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
                axis.legend(frameon=False, fontsize=9, ncols=len(lines))
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


def _section_tiles(intensity: Float[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n t w 3"]:
    """Facies, porosity and density of each section, one below the other."""
    values = np.clip(intensity, 0.0, 1.0)
    facies = FACIES[0] + values[:, 0, ..., None] * (FACIES[1] - FACIES[0])
    panels = [np.round(facies).astype(np.uint8)]
    panels += [coloured(values[:, 1 + i], name) for i, name in enumerate(MAPS)]
    gap = np.full((len(values), GAP, values.shape[3], 3), WHITE, dtype=np.uint8)
    # A wider gap below the last panel keeps the three of a section together.
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2], gap, gap], axis=1)


@contextmanager
def drawing(path: Path, size: tuple[float, float]) -> Iterator[Figure]:
    """A figure to draw on, written to `path` when the block succeeds."""
    figure = empty_figure(size)
    yield figure
    with replacing(path) as beside:
        figure.savefig(beside, format="png")


def empty_figure(size: tuple[float, float]) -> Figure:
    """A figure of a width and a height in inches; no display and no global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def tidy(axis: Axes) -> None:
    """Axes without a box, over a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(True, color="#DDDDDD", linewidth=0.6)
    axis.set_axisbelow(True)


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
