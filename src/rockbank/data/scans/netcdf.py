"""Volumes in NetCDF files, of Mango and others: classic ones by scipy, NetCDF-4, which is HDF5, by h5py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.io

from rockbank.data.manifest import VolumeError
from rockbank.data.scans.declared import AGAIN, check_declared, cubic, in_three
from rockbank.data.scans.hdf5.storage import check_written, load_filters
from rockbank.data.scans.nodata import is_same
from rockbank.data.scans.source import Source
from rockbank.data.scans.units import metres

# Mango's kinds of volumes, with the value outside of the sample. Classic files have no unsigned types: what is stored
# as a signed number of 8 or 16 bits counts from zero on.
MANGO = {
    "tomo_float": 1e30,
    "tomo": 65535.0,
    "proju16": 65535.0,
    "segmented": 255.0,
    "distance_map": -2.0,
    "labels": 2147483647.0,
    "float64": 1e300,
}
UNSIGNED = ("tomo", "proju16", "segmented")
# NetCDF's own values of what was never written, by type.
FILL_VALUES = {"<i2": -32767.0, "<i4": -2147483647.0, "<f4": 9.969209968386869e36, "<f8": 9.969209968386869e36}


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A variable that may be a volume: how it is stored, and what is said of it."""

    name: str
    shape: tuple[int, ...]
    stored: np.dtype
    dimensions: tuple[str, ...]
    attributes: Mapping[str, Any]
    of_file: Mapping[str, Any]
    read: Callable[[int, int], np.ndarray]
    hdf5: h5py.Dataset | None = None

    @property
    def is_mango(self) -> bool:
        """Whether it is named as Mango names its volumes, and their axes."""
        return self.name in MANGO and bool(self.dimensions) and self.dimensions[0] == f"{self.name}_zdim"

    @property
    def dtype(self) -> np.dtype:
        """The type that is meant, in native byte order."""
        says = {key: _text(value).lower() for key, value in self.attributes.items()}
        signed = says.get("value_signed", {"true": "false", "false": "true"}.get(says.get("_Unsigned", ""), ""))
        is_unsigned = signed == "false" or (signed == "" and self.is_mango and self.name in UNSIGNED)
        kind = self.stored.newbyteorder("=")
        return np.dtype(f"u{kind.itemsize}") if is_unsigned and kind.kind == "i" else kind

    @property
    def nodata(self) -> float | None:
        """What is declared to be no data, by the file, by Mango, or by NetCDF."""
        declared = self.attributes.get("_FillValue", self.attributes.get("missing_value"))
        if declared is not None:
            return float(np.asarray(declared).astype(self.stored.newbyteorder("=")).view(self.dtype).ravel()[0])
        if self.is_mango:
            value = MANGO[self.name]
            if self.dtype.kind == "f":
                return float(self.dtype.type(value))
            return value if value <= np.iinfo(self.dtype).max else None
        return FILL_VALUES.get(self.dtype.newbyteorder("<").str)


