"""DICOM series by pydicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

SERIES = generate_uid(entropy_srcs=["series"])


STEP = 0.006  # mm
TYPES = ("uint8", "int8", "uint16", "int16")
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)


def write_slice(path: Path, pixels: np.ndarray, i: int, syntax: str = ExplicitVRLittleEndian, **about: Any) -> None:
    """The i-th slice; a tag of None is left out."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    n_bits = 8 * pixels.itemsize
    tags = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": generate_uid(entropy_srcs=[path.name]),
        "StudyInstanceUID": SERIES,
        "SeriesInstanceUID": SERIES,
        "Modality": "CT",
        "InstanceNumber": i + 1,
        "ImagePositionPatient": [0.0, 0.0, STEP * i],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [STEP, STEP],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": n_bits,
        "BitsStored": n_bits,
        "HighBit": n_bits - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        **about,
    }
    for key, value in tags.items():
        if value is not None:
            setattr(data, key, value)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    data.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    data["PixelData"].VR = "OW" if n_bits > 8 else "OB"
    data.save_as(path, enforce_file_format=True)


def write_series(folder: Path, voxels: np.ndarray, **about: Any) -> None:
    """Slices whose names are in another order than their positions."""
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(voxels):
        write_slice(folder / f"IM{len(voxels) - i:04}", pixels, i, **about)
