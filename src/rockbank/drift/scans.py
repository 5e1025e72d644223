"""New raw scans, cut into crops, and the rock that they are held against."""

from __future__ import annotations

import math
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import read_json
from rockbank.core.paths import DATA, PIPELINE, SCANNED, ProjectPaths
from rockbank.data.adding import Progress, ScanOptions, add_volumes
from rockbank.data.cutting import cut_whole
from rockbank.data.manifest import ALIKE, MANIFEST, SegmentationRule, load_manifest
from rockbank.data.stored import open_volumes
from rockbank.drift.distances import described_values
from rockbank.generator.card import REFERENCE
from rockbank.rock.crops import CropSet, load_crops
from rockbank.rock.segmentation import Segmentation

if TYPE_CHECKING:
    import pandas as pd

# A reference has four times the crops of the new scans, so that its own chance counts little.
REFERENCE_CROPS = 4


@dataclass(frozen=True, kw_only=True)
class DriftRequest:
    """What is to be compared, and with what.

    Attributes:
        paths: as `rockbank data add` takes them.
        options: how they are read.
        model: NAME@ALIAS or NAME/VERSION, whose registered statistics are the reference; None for the training crops.
        n: crops of the new scans.
        seed: of crops and resampling.
    """

    paths: tuple[Path, ...]
    options: ScanOptions
    model: str | None
    n: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The rock that new scans are held against.

    Attributes:
        name: what it is, in words.
        size: pixels a side of a crop.
        voxel_size: metres.
        segmentation: how its phase was segmented, with the threshold as a number.
        rule: how that of a new scan is segmented: the one in data/, or that number where there is none.
        crops: a sample of the training crops; None where only statistics are there.
        n_voxels: of the regions that the training crops were cut from.
        described: reference.json, where there are no crops.
    """

    name: str
    size: int
    voxel_size: float
    segmentation: Segmentation
    rule: SegmentationRule
    crops: CropSet | None = None
    n_voxels: int = 0
    described: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Scans that were read and cut, and their reference.

    Attributes:
        request: of the user.
        reference: that they are held against.
        new: their crops; where the rule is Otsu's, its segmentation has the threshold of the new scans themselves.
        n_voxels: of the new scans.
    """

    request: DriftRequest
    reference: Reference
    new: CropSet
    n_voxels: int


def load(
    request: DriftRequest,
    paths: ProjectPaths = PIPELINE,
    progress: Progress | None = None,
) -> Plan:
    """Read the scans, cut crops of the reference's size from all over them, and find their reference.

    Args:
        request: of the user.
        paths: where the training crops lie.
        progress: of the slices of each scan.

    Raises:
        InputError: for a scan that `rockbank data add` would refuse, or that has voxels of another size, naming it.
    """
    reference = _from_registry(request.model) if request.model else _from_crops(request, paths)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "scans"
        added = add_volumes(
            request.paths,
            folder,
            options=request.options,
            segmentation=reference.rule,
            licence="not stated",
            source="not stated",
            progress=progress,
        )
        for path, entry in zip(request.paths, (each.entry for each in added), strict=True):
            if not math.isclose(entry.voxel_size, reference.voxel_size, rel_tol=ALIKE):
                raise InputError(
                    f"{path}: voxels of {entry.voxel_size:g} m, but {reference.name} has voxels of "
                    f"{reference.voxel_size:g} m; resample the scan, or start a data set of its own with "
                    "'rockbank data add --replace'"
                )
        manifest = load_manifest(folder)
        with open_volumes(folder, manifest) as volumes:
            new = cut_whole(volumes, manifest, size=reference.size, n=request.n, seed=request.seed, family=SCANNED)
            n_voxels = sum(each.size for each in volumes.values())
    return Plan(request=request, reference=reference, new=new, n_voxels=n_voxels)


