"""Windows of an endless image, cut out of tiles that are the same for every window.

onnxruntime's kernels may differ between extents, and with them the last bits of a pixel. So an endless image is made of
tiles of one size, aligned to its lattice, each computed by itself from a latent of one extent: two windows that share a
pixel share its bits, on one machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from rockbank.core.errors import InputError
from rockbank.generator.card import ModelCard
from rockbank.generator.latents import Lattice, field_latents

# Cells of a tile's side; with the margin, nine quarters of its cells are drawn: 3 % of a tile's time on a core.
TILE_CELLS = 16
# Pixels of a window's side.
SIDE_MAX = 16_384
# Whole numbers up to here are exact in JSON's numbers.
PLACE_MAX = 2**53


@dataclass(frozen=True, kw_only=True)
class Window:
    """A rectangle of an endless image.

    Attributes:
        x: column of its first pixel; may be negative.
        y: row of its first pixel; may be negative.
        width: pixels.
        height: pixels.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if not (1 <= self.width <= SIDE_MAX and 1 <= self.height <= SIDE_MAX):
            raise InputError(f"size: got {self.width} x {self.height}; use sides from 1 to {SIDE_MAX} pixels")
        if max(abs(self.x), abs(self.y)) > PLACE_MAX:
            raise InputError(f"window: got its first pixel at ({self.x}, {self.y}); stay within {PLACE_MAX} pixels")


@dataclass(frozen=True, kw_only=True)
class Tile:
    """A tile of an endless image, and the part of it that a window has.

    Attributes:
        row: in units of a tile's side.
        column: likewise.
        rows: of the tile's pixels, those in the window.
        columns: likewise.
        left: column of the window where that part begins.
    """

    row: int
    column: int
    rows: slice
    columns: slice
    left: int


@dataclass(frozen=True, kw_only=True)
class Field:
    """The latents of one endless image.

    Attributes:
        lattice: of the generator.
        n_channels: numbers a cell.
        seed: of the image, with `sample`.
        sample: which of the seed's images.
        truncation: scale of the latents; None for 1.
    """

    lattice: Lattice
    n_channels: int
    seed: int
    sample: int
    truncation: float | None

    def of_tile(self, row: int, column: int) -> Float32[np.ndarray, "1 c h w"]:
        """The latent whose image is the tile there."""
        margin = self.lattice.margin
        rows, columns = (range(TILE_CELLS * i - margin, TILE_CELLS * (i + 1) + margin) for i in (row, column))
        return field_latents(self.seed, self.sample, rows, columns, self.n_channels, self.truncation)[None]


def field_of(card: ModelCard, seed: int, sample: int = 0, truncation: float | None = None) -> Field:
    """The endless image `sample` of a seed.

    Raises:
        InputError: where the card's generator is not endless, with the only size that it has.
    """
    if card.lattice is None:
        _, height, width = card.image_shape
        raise InputError(
            f"size: '{card.generator}' makes images of {width} x {height} pixels only; leave the size out, or "
            "choose an endless generator, such as one of the network 'texture'"
        )
    return Field(
        lattice=card.lattice,
        n_channels=card.latent_shape[0],
        seed=seed,
        sample=sample,
        truncation=truncation,
    )


def tile_shape(card: ModelCard) -> tuple[int, int, int]:
    """Channels, height and width of a tile of an endless generator."""
    assert card.lattice is not None
    side = TILE_CELLS * card.lattice.cell
    return card.image_shape[0], side, side


def bands(window: Window, lattice: Lattice) -> Iterator[list[Tile]]:
    """The window's tiles from left to right, a list for each row of tiles, from top to bottom."""
    side = TILE_CELLS * lattice.cell
    for row, rows, _ in _cuts(window.y, window.height, side):
        yield [
            Tile(row=row, column=column, rows=rows, columns=columns, left=left)
            for column, columns, left in _cuts(window.x, window.width, side)
        ]


def n_tiles(window: Window, lattice: Lattice) -> int:
    """How many tiles a window touches."""
    side = TILE_CELLS * lattice.cell
    return len(_places(window.y, window.height, side)) * len(_places(window.x, window.width, side))


def _places(start: int, length: int, side: int) -> range:
    """Of the tiles along one axis."""
    return range(start // side, (start + length - 1) // side + 1)


def _cuts(start: int, length: int, side: int) -> Iterator[tuple[int, slice, int]]:
    """Along one axis: each tile's place, what of it lies in the window, and where in the window that begins."""
    end = start + length
    for i in _places(start, length, side):
        first, last = max(start, i * side), min(end, (i + 1) * side)
        yield i, slice(first - i * side, last - i * side), first - start


def parse_size(text: str) -> Window:
    """The window at (0, 0) that WIDTHxHEIGHT means.

    Raises:
        InputError: naming the form.
    """
    if not (found := re.fullmatch(r"(\d{1,9})x(\d{1,9})", text.strip())):
        raise InputError(f"--size: got '{text}'; use WIDTHxHEIGHT in pixels, such as 4096x2048")
    width, height = map(int, found.groups())
    return Window(x=0, y=0, width=width, height=height)


def parse_window(text: str) -> Window:
    """The window that X,Y,WIDTH,HEIGHT means.

    Raises:
        InputError: naming the form.
    """
    if not (found := re.fullmatch(r"(-?\d{1,18}),(-?\d{1,18}),(\d{1,9}),(\d{1,9})", text.replace(" ", ""))):
        raise InputError(f"--window: got '{text}'; use X,Y,WIDTH,HEIGHT in pixels, such as -512,0,1024,1024")
    x, y, width, height = map(int, found.groups())
    return Window(x=x, y=y, width=width, height=height)
