"""Are scans of every format, type, byte order and compression read as they were written? python -m tools.scan_formats

Writes each file, reads it, compares, and writes docs/validation/scan_formats.md.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile
from PIL import Image

from rockbank.core.files import write_text
from rockbank.data.scans.reader import read_volume
from tools.scan_writers import amira, dicom, itk, matlab, netcdf, xradia, zarr

PAGE = Path("docs/validation/scan_formats.md")
DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
ORDERS = {"little": "<", "big": ">"}
SHAPE = (3, 40, 48)
# Codecs of pictures inside TIFFs, and the types that they store without loss.
IMAGE_CODECS = {
    "png": ("uint8", "uint16"),
    "jpeg2000": ("uint8", "int8", "uint16", "int16"),
    "jpegxl": ("uint8", "uint16", "float16", "float32"),
    "jpegxr": ("uint8", "uint16", "float16"),
    "lerc": ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"),
}
TEXT = """# Scans, format by format

`python -m tools.scan_formats` wrote this page. A cell has the number of files that were written and read: by byte
order, and by layout (classic and BigTIFF, whole pages, strips and tiles, with and without a predictor; headers of raw
files; C's and Fortran's order). Of {n} files, {equal} came back equal to what was written, in value and type.

| format | {dtypes} |
|---|{rules}|
{rows}

