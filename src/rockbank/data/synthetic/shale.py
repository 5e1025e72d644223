"""A synthetic Nano-CT shale: the sample data of the project, and small volumes for its tests.

The law of one slice, in the order in which a geologist would see it:

- grains of clay and quartz: a Voronoi tessellation stretched along the bedding and warped, each grain with its
  own grey; a few grains are brighter minerals (carbonate, feldspar);
- lamination: a Gaussian random field, long along the bedding and short across it, and a finer isotropic one;
- organic matter and pores between the grains: the grain boundaries open where a smooth aperture field is large,
  widest at triple junctions, and scattered small pores and patches of porous organic matter lie inside them;
- cracks: thin, long, wandering about the bedding direction, a quarter of them across it;
- ores: pyrite framboids (clusters of bright microcrysts) and single bright crystals;
- a Gaussian point-spread function, then per-pixel Gaussian noise, then 8 bits.

The grey values follow a real shale scan (matrix 118 of 255, organic matter 60, voids 30, minerals 140-150). Slices
of a volume are spaced wider than any feature, so they are independent draws of the same law.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import tifffile
from jaxtyping import Bool, Float, Int, UInt8
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from rockbank.core.errors import InputError
from rockbank.core.files import sha256
from rockbank.data.joining import join, joining
from rockbank.data.manifest import (
    MANIFEST,
    Manifest,
    SegmentationRule,
    VolumeEntry,
    VolumeError,
    load_manifest,
)

FILE = "shale.tif"
# What its entry's source begins with, whichever version of rockbank made it.
SOURCE = "synthetic: rockbank."
VOXEL_SIZE = 60e-9
SLICE_MIN = 64
BEDDING = np.deg2rad(12.0)

# Grey values as fractions of the full scale.
MATRIX, ORGANIC, VOID, MINERAL, ORE = 0.46, 0.25, 0.10, 0.58, 0.90
GRAIN = 36.0
POINT_SPREAD, NOISE = 0.9, 0.035

# Smoothing 1.5 px keeps the noise out of the phase; Otsu falls between the organic matter and the matrix, as the
# ores are too few (below 1 %) to move it.
SEGMENTATION = SegmentationRule(smoothing=1.5, threshold="otsu")


def sample_volume(
    rng: np.random.Generator,
    n_slices: int = 8,
    size: int = 1024,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> UInt8[np.ndarray, "n_slices size size"]:
    """Independent slices of the synthetic shale, 60 nm a pixel.

    Args:
        rng: the only source of randomness.
        n_slices: at least 1.
        size: pixels a side, at least 64.
        track: wraps the loop over slices (about 3 s each at 1024), for a progress bar.

    Raises:
        InputError: for too few slices or pixels.
    """
    if n_slices < 1:
        raise InputError(f"n_slices: got {n_slices}; ask for at least one slice")
    if size < SLICE_MIN:
        raise InputError(f"size: got {size}; a slice needs at least {SLICE_MIN} pixels a side")
    volume = np.empty((n_slices, size, size), np.uint8)
    for i_slice in track(range(n_slices)):
        volume[i_slice] = _scan(_draw_rock(rng, size), rng)
    return volume


def write_sample(
    folder: Path, seed: int, track: Callable[[Iterable[int]], Iterable[int]] = iter, *, replace: bool = False
) -> Manifest:
    """Write the sample, shale.tif and its manifest, into `folder`; 8 slices of 1024 x 1024.

    Args:
        folder: usually data/; a sample that lies there is replaced.
        seed: of the volume.
        track: as in `sample_volume`.
        replace: take the place of all volumes that `folder` lists, be they the sample or not.

    Raises:
        VolumeError: naming the volumes that lie there, or where another process adds to `folder`.
    """
    with joining(folder) as staging:
        leaving = _replaceable(folder, replace)
        volume = sample_volume(np.random.default_rng(seed), track=track)
        tifffile.imwrite(staging / FILE, volume, compression="zlib", photometric="minisblack", metadata=None)
        entry = VolumeEntry(
            file=FILE,
            voxel_size=VOXEL_SIZE,
            segmentation=SEGMENTATION,
            licence="MIT",
            source=f"{SOURCE}data.synthetic.shale.write_sample, seed {seed}",
            sha256=sha256(staging / FILE),
        )
        manifest = Manifest(volumes=(entry,))
        join(staging, folder, entry.files, manifest, leaving)
    return manifest


def _replaceable(folder: Path, replace: bool) -> set[str]:
    """The files of `folder` whose place the sample takes."""
    listed = load_manifest(folder).volumes if (folder / MANIFEST).exists() else ()
    others = [entry.file for entry in listed if not entry.source.startswith(SOURCE)]
    if others and not replace:
        raise VolumeError(
            f"{folder / MANIFEST}: lists {', '.join(others)}, which the sample would replace; name another --folder, "
            "or give --replace"
        )
    leaving = {name for entry in listed for name in entry.files}
    if (folder / FILE).exists() and FILE not in leaving:
        raise VolumeError(f"{folder / FILE}: lies there, and no manifest lists it; rename it, or name another --folder")
    return leaving


def _draw_rock(rng: np.random.Generator, size: int) -> Float[np.ndarray, "size size"]:
    """The rock's grey values before the scanner: later phases lie over earlier ones."""
    grain, between, junction = _grains(rng, size)
    n_grains = int(grain.max()) + 1
    shades = MATRIX + 0.012 * rng.standard_normal(n_grains)
    bright = rng.random(n_grains) < 0.035
    shades[bright] = rng.normal(MINERAL, 0.025, int(bright.sum()))
    lamination = _random_field(rng, size, 90.0, 3.0)
    texture = _random_field(rng, size, 2.2, 1.6)
    rock = shades[grain] + np.where(bright[grain], 0.004, 0.016) * lamination + 0.012 * texture

    aperture = _random_field(rng, size, 42.0, 26.0)
    width = np.clip(1.5 * aperture - 0.45, 0.0, 4.0)
    opened = (between < width) | (junction < 3.2 * width - 0.6)
    patches = (_random_field(rng, size, 5.5, 3.2) + 0.5 * aperture > 2.75) & ~bright[grain]
    organic = opened | patches
    grey = ORGANIC + 0.025 * _random_field(rng, size, 12.0, 12.0)
    rock = np.where(organic, grey, rock)

    fine = _random_field(rng, size, 2.4, 1.8)
    voids = (organic & (fine > 1.35)) | ((fine > 2.9) & ~bright[grain]) | (junction < 1.6 * width - 2.2)
    rock = np.where(voids, VOID, rock)
    rock = np.where(_cracks(rng, size), VOID + 0.04, rock)
    return _add_ores(rng, rock)


