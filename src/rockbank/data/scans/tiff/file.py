"""Volumes in TIFF files: of one page or of many, of ImageJ, or of several files that OME-XML makes one volume."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np
import tifffile

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, in_three
from rockbank.data.scans.source import ReadSlices, Source, slices_at
from rockbank.data.scans.tiff.ome import OmePixels, read_ome
from rockbank.data.scans.tiff.pages import (
    check_alike,
    check_chain,
    check_disjoint,
    check_ends,
    check_grey,
    check_lengths,
    check_whole,
)
from rockbank.data.scans.tiff.stack import is_contiguous_stack, outer_shape
from rockbank.data.scans.tiff.units import declared_nodata, declared_voxel_size


@contextmanager
def open_tiff(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """A TIFF whose pages are slices, or the set of OME-TIFFs that it belongs to."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        check_grey(path, page)
        check_chain(path, tiff)
        ome = read_ome(path, tiff.ome_metadata) if tiff.ome_metadata else None
        outer = (len(ome.planes),) if ome else outer_shape(path, tiff)
        stored = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
        check_declared(path, (*outer, page.imagelength, page.imagewidth), stored, voxels_max)
        shape = in_three((*outer, page.imagelength, page.imagewidth))
        read: ReadSlices
        if ome:
            parts = _check_set(path, page, ome)
            read = _set_reader(path, ome)
        elif is_contiguous_stack(tiff, shape[0]):
            start = page.dataoffsets[0]
            check_disjoint(path, tiff, [(start, start + math.prod(shape) * stored.itemsize)])
            read = slices_at(path, start, shape, stored)
        else:
            _check_pages(path, tiff, page)
            read = _page_reader(tiff, page)
        yield Source(
            path=path,
            shape=shape,
            dtype=stored.newbyteorder("="),
            voxel_size=declared_voxel_size(path, tiff, ome),
            nodata=declared_nodata(page),
            parts=parts if ome else (),
            read=read,
        )


def _check_pages(path: Path, tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> None:
    data = []
    for page in tiff.pages:
        assert isinstance(page, tifffile.TiffPage)
        check_alike(path, page, first)
        check_whole(path, page)
        check_ends(path, page)
        data += [(at, at + n) for at, n in zip(page.dataoffsets, page.databytecounts, strict=True)]
    check_disjoint(path, tiff, data)
    check_lengths(path, first)


def _page_reader(tiff: tifffile.TiffFile, first: tifffile.TiffPage) -> ReadSlices:
    def read(start: int, stop: int) -> np.ndarray:
        if first.imagedepth > 1:
            return np.asarray(_decode(first)[start:stop])
        return np.stack([_decode(tiff.pages[i]) for i in range(start, stop)])

    return read


def _check_set(path: Path, page: tifffile.TiffPage, ome: OmePixels) -> tuple[Path, ...]:
    """The files of the set, each of which has the planes that it should have."""
    declared = (ome.shape, np.dtype(ome.pixel_type))
    if declared != (page.shape, page.dtype):
        raise VolumeError(
            f"{path}: its OME-XML says {declared[0]} of {declared[1]}, its pages are {page.shape} of {page.dtype}; "
            f"{AGAIN}"
        )
    files = {path.with_name(plane.name or path.name): 0 for plane in ome.planes}
    absent = [each for each in files if not each.is_file()]
    if absent:
        names = ", ".join(each.name for each in absent[:5])
        raise VolumeError(f"{path}: {len(absent)} of the {len(files)} files of its set are absent: {names}; {AGAIN}")
    for plane in ome.planes:
        file = path.with_name(plane.name or path.name)
        files[file] = max(files[file], plane.ifd + 1)
    for file, n_needed in files.items():
        with tifffile.TiffFile(file) as tiff:
            if len(tiff.pages) != n_needed:
                raise VolumeError(
                    f"{file}: {len(tiff.pages)} pages where the OME-XML of {path.name} says {n_needed}; {AGAIN}"
                )
            check_chain(file, tiff)
            _check_pages(file, tiff, page)
    return tuple(files)


def _set_reader(path: Path, ome: OmePixels) -> ReadSlices:
    def read(start: int, stop: int) -> np.ndarray:
        slices = []
        for name, planes in groupby(ome.planes[start:stop], key=attrgetter("name")):
            with tifffile.TiffFile(path.with_name(name or path.name)) as tiff:
                slices += [_decode(tiff.pages[plane.ifd]) for plane in planes]
        return np.stack(slices)

    return read


def _decode(page: tifffile.TiffPage | tifffile.TiffFrame) -> np.ndarray:
    voxels = page.asarray(maxworkers=1)
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
