"""Crops cut from raw volumes: at random places of regions that share no pixel."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float32, Int, UInt8

from rockbank.data.grey_scale import SUBSAMPLE
from rockbank.data.manifest import Manifest, SegmentationRule, VolumeError
from rockbank.data.regions import Region, crops_of_rock, n_pixels, n_positions, split_regions, whole
from rockbank.data.stored import Volume
from rockbank.params import PrepareParams
from rockbank.rock.crops import SPLITS, STREAMS, CropSet, to_intensity
from rockbank.rock.segmentation import Segmentation, otsu_threshold, smooth, smooth_within

Volumes = Mapping[str, Volume]
Given = Mapping[str, Volume] | Mapping[str, UInt8[np.ndarray, "slices rows columns"]]
# The regions of one split, of each volume by its name.
Regions = Mapping[str, Sequence[Region]]


@dataclass(frozen=True, kw_only=True)
class SliceCrops:
    """Crops of one slice of a volume.

    Attributes:
        volume: its name.
        i_slice: of the slice.
        rows, columns: of the crops' first pixels.
        size: of a crop, pixels a side.
    """

    volume: str
    i_slice: int
    rows: Int[np.ndarray, " n"]
    columns: Int[np.ndarray, " n"]
    size: int


# The crops of each, in their order.
CropsOf = Callable[[Sequence[SliceCrops]], Iterable[UInt8[np.ndarray, "n size size"]]]


def crops_of_slice(volumes: Volumes, wanted: SliceCrops) -> UInt8[np.ndarray, "n size size"]:
    """The crops of one slice, which is read once."""
    grey = volumes[wanted.volume].read(wanted.i_slice)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (wanted.size, wanted.size))
    return np.asarray(windows[wanted.rows, wanted.columns])


def cut_crops(
    volumes: Given,
    manifest: Manifest,
    params: PrepareParams,
    family: str = "shale",
    crops_of: CropsOf | None = None,
) -> CropSet:
    """Random crops for training, validation and test, from regions that share no pixel in any slice.

    A crop lies wholly within one block or strip, and is rock all over where the volume has a mask. Each position is
    taken at most once.

    Args:
        volumes: by file name, as `open_volumes` gives them, or arrays in memory.
        manifest: of these volumes.
        params: size, counts, regions and seed.
        family: of the crop set.
        crops_of: who reads the slices; None reads them here, one after another.

    Raises:
        VolumeError: naming the volume that is too small for its regions, or where the positions run out.
    """
    opened = {name: Volume.of(each) for name, each in volumes.items()}
    found = {
        name: split_regions(name, volume, params, i_volume) for i_volume, (name, volume) in enumerate(opened.items())
    }
    counts = {"train": params.n_train, "validation": params.n_validation, "test": params.n_test}
    tables = []
    for split in SPLITS:
        # A stream of its own for each split, so that more training crops leave the others as they are.
        rng = np.random.default_rng([params.seed, STREAMS[split]])
        of_split = {name: regions[split] for name, regions in found.items()}
        table = _draw_positions(rng, opened, of_split, counts[split], params.size, split)
        tables.append(table.assign(seed=params.seed))
    learnt = {name: regions["train"] for name, regions in found.items()}
    return _cut(opened, manifest, pd.concat(tables, ignore_index=True), learnt, params.size, family, crops_of)


def cut_whole(volumes: Given, manifest: Manifest, *, size: int, n: int, seed: int, family: str = "shale") -> CropSet:
    """`n` random crops from everywhere, all of them of the split "train".

    Raises:
        VolumeError: naming the volume that is smaller than a crop, or where the positions run out.
    """
    opened = {name: Volume.of(each) for name, each in volumes.items()}
    regions = {}
    for name, volume in opened.items():
        if min(volume.shape[1:]) < size:
            raise VolumeError(
                f"{name}: its slices are {volume.shape[1]} x {volume.shape[2]} pixels, less than a crop of {size}; "
                "use a smaller prepare.size, or a larger volume"
            )
        regions[name] = [whole(volume.shape[1:])]
    table = _draw_positions(np.random.default_rng([seed, STREAMS["train"]]), opened, regions, n, size, "train")
    return _cut(opened, manifest, table.assign(seed=seed), regions, size, family)


def resolve_whole(volume: Volume, rule: SegmentationRule) -> Segmentation:
    """The rule with "otsu" as a number, found on all of a volume."""
    return _resolve({"": volume}, rule, {"": [whole(volume.shape[1:])]})


def _cut(
    volumes: Volumes,
    manifest: Manifest,
    table: pd.DataFrame,
    learnt: Regions,
    size: int,
    family: str,
    crops_of: CropsOf | None = None,
) -> CropSet:
    here: CropsOf = partial(map, partial(crops_of_slice, volumes))
    return CropSet(
        family=family,
        crops=_gather(table, size, crops_of or here)[:, None],
        table=table,
        voxel_size=manifest.voxel_size,
        segmentation=_resolve(volumes, manifest.segmentation, learnt),
        scans={entry.file: entry.sha256 for entry in manifest.volumes},
    )


def _draw_positions(
    rng: np.random.Generator, volumes: Volumes, regions: Regions, n: int, size: int, split: str
) -> pd.DataFrame:
    """`n` corners of crops, uniform over all positions of the regions, without repeats."""
    places, counts = [], []
    for name, of_volume in regions.items():
        places += [(name, at, i) for at in of_volume for i in range(len(volumes[name]))]
        counts.append(n_positions(volumes[name], of_volume, size).ravel())
    ends = np.cumsum(np.concatenate(counts))
    if n > ends[-1]:
        raise VolumeError(
            f"{', '.join(volumes)}: {ends[-1]} positions for {n} {split} crops; ask for fewer, or add a volume"
        )
    flat = rng.choice(int(ends[-1]), n, replace=False)
    i_place = np.searchsorted(ends, flat, side="right")
    rest = flat - np.concatenate([[0], ends])[i_place]
    rows = np.empty((n, 2), np.int64)
    for i in np.unique(i_place):
        name, at, i_slice = places[i]
        rows[i_place == i] = _corners(volumes[name], at, i_slice, size, rest[i_place == i])
    return pd.DataFrame(
        {
            "split": split,
            "volume": np.array([name for name, _, _ in places])[i_place],
            "slice": np.array([i_slice for _, _, i_slice in places])[i_place],
            "row": rows[:, 0],
            "column": rows[:, 1],
        }
    )


def _corners(
    volume: Volume, at: Region, i_slice: int, size: int, chosen: Int[np.ndarray, " n"]
) -> Int[np.ndarray, "n 2"]:
    """Rows and columns of the chosen ones of a region's crops in one slice, counted along the rows."""
    n_rows, n_columns = at.n_rows - size + 1, at.n_columns - size + 1
    if volume.rock is not None:
        is_rock = crops_of_rock(volume.rock(i_slice), size)
        chosen = np.flatnonzero(is_rock[at.row : at.row + n_rows, at.column : at.column + n_columns])[chosen]
    return np.stack([at.row + chosen // n_columns, at.column + chosen % n_columns], axis=1)


def _gather(table: pd.DataFrame, size: int, crops_of: CropsOf) -> UInt8[np.ndarray, "n size size"]:
    crops = np.empty((len(table), size, size), np.uint8)
    wanted, places = [], []
    for _, rows in table.groupby(["volume", "slice"]):
        first, corners = rows.iloc[0], {"rows": rows["row"].to_numpy(), "columns": rows["column"].to_numpy()}
        wanted.append(SliceCrops(volume=str(first["volume"]), i_slice=int(first["slice"]), size=size, **corners))
        places.append(rows.index)
    for place, found in zip(places, crops_of(wanted), strict=True):
        crops[place] = found
    return crops


def _resolve(volumes: Volumes, rule: SegmentationRule, regions: Regions) -> Segmentation:
    """The rule with "otsu" as a number, found on the smoothed pixels of these regions alone."""
    threshold = rule.threshold
    if threshold == "otsu":
        n_most = SUBSAMPLE // len(volumes)
        parts = [
            part
            for name, volume in volumes.items()
            for part in _smoothed_pixels(volume, rule.smoothing, regions[name], n_most)
        ]
        threshold = otsu_threshold(np.concatenate(parts))
    return Segmentation(smoothing=rule.smoothing, threshold=float(threshold), phase="below", channel=0)


def _smoothed_pixels(
    volume: Volume, smoothing: float, regions: Sequence[Region], n_most: int
) -> list[Float32[np.ndarray, " n"]]:
    """Of slices, evenly spaced, as many as fit `n_most`; each region smoothed without a pixel from beyond it."""
    n_slices = max(1, n_most // n_pixels(regions))
    parts = []
    for i in range(0, len(volume), max(1, math.ceil(len(volume) / n_slices))):
        grey, rock = volume.read(i), None if volume.rock is None else volume.rock(i)
        for at in regions:
            inside = (slice(at.row, at.row + at.n_rows), slice(at.column, at.column + at.n_columns))
            intensity = to_intensity(grey[inside])
            if rock is None:
                parts.append(smooth(intensity, smoothing).ravel())
            else:
                parts.append(smooth_within(intensity, rock[inside], smoothing)[rock[inside]])
    return parts
