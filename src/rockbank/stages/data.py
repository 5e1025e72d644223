"""Crops of the raw volumes, sections of the channel model, and the checks on both."""

from __future__ import annotations

from contextlib import nullcontext

from rockbank.core.errors import UserError
from rockbank.core.files import write_json
from rockbank.core.paths import DATA, PIPELINE, SCANNED, ProjectPaths
from rockbank.core.terminal import terminal
from rockbank.data.checks.suite import check_crops, write_report
from rockbank.data.cutting import CropsOf, cut_crops
from rockbank.data.manifest import load_manifest
from rockbank.data.stored import open_volumes
from rockbank.data.synthetic.channels import channel_crops
from rockbank.params import ChannelsParams, CheckParams, PrepareParams
from rockbank.rock.crops import CropSet, load_crops, save_crops


class CheckFailed(UserError, RuntimeError):
    """A data set has a critical fault."""


def prepare(params: PrepareParams, paths: ProjectPaths = PIPELINE, crops_of: CropsOf | None = None) -> None:
    """Cut the crops of data/ and write them with the split, seed and source of each; `crops_of` as of cut_crops."""
    manifest = load_manifest(DATA)
    with open_volumes(DATA, manifest) as volumes:
        _save(cut_crops(volumes, manifest, params, SCANNED, crops_of), paths)


def prepare_channels(params: ChannelsParams, paths: ProjectPaths = PIPELINE) -> None:
    """Draw the channel sections."""
    _save(channel_crops(params), paths)


def check(family: str, params: CheckParams, paths: ProjectPaths = PIPELINE) -> None:
    """Hold a crop set, and the volumes behind it, against the expectations.

    Raises:
        CheckFailed: with every reason; result and Data Docs are written all the same.
    """
    with open_volumes(DATA, load_manifest(DATA)) if family == SCANNED else nullcontext() as volumes:
        result = check_crops(load_crops(paths.crops(family)), volumes, params)
    folder = paths.check(family)
    write_report(result, folder / "docs")
    write_json(folder / "result.json", result.to_json())
    for warning in result.warnings:
        terminal.print(f"  warning: {warning}")
    if not result.passed:
        reasons = "\n".join(f"  {reason}" for reason in result.critical)
        raise CheckFailed(
            f"the {family} data set is not fit to train on:\n{reasons}\nwith pictures: {folder / 'docs' / 'index.html'}"
        )
    # What training waits for: it says the same for every limit that the data meet.
    write_json(folder / "passed.json", {"family": family, "passed": True})
    terminal.print(f"{family}: the data set meets every critical expectation; {len(result.warnings)} warnings")


def _save(crop_set: CropSet, paths: ProjectPaths) -> None:
    save_crops(paths.crops(crop_set.family), crop_set)
    size = " x ".join(map(str, crop_set.crops.shape[1:]))
    n_train, n_validation, n_test = len(crop_set.train), len(crop_set.validation), len(crop_set.test)
    terminal.print(
        f"{crop_set.family}: {n_train} crops of {size} to train on, {n_validation} of validation, {n_test} of test"
    )
