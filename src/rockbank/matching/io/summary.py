"""Observations in an Eclipse summary: simulated vectors, or those of a measured history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.summary import Summary
from rockbank.matching.io.curves import Curve, CurvesSection, require_start
from rockbank.matching.io.nodata import measured
from rockbank.matching.problem.observations import Quantity

# Vectors of each quantity, simulated and measured, and their signs: rates are positive into the reservoir.
_VECTORS: Mapping[Quantity, Mapping[str, float]] = {
    "bhp": {"WBHP": 1.0, "WBHPH": 1.0},
    "water_rate": {"WWIR": 1.0, "WWPR": -1.0, "WWIRH": 1.0, "WWPRH": -1.0},
    "oil_rate": {"WOIR": 1.0, "WOPR": -1.0, "WOIRH": 1.0, "WOPRH": -1.0},
}
_HISTORY = "H"


def curves_of_summary(
    path: Path, section: CurvesSection, start: datetime | None, wells: Sequence[str]
) -> dict[tuple[str, Quantity], Curve]:
    """What is observed, out of an Eclipse summary, at its report steps.

    Args:
        path: of the specification.
        section: what is observed; `names` may name the vectors, without regard to case.
        start: of the case; None is not known.
        wells: of the case.

    Raises:
        InputError: naming the file and the well or the vector that it has not, the dates of start that differ, or the
            value that is no measurement.
    """
    if "time" in section.names:
        raise InputError("names.time: a summary's time is its vector TIME; leave it out")
    summary = Summary.read(path)
    if section.history and not section.observed:
        section = replace(section, observed=_history(summary, section, wells))
    vectors = {quantity: _vectors(section, quantity) for _, quantity in section.pairs()}
    require_start(summary.path, summary.start, start)
    found: dict[tuple[str, Quantity], Curve] = {}
    for well, quantity in section.pairs():
        name = _well(summary, well, section)
        present = [keyword for keyword in vectors[quantity] if summary.has(keyword, name)]
        if not present:
            raise InputError(f"{path}: has no {' or '.join(vectors[quantity])} of '{name}'; ask for it in the deck's "
                             f"SUMMARY, say in 'names' which vector {quantity} is, or leave it out of "
                             "'observed'")  # fmt: skip
        value = np.zeros(len(summary.time))
        for keyword in present:
            raw, scale = summary.vector(keyword, name)
            known = measured(path, raw, summary.time, (well, quantity), summary.unit(keyword, name), section.nodata,
                             is_signed=False)  # fmt: skip
            # Adding to 0 makes nothing of a negative zero.
            value = value + _VECTORS[quantity][keyword] * known * scale
        found[well, quantity] = summary.time, value, None
    return found


def _history(summary: Summary, section: CurvesSection, wells: Sequence[str]) -> dict[str, tuple[Quantity, ...]]:
    """What a summary has a history of; InputError where it has none."""
    known = {each.upper(): each for each in summary.wells()}
    found: dict[str, tuple[Quantity, ...]] = {}
    for well in wells:
        name = known.get(section.called(well).upper(), "")
        quantities = tuple(quantity for quantity, of in _VECTORS.items()
                           if any(summary.has(each, name) for each in of if each.endswith(_HISTORY)))  # fmt: skip
        found |= {well: quantities} if quantities else {}
    if not found:
        raise InputError(f"{summary.path}: has no history of {list(wells)}; ask for vectors such as WOPRH in the "
                         "deck's SUMMARY")  # fmt: skip
    return found


def _vectors(section: CurvesSection, quantity: Quantity) -> Sequence[str]:
    """The vectors that a quantity is made of: those named, else the simulated ones."""
    known = _VECTORS[quantity]
    if quantity not in section.names:
        return [keyword for keyword in known if keyword.endswith(_HISTORY) is section.history]
    named = section.names[quantity].upper().replace(",", " ").split()
    wrong = [keyword for keyword in named if keyword not in known]
    if wrong or not named or len({known[keyword] for keyword in named}) < len(named):
        raise InputError(f"names.{quantity}: got '{section.names[quantity]}'; known are {list(known)}, one of "
                         "injection and one of production at most")  # fmt: skip
    return named


def _well(summary: Summary, well: str, section: CurvesSection) -> str:
    """What the summary calls the well; Eclipse makes no difference of capitals."""
    name, known = section.called(well), summary.wells()
    alike = [each for each in known if each.upper() == name.upper()]
    if name in known:
        return name
    if len(alike) != 1:
        raise InputError(f"{summary.path}: has no well '{name}'; it has {list(known)}, say in 'names' which is {well}")
    return alike[0]
