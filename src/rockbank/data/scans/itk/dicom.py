"""Volumes in DICOM files, each a slice, whose positions say their order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, cubic, decoding
from rockbank.data.scans.itk.image import Header, decode, read_header
from rockbank.data.scans.source import Source

SERIES, INSTANCE_NUMBER, POSITION, ORIENTATION = "0020|000e", "0020|0013", "0020|0032", "0020|0037"
PHOTOMETRIC, PIXEL_SPACING, SLICE_DISTANCE = "0028|0004", "0028|0030", "0018|0088"
INTERCEPT, SLOPE = "0028|1052", "0028|1053"
PADDING, PADDING_LIMIT = "0028|0120", "0028|0121"
# Bytes of the preamble, with the mark at its end.
PREAMBLE = 132
# Of the distance of two slices: positions are decimal texts, rounded by some programs to a few digits.
ALIKE = 0.1


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A file and its header."""

    path: Path
    header: Header

    def numbers(self, tag: str) -> tuple[float, ...]:
        """The values of a tag; none where the file does not have it."""
        text = self.header.metadata.get(tag, "").strip()
        return tuple(float(each) for each in text.split("\\")) if text else ()


def is_dicom(path: Path) -> bool:
    """Whether a file has DICOM's mark behind its preamble; one that cannot be opened has none."""
    with suppress(OSError), path.open("rb") as file:
        return file.read(PREAMBLE)[-4:] == b"DICM"
    return False


