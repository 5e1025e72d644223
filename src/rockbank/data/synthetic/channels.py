"""Object-based river-channel sections: half discs of sand in layered shale.

The law is that of DeepFlow's published realisation (CHANNELS.md gives it; its radii and stopping rule are ours, as the
published generation code is not public). A section is 64 cells high (z) and 128 wide (x), 4 m a cell.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int, UInt16

from rockbank.core.errors import InputError
from rockbank.params import ChannelsParams
from rockbank.rock.crops import SPLITS, STREAMS, CropSet
from rockbank.rock.segmentation import Segmentation

HEIGHT, WIDTH = 64, 128
CELL = 4.0
FACIES, POROSITY, DENSITY = range(3)
# Radii of the 24 bodies of low ambiguity in the published realisation, cells.
RADII = np.repeat([7, 8, 9, 10, 11, 12, 13, 15, 16, 19, 20], [3, 2, 5, 3, 3, 3, 1, 1, 1, 1, 1])
# (mean, standard deviation) of the porosity and the density variable, both scaled to [0, 1].
SHALE = ((0.185, 0.040), (0.520, 0.089))
SAND = ((0.838, 0.036), (0.519, 0.136))
# Bodies are drawn in rounds of so many; 31 +- 5 of them reach a sand proportion of 0.5.
ROUND = 16
BLOCK = 128


def channel_sections(n: int, rng: np.random.Generator, sand_proportion: float) -> Float32[np.ndarray, "n 3 64 128"]:
    """Sections of facies (1 sand, 0 shale), porosity variable and density variable, all in [0, 1].

    A body is the half disc {(x - cx)^2 + (z - cz)^2 <= r^2, z >= cz}, flat side toward low z, with integer centre
    uniform over the section and properties of its own; later bodies overwrite earlier ones. Bodies are added until
    the sand proportion is reached. Each row of the background has its own properties.

    Args:
        n: how many sections, at least 1.
        rng: the only source of randomness.
        sand_proportion: at which no more body is added, between 0 and 1.

    Raises:
        InputError: for a count or proportion outside its range.
    """
    if n < 1:
        raise InputError(f"n: got {n}; ask for at least one section")
    if not 0 < sand_proportion < 1:
        raise InputError(f"sand_proportion: got {sand_proportion}; use a fraction between 0 and 1, such as 0.5")
    # Blocks bound the memory and stay in the processor's cache.
    blocks = [_draw_block(min(BLOCK, n - start), rng, sand_proportion) for start in range(0, n, BLOCK)]
    return np.concatenate(blocks)


def channel_crops(params: ChannelsParams) -> CropSet:
    """The channel data set: sections for training, validation and test, each from a stream of its own of the seed.

    Stored as 16 bits of full scale 1; the phase of interest is the sand.
    """
    import pandas as pd

    sections = []
    tables = []
    for split, n in zip(SPLITS, (params.n_train, params.n_validation, params.n_test), strict=True):
        values = channel_sections(n, np.random.default_rng([params.seed, STREAMS[split]]), params.sand_proportion)
        sections.append(np.round(values * np.float32(65535)).astype(np.uint16))
        tables.append(pd.DataFrame({"split": [split] * n}))
    table = pd.concat(tables, ignore_index=True)
    table = table.assign(volume="synthetic", slice=np.arange(len(table)), row=0, column=0, seed=params.seed)
    return CropSet(
        family="channels",
        crops=np.concatenate(sections),
        table=table,
        voxel_size=CELL,
        segmentation=Segmentation(smoothing=0.0, threshold=0.5, phase="above", channel=FACIES),
    )


def _draw_block(n: int, rng: np.random.Generator, sand_proportion: float) -> Float32[np.ndarray, "n 3 64 128"]:
    # owner: 0 is the background, otherwise 1 + the last body that covers the cell.
    owner = np.zeros((n, HEIGHT, WIDTH), np.uint16)
    properties = np.zeros((n, 2, 1), np.float32)
    is_open = np.arange(n)
    while len(is_open):
        properties = np.concatenate([properties, _draw_properties(rng, SAND, (n, ROUND))], axis=2)
        owner[is_open] = _add_bodies(owner[is_open], rng, sand_proportion, properties.shape[2] - ROUND)
        is_open = is_open[_sand_cells(owner[is_open]) < sand_proportion * HEIGHT * WIDTH]
    sand = owner > 0
    layers = _draw_properties(rng, SHALE, (n, HEIGHT))
    i_section = np.arange(n)[:, None, None]
    sections = np.empty((n, 3, HEIGHT, WIDTH), np.float32)
    sections[:, FACIES] = sand
    for channel in (POROSITY, DENSITY):
        bodies = properties[:, channel - 1][i_section, owner]
        sections[:, channel] = np.where(sand, bodies, layers[:, channel - 1, :, None])
    return sections


def _add_bodies(
    owner: UInt16[np.ndarray, "n 64 128"], rng: np.random.Generator, sand_proportion: float, first: int
) -> UInt16[np.ndarray, "n 64 128"]:
    """A round of bodies, numbered from `first`; none is added where the sand proportion is reached."""
    n = len(owner)
    # 16 bits hold the squares of this small domain and are four times as fast as 64.
    x, z = np.arange(WIDTH, dtype=np.int16), np.arange(HEIGHT, dtype=np.int16)[:, None]
    out = owner.copy()
    for i_body in range(ROUND):
        r = rng.choice(RADII, n).astype(np.int16)[:, None, None]
        cx = rng.integers(0, WIDTH, n, dtype=np.int16)[:, None, None]
        cz = rng.integers(0, HEIGHT, n, dtype=np.int16)[:, None, None]
        is_short = _sand_cells(out) < sand_proportion * HEIGHT * WIDTH
        body = ((x - cx) ** 2 + (z - cz) ** 2 <= r**2) & (z >= cz) & is_short[:, None, None]
        np.copyto(out, np.uint16(first + i_body), where=body)
    return out


def _sand_cells(owner: UInt16[np.ndarray, "n 64 128"]) -> Int[np.ndarray, " n"]:
    return np.asarray(np.count_nonzero(owner.reshape(len(owner), -1), axis=1))


def _draw_properties(
    rng: np.random.Generator, facies: tuple[tuple[float, float], ...], shape: tuple[int, int]
) -> Float32[np.ndarray, "n 2 m"]:
    """Porosity and density variable of `shape` = (sections, layers or bodies); the scale [0, 1] clips them."""
    mean, deviation = np.array(facies).T
    values = mean[:, None] + deviation[:, None] * rng.standard_normal((shape[0], 2, shape[1]))
    return np.asarray(np.clip(values, 0.0, 1.0), dtype=np.float32)
