"""MetaImage by its description, and NRRD by pynrrd."""

from __future__ import annotations

from pathlib import Path

import nrrd
import numpy as np

TYPES = {
    "uint8": "MET_UCHAR",
    "int8": "MET_CHAR",
    "uint16": "MET_USHORT",
    "int16": "MET_SHORT",
    "uint32": "MET_UINT",
    "int32": "MET_INT",
    "float32": "MET_FLOAT",
    "float64": "MET_DOUBLE",
}


def write_metaimage(path: Path, voxels: np.ndarray, values: bytes | None = None, **about: object) -> None:
    """By the format's description: keys and values, of which ElementDataFile is the last."""
    fields = {
        "ObjectType": "Image",
        "NDims": voxels.ndim,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": voxels.dtype.byteorder == ">",
        "DimSize": " ".join(map(str, voxels.shape[::-1])),
        "ElementType": TYPES[voxels.dtype.name],
        **about,
    }
    values = voxels.tobytes() if values is None else values
    name = "LOCAL" if path.suffix == ".mha" else path.with_suffix(".raw").name
    text = "".join(f"{key} = {value}\n" for key, value in {**fields, "ElementDataFile": name}.items()).encode()
    path.write_bytes(text + values if path.suffix == ".mha" else text)
    if path.suffix == ".mhd":
        path.with_suffix(".raw").write_bytes(values)


def write_nrrd(path: Path, voxels: np.ndarray, **about: object) -> None:
    nrrd.write(str(path), voxels, about, index_order="C", detached_header=path.suffix == ".nhdr")
