"""Headers and voxels by SimpleITK, with axes in the order slices, rows, columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AS_GREY, cubic
from rockbank.data.scans.units import metres

DTYPES: dict[str, np.dtype] = {
    "UInt8": np.dtype(np.uint8),
    "Int8": np.dtype(np.int8),
    "UInt16": np.dtype(np.uint16),
    "Int16": np.dtype(np.int16),
    "UInt32": np.dtype(np.uint32),
    "Int32": np.dtype(np.int32),
    "UInt64": np.dtype(np.uint64),
    "Int64": np.dtype(np.int64),
    "Float32": np.dtype(np.float32),
    "Float64": np.dtype(np.float64),
}
# Metres. Above it, a number without a unit was meant in another one.
PLAUSIBLE_MAX = 1e-3


@dataclass(frozen=True, kw_only=True)
class Header:
    """What SimpleITK says of a file before it decodes it.

    Attributes:
        path: of the file.
        image_io: the name of ITK's class that reads it.
        shape: slices, rows, columns, or as many axes as there are.
        dtype: as decoded, after a rescaling that the file declares.
        spacing: along x, y and z, in the file's unit.
        metadata: by keys of SimpleITK.
    """

    path: Path
    image_io: str
    shape: tuple[int, ...]
    dtype: np.dtype
    spacing: tuple[float, ...]
    metadata: dict[str, str]


def header_lines(path: Path, n_bytes_max: int) -> Iterator[tuple[str, int]]:
    """The first lines of a file, at most so many bytes of them, each with the bytes up to its end."""
    with path.open("rb") as file:
        text = file.read(n_bytes_max)
    n_bytes = 0
    for line in text.splitlines(keepends=True):
        n_bytes += len(line)
        yield line.decode("latin-1"), n_bytes


def read_header(path: Path, image_io: str) -> Header:
    """The header of a file, read by ITK's class of that name.

    Raises:
        VolumeError: for several values at a voxel.
    """
    # Loaded here, as it is of an extra.
    import SimpleITK as sitk

    reader = _reader(path, image_io)
    reader.ReadImageInformation()
    n_values, kind = reader.GetNumberOfComponents(), reader.GetPixelID()
    dtypes = {getattr(sitk, f"sitk{name}"): dtype for name, dtype in DTYPES.items()}
    if n_values != 1 or kind not in dtypes:
        raise VolumeError(f"{path}: {n_values} values of {sitk.GetPixelIDValueAsString(kind)} a voxel; {AS_GREY}")
    return Header(
        path=path,
        image_io=image_io,
        shape=tuple(reversed(reader.GetSize())),
        dtype=dtypes[kind],
        spacing=tuple(reader.GetSpacing()),
        metadata={key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()},
    )


def decode(header: Header, start: int, stop: int) -> Shaped[np.ndarray, "slices rows columns"]:
    """Slices from start up to but without stop, of which a file that can be streamed is read in part only."""
    import SimpleITK as sitk

    # A reader keeps what it read: one for each call.
    reader = _reader(header.path, header.image_io)
    if len(header.shape) == 3:
        _, rows, columns = header.shape
        reader.SetExtractIndex((0, 0, start))
        reader.SetExtractSize((columns, rows, stop - start))
    return sitk.GetArrayFromImage(reader.Execute()).reshape((stop - start, *header.shape[-2:]))


def _reader(path: Path, image_io: str) -> Any:
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(image_io)
    return reader


def voxel_size(path: Path, header: Header, unit: str | None, default: str | None, remedy: str) -> float | None:
    """Metres, where the unit is known.

    Args:
        path: of the file, for errors.
        header: its header.
        unit: that the file names.
        default: that the format counts in.
        remedy: how a unit is written into such a file.

    Raises:
        VolumeError: for voxels that are no cubes, a unit that is none of length, and a size that only another unit
            makes plausible.
    """
    columns, rows, *slices = header.spacing
    side = cubic(path, columns, rows, slices[0] if len(header.shape) == 3 and header.shape[0] > 1 else None, unit or "")
    if side is None or (unit is None and (side == 1 or default is None)):
        return None
    scale = metres(unit or default or "")
    if scale is None:
        raise VolumeError(f"{path}: its unit '{unit}' is not known; {remedy}")
    if unit is None and side * scale > PLAUSIBLE_MAX:
        raise VolumeError(f"{path}: its voxels of {side:g} have no unit, which counts as {default}; {remedy}")
    return side * scale
