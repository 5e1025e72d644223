"""Sections of a case file: wells and schedule."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated, Any, Literal

import numpy as np
import torch

from rockbank.core.config import convert
from rockbank.core.errors import InputError
from rockbank.flow.equations.wells import KINDS, Control, Kind, Schedule, Well
from rockbank.flow.units import UNITS, Quantity

Cells = tuple[tuple[int, ...], ...]
Length = Annotated[float, Quantity("length")]
Time = Annotated[float, Quantity("time")]
Pressure = Annotated[float, Quantity("pressure")]
Rate = Annotated[float, Quantity("rate")]
Density = Annotated[float, Quantity("density")]
_RANGE = re.compile(r"(\d+)\s*\.\.\s*(\d+)")
_REPEATED = re.compile(r"(.+?)\s+x\s+(\d+)\s*(.*)")
_NUMBER = re.compile(r"\s*[-+.eE\d]+\s*")
# Report times are sums of steps; a control starts at one of them to this part of it.
_SAME_TIME = 1e-9


def read_cells(raw: Any) -> Cells:
    """Cells from {i: 7, j: 0..63} or {i: [7, 119], j: 0..63}, or a list of such.

    Both ends of a range belong to it, counting from 0.
    """
    if isinstance(raw, list):
        return tuple(place for each in raw for place in read_cells(each))
    if not isinstance(raw, Mapping) or sorted(raw) not in (["i", "j"], ["i", "j", "k"]):
        raise InputError(f"expected cells such as {{i: 7, j: 0..63}}, with k where there are layers, got {raw!r}")
    return tuple(product(*(_places(raw[axis]) for axis in "ijk" if axis in raw)))


def read_places(raw: Any) -> tuple[int, ...]:
    """Places along an axis from 7, 0..63 or [7, 119], counted from 0."""
    return tuple(_places(raw))


def _places(raw: Any) -> Sequence[int]:
    if isinstance(raw, list):
        return [place for each in raw for place in _places(each)]
    if isinstance(raw, int) and not isinstance(raw, bool):
        return range(raw, raw + 1)
    match = _RANGE.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or int(match[1]) > int(match[2]):
        raise InputError(f"expected a whole number or a range such as 0..63, got {raw!r}")
    return range(int(match[1]), int(match[2]) + 1)


def _index(raw: Any) -> tuple[float, ...]:
    """A conductance, or a list of them, one for each perforation."""
    read = Quantity("conductance")
    return tuple(read(each) for each in raw) if isinstance(raw, list) else (read(raw),)


def _changes(raw: Any) -> tuple[ControlSection, ...]:
    """One control, or a list of them, each from its start on."""
    return tuple(convert(each, ControlSection, "") for each in (raw if isinstance(raw, list) else [raw]))


def _unit_of_time(raw: Any) -> float:
    """A unit of time, such as day."""
    if not isinstance(raw, str):
        raise InputError(f"expected a unit of time, got {raw!r}; known are {list(UNITS['time'])}")
    return Quantity("time").scale(raw)


@dataclass(frozen=True, kw_only=True)
class WellSection:
    """See Well; `axis` by its letter, `index` one for all perforations or a list."""

    kind: Literal["injector", "producer"]
    cells: Annotated[Cells, read_cells]
    axis: Literal["x", "y", "z"] = "z"
    radius: Length = Well.radius
    skin: float = Well.skin
    index: Annotated[tuple[float, ...], _index] | None = None
    datum: Length | None = None
    head_density: Density | None = None
    cross_flow: bool = Well.cross_flow

    def build(self, name: str) -> Well:
        """The well."""
        index = None
        if self.index is not None:
            given = self.index * len(self.cells) if len(self.index) == 1 else self.index
            index = torch.tensor(given, dtype=torch.float64)
        rest = {key: value for key, value in vars(self).items() if key not in ("axis", "index")}
        return Well(name=name, axis="xyz".index(self.axis), index=index, **rest)


@dataclass(frozen=True, kw_only=True)
class ControlSection:
    """One of bhp, rate, oil, water and shut, with the limit that suits it, from `start` on."""

    bhp: Pressure | None = None
    rate: Rate | None = None
    oil: Rate | None = None
    water: Rate | None = None
    shut: bool | None = None
    min_bhp: Pressure | None = None
    max_bhp: Pressure | None = None
    max_rate: Rate | None = None
    start: Time = 0.0

    def __post_init__(self) -> None:
        if len(self._kinds) != 1:
            raise InputError(f"got {self._kinds or 'no control'}; give one of {', '.join(KINDS)}")

    @property
    def _kinds(self) -> list[Kind]:
        """Those given: a target of zero is one, `shut: false` is none."""
        return [kind for kind in KINDS if getattr(self, kind) is not None and getattr(self, kind) is not False]

    def build(self, kind: Literal["injector", "producer"]) -> Control:
        """The control of a well of that kind; InputError for a limit that does not suit it."""
        held = self._kinds[0]
        suits = {"bhp": "max_rate", "shut": ""}.get(held, "max_bhp" if kind == "injector" else "min_bhp")
        for limit in ("min_bhp", "max_bhp", "max_rate"):
            if limit != suits and getattr(self, limit) is not None:
                raise InputError(f"{limit}: does not limit '{held}' of a well that is {kind}; "
                                 f"{f'use {suits}' if suits else 'leave it out'}")  # fmt: skip
        if held == "shut":
            return Control(kind=held)
        return Control(kind=held, target=getattr(self, held), limit=getattr(self, suits))


@dataclass(frozen=True, kw_only=True)
class ScheduleSection:
    """Steps such as [1, 5 days, 15 x 7], the last seven steps of 15, in `unit` where they name none; and controls."""

    steps: tuple[Any, ...]
    controls: dict[str, Annotated[tuple[ControlSection, ...], _changes]]
    unit: Annotated[float, _unit_of_time] = 1.0

    def build(self, wells: Sequence[Well]) -> Schedule:
        """The schedule; InputError names the step or the well."""
        steps = tuple(length for raw in self.steps for length in self._lengths(raw))
        kinds = {well.name: well.kind for well in wells}
        if unknown := [name for name in self.controls if name not in kinds]:
            raise InputError(f"controls: no well '{unknown[0]}'; known are {list(kinds)}")
        controls = {}
        for name, changes in self.controls.items():
            try:
                controls[name] = _of_steps(changes, kinds[name], steps)
            except InputError as error:
                raise InputError(f"controls.{name}: {error}") from error
        return Schedule(steps=steps, controls=controls)

    def _lengths(self, raw: Any) -> list[float]:
        length, n, unit = raw, 1, ""
        if isinstance(raw, str) and (match := _REPEATED.fullmatch(raw.strip())):
            length, n, unit = match[1], int(match[2]), match[3]
        try:
            # A length that names no unit is in that of the repetition, or of all.
            if not isinstance(length, str) or _NUMBER.fullmatch(length):
                seconds = Quantity("time")(length) * (Quantity("time").scale(unit) if unit else self.unit)
            else:
                seconds = Quantity("time")(length)
            if not seconds > 0:
                raise InputError(f"got a length of {raw}; times have to increase")
        except InputError as error:
            raise InputError(f"steps: {error}; give lengths such as 1, '5 days' or '15 days x 7'") from error
        return [seconds] * n


def _of_steps(
    changes: Sequence[ControlSection], kind: Literal["injector", "producer"], steps: Sequence[float]
) -> Control | list[Control]:
    """The control of each step, from when each change starts."""
    if len(changes) == 1 and changes[0].start == 0:
        return changes[0].build(kind)
    begins = np.concatenate([[0.0], np.cumsum(steps)[:-1]])
    controls = [Control(kind="shut")] * len(steps)
    before = -1
    for change in changes:
        at = int(np.abs(begins - change.start).argmin())
        if abs(begins[at] - change.start) > _SAME_TIME * max(begins[-1], 1.0):
            raise InputError(f"start: got {change.start:g} s; no report step begins then, the nearest at "
                             f"{begins[at]:g} s")  # fmt: skip
        if at <= before:
            raise InputError(f"start: got {change.start:g} s after a later one; give them in order of time")
        controls[at:] = [change.build(kind)] * (len(steps) - at)
        before = at
    return controls
