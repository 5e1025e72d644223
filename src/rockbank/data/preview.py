"""What the data check would say of one volume, before it is added."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rockbank.data.checks.limits import broken
from rockbank.data.checks.rules import Rule, crop_rules, set_rules, volume_rules
from rockbank.data.checks.tables import crop_table, set_table, volume_table
from rockbank.data.cutting import cut_whole
from rockbank.data.manifest import Manifest, VolumeError
from rockbank.data.regions import n_positions, split_regions, whole
from rockbank.data.stored import Volume
from rockbank.params import CheckParams, PrepareParams
from rockbank.rock.crops import CropSet

# So many crops tell a faulty hundredth from none.
N_CROPS = 512
# Rules of the whole set that are of its rock, not of its splits.
OF_ROCK = ("porosity", "contrast", "correlation", "correlation_rise")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the pipeline's parameters ask of a data set.

    Attributes:
        prepare: how crops are cut.
        check: what they must be.
    """

    prepare: PrepareParams
    check: CheckParams


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the check would say.

    Attributes:
        critical: reasons for which the check would stop the pipeline, of the volume's grey values: exposure, margins,
            saturation.
        of_set: the same of porosity, which is that of the whole data set by a rule that can be changed in its manifest.
        warnings: what else the check would say, and what would stop the preparation of crops.
        crops: that were cut from all over the rock; None where it has none of the size.
    """

    critical: tuple[str, ...]
    of_set: tuple[str, ...]
    warnings: tuple[str, ...]
    crops: CropSet | None

    @property
    def passed(self) -> bool:
        """Whether the check would take a data set of this volume alone."""
        return not self.critical and not self.of_set


def preview(volume: Volume, manifest: Manifest, limits: Limits) -> Preview:
    """Hold one volume, and crops from all over its rock, against the limits of `check_crops`.

    Args:
        volume: as data/ would have it.
        manifest: of this volume alone.
        limits: of the pipeline.
    """
    name = manifest.volumes[0].file
    found = broken(volume_table({name: volume}, manifest.voxel_size), volume_rules())
    notes: list[str] = []
    of_set: list[tuple[Rule, str]] = []
    crop_set = None
    try:
        crop_set = _crops(name, volume, manifest, limits.prepare)
        split_regions(name, volume, limits.prepare, 0)
    except VolumeError as error:
        notes.append(f"'prepare' would stop: {error}")
    if crop_set is not None:
        crops = crop_table(crop_set)
        found += broken(crops, crop_rules(limits.check))
        of_rock = [rule for rule in set_rules(limits.check, is_scan=True) if rule.arguments["column"] in OF_ROCK]
        of_set = broken(set_table(crop_set, crops, is_scan=True), of_rock)
    return Preview(
        critical=_of(found, "critical"),
        of_set=_of(of_set, "critical"),
        warnings=(*_of(found, "warning"), *_of(of_set, "warning"), *notes),
        crops=crop_set,
    )


def _of(found: list[tuple[Rule, str]], severity: str) -> tuple[str, ...]:
    return tuple(reason for rule, reason in found if rule.severity == severity)


def _crops(name: str, volume: Volume, manifest: Manifest, params: PrepareParams) -> CropSet:
    size = params.size
    n = N_CROPS
    if min(volume.shape[1:]) >= size:
        n = int(np.minimum(n, n_positions(volume, [whole(volume.shape[1:])], size).sum()))
        if n == 0:
            raise VolumeError(f"{name}: its rock has no crop of {size} x {size}; use a smaller prepare.size or mask")
    return cut_whole({name: volume}, manifest, size=size, n=n, seed=params.seed)
