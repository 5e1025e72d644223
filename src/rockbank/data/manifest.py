"""data/manifest.yaml: what the raw volumes are, and how their phase of interest is segmented from the rest."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import yaml

from rockbank.core.config import load_sections
from rockbank.core.errors import InputError
from rockbank.core.files import write_text

MANIFEST = "manifest.yaml"
# From a tenth of a nanometre (electron microscopy) to a millimetre (a medical scanner).
VOXEL_SIZES = (1e-10, 1e-3)
# Of two voxel sizes that are the same: metadata are rounded, ImageJ keeps six digits.
ALIKE = 1e-3
SMOOTHING_MAX = 50.0


class VolumeError(InputError):
    """A raw volume, or its entry in the manifest, cannot be used; the message names the file and the remedy."""


def _number(raw: Any) -> Any:
    """YAML 1.1 takes 60e-9 for text: it wants 6.0e-8."""
    if isinstance(raw, str):
        with suppress(ValueError):
            return float(raw)
    return float(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw


@dataclass(frozen=True, kw_only=True)
class SegmentationRule:
    """How the dark phase of a volume is found.

    Attributes:
        smoothing: standard deviation of the Gaussian before the threshold, px.
        threshold: intensity in [0, 1], or "otsu", which prepare resolves on the training region.
    """

    smoothing: Annotated[float, _number]
    threshold: Annotated[float | Literal["otsu"], _number]

    def __post_init__(self) -> None:
        if not _is_number(self.smoothing) or not 0 <= self.smoothing <= SMOOTHING_MAX:
            raise VolumeError(f"smoothing: got {self.smoothing!r}; use pixels in [0, {SMOOTHING_MAX:g}], such as 1.5")
        if self.threshold == "otsu":
            return
        if not _is_number(self.threshold) or not 0 < self.threshold < 1:
            raise VolumeError(f"threshold: got {self.threshold!r}; use 'otsu' or an intensity between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class VolumeEntry:
    """One volume of the manifest.

    Attributes:
        file: name beside the manifest, a multi-page TIFF.
        voxel_size: metres.
        segmentation: how its dark phase is found.
        licence: of the data, such as "MIT" or "CC-BY-4.0".
        source: where the data came from.
        sha256: of the file.
        mask: name of the file beside it that is not 0 where there is rock, with all its slices or one for all; None
            for a volume that is rock everywhere.
        mask_sha256: of that file.
    """

    file: str
    voxel_size: Annotated[float, _number]
    segmentation: SegmentationRule
    licence: str
    source: str
    sha256: str
    mask: str | None = None
    mask_sha256: str | None = None

    def __post_init__(self) -> None:
        for key in ("file", "mask") if self.mask is not None else ("file",):
            name = getattr(self, key)
            if not isinstance(name, str) or not name or PurePath(name).name != name:
                raise VolumeError(f"{key}: got {name!r}; use a plain name in the manifest's folder")
        low, high = VOXEL_SIZES
        if not _is_number(self.voxel_size) or not low <= self.voxel_size <= high:
            raise VolumeError(
                f"voxel_size: got {self.voxel_size!r}; use metres in [{low:g}, {high:g}], such as 60e-9 for 60 nm"
            )
        for key in ("licence", "source"):
            if not isinstance(getattr(self, key), str) or not getattr(self, key).strip():
                raise VolumeError(f"{key}: got {getattr(self, key)!r}; use text, such as 'MIT' or where it came from")
        if (self.mask is None) != (self.mask_sha256 is None):
            raise VolumeError(f"mask_sha256: got {self.mask_sha256!r} for mask {self.mask!r}; give both or none")
        for key in ("sha256", "mask_sha256") if self.mask is not None else ("sha256",):
            value = getattr(self, key)
            if not isinstance(value, str) or not re.fullmatch("[0-9a-f]{64}", value):
                raise VolumeError(f"{key}: got {value!r}; use 64 hexadecimal digits, as sha256sum prints them")

    @property
    def files(self) -> tuple[str, ...]:
        """The volume, and its mask where it has one."""
        return (self.file,) if self.mask is None else (self.file, self.mask)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All volumes of the raw data; they share one voxel size and one segmentation rule, as one model learns them.

    None is there twice: each volume is divided into training, validation and test by itself, so that pixels of one that
    has two names would be trained on and tested on.
    """

    volumes: tuple[VolumeEntry, ...]

    def __post_init__(self) -> None:
        if not self.volumes:
            raise VolumeError("volumes: got none; add one with 'rockbank data add'")
        first = self.volumes[0]
        seen: set[str] = set()
        names: dict[str, str] = {}
        for entry in self.volumes:
            if entry.file in seen:
                raise VolumeError(f"volumes: '{entry.file}' is listed twice; remove one of the entries")
            seen.add(entry.file)
            if not math.isclose(entry.voxel_size, first.voxel_size, rel_tol=ALIKE):
                raise VolumeError(
                    f"'{first.file}' has voxels of {first.voxel_size:g} m, '{entry.file}' of {entry.voxel_size:g} m; "
                    "one data set has one voxel size: resample one, or keep them in two projects"
                )
            if entry.segmentation != first.segmentation:
                raise VolumeError(
                    f"'{first.file}' is segmented by {_spell(first.segmentation)} and '{entry.file}' by "
                    f"{_spell(entry.segmentation)}; one data set has one rule: make them equal"
                )
            if (other := names.setdefault(entry.sha256, entry.file)) != entry.file:
                raise VolumeError(
                    f"'{entry.file}' is the same volume as '{other}', sha256 {entry.sha256[:12]}..; its pixels would "
                    "be trained on and tested on: leave one of them out"
                )

    @property
    def voxel_size(self) -> float:
        """Metres, the same in every volume."""
        return self.volumes[0].voxel_size

    @property
    def segmentation(self) -> SegmentationRule:
        """The rule that every volume shares."""
        return self.volumes[0].segmentation


def load_manifest(folder: Path) -> Manifest:
    """Read and check manifest.yaml in `folder`.

    Raises:
        VolumeError: for a missing or malformed file, naming it, and the entry and the key of all that is wrong.
    """
    remedy = "run 'dvc pull' for the sample, or 'rockbank data add' for a volume of yours"
    try:
        return load_sections(folder / MANIFEST, Manifest, remedy)
    except InputError as error:
        raise VolumeError(str(error)) from error


def save_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.yaml into `folder`, whole or not at all."""
    entries = [{key: value for key, value in asdict(entry).items() if value is not None} for entry in manifest.volumes]
    write_text(folder / MANIFEST, yaml.safe_dump({"volumes": entries}, sort_keys=False, width=120))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spell(rule: SegmentationRule) -> str:
    return f"smoothing {rule.smoothing:g} px and threshold {rule.threshold}"
