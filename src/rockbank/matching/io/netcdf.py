"""Observations in a NetCDF file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import numpy as np
import xarray as xr
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.units import UNITS
from rockbank.flow.units import Quantity as Unit
from rockbank.matching.io.csv import DIMENSIONS
from rockbank.matching.io.curves import Curve, CurvesSection, UnitsSection, require_start
from rockbank.matching.io.nodata import measured
from rockbank.matching.problem.observations import Quantity


def curves_of_netcdf(
    path: Path, variable: str, section: CurvesSection, start: datetime | None
) -> dict[tuple[str, Quantity], Curve]:
    """What is observed, out of a NetCDF file.

    A variable that `ancillary_variables` names, with a standard name that ends in "standard_error", holds standard
    deviations, one for each value (CF conventions, 3.4).

    Args:
        path: of the file.
        variable: that holds all quantities along a dimension of their names; empty where each is a variable.
        section: what is observed.
        start: of the first report step, for times that are dates; None is not known.

    Raises:
        InputError: naming the file and the variable, dimension, label or unit that it has not.
    """
    found: dict[tuple[str, Quantity], Curve] = {}
    with _opened(path) as dataset:
        time_name = section.called("time")
        for well, quantity in section.pairs():
            name = variable or section.called(quantity)
            if name not in dataset.data_vars:
                raise InputError(f"{path}: has no variable '{name}'; it has {list(dataset.data_vars)}, say in "
                                 f"'names' which is {quantity}, or as 'file: {path.name}:VARIABLE' which holds "
                                 "all")  # fmt: skip
            labels = [section.called(each) for each in ((well, quantity) if variable else (well,))]
            array = _along_time(path, dataset[name], labels, time_name)
            scale = _scale(path, quantity, DIMENSIONS[quantity], array.attrs, section.units)
            time = _seconds(path, array[time_name], section.units, start, dataset.attrs.get("start"))
            sigma = None
            if error := _error_of(dataset, array):
                of_error = _along_time(path, dataset[error], labels, time_name)
                attributes = {"units": of_error.attrs.get("units", array.attrs.get("units"))}
                of_sigma = _scale(path, quantity, DIMENSIONS[quantity], attributes, section.units)
                sigma = np.asarray(of_error.values, dtype=float) * of_sigma
            values = measured(
                path,
                np.asarray(array.values, dtype=float),
                time,
                (well, quantity),
                str(array.attrs.get("units", getattr(section.units, quantity))),
                section.nodata,
                has_nan=bool({"_FillValue", "missing_value"} & set(array.encoding)),
            )
            found[well, quantity] = time, values * scale, sigma
    return found


def _error_of(dataset: xr.Dataset, array: xr.DataArray) -> str | None:
    """The variable of an array's standard deviations."""
    for name in str(array.attrs.get("ancillary_variables", "")).split():
        if name in dataset and str(dataset[name].attrs.get("standard_name", "")).endswith("standard_error"):
            return name
    return None


def _along_time(path: Path, array: xr.DataArray, labels: Sequence[str], time_name: str) -> xr.DataArray:
    """The part of an array at these labels, which runs along time alone."""
    for label in labels:
        array = _labelled(path, array, label, time_name)
    if array.dims != (time_name,) or time_name not in array.coords:
        raise InputError(f"{path}: '{array.name}' of {labels[0]} runs along {list(array.dims)}; it has to run along "
                         f"'{time_name}' alone, with coordinates: say in 'names' what its time is called")  # fmt: skip
    return array


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    try:
        # A number of seconds is no date; else xarray would make durations of it.
        dataset = xr.open_dataset(path, decode_timedelta=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no NetCDF file: {error}; make it again") from error
    with dataset:
        yield dataset


def _labelled(path: Path, array: xr.DataArray, label: str, time_name: str) -> xr.DataArray:
    """The part of an array at a label of one of its dimensions."""
    labels = {
        str(dim): [text.strip() for text in array[dim].values.astype(str)]
        for dim in array.dims
        if dim != time_name and dim in array.coords
    }
    for dim, names in labels.items():
        if names.count(label) > 1:
            raise InputError(f"{path}: dimension '{dim}' of '{array.name}' has the label '{label}' twice; keep one")
        if label in names:
            return array.isel({dim: names.index(label)})
    raise InputError(f"{path}: '{array.name}' has no '{label}' among its labels {labels}; say in 'names' what the file "
                     "calls it")  # fmt: skip


def _scale(path: Path, name: str, dimension: str, attributes: Mapping[str, object], units: UnitsSection) -> float:
    """One of the file's units in SI."""
    own, given = attributes.get("units"), getattr(units, name)
    if own is None and given is None:
        raise InputError(f"{path}: does not tell the unit of {name}; give 'units: {{{name}: "
                         f"{next(iter(UNITS[dimension]))}}}' or one of {list(UNITS[dimension])}")  # fmt: skip
    try:
        scales = {Unit(dimension).scale(_plain_unit(str(text))) for text in (own, given) if text is not None}
    except InputError as error:
        raise InputError(f"{path}: {name}: {error}") from error
    if len(scales) == 2:
        raise InputError(f"units.{name}: got '{given}'; {path} itself says '{own}', leave it out")
    return scales.pop()


def _plain_unit(text: str) -> str:
    """CF's "m3 s-1" or "m3 d-1" as "m3/s" or "m3/day"."""
    plain = re.sub(r"\s+([A-Za-z]+)-1\b", r"/\1", text.strip())
    return re.sub(r"\bd\b", "day", re.sub(r"\bh\b", "hour", plain))


def _seconds(
    path: Path, time: xr.DataArray, units: UnitsSection, start: datetime | None, given: object
) -> Float[np.ndarray, " t"]:
    """Times since the start: dates, or numbers with a unit since the date that the file may tell."""
    if time.dtype.kind == "M":
        if units.time is not None:
            raise InputError(f"units.time: got '{units.time}'; the times of {path} are dates, leave it out")
        if start is None:
            raise InputError(f"{path}: its times are dates, and the case does not say when it starts; give the case a "
                             "'start'")  # fmt: skip
        since = time.values - np.datetime64(start)
        return np.asarray(since / np.timedelta64(1, "s"), dtype=float)
    if time.dtype.kind not in "iuf":
        raise InputError(f"{path}: '{time.name}' holds neither numbers nor dates of the usual calendar; convert it")
    require_start(path, _date(given), start)
    return np.asarray(time.values, dtype=float) * _scale(path, "time", "time", time.attrs, units)


def _date(given: object) -> datetime | None:
    """The date of a file's attribute, if it is one."""
    try:
        return datetime.fromisoformat(str(given))
    except ValueError:
        return None
