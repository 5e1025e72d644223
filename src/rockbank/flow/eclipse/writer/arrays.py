"""Numbers of a deck, and its arrays of the whole box."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from textwrap import wrap

import numpy as np
import torch
from jaxtyping import Float

from rockbank.flow.equations.grid import Grid
from rockbank.flow.units import METRIC, exact_text

AXES = "XYZ"


def given(value: float, dimension: str) -> str:
    """A number, or Eclipse's default where nothing limits."""
    return exact_text(float(value), METRIC.scale(dimension)) if np.isfinite(value) else "1*"


def boxed(grid: Grid, field: torch.Tensor) -> Float[np.ndarray, " m"]:
    """A field of the whole box; cells that are switched off hold 0."""
    return natural(np.where(grid.is_active, field.detach().double().cpu().numpy().reshape(grid.box), 0.0))


def scattered(grid: Grid, values: torch.Tensor) -> Float[np.ndarray, " m"]:
    """A field of the active cells; the others hold the first cell's, so that OPM's checks of ranges pass."""
    box = np.full(grid.is_active.size, float(values[0]))
    box[grid.cells] = values.numpy()
    return natural(box.reshape(grid.box))


def natural(box: Float[np.ndarray, "nx ny nz"]) -> Float[np.ndarray, " m"]:
    """In Eclipse's order, i fastest."""
    return np.asarray(box.transpose(2, 1, 0).ravel())


def array(name: str, values: Iterable[float], scale: float) -> Iterator[str]:
    """A keyword of numbers; runs of the same one are repeat counts."""
    parts = []
    for value, run in groupby(float(value) for value in values):
        n, text = len(list(run)), exact_text(value, scale)
        parts.append(f"{n}*{text}" if n > 1 else text)
    yield name
    # Eclipse reads 128 characters a line.
    yield from (f"  {line}" for line in wrap(" ".join(parts), 118, break_on_hyphens=False))
    yield "/"
