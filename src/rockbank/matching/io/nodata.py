"""Numbers that stand for no measurement: declared ones are left out, and what looks like one is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from rockbank.core.errors import InputError
from rockbank.flow.units import DAY
from rockbank.matching.problem.observations import Quantity

# What logs, summaries and tables usually say where nothing was measured.
_CUSTOMARY = (-99.0, -999.0, -999.25, -9999.0, -99999.0)
# Of those, what no rate is by chance where a producer's are negative.
_NO_RATE = (-999.25, -9999.0, -99999.0)
# Eclipse's 1e20, netCDF's 9.97e36 and a float's extreme are such.
_HUGE = 1e19
# Files of single precision round.
_SAME = 1e-6


def read_nodata(raw: Any) -> tuple[float, ...]:
    """One number, or a list of them, in the file's own units; .nan is not a number."""
    numbers = raw if isinstance(raw, list) else [raw]
    for number in numbers:
        if not isinstance(number, int | float) or isinstance(number, bool):
            raise InputError(f"expected a number that stands for no measurement, such as -999.25, got {number!r}")
    return tuple(map(float, numbers))


def is_declared(values: Float[np.ndarray, "*n"], nodata: Sequence[float]) -> Bool[np.ndarray, "*n"]:
    """Where the values are one of those that are declared to stand for no measurement."""
    found = np.zeros(np.shape(values), dtype=bool)
    for each in nodata:
        found |= np.isnan(values) if math.isnan(each) else np.isclose(values, each, rtol=_SAME, atol=0.0)
    return found


def is_suspicious(
    values: Float[np.ndarray, "*n"], quantity: Quantity, nodata: Sequence[float], *, is_signed: bool = True
) -> Bool[np.ndarray, "*n"]:
    """Where values that are not declared cannot be measurements, or are customary for none.

    Args:
        values: in the file's own unit.
        quantity: of them; a bottom-hole pressure of 0 or less is none.
        nodata: what is declared; where anything is, no rate is taken for another customary value.
        is_signed: whether a rate may be negative in this file.
    """
    customary = () if nodata else _NO_RATE if is_signed else _CUSTOMARY
    found = ~np.isfinite(values) | (np.abs(values) >= _HUGE) | is_declared(values, customary)
    if quantity == "bhp":
        found |= ~(values > 0)
    return np.asarray(found & ~is_declared(values, nodata))


def refusal(name: str, time: float, value: float, unit: str, n: int, n_values: int) -> InputError:
    """The error that tells of values that stand for no measurement.

    Args:
        name: quantity and well.
        time: of the first, s.
        value: of the first, in the file's unit.
        unit: of it, where it is known.
        n: how many there are.
        n_values: of how many.
    """
    text = f"{value:.7g}".replace("nan", ".nan").replace("inf", ".inf")
    return InputError(
        f"{name} at {time / DAY:g} days: got {f'{text} {unit}'.strip()}, which is no measurement, as {n} of {n_values} "
        f"values are none; say 'nodata: {text}' to leave them out, or take them out of the file"
    )


def measured(
    path: Path,
    values: Float[np.ndarray, " t"],
    time: Float[np.ndarray, " t"],
    name: tuple[str, Quantity],
    unit: str,
    nodata: Sequence[float],
    *,
    is_signed: bool = True,
    has_nan: bool = False,
) -> Float[np.ndarray, " t"]:
    """The values of a curve, NaN where nothing was measured.

    Args:
        path: of the file.
        values: in the file's own unit.
        time: s.
        name: well and quantity.
        unit: of the values, for messages.
        nodata: what stands for no measurement, as the user declares it.
        is_signed: whether a rate may be negative in this file.
        has_nan: whether the file itself declares that NaN stands for no measurement.

    Raises:
        InputError: naming file, well, time, value and how many there are of what is no measurement and not declared.
    """
    well, quantity = name
    known = (*nodata, math.nan) if has_nan else tuple(nodata)
    wrong = is_suspicious(values, quantity, nodata, is_signed=is_signed) & ~is_declared(values, known)
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise refusal(f"{path}: {quantity} of {well}", time[i], values[i], unit, int(wrong.sum()), len(values))
    return np.where(is_declared(values, known), np.nan, values)
