"""Are training and test crops alike, and does the split leak? python -m docs.split [FOLDER ...]

Cuts the scans of each data folder (data/ where none is named) by strips and by blocks, and writes
docs/validation/split.md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from rockbank.crops import CropSet, to_intensity
from rockbank.cutting import cut_crops
from rockbank.files import write_text
from rockbank.manifest import load_manifest
from rockbank.metrics.coverage import coarse, nearest_distance
from rockbank.metrics.features import Extractor, features, make_extractor
from rockbank.metrics.frechet import frechet_distance
from rockbank.metrics.kernel import kernel_distance
from rockbank.morphology import Segmentation, porosity, s2_distance, segment, two_point_curves
from rockbank.params import PrepareParams, load_params
from rockbank.regions import Region, n_holding, split_regions
from rockbank.volumes import read_volumes

PAGE = Path("docs/validation/split.md")
BLOCKS = (2, 3, 4)
# Of the assignments whose porosities are compared; everything else is of the seed in params.yaml.
SEEDS = range(1, 9)
N = 1000
# Test crops by their gap to the training region, in crops: those that touch it or nearly do, and so on.
GAPS = (0.0, 0.125, 1.0, np.inf)
FEWEST = 20
TEXT = """# The split into training, validation and test

`{command}` wrote this page.

Strips: the right {test:.0%} of the width is test, the {validation:.0%} left of it validation. Blocks: each slice is
tiled by blocks of at least k crops of {size} pixels, which are assigned at random, the same in every slice. No split
shares a pixel with another in any slice (`tests/test_cutting.py` paints them).

## Likeness

{n} training crops against {n} test crops by the seed {seed}, after the segmentation of the crop set; KID and FID by
{extractor}; KID is 0 on average where the regions do not differ. Regions are those of training,
validation and test. The porosities of all crops that can be cut are compared for {n_seeds} seeds as well.

{likeness}

## Leakage

Median distance of test crops to the nearest of {n_train} training crops, images averaged to 16 cells a side (the
distance of `memorisation`). Test crops are told apart by their gap to the training region: less than an eighth of a
crop, less than a crop, more. A split that leaks has small distances at a small gap. What leakage looks like is in the
last column: other crops from the training region itself, which share pixels with training crops.