def about(plan: Plan) -> dict[str, str]:
    """What is compared with what, for people."""
    reference, request = plan.reference, plan.request
    own = plan.new.segmentation.threshold
    origin = "Otsu on the new scans" if reference.rule.threshold == "otsu" else "as given"
    return {
        "new scans": ", ".join(map(str, request.paths)),
        "crops": f"{len(plan.new.crops)} of {reference.size} x {reference.size} pixels, seed {request.seed}",
        "voxel size": f"{reference.voxel_size:g} m",
        "reference": reference.name,
        "phase": f"at most {own:.3f} of the grey scale after a Gaussian of {reference.rule.smoothing:g} pixels "
        f"({origin}); {reference.segmentation.threshold:.3f} in the reference",
        "limits": "from regions of the reference held against the rest of it"
        if reference.crops is not None
        else "from the reference's values resampled; where its crops lay is not known, so that rock which varies "
        "from place to place may be over them",
    }


def retrain_commands(plan: Plan) -> list[str]:
    """What makes the generators learn from the new scans as well."""
    rule = load_manifest(DATA).segmentation if (DATA / MANIFEST).is_file() else plan.reference.rule
    added = ["rockbank", "data", "add", *map(str, plan.request.paths), "--voxel-size", f"{plan.new.voxel_size}"]
    added += ["--smoothing", f"{rule.smoothing}", "--threshold", f"{rule.threshold}"]
    options = plan.request.options
    for name in ("dataset", "nodata", "mask"):
        if getattr(options, name) is not None:
            added += [f"--{name}", f"{getattr(options, name)}"]
    if options.allow_gaps:
        added.append("--allow-gaps")
    return [shlex.join(added), "dvc add data", "dvc repro", f"rockbank promote {SCANNED}"]


def _from_crops(request: DriftRequest, paths: ProjectPaths) -> Reference:
    folder = paths.crops(SCANNED)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no training crops to compare with; run 'dvc repro prepare', or name a registered generator: "
            f"--model {SCANNED}@champion"
        )
    crop_set = load_crops(folder)
    is_train = crop_set.table["split"].to_numpy() == "train"
    table = crop_set.table[is_train].reset_index(drop=True)
    n = min(len(table), REFERENCE_CROPS * request.n)
    chosen = np.sort(np.random.default_rng(request.seed).choice(len(table), n, replace=False))
    size = crop_set.crops.shape[-1]
    return Reference(
        name=f"{n} of the {len(table)} training crops in {folder}",
        size=size,
        voxel_size=crop_set.voxel_size,
        segmentation=crop_set.segmentation,
        rule=load_manifest(DATA).segmentation if (DATA / MANIFEST).is_file() else _as_rule(crop_set.segmentation),
        crops=replace(
            crop_set, crops=np.asarray(crop_set.train[chosen]), table=table.iloc[chosen].reset_index(drop=True)
        ),
        n_voxels=_n_voxels(table, size),
    )


def _n_voxels(table: pd.DataFrame, size: int) -> int:
    """Of the regions that these crops were cut from, up to a pixel or so: what they cover, in every slice."""
    n = 0
    for _, places in table.groupby("volume"):
        covered = np.zeros((places["row"].max() + size, places["column"].max() + size), bool)
        for row, column in zip(places["row"], places["column"], strict=True):
            covered[row : row + size, column : column + size] = True
        n += int(covered.sum()) * (int(np.ptp(places["slice"])) + 1)
    return n


def _from_registry(model: str) -> Reference:
    from rockbank.mlops import registry

    with tempfile.TemporaryDirectory() as temporary:
        entry, card = registry.pull(model, Path(temporary) / "pulled")
        described = read_json(Path(temporary) / "pulled" / REFERENCE)
    name = f"{entry.name}/{entry.version}"
    if card.family != SCANNED:
        raise InputError(f"{name}: of {card.family}, which is not scanned; name a generator of {SCANNED}")
    if not described_values(described):
        raise InputError(
            f"{name}: its {REFERENCE} has no values to compare with, as versions had before there was this command; "
            "register the generator again with 'dvc repro', or leave --model out to compare with the training crops"
        )
    return Reference(
        name=f"statistics of {described['n']} test crops registered with {name}",
        size=card.image_shape[-1],
        voxel_size=card.voxel_size,
        segmentation=card.segmentation,
        rule=_as_rule(card.segmentation),
        described=described,
    )


def _as_rule(segmentation: Segmentation) -> SegmentationRule:
    return SegmentationRule(smoothing=segmentation.smoothing, threshold=segmentation.threshold)
