"""A set of crops: what prepare writes, and what checks, training and scores read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt, UInt8

from rockbank.core.errors import InputError
from rockbank.core.files import read_json, replacing_folder, write_json
from rockbank.rock.segmentation import Segmentation

if TYPE_CHECKING:
    import pandas as pd

SPLITS = ("train", "validation", "test")
# The stream of the seed from which each split is drawn.
STREAMS = {"train": 0, "validation": 2, "test": 1}


@dataclass(frozen=True, kw_only=True)
class CropSet:
    """Crops of one family of rock, with where each was cut.

    Attributes:
        family: the registered model that trains on them, such as "shale".
        crops: unsigned integers whose full scale is intensity 1.
        table: a row a crop: split, volume, slice, row, column, seed.
        voxel_size: metres.
        segmentation: how the phase of interest is segmented from the rest.
        scans: SHA-256 of each scan that they were cut from, by its file's name; none where the rock is synthetic.
    """

    family: str
    crops: UInt[np.ndarray, "n c h w"]
    table: pd.DataFrame
    voxel_size: float
    segmentation: Segmentation
    scans: Mapping[str, str] = field(default_factory=dict)

    @property
    def train(self) -> UInt[np.ndarray, "n_train c h w"]:
        """Crops that the generators learn from."""
        return self._split("train")

    @property
    def validation(self) -> UInt[np.ndarray, "n_validation c h w"]:
        """Crops by which the best step of a training is chosen; no generator learns from them."""
        return self._split("validation")

    @property
    def test(self) -> UInt[np.ndarray, "n_test c h w"]:
        """Crops that no generator has seen a pixel of and no choice was made by, for the final scores."""
        return self._split("test")

    def _split(self, name: str) -> UInt[np.ndarray, "n c h w"]:
        # One contiguous run per split keeps this a view of the memory map, not a copy of it.
        rows = np.flatnonzero(self.table["split"].to_numpy() == name)
        if rows.size and rows[-1] - rows[0] + 1 == rows.size:
            return self.crops[rows[0] : rows[-1] + 1]
        return self.crops[rows]


def save_crops(folder: Path, crop_set: CropSet) -> None:
    """Write crops.npy, crops.csv and crops.json into `folder`, all or nothing."""
    about = {
        "family": crop_set.family,
        "voxel_size": crop_set.voxel_size,
        "segmentation": asdict(crop_set.segmentation),
        "scans": dict(crop_set.scans),
    }
    with replacing_folder(folder) as beside:
        np.save(beside / "crops.npy", crop_set.crops, allow_pickle=False)
        crop_set.table.to_csv(beside / "crops.csv", index_label="crop")
        write_json(beside / "crops.json", about)


def load_crops(folder: Path) -> CropSet:
    """The crop set in `folder`; its array is memory-mapped, read-only.

    Raises:
        InputError: naming the file that is missing, or that does not fit the others.
    """
    # Sampling and simulating need this module and no table: pandas is half of their imports.
    import pandas as pd

    for name in ("crops.npy", "crops.csv", "crops.json"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name}: no such file; run 'dvc repro' to prepare the crops")
    crops = np.load(folder / "crops.npy", mmap_mode="r", allow_pickle=False)
    table = pd.read_csv(folder / "crops.csv", index_col="crop")
    if len(table) != len(crops):
        raise InputError(f"{folder}: crops.csv has {len(table)} rows, crops.npy {len(crops)} crops; prepare them again")
    about = read_json(folder / "crops.json")
    return CropSet(
        family=about["family"],
        crops=crops,
        table=table,
        voxel_size=about["voxel_size"],
        segmentation=Segmentation(**about["segmentation"]),
        scans=about.get("scans", {}),
    )


def to_intensity(crops: UInt[np.ndarray, "*dims"]) -> Float[np.ndarray, "*dims"]:
    """Unsigned integers as float32 in [0, 1], their full scale being 1."""
    full_scale = float(np.iinfo(crops.dtype).max)
    return np.asarray(crops.astype(np.float32) / full_scale)


def to_bytes(intensity: Float[np.ndarray, "*dims"]) -> UInt8[np.ndarray, "*dims"]:
    """Intensity clipped to [0, 1] and rounded to 8 bits."""
    return np.asarray(np.round(np.clip(intensity, 0.0, 1.0) * 255.0), dtype=np.uint8)
