"""Observations as a CSV file, one measurement a row: time,time_unit,well,quantity,value,sigma,unit."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from rockbank.core.errors import InputError
from rockbank.core.files import write_text
from rockbank.flow.case import Case
from rockbank.flow.units import UNITS, exact_text
from rockbank.flow.units import Quantity as Unit
from rockbank.matching.io.nodata import is_declared, is_suspicious, refusal
from rockbank.matching.io.table import at, number, one_of, read_rows
from rockbank.matching.problem.observations import QUANTITIES, Observations, Quantity, joined
from rockbank.matching.problem.times import SAME_TIME

COLUMNS = ("time", "time_unit", "well", "quantity", "value", "sigma", "unit")
DIMENSIONS = {"bhp": "pressure", "water_rate": "rate", "oil_rate": "rate"}
# What numbers are written in: the field's units where these hold them to the last bit, else SI.
_WRITTEN = {"time": ("day", "s"), "pressure": ("bar", "Pa"), "rate": ("m3/day", "m3/s")}


def read_table(path: Path, case: Case, nodata: Sequence[float] = ()) -> Observations:
    """The observations of a case in a CSV file.

    Args:
        path: of the file.
        case: whose wells they are.
        nodata: values that stand for no measurement, in the units of their rows, which are left out.

    Raises:
        InputError: naming file, line and column.
    """
    wells = [well.name for well in case.wells]
    measured: list[Observations] = []
    line_of: dict[tuple[str, str, int], int] = {}
    apart = SAME_TIME * sum(case.schedule.steps)
    suspicious: list[tuple[int, str, float, float, str]] = []
    n_values = 0
    for line, cells in read_rows(path, COLUMNS):
        with at(path, line, "well"):
            well = one_of(cells["well"], wells)
        with at(path, line, "quantity"):
            quantity = cast(Quantity, one_of(cells["quantity"], QUANTITIES))
        with at(path, line, "time_unit"):
            unit_of_time = unit_scale(cells["time_unit"], "time")
        with at(path, line, "unit"):
            unit = unit_scale(cells["unit"], DIMENSIONS[quantity])
        with at(path, line, "time"):
            time = number(cells["time"]) * unit_of_time
        with at(path, line, "value"):
            raw = number(cells["value"], is_finite=False)
        n_values += 1
        if is_declared(np.array(raw), nodata):
            continue
        if is_suspicious(np.array(raw), quantity, nodata):
            suspicious.append((line, f"{quantity} of {well}", time, raw, cells["unit"]))
            continue
        value = raw * unit
        with at(path, line, "sigma"):
            sigma = number(cells["sigma"]) * unit
            one = Observations(
                time=np.array([time]),
                well=(well,),
                quantity=(quantity,),
                value=np.array([value]),
                sigma=np.array([sigma]),
            )
        with at(path, line, "time"):
            one.require_within(case.schedule.steps, wells)
            place = (well, quantity, round(time / apart))
            if place in line_of:
                raise InputError(f"{one.name(0)} is in line {line_of[place]} too; keep one")
        line_of[place] = line
        measured.append(one)
    if suspicious:
        line, name, time, value, unit_of_value = suspicious[0]
        with at(path, line, "value"):
            raise refusal(name, time, value, unit_of_value, len(suspicious), n_values)
    return joined(measured)


def write_observations(path: Path, observations: Observations) -> None:
    """Write them as CSV, whole or not at all; read again, they are the same to the last bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i, quantity in enumerate(observations.quantity):
        (time,), time_unit = _texts([observations.time[i]], "time")
        (value, sigma), unit = _texts([observations.value[i], observations.sigma[i]], DIMENSIONS[quantity])
        writer.writerow((time, time_unit, observations.well[i], quantity, value, sigma, unit))
    write_text(path, text.getvalue())


def unit_scale(cell: str, dimension: str) -> float:
    """How much of SI the unit in a cell is; InputError where it is none."""
    if not cell:
        raise InputError(f"missing; give the unit of the {dimension}, one of {list(UNITS[dimension])}")
    return Unit(dimension).scale(cell)


def _texts(values: Sequence[float], dimension: str) -> tuple[list[str], str]:
    """Decimals of the values, and their unit."""
    unit, si = _WRITTEN[dimension]
    scale = UNITS[dimension][unit]
    texts = [exact_text(float(value), scale) for value in values]
    if all(float(text) * scale == value for text, value in zip(texts, values, strict=True)):
        return texts, unit
    return [exact_text(float(value), 1.0) for value in values], si