@contextmanager
def open_netcdf(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    """The variable that is named, or the only one of three dimensions, of a file or of a folder of blocks.

    A folder has a volume's blocks of slices, as Mango writes them (block00000000.nc and on).
    """
    if path.is_dir():
        with _open_blocks(path, dataset, voxels_max) as source:
            yield source
        return
    with _open_variable(path, dataset) as variable:
        n_files = int(np.ravel(variable.of_file.get("number_of_files", 1))[0])
        if n_files > 1:
            raise VolumeError(f"{path}: one of the {n_files} files of a volume; add the folder that has them all")
        yield _source(path, variable, voxels_max)


def _source(path: Path, variable: Variable, voxels_max: int) -> Source:
    check_declared(path, variable.shape, variable.dtype, voxels_max)
    if variable.hdf5 is not None:
        check_written(path, variable.hdf5)
        load_filters(path, variable.hdf5)
    packed = {key: variable.attributes[key] for key in ("scale_factor", "add_offset") if key in variable.attributes}
    if packed:
        raise VolumeError(f"{path}: '{variable.name}' is packed by {packed}; unpack it (ncpdq -U)")

    def read(start: int, stop: int) -> np.ndarray:
        values = np.asarray(variable.read(start, stop))
        return values.astype(variable.stored.newbyteorder("=")).view(variable.dtype)

    return Source(
        path=path,
        shape=in_three(variable.shape),
        dtype=variable.dtype,
        voxel_size=_voxel_size(path, variable.of_file),
        nodata=variable.nodata,
        read=read,
    )


def _voxel_size(path: Path, attributes: Mapping[str, Any]) -> float | None:
    """Metres, by Mango's voxel_size_xyz and voxel_unit."""
    sizes = [float(each) for each in np.ravel(attributes.get("voxel_size_xyz", ()))]
    unit = _text(attributes.get("voxel_unit", ""))
    if not sizes:
        return None
    scale = metres(unit)
    if len(sizes) != 3 or scale is None:
        if len(sizes) == 3 and unit.strip().lower() in ("", "voxel", "voxels", "pixel"):
            return None
        raise VolumeError(f"{path}: voxel_size_xyz is {sizes}, voxel_unit '{unit}'; write three numbers, and um or mm")
    # The shortest decimals that are these float32, in which Mango stores them.
    x, y, z = (float(str(np.float32(each))) * scale for each in sizes)
    return cubic(path, x, y, z)


@contextmanager
def _open_blocks(path: Path, dataset: str | None, voxels_max: int) -> Iterator[Source]:
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".nc" and not each.name.startswith("."))
    blocks: list[tuple[int, Path, Source]] = []
    expected: set[int] = set()
    for file in files:
        with _open_variable(file, dataset) as variable:
            about = variable.of_file
            if "zdim_range" not in about or "zdim_total" not in about:
                raise VolumeError(f"{file}: does not say which slices it has (zdim_range, zdim_total); add it alone")
            first, last = (int(each) for each in np.ravel(about["zdim_range"])[:2])
            expected.add(int(np.ravel(about["zdim_total"])[0]))
            source = _source(file, variable, max(1, voxels_max // len(files)))
        if last - first + 1 != source.shape[0]:
            raise VolumeError(f"{file}: says slices {first} to {last}, but has {source.shape[0]}; {AGAIN}")
        blocks.append((first, file, source))
    blocks.sort(key=lambda each: each[0])
    n_slices = 0
    for first, file, source in blocks:
        of_file, of_first = (
            (each.shape[1:], each.dtype, each.voxel_size, each.nodata) for each in (source, blocks[0][2])
        )
        if of_file[:-1] != of_first[:-1] or not is_same(source.nodata, blocks[0][2].nodata):
            raise VolumeError(
                f"{file}: {of_file}, but {blocks[0][1].name} is {of_first}; the blocks are alike: {AGAIN}"
            )
        if first != n_slices:
            what = "are missing" if first > n_slices else "are there twice"
            raise VolumeError(f"{file}: starts at slice {first}, but slices {n_slices} and on {what}; {AGAIN}")
        n_slices += source.shape[0]
    if expected != {n_slices}:
        raise VolumeError(f"{path}: {n_slices} slices in {len(blocks)} files that say {sorted(expected)}; {AGAIN}")

    def read(start: int, stop: int) -> np.ndarray:
        slices = []
        for first, file, source in blocks:
            begin, end = max(start - first, 0), min(stop - first, source.shape[0])
            if begin < end:
                with _open_variable(file, dataset) as variable:
                    slices.append(_source(file, variable, voxels_max).read(begin, end))
        return np.concatenate(slices)

    first_source = blocks[0][2]
    yield Source(
        path=path,
        shape=(n_slices, *first_source.shape[1:]),
        dtype=first_source.dtype,
        voxel_size=first_source.voxel_size,
        nodata=first_source.nodata,
        parts=tuple(file for _, file, _ in blocks),
        read=read,
    )


@contextmanager
def _open_variable(path: Path, dataset: str | None) -> Iterator[Variable]:
    with path.open("rb") as file:
        mark = file.read(4)
    if mark == b"CDF\x05":
        raise VolumeError(f"{path}: NetCDF of 64-bit data (CDF-5); convert it (nccopy -k nc4)")
    with (_classic if mark[:3] == b"CDF" else _hdf5)(path) as variables:
        listed = {each.name: each.shape for each in variables}
        if dataset is not None:
            found = [each for each in variables if each.name == dataset.strip("/")]
            if not found:
                raise VolumeError(f"{path}: no variable '{dataset}'; it holds {listed}")
        else:
            found = [each for each in variables if len(each.shape) == 3] or [
                each for each in variables if len(each.shape) == 2
            ]
            if len(found) != 1:
                raise VolumeError(f"{path}: {len(found)} variables of three dimensions; name one of {listed}")
        yield found[0]


@contextmanager
def _classic(path: Path) -> Iterator[list[Variable]]:
    file: Any = scipy.io.netcdf_file(path, "r", mmap=True, maskandscale=False)
    with file:
        yield [
            Variable(
                name=name,
                shape=tuple(variable.shape),
                stored=variable.data.dtype,
                dimensions=tuple(variable.dimensions),
                attributes=dict(variable._attributes),
                of_file=dict(file._attributes),
                read=partial(_part_of, file, name),
            )
            for name, variable in file.variables.items()
        ]


@contextmanager
def _hdf5(path: Path) -> Iterator[list[Variable]]:
    with h5py.File(path, "r") as file:
        found: dict[str, h5py.Dataset] = {}

        def visit(key: str, item: h5py.Dataset | h5py.Group) -> None:
            if isinstance(item, h5py.Dataset):
                found[key] = item

        file.visititems(visit)
        yield [
            Variable(
                name=name,
                shape=item.shape,
                stored=item.dtype,
                dimensions=tuple(each[0].name.rsplit("/")[-1] if len(each) else "" for each in item.dims),
                attributes=dict(item.attrs),
                of_file=dict(file.attrs),
                read=partial(_part, item),
                hdf5=item,
            )
            for name, item in found.items()
        ]


def _part_of(file: Any, name: str, start: int, stop: int) -> np.ndarray:
    # By name, as nothing may hold the mapped values when the file is closed.
    return _part(file.variables[name], start, stop)


def _part(variable: Any, start: int, stop: int) -> np.ndarray:
    part = variable[start:stop] if len(variable.shape) == 3 else variable[:][None]
    return np.array(part)


def _text(value: Any) -> str:
    if isinstance(value, h5py.Empty):
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