{leakage}
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One split of one data set by one seed.

    Attributes:
        gap: difference in mean porosity between training and test crops.
        region_gaps: the same of all crops of their regions, for each of `SEEDS`.
        s2: distance of their S2.
        nearest: median distance of test crops to training crops: of all, and by `GAPS`.
        inside: that of other crops from the training region.
        n_regions: of training, validation and test, all volumes together.
    """

    gap: float
    region_gaps: tuple[float, ...]
    s2: float
    kid: float
    fid: float
    nearest: tuple[float, ...]
    inside: float
    n_regions: tuple[int, ...]


def main(folders: Sequence[str]) -> None:
    """Measure and write the page; prints each row as it comes."""
    params = load_params()
    extractor = make_extractor(params.score.extractor, params.score.inception_weights)
    found: dict[tuple[str, str], Measured] = {}
    for folder in folders:
        data = ", ".join(Path(each.file).stem for each in load_manifest(Path(folder)).volumes)
        for name, asked in _splits(params.prepare).items():
            found[data, name] = _measure(Path(folder), asked, extractor)
            print(data, name, found[data, name], flush=True)
    prepare = params.prepare
    text = TEXT.format(
        command=" ".join(["python -m docs.split", *(["data", "FOLDER"][: len(folders)])]),
        seed=prepare.seed,
        n_seeds=len(SEEDS),
        test=prepare.test_fraction,
        validation=prepare.validation_fraction,
        size=prepare.size,
        n=N,
        n_train=prepare.n_train,
        extractor=extractor.name,
        likeness=_likeness(found),
        leakage=_leakage(found),
    )
    write_text(PAGE, text)
    print(PAGE)


def _splits(params: PrepareParams) -> dict[str, PrepareParams]:
    return {"strips": replace(params, split="strips")} | {
        f"blocks of {block}": replace(params, split="blocks", block=block) for block in BLOCKS
    }


def _measure(folder: Path, params: PrepareParams, extractor: Extractor) -> Measured:
    manifest = load_manifest(folder)
    volumes = read_volumes(folder, manifest)
    # A draw without repeats is in random order, so the last training crops are as good as others.
    crop_set = cut_crops(volumes, manifest, replace(params, n_train=params.n_train + N))
    train, test = to_intensity(crop_set.train[:N]), to_intensity(crop_set.test[:N])
    pores = [segment(each, crop_set.segmentation) for each in (train, test)]
    embedded = [features(each, extractor) for each in (train, test)]
    regions = [split_regions(name, voxels, params, i_volume) for i_volume, (name, voxels) in enumerate(volumes.items())]
    known = coarse(crop_set.train[: params.n_train])
    return Measured(
        gap=float(abs(porosity(pores[0]).mean() - porosity(pores[1]).mean())),
        region_gaps=_region_gaps(volumes, crop_set.segmentation, params),
        s2=s2_distance(*(two_point_curves(each) for each in pores)),
        kid=kernel_distance(embedded[0], embedded[1], 0).mean,
        fid=frechet_distance(embedded[0], embedded[1]),
        nearest=_by_gap(crop_set, volumes, params, nearest_distance(coarse(crop_set.test), known)),
        inside=float(np.median(nearest_distance(coarse(crop_set.train[params.n_train :]), known))),
        n_regions=tuple(sum(len(each[split]) for each in regions) for split in regions[0]),
    )


def _by_gap(
    crop_set: CropSet,
    volumes: Mapping[str, UInt8[np.ndarray, "slices rows columns"]],
    params: PrepareParams,
    nearest: Float[np.ndarray, " n"],
) -> tuple[float, ...]:
    """The median of all, and of the test crops whose gap to the training region is in each of `GAPS`."""
    table = crop_set.table[crop_set.table["split"] == "test"].reset_index(drop=True)
    gaps = np.empty(len(table))
    for i_volume, (name, voxels) in enumerate(volumes.items()):
        learnt = split_regions(name, voxels, params, i_volume)["train"]
        of_volume = table[table["volume"] == name]
        gaps[of_volume.index] = np.min([_gap(of_volume, at, params.size) for at in learnt], axis=0)
    i_bin = np.digitize(gaps / params.size, GAPS) - 1
    chosen = [np.ones(len(table), bool), *(i_bin == i for i in range(len(GAPS) - 1))]
    return tuple(float(np.median(nearest[each])) if each.sum() >= FEWEST else np.nan for each in chosen)


def _gap(crops: pd.DataFrame, at: Region, size: int) -> Int[np.ndarray, " n"]:
    """Pixels between each crop and a region, the larger one of the two directions."""
    row, column = crops["row"].to_numpy(), crops["column"].to_numpy()
    beyond = [
        at.row - (row + size),
        row - (at.row + at.n_rows),
        at.column - (column + size),
        column - (at.column + at.n_columns),
    ]
    return np.maximum(np.max(beyond, axis=0), 0)


def _region_gaps(
    volumes: Mapping[str, UInt8[np.ndarray, "slices rows columns"]], segmentation: Segmentation, params: PrepareParams
) -> tuple[float, ...]:
    """Difference in porosity between all crops of the training and of the test regions, for each of `SEEDS`."""
    pores = {
        name: segment(to_intensity(voxels[:, None]), segmentation).mean(axis=0) for name, voxels in volumes.items()
    }
    gaps = []
    for seed in SEEDS:
        values: dict[str, list[tuple[float, int]]] = {"train": [], "test": []}
        for i_volume, (name, phase) in enumerate(pores.items()):
            regions = split_regions(name, volumes[name], replace(params, seed=seed), i_volume)
            for split, parts in values.items():
                parts += [_mean_of_crops(phase, at, params.size) for at in regions[split]]
        means = [np.average([mean for mean, _ in parts], weights=[n for _, n in parts]) for parts in values.values()]
        gaps.append(float(abs(means[0] - means[1])))
    return tuple(gaps)


def _mean_of_crops(phase: Float[np.ndarray, "rows columns"], at: Region, size: int) -> tuple[float, int]:
    """The porosity of all crops of a region, and how many they are in a slice."""
    weight = np.outer(n_holding(at.n_rows, size), n_holding(at.n_columns, size))
    inside = phase[at.row : at.row + at.n_rows, at.column : at.column + at.n_columns]
    return float(np.average(inside, weights=weight)), (at.n_rows - size + 1) * (at.n_columns - size + 1)


def _likeness(found: Mapping[tuple[str, str], Measured]) -> str:
    head = (
        "data",
        "split",
        "regions",
        "porosity, difference",
        "of all crops, mean",
        "worst",
        "S2 distance",
        "KID x 1000",
        "FID",
    )
    rows = []
    for (data, split), run in found.items():
        values = (
            ", ".join(map(str, run.n_regions)),
            f"{run.gap:.4f}",
            f"{np.mean(run.region_gaps):.4f}",
            f"{max(run.region_gaps):.4f}",
            f"{run.s2:.4f}",
            f"{1000 * run.kid:.1f}",
            f"{run.fid:.1f}",
        )
        rows.append((data, split, *values))
    return _table(head, rows)


def _leakage(found: Mapping[tuple[str, str], Measured]) -> str:
    head = "data", "split", "all test crops", "gap below 1/8 crop", "1/8 to 1 crop", "1 crop or more", "inside training"
    rows = []
    for (data, split), run in found.items():
        values = ("–" if np.isnan(each) else f"{each:.3f}" for each in (*run.nearest, run.inside))
        rows.append((data, split, *values))
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:] or ["data"])
