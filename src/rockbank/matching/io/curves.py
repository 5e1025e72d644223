"""Observations in the wells' curves of a run or of a measured history: NetCDF, and Eclipse's summary."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import resfo
import xarray as xr
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.casefile.wells import Pressure, Rate
from rockbank.flow.eclipse.summary import read_summary
from rockbank.flow.units import UNITS
from rockbank.flow.units import Quantity as Unit
from rockbank.matching.io.csv import DIMENSIONS, concatenated
from rockbank.matching.problem.observations import Observations, Quantity

# Of one quantity of one well: times (s), values (SI), and their standard deviations where the file tells them.
Curve = tuple[Float[np.ndarray, " t"], Float[np.ndarray, " t"], Float[np.ndarray, " t"] | None]
# What a summary holds of each.
_VECTORS: Mapping[Quantity, tuple[str, ...]] = {
    "bhp": ("WBHP",),
    "water_rate": ("WWIR", "WWPR"),
    "oil_rate": ("WOIR", "WOPR"),
}


@dataclass(frozen=True, kw_only=True)
class SigmaSection:
    """Standard deviation of each quantity, Pa and m^3/s, where the file tells none."""

    bhp: Pressure | None = None
    water_rate: Rate | None = None
    oil_rate: Rate | None = None

    def __post_init__(self) -> None:
        for name, sigma in vars(self).items():
            if sigma is not None and not sigma > 0:
                raise InputError(f"{name}: got standard deviation {sigma:g}; it must be positive: say how far the "
                                 "measurements are to be trusted, or leave them out of 'observed'")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UnitsSection:
    """Unit of each quantity, and of the time, where the file itself tells none."""

    time: str | None = None
    bhp: str | None = None
    water_rate: str | None = None
    oil_rate: str | None = None


@dataclass(frozen=True, kw_only=True)
class CurvesSection:
    """What of a file's curves is observed, and how it is to be read.

    Attributes:
        observed: quantities of each well.
        sigma: of each quantity.
        names: what the file calls a well, a quantity or its dimension of time, where it is something else.
        units: where the file tells none.
    """

    observed: dict[str, tuple[Quantity, ...]] = field(default_factory=dict)
    sigma: SigmaSection = field(default_factory=SigmaSection)
    names: dict[str, str] = field(default_factory=dict)
    units: UnitsSection = field(default_factory=UnitsSection)

    def called(self, name: str) -> str:
        """What the file calls it."""
        return self.names.get(name, name)


def from_curves(curves: Mapping[tuple[str, Quantity], Curve], sigma: Mapping[Quantity, float]) -> Observations:
    """Every point of the curves of wells and quantities; a NaN is what was not measured.

    Raises:
        InputError: a quantity has no standard deviation, or two; or a curve nothing but NaN.
    """
    parts = []
    for (well, quantity), (time, value, error) in curves.items():
        if quantity not in sigma and error is None:
            raise InputError(
                f"sigma: has no '{quantity}', which is observed in {well}; say how far it is to be trusted"
            )
        if quantity in sigma and error is not None:
            raise InputError(f"sigma.{quantity}: the file has a standard error of its own for {well}; leave it out")
        deviation = np.full(len(value), sigma[quantity]) if error is None else error
        measured = ~np.isnan(value)
        if not measured.any():
            raise InputError(f"observed.{well}: {quantity} is not a number at any time; leave it out")
        n = int(measured.sum())
        parts.append(
            Observations(
                time=time[measured],
                well=(well,) * n,
                quantity=(quantity,) * n,
                value=value[measured],
                sigma=deviation[measured],
            )
        )
    return concatenated(parts)


def curves_of_summary(path: Path, section: CurvesSection) -> dict[tuple[str, Quantity], Curve]:
    """What is observed, out of an Eclipse summary, at its report steps.

    Raises:
        InputError: naming the file and the well or the vector that it has not.
    """
    read = read_summary(path)
    # read_summary makes zeros of a vector that is absent: a measurement that nobody made.
    head = {name.strip(): values for name, values in resfo.read(path.with_suffix(".SMSPEC"))}
    keywords, wells = ([_plain(each) for each in np.asarray(head[need])] for need in ("KEYWORDS", "WGNAMES"))
    present = set(zip(keywords, wells, strict=True))
    found: dict[tuple[str, Quantity], Curve] = {}
    for well, quantity in _pairs(section):
        name = section.called(well)
        if name not in read.wells:
            raise InputError(f"{path}: has no well '{name}'; it has {list(read.wells)}, say in 'names' which is {well}")
        if not any((vector, name) in present for vector in _VECTORS[quantity]):
            raise InputError(f"{path}: has no {' or '.join(_VECTORS[quantity])} of '{name}'; ask for it in the deck's "
                             f"SUMMARY, or leave {quantity} out of 'observed'")  # fmt: skip
        found[well, quantity] = read.time, getattr(read, quantity)[:, read.wells.index(name)], None
    return found


def curves_of_netcdf(
    path: Path, variable: str, section: CurvesSection, start: datetime
) -> dict[tuple[str, Quantity], Curve]:
    """What is observed, out of a NetCDF file.

    A variable that `ancillary_variables` names, with a standard name that ends in "standard_error", holds standard
    deviations, one for each value (CF conventions, 3.4).

    Args:
        path: of the file.
        variable: that holds all quantities along a dimension of their names; empty where each is a variable.
        section: what is observed.
        start: of the first report step, for times that are dates.

    Raises:
        InputError: naming the file and the variable, dimension, label or unit that it has not.
    """
    found: dict[tuple[str, Quantity], Curve] = {}
    with _opened(path) as dataset:
        time_name = section.called("time")
        for well, quantity in _pairs(section):
            name = variable or section.called(quantity)
            if name not in dataset.data_vars:
                raise InputError(f"{path}: has no variable '{name}'; it has {list(dataset.data_vars)}, say in "
                                 f"'names' which is {quantity}, or as 'file: {path.name}:VARIABLE' which holds "
                                 "all")  # fmt: skip
            labels = [section.called(each) for each in ((well, quantity) if variable else (well,))]
            array = _along_time(path, dataset[name], labels, time_name)
            scale = _scale(path, quantity, DIMENSIONS[quantity], array.attrs, section.units)
            time = _seconds(path, array[time_name], section.units, start)
            sigma = None
            if error := _error_of(dataset, array):
                of_error = _along_time(path, dataset[error], labels, time_name)
                attributes = {"units": of_error.attrs.get("units", array.attrs.get("units"))}
                of_sigma = _scale(path, quantity, DIMENSIONS[quantity], attributes, section.units)
                sigma = np.asarray(of_error.values, dtype=float) * of_sigma
            found[well, quantity] = time, np.asarray(array.values, dtype=float) * scale, sigma
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


def _pairs(section: CurvesSection) -> Iterator[tuple[str, Quantity]]:
    for well, quantities in section.observed.items():
        for quantity in quantities:
            yield well, quantity


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


def _seconds(path: Path, time: xr.DataArray, units: UnitsSection, start: datetime) -> Float[np.ndarray, " t"]:
    """Times since the start: dates, or numbers with a unit."""
    if time.dtype.kind == "M":
        if units.time is not None:
            raise InputError(f"units.time: got '{units.time}'; the times of {path} are dates, leave it out")
        since = time.values - np.datetime64(start)
        return np.asarray(since / np.timedelta64(1, "s"), dtype=float)
    if time.dtype.kind not in "iuf":
        raise InputError(f"{path}: '{time.name}' holds neither numbers nor dates of the usual calendar; convert it")
    return np.asarray(time.values, dtype=float) * _scale(path, "time", "time", time.attrs, units)


def _plain(text: object) -> str:
    """Text of an array, whose bytes may be such or a str."""
    return (text.decode() if isinstance(text, bytes) else str(text)).strip()
