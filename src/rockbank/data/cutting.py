"""Crops cut from raw volumes: at random places of regions that share no pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float32, UInt8

from rockbank.data.manifest import Manifest, SegmentationRule, VolumeError
from rockbank.data.regions import Region, n_pixels, split_regions, whole
from rockbank.data.volumes import SUBSAMPLE
from rockbank.params import PrepareParams
from rockbank.rock.crops import SPLITS, STREAMS, CropSet, to_intensity
from rockbank.rock.segmentation import Segmentation, otsu_threshold, smooth

Volumes = Mapping[str, UInt8[np.ndarray, "slices rows columns"]]
# The regions of one split, of each volume by its name.
Regions = Mapping[str, Sequence[Region]]


def cut_crops(volumes: Volumes, manifest: Manifest, params: PrepareParams, family: str = "shale") -> CropSet:
    """Random crops for training, validation and test, from regions that share no pixel in any slice.

    A crop lies wholly within one block or strip. Each position is drawn at most once.

    Args:
        volumes: by file name, as `read_volumes` gives them.
        manifest: of these volumes.
        params: size, counts, regions and seed.
        family: of the crop set.

    Raises:
        VolumeError: naming the volume that is too small for its regions, or where the positions run out.
    """
    found = {
        name: split_regions(name, voxels, params, i_volume) for i_volume, (name, voxels) in enumerate(volumes.items())
    }
    counts = {"train": params.n_train, "validation": params.n_validation, "test": params.n_test}
    tables = []
    for split in SPLITS:
        # A stream of its own for each split, so that more training crops leave the others as they are.
        rng = np.random.default_rng([params.seed, STREAMS[split]])
        of_split = {name: regions[split] for name, regions in found.items()}
        table = _draw_positions(rng, volumes, of_split, counts[split], params.size, split)
        tables.append(table.assign(seed=params.seed))
    learnt = {name: regions["train"] for name, regions in found.items()}
    return _cut(volumes, manifest, pd.concat(tables, ignore_index=True), learnt, params.size, family)


def cut_whole(volumes: Volumes, manifest: Manifest, *, size: int, n: int, seed: int, family: str = "shale") -> CropSet:
    """`n` random crops from everywhere, all of them of the split "train".

    Raises:
        VolumeError: naming the volume that is smaller than a crop, or where the positions run out.
    """
    regions = {}
    for name, voxels in volumes.items():
        if min(voxels.shape[1:]) < size:
            raise VolumeError(
                f"{name}: its slices are {voxels.shape[1]} x {voxels.shape[2]} pixels, less than a crop of {size}; "
                "use a smaller prepare.size, or a larger volume"
            )
        regions[name] = [whole(voxels.shape[1:])]
    table = _draw_positions(np.random.default_rng([seed, STREAMS["train"]]), volumes, regions, n, size, "train")
    return _cut(volumes, manifest, table.assign(seed=seed), regions, size, family)


def _cut(volumes: Volumes, manifest: Manifest, table: pd.DataFrame, learnt: Regions, size: int, family: str) -> CropSet:
    return CropSet(
        family=family,
        crops=_gather(volumes, table, size)[:, None],
        table=table,
        voxel_size=manifest.voxel_size,
        segmentation=_resolve(volumes, manifest.segmentation, learnt),
    )


def _draw_positions(
    rng: np.random.Generator, volumes: Volumes, regions: Regions, n: int, size: int, split: str
) -> pd.DataFrame:
    """`n` corners of crops, uniform over all positions of the regions, without repeats."""
    names, spans = [], []
    for name, of_volume in regions.items():
        for each in of_volume:
            names.append(name)
            n_rows, n_columns = each.n_rows - size + 1, each.n_columns - size + 1
            spans.append((len(volumes[name]), n_rows, n_columns, each.row, each.column))
    counts = [math.prod(span[:3]) for span in spans]
    if n > sum(counts):
        raise VolumeError(
            f"{', '.join(volumes)}: {sum(counts)} positions for {n} {split} crops; ask for fewer, or add a volume"
        )
    flat = rng.choice(sum(counts), n, replace=False)
    ends = np.cumsum(counts)
    i_region = np.searchsorted(ends, flat, side="right")
    rest = flat - (ends - counts)[i_region]
    _, n_rows, n_columns, row, column = np.array(spans)[i_region].T
    return pd.DataFrame(
        {
            "split": split,
            "volume": np.array(names)[i_region],
            "slice": rest // (n_rows * n_columns),
            "row": row + rest // n_columns % n_rows,
            "column": column + rest % n_columns,
        }
    )


def _gather(volumes: Volumes, table: pd.DataFrame, size: int) -> UInt8[np.ndarray, "n size size"]:
    crops = np.empty((len(table), size, size), np.uint8)
    for name, rows in table.groupby("volume"):
        windows = np.lib.stride_tricks.sliding_window_view(volumes[str(name)], (size, size), axis=(1, 2))
        crops[rows.index] = windows[rows["slice"], rows["row"], rows["column"]]
    return crops


def _resolve(volumes: Volumes, rule: SegmentationRule, regions: Regions) -> Segmentation:
    """The rule with "otsu" as a number, found on the smoothed pixels of these regions alone."""
    threshold = rule.threshold
    if threshold == "otsu":
        n_most = SUBSAMPLE // len(volumes)
        parts = [
            part
            for name, voxels in volumes.items()
            for part in _smoothed_pixels(voxels, rule.smoothing, regions[name], n_most)
        ]
        threshold = otsu_threshold(np.concatenate(parts))
    return Segmentation(smoothing=rule.smoothing, threshold=float(threshold), phase="below", channel=0)


def _smoothed_pixels(
    voxels: UInt8[np.ndarray, "slices rows columns"], smoothing: float, regions: Sequence[Region], n_most: int
) -> list[Float32[np.ndarray, " n"]]:
    """Of slices, evenly spaced, as many as fit `n_most`; each region smoothed without a pixel from beyond it."""
    n_slices = max(1, n_most // n_pixels(regions))
    chosen = voxels[:: max(1, math.ceil(len(voxels) / n_slices))]
    return [
        smooth(to_intensity(each[at.row : at.row + at.n_rows, at.column : at.column + at.n_columns]), smoothing).ravel()
        for each in chosen
        for at in regions
    ]