def _grains(
    rng: np.random.Generator, size: int
) -> tuple[Int[np.ndarray, "size size"], Float[np.ndarray, "size size"], Float[np.ndarray, "size size"]]:
    """Grain index of each pixel, and its distances to the nearest boundary and triple junction, px."""
    y, x = np.mgrid[:size, :size].astype(np.float64)
    y += 3.0 * _random_field(rng, size, 14.0, 14.0)
    x += 3.0 * _random_field(rng, size, 14.0, 14.0)
    along, across = _bedding_axes(x - size / 2, y - size / 2)
    reach = size * 0.75 + 2 * GRAIN
    n_seeds = int((2 * reach) ** 2 / (1.45 * GRAIN**2))
    seeds = rng.uniform(-reach, reach, (n_seeds, 2))
    points = np.stack([along.ravel() / 1.45, across.ravel()], axis=1)
    seeds[:, 0] /= 1.45
    found = cKDTree(seeds).query(points, k=3)
    distance, index = np.asarray(found[0]).reshape(size, size, 3), np.asarray(found[1])
    between = (distance[..., 1] - distance[..., 0]) / 2
    junction = (distance[..., 2] - distance[..., 0]) / 2
    return index[:, 0].reshape(size, size), between, junction


def _random_field(rng: np.random.Generator, size: int, along: float, across: float) -> Float[np.ndarray, "size size"]:
    """Periodic Gaussian random field, mean 0 and standard deviation 1, Gaussian covariance.

    Args:
        rng: source of randomness.
        size: pixels a side.
        along: correlation length along the bedding, px.
        across: correlation length across it, px.
    """
    k_y = 2 * np.pi * np.fft.fftfreq(size)[:, None]
    k_x = 2 * np.pi * np.fft.rfftfreq(size)[None, :]
    k_along, k_across = _bedding_axes(k_x, k_y)
    damping = np.exp(-((k_along * along) ** 2 + (k_across * across) ** 2) / 4)
    field = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((size, size))) * damping, s=(size, size))
    field -= field.mean()
    return np.asarray(field / field.std())


