"""What all pictures of a match share: an empty figure, the colours of its ensembles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.matching.results.diagnostics import ensembles
from rockbank.plot.figures import BLUE, GREEN, GREY, ORANGE, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"prior": GREY, "posterior": BLUE}
OBSERVED, TRUTH, LIMIT = ORANGE, "black", GREEN
# Inches: read at 900 pixels a letter of 10 points is then 14 pixels high.
WIDTH = 9.0


def new_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure of a size in inches, as wide as a report shows it."""
    return empty_figure((width, height))


def to_text(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def last(dataset: xr.Dataset) -> str:
    """The ensemble that the match ends with."""
    return ensembles(dataset)[-1]


def compare(axis: Axes, by_ensemble: dict[str, Float[np.ndarray, " m"]], edges: Float[np.ndarray, " bins+1"]) -> None:
    """Histograms over each other, in parts of the members, so that ensembles of other sizes compare.

    What lies beyond the edges counts in the outermost bins.
    """
    for name, values in by_ensemble.items():
        if len(values):
            inside = np.clip(values, edges[0], edges[-1])
            weights, colour = np.full(len(values), 100 / len(values)), COLOURS[name]
            axis.hist(inside, list(edges), weights=weights, color=colour, alpha=0.35, label=name)
            axis.hist(inside, list(edges), weights=weights, color=colour, histtype="step", linewidth=1.5)
    axis.set_ylabel("% of members")
