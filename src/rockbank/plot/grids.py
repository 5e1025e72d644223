"""Grids of samples as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from rockbank.core.errors import InputError
from rockbank.core.files import replacing
from rockbank.plot.colormaps import coloured
from rockbank.rock.crops import to_bytes

if TYPE_CHECKING:
    pass
from rockbank.plot.curves import _length_unit
from rockbank.plot.figures import GREY, drawing

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
        raise InputError(f"samples of shape {intensity.shape}; a grid needs 1 channel or 3")
    if n == 0 or n_columns < 1:
        raise InputError(f"got {n} samples in {n_columns} columns; give at least one of each")
    tiles = to_bytes(intensity[:, 0])[..., None] if c == 1 else _section_tiles(intensity)
    h = tiles.shape[1]
    n_columns = min(n_columns, n)
    n_rows = -(-n // n_columns)
    tiled = np.full((n_rows * (h + GAP) - GAP, n_columns * (w + GAP) - GAP, tiles.shape[3]), WHITE, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // n_columns) * (h + GAP), (i % n_columns) * (w + GAP)
        tiled[top : top + h, left : left + w] = tile
    return np.asarray(tiled[..., 0] if c == 1 else tiled)


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
    both = [grid(samples[:n_shown], n_columns) for samples in (real, generated)]
    height, width = both[0].shape[:2]
    with drawing(path, (10.0, 4.9 * height / width + 0.9)) as figure:
        axes = figure.subplots(1, 2, gridspec_kw={"wspace": 0.04})
        for axis, name, tiled in zip(axes, ("real, held out", "generated"), both, strict=True):
            axis.imshow(tiled, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
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


def _section_tiles(intensity: Float[np.ndarray, "n 3 h w"]) -> UInt8[np.ndarray, "n t w 3"]:
    """Facies, porosity and density of each section, one below the other."""
    values = np.clip(intensity, 0.0, 1.0)
    facies = FACIES[0] + values[:, 0, ..., None] * (FACIES[1] - FACIES[0])
    panels = [np.round(facies).astype(np.uint8)]
    panels += [coloured(values[:, 1 + i], name) for i, name in enumerate(MAPS)]
    gap = np.full((len(values), GAP, values.shape[3], 3), WHITE, dtype=np.uint8)
    # A wider gap below the last panel keeps the three of a section together.
    return np.concatenate([panels[0], gap, panels[1], gap, panels[2], gap, gap], axis=1)