@contextmanager
def open_dicom(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A series in a folder, in the order of its slices' positions, read by slices; or a file of one slice.

    Rescale slope and intercept of each slice are applied, so that values are what the scanner's scale says.

    Args:
        path: of the folder or the file.
        dataset: the UID of the series, where the folder holds several.
        voxels_max: a series that declares more is not decoded.
    """
    slices = _series(path, dataset)
    _check_alike(slices)
    slices, distance = _in_order(path, slices)
    first = slices[0]
    _, rows, columns = first.header.shape
    check_declared(first.path, (rows, columns), first.header.dtype, max(1, voxels_max // len(slices)))
    y, x = first.numbers(PIXEL_SPACING) or (None, None)
    side = cubic(path, x, y, distance, "mm")
    yield Source(
        path=path,
        shape=(len(slices), rows, columns),
        dtype=first.header.dtype,
        voxel_size=None if side is None else side * 1e-3,
        nodata=_nodata(first),
        parts=tuple(each.path for each in slices),
        read=lambda start, stop: np.concatenate([decode(each.header, 0, 1) for each in slices[start:stop]]),
    )


def _series(path: Path, dataset: str | None) -> list[Slice]:
    """The slices of the series that is named, or of the only one."""
    if path.is_file():
        return [_read_slice(path)]
    # Not by ITK's own search, which takes the voxels of all files into memory.
    series: dict[str, list[Slice]] = {}
    for file in sorted(path.iterdir()):
        if file.is_file() and _may_be_slice(file):
            with decoding(file, "a DICOM file"):
                each = _read_slice(file)
            series.setdefault(each.header.metadata.get(SERIES, "").strip(" \0"), []).append(each)
    if dataset is not None and dataset not in series:
        raise VolumeError(f"{path}: no series '{dataset}'; it holds {sorted(series)}")
    if dataset is None and len(series) != 1:
        raise VolumeError(f"{path}: {len(series)} DICOM series; name one of {sorted(series)}")
    return series[dataset] if dataset is not None else next(iter(series.values()))


def _may_be_slice(file: Path) -> bool:
    """Whether a file is DICOM, or seems to be what is left of one."""
    if file.name == "DICOMDIR" or file.name.startswith("."):
        return False
    is_empty = file.suffix == "" and file.stat().st_size < PREAMBLE
    return file.suffix.lower() in (".dcm", ".ima") or is_empty or is_dicom(file)


def _read_slice(path: Path) -> Slice:
    header = read_header(path, "GDCMImageIO")
    if len(header.shape) != 3 or header.shape[0] != 1:
        raise VolumeError(f"{path}: frames of shape {header.shape}; export them as a file each")
    if header.metadata.get(PHOTOMETRIC, "").strip() != "MONOCHROME2":
        raise VolumeError(
            f"{path}: '{header.metadata.get(PHOTOMETRIC, '').strip()}', where zero is not black; save it as MONOCHROME2"
        )
    return Slice(path=path, header=header)


def _check_alike(slices: list[Slice]) -> None:
    def about(each: Slice) -> dict[str, object]:
        return {
            "shape": each.header.shape,
            "type": each.header.dtype,
            "pixel spacing": each.numbers(PIXEL_SPACING),
            "orientation": each.numbers(ORIENTATION),
            "number of coordinates of its position": len(each.numbers(POSITION)),
            "value of no data": _nodata(each),
        }

    first = about(slices[0])
    for each in slices[1:]:
        for what, value in about(each).items():
            if value != first[what]:
                raise VolumeError(
                    f"{each.path}: {what} {value}, but {slices[0].path.name} has {first[what]}; the slices of one "
                    "volume are alike: move it elsewhere"
                )


def _in_order(path: Path, slices: list[Slice]) -> tuple[list[Slice], float | None]:
    """Slices by position, or by number where they have none, and their distance (mm) where that is known."""
    if len(slices) == 1:
        return slices, None
    if len(slices[0].numbers(POSITION)) == 3 and len(slices[0].numbers(ORIENTATION)) == 6:
        heights = _heights(path, slices)
        declared = None
    else:
        if any(len(each.numbers(INSTANCE_NUMBER)) != 1 for each in slices):
            raise VolumeError(f"{path}: slices without position or number, so that their order is unknown; {AGAIN}")
        heights = [each.numbers(INSTANCE_NUMBER)[0] for each in slices]
        declared = slices[0].numbers(SLICE_DISTANCE)
    order = sorted(range(len(slices)), key=lambda i: heights[i])
    steps = [heights[j] - heights[i] for i, j in pairwise(order)]
    step = float(np.median(steps)) if declared is None else 1.0
    for (i, j), each in zip(pairwise(order), steps, strict=True):
        names = f"{slices[i].path.name} and {slices[j].path.name}"
        if each < ALIKE * step or step == 0:
            raise VolumeError(f"{path}: {names} are at the same position {heights[i]:g}; remove one")
        if abs(each - step) > ALIKE * step:
            raise VolumeError(
                f"{path}: {names} are {each:g} apart, others {step:g}: slices are missing between them, or misplaced; "
                "complete the series, or cut it there"
            )
    in_order = [slices[i] for i in order]
    if declared is None:
        return in_order, (heights[order[-1]] - heights[order[0]]) / (len(slices) - 1)
    return in_order, declared[0] if declared else None


def _heights(path: Path, slices: list[Slice]) -> list[float]:
    """Positions along the normal of the slices (mm)."""
    rows, columns = np.reshape(slices[0].numbers(ORIENTATION), (2, 3))
    normal: Float[np.ndarray, "3"] = np.cross(rows, columns)
    positions = np.array([each.numbers(POSITION) for each in slices])
    heights = positions @ normal
    aside = positions - positions[0] - np.outer(heights - heights[0], normal)
    pixel = min(slices[0].numbers(PIXEL_SPACING) or (np.inf,))
    if np.abs(aside).max() > ALIKE * pixel:
        raise VolumeError(
            f"{path}: its slices are shifted by up to {np.abs(aside).max():g} mm in their plane; align them"
        )
    return [float(each) for each in heights]


def _nodata(each: Slice) -> float | None:
    """The padding value, rescaled as the voxels are."""
    padding, limit = each.numbers(PADDING), each.numbers(PADDING_LIMIT)
    if not padding:
        return None
    if limit not in ((), padding):
        raise VolumeError(f"{each.path}: a range of padding values, {padding[0]:g} to {limit[0]:g}; set them to one")
    slope, intercept = (each.numbers(SLOPE) or (1.0,))[0], (each.numbers(INTERCEPT) or (0.0,))[0]
    return padding[0] * slope + intercept
