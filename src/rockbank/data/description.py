"""What a volume looks like: sections, grey values, porosity along its axes, S2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8

from rockbank.data.stored import Volume
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.crops import CropSet, to_intensity
from rockbank.rock.segmentation import Segmentation, segment, smooth_within

AXES = ("slice", "row", "column")


@dataclass(frozen=True, kw_only=True)
class Description:
    """A volume in a few arrays.

    Attributes:
        sections: the middle one across each axis: rows x columns, slices x columns, slices x rows.
        histogram: voxels of rock by grey value.
        porosity: along each axis, the mean over the rock of the other two; NaN where there is none.
        s2: of crops from all over the rock, by lag in voxels; None where there are none.
        threshold: intensity at most which a smoothed voxel is pore.
        porosity_mean: of all rock.
    """

    sections: dict[str, UInt8[np.ndarray, "height width"]]
    histogram: Int[np.ndarray, "256"]
    porosity: dict[str, Float[np.ndarray, " n"]]
    s2: Float[np.ndarray, " r"] | None
    threshold: float
    porosity_mean: float


def describe(volume: Volume, segmentation: Segmentation, crops: CropSet | None) -> Description:
    """One pass over the slices; pores are segmented slice by slice.

    Args:
        volume: of 8 bits.
        segmentation: of its pores, with the threshold as a number.
        crops: of it, for S2.
    """
    n_slices, n_rows, n_columns = volume.shape
    histogram = np.zeros(256, np.int64)
    pores, rock = ({axis: np.zeros(n) for axis, n in zip(AXES, volume.shape, strict=True)} for _ in range(2))
    across_rows, across_columns = np.empty((n_slices, n_columns), np.uint8), np.empty((n_slices, n_rows), np.uint8)
    for i, (grey, known) in enumerate(volume.slices()):
        is_rock = np.ones(grey.shape, bool) if known is None else known
        smoothed = smooth_within(to_intensity(grey), is_rock, segmentation.smoothing)
        is_pore = is_rock & (smoothed <= segmentation.threshold)
        histogram += np.bincount(grey[is_rock], minlength=256)
        for sums, phase in ((pores, is_pore), (rock, is_rock)):
            _add_profiles(sums, i, phase)
        across_rows[i], across_columns[i] = grey[n_rows // 2], grey[:, n_columns // 2]
    profiles = {axis: np.where(rock[axis] > 0, pores[axis] / np.maximum(rock[axis], 1), np.nan) for axis in AXES}
    return Description(
        sections={"slice": volume.read(n_slices // 2), "row": across_rows, "column": across_columns},
        histogram=histogram,
        porosity=profiles,
        s2=None if crops is None else two_point_curves(segment(to_intensity(crops.crops), segmentation)).mean(axis=0),
        threshold=segmentation.threshold,
        porosity_mean=float(pores["slice"].sum() / rock["slice"].sum()),
    )


def _add_profiles(
    sums: dict[str, Float64[np.ndarray, " n"]], i_slice: int, phase: Bool[np.ndarray, "rows columns"]
) -> None:
    sums["slice"][i_slice] += phase.sum()
    sums["row"] += phase.sum(axis=1)
    sums["column"] += phase.sum(axis=0)
