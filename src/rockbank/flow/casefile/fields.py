"""Fields of a case file: one number for all cells, or an array from a .npy, .npz or NetCDF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from rockbank.core.config import convert
from rockbank.core.errors import InputError
from rockbank.flow.equations.grid import Grid
from rockbank.flow.units import Quantity

Axis = Literal["i", "j", "k"]
# Of a fraction, as the CF conventions have it.
_NO_UNIT = "1"


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """Where an array lies.

    Attributes:
        file: relative to the case file: rock.npy, rock.npz:NAME, or rock.nc:VARIABLE.
        axes: along which axis of the grid each of the array's axes runs; a NetCDF has to say, in others it is the
            grid's order.
        select: of a NetCDF variable, what to take along its other dimensions.
        unit: of the numbers, where a NetCDF variable does not tell it; none is SI.
    """

    file: str
    axes: tuple[Axis, ...] = ()
    select: dict[str, str] = field(default_factory=dict)
    unit: str = ""

    def read(self, folder: Path) -> tuple[Float[np.ndarray, "..."], str, str | None]:
        """The array as it lies in the file, the file's name for messages, and the unit that the file tells."""
        name, _, key = self.file.partition(":")
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path}: no such file; the path is relative to the case file")
        if path.suffix != ".nc" and self.select:
            raise InputError(f"{path}: select: is for a NetCDF variable; leave it out")
        if path.suffix == ".npy" and not key:
            return np.asarray(np.load(path, allow_pickle=False)), str(path), None
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                if key not in arrays:
                    raise InputError(f"{path}: has no '{key}'; known are {list(arrays)}, say which as "
                                     f"'{name}:NAME'")  # fmt: skip
                return np.asarray(arrays[key]), str(path), None
        if path.suffix == ".nc":
            array, unit = self._read_netcdf(path, key)
            return array, str(path), unit
        raise InputError(f"{self.file}: give a .npy, a .npz with ':NAME' or a .nc with ':VARIABLE'")

    def _read_netcdf(self, path: Path, key: str) -> tuple[Float[np.ndarray, "..."], str | None]:
        import xarray

        if not self.axes:
            raise InputError(f"{path}: give 'axes' of a NetCDF variable, such as [j, i]")
        with xarray.open_dataset(path) as dataset:
            if key not in dataset.data_vars:
                raise InputError(f"{path}: has no variable '{key}'; known are {list(dataset.data_vars)}, say which as "
                                 f"'{path.name}:VARIABLE'")  # fmt: skip
            variable = dataset[key]
            for name, label in self.select.items():
                if name not in variable.dims:
                    raise InputError(f"{path}: '{key}' has no dimension '{name}'; it has {list(variable.dims)}")
                labels = [str(each) for each in variable[name].values]
                if label not in labels:
                    raise InputError(f"{path}: dimension '{name}' has no '{label}'; it has {labels}")
                variable = variable.isel({name: labels.index(label)})
            return np.asarray(variable.values), variable.attrs.get("units")


def scale_of(dimension: str, name: str, given: str, own: str | None) -> float:
    """One of an array's units in SI: what the file tells, and the case file where it does not.

    Args:
        dimension: of its numbers.
        name: of the file, for messages.
        given: unit of the case file; empty is none.
        own: of the file itself.

    Raises:
        InputError: an unknown unit, or two that are not the same.
    """
    scales = {}
    for unit in filter(None, (own, given)):
        try:
            scales[unit] = 1.0 if unit == _NO_UNIT else Quantity(dimension).scale(unit)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    if len(set(scales.values())) > 1:
        raise InputError(f"{name}: is in '{own}', got unit: '{given}'; leave it out")
    return next(iter(scales.values()), 1.0)


@dataclass(frozen=True)
class FieldSource:
    """A number or a file, of one dimension."""

    dimension: str
    source: float | ArrayFile

    def on(self, grid: Grid, folder: Path) -> Float[np.ndarray, "*shape"]:
        """The field in SI on a grid.

        Raises:
            InputError: naming the file that is absent, or whose array does not fit.
        """
        if isinstance(self.source, float):
            return np.full(grid.shape, self.source)
        array, name, own = self.source.read(folder)
        axes = self.source.axes or ("i", "j", "k")[: len(grid.shape)]
        order = ("i", "j", "k")[: len(grid.shape)]
        if sorted(axes) != sorted(order) or array.ndim != len(axes):
            raise InputError(f"{name}: an array of shape {array.shape} along axes {list(axes)} is not on a grid of "
                             f"{grid.shape}; its axes are {list(order)} in some order, 'select' takes one of "
                             "others")  # fmt: skip
        field_ = np.moveaxis(array.astype(float), range(len(axes)), [order.index(axis) for axis in axes])
        if field_.shape != grid.shape:
            raise InputError(f"{name}: got shape {field_.shape} along {list(order)}; the grid has {grid.shape}")
        return np.ascontiguousarray(field_) * scale_of(self.dimension, name, self.source.unit, own)


@dataclass(frozen=True)
class FieldOf:
    """Reads fields of one dimension: a number, a text with its unit, or {file, axes, select, unit}."""

    dimension: str

    def __call__(self, raw: Any) -> FieldSource:
        """The field that a case file describes."""
        if isinstance(raw, Mapping):
            return FieldSource(self.dimension, convert(raw, ArrayFile, ""))
        return FieldSource(self.dimension, Quantity(self.dimension)(raw))
