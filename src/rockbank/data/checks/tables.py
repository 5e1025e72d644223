"""What is in a data set, as tables: a row a crop, a row a raw volume, and one row for the whole set."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float32, Shaped

from rockbank.data.stored import Volume
from rockbank.rock.correlation import two_point_curves
from rockbank.rock.crops import SPLITS, CropSet, to_intensity
from rockbank.rock.descriptors import porosity
from rockbank.rock.segmentation import segment

LAGS = (1, 4, 16)
PAIRS = tuple(combinations(SPLITS, 2))
# S2 of so many crops settles its mean to a few per cent; all 10,000 of 256 x 256 would take minutes.
N_CORRELATED = 256
CHUNK = 256


def crop_table(crop_set: CropSet) -> pd.DataFrame:
    """One row a crop: its place, its statistics as intensity in [0, 1], its phase and its hash.

    The S2 columns are filled for a fixed sample of 256 crops, and empty for the others.
    """
    n = len(crop_set.crops)
    parts = [_statistics(crop_set.crops[start : start + CHUNK], crop_set) for start in range(0, n, CHUNK)]
    table = pd.concat([crop_set.table.reset_index(drop=True), pd.concat(parts, ignore_index=True)], axis=1)
    chosen = np.sort(np.random.default_rng(0).permutation(n)[:N_CORRELATED])
    curves = two_point_curves(_phase(np.asarray(crop_set.crops[chosen]), crop_set))
    for lag in LAGS:
        table[f"s2_{lag}"] = np.nan
        if lag < curves.shape[1]:
            table.loc[chosen, f"s2_{lag}"] = curves[:, lag]
    return table


def volume_table(
    volumes: Mapping[str, Volume] | Mapping[str, Shaped[np.ndarray, "slices rows columns"]], voxel_size: float
) -> pd.DataFrame:
    """One row a volume: shape, type, voxel size (m) and statistics of its rock as intensity in [0, 1]."""
    rows = []
    for name, given in volumes.items():
        voxels = Volume.of(given)
        # Slice by slice, so that a large volume is never in memory.
        pixels = (grey if rock is None else grey[rock] for grey, rock in voxels.slices())
        per_slice = pd.concat([_moments(each[None]) for each in pixels if each.size], ignore_index=True)
        mean = per_slice["mean"].mean()
        rows.append(
            {
                "volume": name,
                "slices": voxels.shape[0],
                "rows": voxels.shape[1],
                "columns": voxels.shape[2],
                "dtype": voxels.dtype.name,
                "voxel_size": voxel_size,
                "min": per_slice["min"].min(),
                "max": per_slice["max"].max(),
                "mean": mean,
                "std": np.sqrt((per_slice["std"] ** 2 + (per_slice["mean"] - mean) ** 2).mean()),
                "saturated": per_slice["saturated"].mean(),
                "n_nan": int(per_slice["n_nan"].sum()),
            }
        )
    return pd.DataFrame(rows)


def set_table(crop_set: CropSet, crops: pd.DataFrame, *, is_scan: bool) -> pd.DataFrame:
    """One row for the whole set: counts, porosity, correlation, duplicates, and what the splits share.

    Args:
        crop_set: the crops.
        crops: their `crop_table`.
        is_scan: whether neighbouring slices resemble each other, so that a place must not be in two splits in any
            slice of the volume.
    """
    split = crops["split"].to_numpy()
    hashes = crops["hash"].to_numpy()
    phi = crops["porosity"].to_numpy()
    is_sampled = crops["s2_1"].notna().to_numpy()
    phi_0 = phi[is_sampled].mean()
    s2 = np.array([crops.loc[is_sampled, f"s2_{lag}"].mean() for lag in LAGS])
    # Of the phase indicator: covariance S2(r) - phi^2 over variance phi - phi^2.
    correlation = (s2 - phi_0**2) / (phi_0 - phi_0**2) if 0 < phi_0 < 1 else np.zeros(len(LAGS))
    in_train, in_validation, in_test = (split == each for each in SPLITS)
    return pd.DataFrame(
        {
            "family": [crop_set.family],
            "n": len(crops),
            "n_train": int(in_train.sum()),
            "n_validation": int(in_validation.sum()),
            "n_test": int(in_test.sum()),
            "voxel_size": crop_set.voxel_size,
            "porosity": phi.mean(),
            "porosity_gap": abs(_mean(phi[in_train]) - _mean(phi[in_test])),
            "contrast": crops["max"].max() - crops["min"].min(),
            "correlation": correlation[0],
            "correlation_rise": max(0.0, float(np.nan_to_num(np.diff(correlation)).max())),
            "duplicates": float(pd.Series(hashes).duplicated(keep=False).mean()),
            "shared": sum(int(np.isin(hashes[split == b], hashes[split == a]).sum()) for a, b in PAIRS),
            "overlapping": sum(_n_overlapping(crops, a, b, any_slice=False) for a, b in PAIRS),
            "overlapping_any_slice": sum(_n_overlapping(crops, a, b, any_slice=True) for a, b in PAIRS)
            if is_scan
            else 0,
        }
    )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0


def _n_overlapping(crops: pd.DataFrame, known: str, unseen: str, *, any_slice: bool) -> int:
    """Crops of the split `unseen` that share a pixel (or its place in any slice) with a crop of the split `known`."""
    keys = ["volume"] if any_slice else ["volume", "slice"]
    split = crops["split"]
    learnt = dict(iter(crops[split == known].groupby(keys)))
    n = 0
    for key, held in crops[split == unseen].groupby(keys):
        if key not in learnt:
            continue
        rows, columns = learnt[key]["row"].to_numpy(), learnt[key]["column"].to_numpy()
        height, width = int(held["height"].iloc[0]), int(held["width"].iloc[0])
        for row, column in zip(held["row"], held["column"], strict=True):
            n += bool(np.any((np.abs(columns - column) < width) & (np.abs(rows - row) < height)))
    return n


def _statistics(crops: Shaped[np.ndarray, "n c h w"], crop_set: CropSet) -> pd.DataFrame:
    crops = np.asarray(crops)
    table = _moments(crops)
    table.insert(0, "channels", crops.shape[1])
    table.insert(1, "height", crops.shape[2])
    table.insert(2, "width", crops.shape[3])
    table.insert(3, "dtype", crops.dtype.name)
    table["porosity"] = porosity(_phase(crops, crop_set))
    table["hash"] = [hashlib.sha256(np.ascontiguousarray(crop).tobytes()).hexdigest() for crop in crops]
    return table


def _moments(images: Shaped[np.ndarray, "n *dims"]) -> pd.DataFrame:
    """Statistics of each image; NaN is counted, and left out of them."""
    flat = _intensity(images).reshape(len(images), -1)
    is_nan = np.isnan(flat)
    known = np.where(is_nan, 0.0, flat)
    n_known = np.maximum((~is_nan).sum(axis=1), 1)
    is_blank = is_nan.all(axis=1)
    mean = known.sum(axis=1, dtype=np.float64) / n_known
    deviation = np.where(is_nan, 0.0, known - mean[:, None].astype(np.float32))
    return pd.DataFrame(
        {
            "min": np.where(is_blank, np.nan, np.where(is_nan, np.inf, flat).min(axis=1)),
            "max": np.where(is_blank, np.nan, np.where(is_nan, -np.inf, flat).max(axis=1)),
            "mean": mean,
            "std": np.sqrt((deviation**2).sum(axis=1, dtype=np.float64) / n_known),
            "saturated": ((known <= 0.0) | (known >= 1.0)).mean(axis=1),
            "n_nan": is_nan.sum(axis=1),
        }
    )


def _intensity(images: Shaped[np.ndarray, "*dims"]) -> Float32[np.ndarray, "*dims"]:
    return to_intensity(images) if images.dtype.kind == "u" else images.astype(np.float32)


def _phase(crops: Shaped[np.ndarray, "n c h w"], crop_set: CropSet) -> Bool[np.ndarray, "n h w"]:
    return segment(np.nan_to_num(_intensity(crops), nan=0.0), crop_set.segmentation)
