"""What a match hangs on, as fingerprints by which a change of it is seen."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from torch import Tensor

from rockbank.matching.io.case_file import MatchCase
from rockbank.matching.problem.observations import Observations


def fingerprints(case: MatchCase) -> dict[str, str]:
    """SHA-256 of each input of a match."""
    of = case.case
    inputs = {
        "rock": of.rock,
        "fluid": of.fluid,
        "wells": of.wells,
        "schedule": of.schedule,
        "initial state": of.initial,
        "options": of.options,
        "observations": _observations(case.observations),
        "wells' facies": case.facies,
        "geology": case.geology,
        "parameters": [(each.name, each.section, each.arrays) for each in case.unknowns],
        "forecast": case.forecast,
    }
    found = {}
    for name, value in inputs.items():
        digest = hashlib.sha256()
        _feed(digest.update, value)
        found[name] = digest.hexdigest()
    return found


def _observations(of: Observations) -> Mapping[str, Any]:
    """Their columns; those of cells change nothing where there are none."""
    columns = {each.name: getattr(of, each.name) for each in fields(of)}
    return columns if of.cells is not None else {name: value for name, value in columns.items() if name != "cells"}


def _feed(update: Callable[[bytes], None], value: Any) -> None:
    """Every number and text in a tree of dataclasses, arrays and tuples, with what holds it."""
    if is_dataclass(value):
        value = {each.name: getattr(value, each.name) for each in fields(value)}
    if isinstance(value, Mapping):
        value = [each for key in value for each in (key, value[key])]
    if isinstance(value, Tensor):
        value = value.detach().numpy()
    if isinstance(value, np.ndarray):
        update(f"{value.dtype} {value.shape};".encode() + np.ascontiguousarray(value).tobytes())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        update(f"{len(value)} of;".encode())
        for each in value:
            _feed(update, each)
    else:
        update(f"{value!r};".encode())
