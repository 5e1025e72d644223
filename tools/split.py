"""Are training and test crops alike, and does the split leak? python -m tools.split [FOLDER ...]

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

from rockbank.core.errors import InputError
from rockbank.core.files import write_text
from rockbank.data.cutting import cut_crops
from rockbank.data.manifest import Manifest, load_manifest
from rockbank.data.regions import Region, n_holding, split_regions
from rockbank.data.stored import open_volumes
from rockbank.metrics.diversity import coarse, nearest_distance
from rockbank.metrics.features import Extractor, features, make_extractor
from rockbank.metrics.fid import fid
from rockbank.metrics.kid import kid
from rockbank.params import PrepareParams, load_params
from rockbank.rock.correlation import s2_distance, two_point_curves
from rockbank.rock.crops import to_intensity
from rockbank.rock.descriptors import porosity
from rockbank.rock.segmentation import Segmentation, segment

PAGE = Path("docs/validation/split.md")
Voxels = Mapping[str, UInt8[np.ndarray, "slices rows columns"]]
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
shares a pixel with another in any slice (`tests/data/test_cutting.py` paints them).

## Likeness

{n} training crops against {n} test crops by the seed {seed}, segmented as the set is. KID and FID are those
of {extractor}; KID is 0 on average where
the regions do not differ. Regions are those of training, validation and test. A difference in porosity of so many crops
has the chance of their draw in it; that of all crops that can be cut, compared for {n_seeds} seeds, has not.

{likeness}

## Leakage

Median distance of test crops to the nearest of {n_train} training crops, images averaged to 16 cells a side (the
distance of `memorisation`); mean and standard error over {n_seeds} seeds. Test crops are grouped by their gap to the
training region: less than an eighth of a crop, less than a crop, more. A split that leaks has a smaller distance at a
small gap than at a large one. The last column has other crops from the training region itself, which share pixels with
training crops: what no split at all would give.

{leakage}

## Reading

The seed's own columns (the first porosity difference, S2, KID, FID) are of one assignment and one draw of
crops, and move by as much as rows of one scan differ; other draws of the same strips gave other values. Over
seeds, blocks are nearer to each other in porosity than strips on both scans. On the sample, whose strips are
alike already, they gain nothing in KID or FID; on the real scan they do, at every size.

No pixel is shared, but distances do not all say that blocks are as far apart as strips. On the sample all
test crops are as far from the training crops as those of the strip; on the real scan they are nearer, and
whether because the strip is of more porous rock or because blocks lie among training blocks these figures do
not tell. Test crops that all but touch a training block are somewhat nearer than others on the sample, at
blocks of 3 beyond the error over seeds. A gap between the blocks would remove them; there is none. Where an
error is very small, few seeds had 20 crops in that class.
"""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One split of one data set by one seed.

    Attributes:
        gap: difference in mean porosity between training and test crops.
        region_gaps: the same of all crops of their regions, for each of `SEEDS`.
        s2: distance of their S2.
        nearest: for each of `SEEDS`, median distance to training crops: of test crops, of those in each of `GAPS`, and
            of other crops from the training region.
        n_regions: of training, validation and test, all volumes together.
    """

    gap: float
    region_gaps: tuple[float, ...]
    s2: float
    kid: float
    fid: float
    nearest: tuple[tuple[float, ...], ...]
    n_regions: tuple[int, ...]


def main(folders: Sequence[str]) -> None:
    """Measure and write the page; prints each row as it comes."""
    params = load_params()
    extractor = make_extractor(params.score.extractor, params.score.inception_weights)
    found: dict[tuple[str, str], Measured] = {}
    for folder in folders:
        data = ", ".join(Path(each.file).stem for each in load_manifest(Path(folder)).volumes)
        for name, split in _splits(params.prepare).items():
            found[data, name] = _measure(Path(folder), split, extractor)
            print(data, name, found[data, name], flush=True)
    prepare = params.prepare
    text = TEXT.format(
        command=" ".join(["python -m tools.split", *(["data", "FOLDER"][: len(folders)])]),
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
    if any(entry.mask for entry in manifest.volumes):
        raise InputError(f"{folder}: has volumes with masks, which this page does not compare; name another folder")
    with open_volumes(folder, manifest) as opened:
        volumes = {name: np.asarray(each) for name, each in opened.items()}
    crop_set = cut_crops(volumes, manifest, params)
    train, test = to_intensity(crop_set.train[:N]), to_intensity(crop_set.test[:N])
    pores = [segment(each, crop_set.segmentation) for each in (train, test)]
    embedded = [features(each, extractor) for each in (train, test)]
    regions = [split_regions(name, voxels, params, i_volume) for i_volume, (name, voxels) in enumerate(volumes.items())]
    return Measured(
        gap=float(abs(porosity(pores[0]).mean() - porosity(pores[1]).mean())),
        region_gaps=_region_gaps(volumes, crop_set.segmentation, params),
        s2=s2_distance(*(two_point_curves(each) for each in pores)),
        kid=kid(embedded[0], embedded[1], 0).mean,
        fid=fid(embedded[0], embedded[1]),
        nearest=tuple(_nearest(volumes, manifest, replace(params, seed=seed)) for seed in SEEDS),
        n_regions=tuple(sum(len(each[split]) for each in regions) for split in regions[0]),
    )


def _nearest(volumes: Voxels, manifest: Manifest, params: PrepareParams) -> tuple[float, ...]:
    """Median distance to training crops of test crops, of those in each of `GAPS`, and of others from their region."""
    # A draw without repeats is in random order, so the last training crops are as good as others.
    crop_set = cut_crops(volumes, manifest, replace(params, n_train=params.n_train + N))
    known = coarse(crop_set.train[: params.n_train])
    of_test = nearest_distance(coarse(crop_set.test), known)
    inside = nearest_distance(coarse(crop_set.train[params.n_train :]), known)
    table = crop_set.table[crop_set.table["split"] == "test"].reset_index(drop=True)
    gaps = np.empty(len(table))
    for i_volume, (name, voxels) in enumerate(volumes.items()):
        learnt = split_regions(name, voxels, params, i_volume)["train"]
        of_volume = table[table["volume"] == name]
        gaps[of_volume.index] = np.min([_gap(of_volume, at, params.size) for at in learnt], axis=0)
    i_bin = np.digitize(gaps / params.size, GAPS) - 1
    chosen = [of_test, *(of_test[i_bin == i] for i in range(len(GAPS) - 1)), inside]
    return tuple(float(np.median(each)) if len(each) >= FEWEST else np.nan for each in chosen)


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


def _region_gaps(volumes: Voxels, segmentation: Segmentation, params: PrepareParams) -> tuple[float, ...]:
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
        rows.append((data, split, *(_with_error(each[~np.isnan(each)]) for each in np.transpose(run.nearest))))
    return _table(head, rows)


def _with_error(values: Float[np.ndarray, " n"]) -> str:
    """The mean over seeds and its standard error."""
    return "–" if len(values) < 2 else f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * 2 + ["---:"] * (len(head) - 2), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main(sys.argv[1:] or ["data"])