def _bedding_axes(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x * np.cos(BEDDING) + y * np.sin(BEDDING), y * np.cos(BEDDING) - x * np.sin(BEDDING)


def _cracks(rng: np.random.Generator, size: int) -> Bool[np.ndarray, "size size"]:
    """Thin wandering cracks that taper at both ends: one per 45,000 px, three in four along the bedding."""
    n_cracks = max(1, rng.poisson(size * size / 45_000))
    length = np.exp(rng.normal(np.log(90.0), 0.55, n_cracks))
    angle = BEDDING + rng.normal(0.0, 0.16, n_cracks) + np.where(rng.random(n_cracks) < 0.25, np.pi / 2.3, 0.0)
    half_width = rng.uniform(0.5, 1.6, n_cracks)
    start = rng.uniform(0, size, (n_cracks, 2))
    # Steps of half a pixel, each crack with as many as the longest has; those past its own end are dropped.
    n_steps = int(2 * length.max()) + 1
    s = np.arange(n_steps) / 2
    wander = gaussian_filter(rng.standard_normal((n_cracks, n_steps)), (0, 10.0)) * 1.6
    heading = angle[:, None] + wander + np.cumsum(rng.standard_normal((n_cracks, n_steps)) * 0.012, axis=1)
    x = start[:, :1] + np.cumsum(np.cos(heading), axis=1) / 2
    y = start[:, 1:] + np.cumsum(np.sin(heading), axis=1) / 2
    fraction = s[None, :] / length[:, None]
    taper = half_width[:, None] * np.sqrt(np.clip(4 * fraction * (1 - fraction), 0.0, None))
    offset = np.arange(-2.0, 2.01, 0.4)
    inside = (np.abs(offset) <= taper[..., None]) & (fraction <= 1)[..., None]
    columns = np.round(x[..., None] - np.sin(heading)[..., None] * offset)[inside].astype(int)
    rows = np.round(y[..., None] + np.cos(heading)[..., None] * offset)[inside].astype(int)
    kept = (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    cracks = np.zeros((size, size), bool)
    cracks[rows[kept], columns[kept]] = True
    return cracks


def _add_ores(rng: np.random.Generator, rock: Float[np.ndarray, "size size"]) -> Float[np.ndarray, "size size"]:
    """Bright superellipses: single crystals, and framboids, which are round clusters of small ones."""
    size = len(rock)
    n_single = rng.poisson(size * size / 30_000)
    n_framboids = rng.poisson(size * size / 90_000)
    single = rng.uniform(0, size, (n_single, 2))
    radius_single = np.exp(rng.normal(np.log(3.2), 0.45, n_single))
    n_members = 45
    spread = rng.uniform(4.0, 11.0, (n_framboids, 1))
    turn = rng.uniform(0, 2 * np.pi, (n_framboids, n_members))
    distance = spread * np.sqrt(rng.random((n_framboids, n_members)))
    middle = rng.uniform(0, size, (n_framboids, 1, 2))
    members = (middle + np.stack([distance * np.cos(turn), distance * np.sin(turn)], axis=-1)).reshape(-1, 2)
    centres = np.concatenate([single, members])
    radius = np.concatenate([radius_single, rng.uniform(0.9, 1.7, len(members))])
    shade = rng.normal(ORE, 0.06, len(centres))
    power = np.where(rng.random(len(centres)) < 0.5, 2.0, 5.0)
    aspect = rng.uniform(1.0, 1.5, len(centres))
    angle = rng.uniform(0, np.pi, len(centres))

    reach = 16
    window = np.arange(-reach, reach + 1)
    rows = np.round(centres[:, 1]).astype(int)[:, None, None] + window[None, :, None]
    columns = np.round(centres[:, 0]).astype(int)[:, None, None] + window[None, None, :]
    dy, dx = rows - centres[:, 1, None, None], columns - centres[:, 0, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u = np.abs(dx * cos + dy * sin) / (radius * aspect)[:, None, None]
    v = np.abs(dy * cos - dx * sin) / radius[:, None, None]
    inside = u ** power[:, None, None] + v ** power[:, None, None] <= 1
    inside &= (rows >= 0) & (rows < size) & (columns >= 0) & (columns < size)
    i_ore, i_row, i_column = np.nonzero(inside)
    out = rock.copy()
    out[rows[i_ore, i_row, 0], columns[i_ore, 0, i_column]] = shade[i_ore]
    return out


def _scan(rock: Float[np.ndarray, "size size"], rng: np.random.Generator) -> UInt8[np.ndarray, "size size"]:
    """The scanner: point-spread function, noise, 8 bits."""
    grey = gaussian_filter(rock, POINT_SPREAD) + NOISE * rng.standard_normal(rock.shape)
    return np.round(np.clip(grey, 0.0, 1.0) * 255.0).astype(np.uint8)
