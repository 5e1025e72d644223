"""The pictures of the page on channels: facies of each generator, and S2 over its band."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, drawing, tidy
from rockbank.plot.grids import FACIES, grid

N_SHOWN = 16
N_COLUMNS = 8
COLOURS = (GREY, BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9")


def draw_facies(path: Path, facies: Mapping[str, Float32[np.ndarray, "n h w"]]) -> None:
    """Sections of each generator, the first rows at the top; sand yellow, shale grey."""
    from matplotlib.colors import ListedColormap

    # Between the two lies what is neither: a facies probability.
    shades = ListedColormap(np.linspace(FACIES[0], FACIES[1], 256) / 255)
    grids = {name: grid(sections[:N_SHOWN, None], N_COLUMNS) for name, sections in facies.items()}
    width = 11.0
    height = sum(0.35 + width * image.shape[0] / image.shape[1] for image in grids.values())
    with drawing(path, (width, height)) as figure:
        axes = figure.subplots(len(grids), 1, squeeze=False)[:, 0]
        for axis, (name, image) in zip(axes, grids.items(), strict=True):
            axis.imshow(_without_gaps(image), cmap=shades, vmin=0, vmax=255, interpolation="nearest")
            axis.set_title(name, fontsize=11, loc="left")
            axis.set_axis_off()


def draw_s2(path: Path, report: Mapping[str, Any]) -> None:
    """The difference of each generator's mean S2 from that of the law, over the band."""
    with drawing(path, (10.0, 4.2)) as figure:
        axes = figure.subplots(1, 2, sharey=True)
        for axis, along in zip(axes, ("x", "z"), strict=True):
            band = {name: np.array(values) for name, values in report["law"]["s2"][along].items()}
            lags = np.arange(len(band["centre"]))
            low, high = band["low"] - band["centre"], band["high"] - band["centre"]
            axis.fill_between(lags, low, high, color=GREY, alpha=0.25, linewidth=0, label="95 % band of the law")
            for i, (name, row) in enumerate(report["generators"].items()):
                off = np.array(row["s2"][along]["mean"]) - band["centre"]
                axis.plot(lags, off, color=COLOURS[i % len(COLOURS)], label=name)
            axis.set(xlabel=f"lag along {along} (cells of 4 m)", title=f"S2 along {along}, less that of the law")
            tidy(axis)
        axes[0].set_ylabel("difference in probability")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)


def _without_gaps(image: np.ndarray) -> np.ma.MaskedArray:
    """An image of `grid` whose gaps, the columns and rows of 255 alone, are seen through."""
    is_gap = (image == 255).all(axis=0)[None, :] | (image == 255).all(axis=1)[:, None]
    return np.ma.masked_array(image, mask=is_gap)