Written by tifffile (with imagecodecs), by libtiff through Pillow where it says so, by NumPy, by h5py (with hdf5plugin),
by pynrrd, pydicom and netCDF4, and by the descriptions of MetaImage, MATLAB 5, Zarr, Amira and Xradia's compound files.
Only of TIFF, npy, HDF5 and MATLAB 7.3 is the library that wrote a file also the one that reads it.
`tests/data/scans` adds pixels of 12 bits, stacks of ImageJ behind one page, sets of OME-TIFFs, links of
HDF5, and headers with faults.
"""
# Of a format, its row in the table, and its files.
Write = Callable[[Path, np.ndarray], None]
Files = Iterator[tuple[str, str, Write]]


def voxels_of(dtype: str) -> np.ndarray:
    """A volume whose values reach both ends of its type."""
    rng = np.random.default_rng(DTYPES.index(dtype))
    ramp = np.cumsum(rng.normal(0, 1, SHAPE)).reshape(SHAPE)
    if dtype.startswith("float"):
        return np.asarray((ramp * 10).astype(dtype))
    limits = np.iinfo(dtype)
    scaled = (ramp - ramp.min()) / np.ptp(ramp)
    return np.asarray((limits.min + scaled * (float(limits.max) - limits.min)).astype(dtype))


def tiffs(dtype: str) -> Files:
    """By tifffile: every lossless compression, predictor, byte order and layout; and ImageJ's and OME's."""
    layouts: tuple[Mapping[str, Any], ...] = ({}, {"rowsperstrip": 7}, {"tile": (16, 32)})
    for compression in ("none", "lzw", "zlib", "deflate", "packbits", "lzma", "zstd"):
        predictors = (False, True) if compression in ("lzw", "zlib", "zstd") else (False,)
        for order, big, predictor, layout in itertools.product(ORDERS.values(), (False, True), predictors, layouts):
            options = {"compression": None if compression == "none" else compression, "predictor": predictor, **layout}
            yield f"TIFF, {compression}", ".tif", _tiff(byteorder=order, bigtiff=big, **options)
    for codec, dtypes in IMAGE_CODECS.items():
        if dtype in dtypes:
            yield f"TIFF, {codec}", ".tif", _tiff(compression=codec)
    if dtype in ("uint8", "uint16", "float32"):
        for order in ORDERS.values():
            yield "TIFF of ImageJ", ".tif", _tiff(imagej=True, byteorder=order)
    if dtype != "float16":
        for order in ORDERS.values():
            yield "OME-TIFF", ".ome.tif", _tiff(ome=True, byteorder=order, metadata={"axes": "ZYX"})


def libtiffs(dtype: str) -> Files:
    """By libtiff, where Pillow has a mode for the type."""
    if dtype not in ("uint8", "uint16", "int32", "float32"):
        return
    for compression in ("none", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"):

        def write(path: Path, voxels: np.ndarray, compression: str = compression) -> None:
            first, *others = [Image.fromarray(each) for each in voxels]
            kind = None if compression == "none" else compression
            first.save(path, save_all=True, append_images=others, compression=kind)

        yield f"TIFF of libtiff, {compression.removeprefix('tiff_')}", ".tif", write


def others(dtype: str) -> Files:
    """PNG, npy and raw."""
    if dtype in ("uint8", "uint16"):
        yield "folder of PNGs", "", _pngs
    for order in ORDERS:
        for in_fortran in (False, True):
            yield "npy", ".npy", _npy(order, in_fortran)
        for header in (0, 512):
            yield "raw with a side-car", ".raw", _raw(order, header)


def hdf5s(dtype: str) -> Files:
    """By h5py, with its own filters and those of hdf5plugin."""
    own: dict[str, Mapping[str, Any]] = {
        "none": {},
        "chunks": {"chunks": (2, 16, 16)},
        "gzip": {"compression": "gzip", "shuffle": True},
        "lzf": {"compression": "lzf"},
    }
    plugins = {name: getattr(hdf5plugin, name)() for name in ("Blosc", "Blosc2", "Bitshuffle", "BZip2", "LZ4", "Zstd")}
    for name, options in {**own, **plugins}.items():
        for order in ORDERS:
            yield f"HDF5, {name}", ".h5", _hdf5(order, options)


def tomograms(dtype: str) -> Files:
    """Formats of tomographs and of the programs around them, by `tools.scan_writers`."""
    orders = ORDERS.values() if np.dtype(dtype).itemsize > 1 else "<"
    if dtype in itk.TYPES:
        for suffix, order in itertools.product((".mhd", ".mha"), orders):
            yield "MetaImage", suffix, _as(itk.write_metaimage, order)
        for suffix, encoding in itertools.product((".nrrd", ".nhdr"), ("raw", "gzip", "ascii")):
            yield f"NRRD, {encoding}", suffix, _as(itk.write_nrrd, encoding=encoding)
        for is_compressed, order in itertools.product((False, True), orders):
            yield "MATLAB 5", ".mat", _as(matlab.write_mat5, order, is_compressed=is_compressed)
            for write in (zarr.write_v2, zarr.write_v3):
                for suffix in (".zarr", ".zip"):
                    yield f"Zarr {write.__name__[-1]}", suffix, _as(_zarr(write), order, is_compressed=is_compressed)
        yield "MATLAB 7.3", ".mat", matlab.write_mat73
        for version in ("0.4", "0.5"):
            yield f"OME-Zarr {version}", ".zarr", _as(zarr.write_ome, version=version)
    if dtype in dicom.TYPES:
        for syntax in dicom.SYNTAXES:
            yield "DICOM series", "", _as(dicom.write_series, syntax=syntax)
    for kind, dtypes in netcdf.TYPES.items():
        if dtype in dtypes:
            yield f"NetCDF, {kind}", ".nc", _as(netcdf.write, name="grey", format=kind)
    if dtype in amira.TYPES:
        for coding in amira.CODINGS:
            if coding != "HxByteRLE" or dtype == "uint8":
                yield f"Amira, {coding}", ".am", _as(amira.write, coding=coding)
    if dtype in xradia.DATA_TYPES:
        yield "Xradia txm", ".txm", xradia.write


KINDS = (tiffs, libtiffs, others, hdf5s, tomograms)


def main(page: Path = PAGE) -> int:
    """Write the page; 1 where a file did not come back as it was written."""
    tried: Counter[tuple[str, str]] = Counter()
    equal: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as temporary:
        for dtype in DTYPES:
            voxels = voxels_of(dtype)
            for row, suffix, write in itertools.chain(*(each(dtype) for each in KINDS)):
                path = Path(temporary) / f"{sum(tried.values())}{suffix}"
                write(path, voxels)
                read = read_volume(path)
                tried[row, dtype] += 1
                equal[row, dtype] += read.dtype == dtype and np.array_equal(read, voxels)
    write_text(page, _page(tried, equal))
    return int(tried != equal)


def _page(tried: Counter[tuple[str, str]], equal: Counter[tuple[str, str]]) -> str:
    def cell(key: tuple[str, str]) -> str:
        return str(tried[key] or "") if tried[key] == equal[key] else f"{equal[key]} of {tried[key]}"

    # Formats as they were tried, the rows of each together.
    formats = list(dict.fromkeys(row.partition(",")[0] for row, _ in tried))
    rows = sorted(dict.fromkeys(row for row, _ in tried), key=lambda row: formats.index(row.partition(",")[0]))
    return TEXT.format(
        n=sum(tried.values()),
        equal=sum(equal.values()),
        dtypes=" | ".join(DTYPES),
        rules="---:|" * (len(DTYPES) - 1) + "---:",
        rows="\n".join(f"| {row} | {' | '.join(cell((row, dtype)) for dtype in DTYPES)} |" for row in rows),
    )


def _tiff(**options: Any) -> Write:
    return lambda path, voxels: tifffile.imwrite(path, voxels, photometric="minisblack", **options) and None


def _as(write: Callable[..., object], order: str = "=", **options: Any) -> Write:
    def ordered(path: Path, voxels: np.ndarray) -> None:
        write(path, voxels.astype(voxels.dtype.newbyteorder(order)), **options)

    return ordered


def _zarr(write: Callable[..., object]) -> Callable[..., object]:
    """In a folder, or in a zip where the path says so."""

    def stored(path: Path, voxels: np.ndarray, **options: Any) -> None:
        folder = path.with_suffix(".zarr")
        write(folder, voxels, **options)
        if path.suffix == ".zip":
            zarr.zipped(folder)

    return stored


def _npy(order: str, in_fortran: bool) -> Write:
    def write(path: Path, voxels: np.ndarray) -> None:
        np.save(path, np.asarray(voxels.astype(voxels.dtype.newbyteorder(order)), order="F" if in_fortran else "C"))

    return write


def _raw(order: str, header: int) -> Write:
    def write(path: Path, voxels: np.ndarray) -> None:
        path.write_bytes(bytes(header) + voxels.astype(voxels.dtype.newbyteorder(order)).tobytes())
        about = {"shape": voxels.shape, "dtype": voxels.dtype.name, "byte_order": order, "offset": header}
        path.with_suffix(".json").write_text(json.dumps(about))

    return write


def _hdf5(order: str, options: Mapping[str, Any]) -> Write:
    def write(path: Path, voxels: np.ndarray) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("grey", data=voxels.astype(voxels.dtype.newbyteorder(order)), **options)

    return write


def _pngs(path: Path, voxels: np.ndarray) -> None:
    path.mkdir()
    for i, each in enumerate(voxels):
        Image.fromarray(each).save(path / f"{i}.png")


if __name__ == "__main__":
    sys.exit(main())
