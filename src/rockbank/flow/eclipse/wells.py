"""A deck's wells and schedule: WELSPECS, COMPDAT, WCONINJE, WCONPROD, TSTEP and DATES."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Literal

import torch

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.text import Keyword, Record
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Kind, Schedule, Well, peaceman_index
from rockbank.flow.units import ATMOSPHERE, PSI

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
# Eclipse's limits of the bottom-hole pressure where a deck gives none, Pa.
LEAST_OF_PRODUCERS, MOST_OF_INJECTORS = ATMOSPHERE, 1e5 * PSI
_AXES = ("X", "Y", "Z")
# Steps in days, summed in seconds, meet a date to this, s.
_SAME_TIME = 1e-3
_SHUT = Control(kind="shut")


@dataclass(frozen=True)
class _Perforation:
    cell: tuple[int, ...]
    axis: int
    radius: float
    skin: float
    index: float | None


@dataclass
class _DeckWell:
    """One well as far as the deck has come."""

    record: Record
    datum: float | None
    head: tuple[int, int]
    crosses: bool
    kind: Literal["injector", "producer"] | None = None
    perforations: list[_Perforation] = field(default_factory=list)
    control: Control = _SHUT
    controls: list[Control] = field(default_factory=list)


class DeckWells:
    """Wells and their controls, as the keywords of the schedule come."""

    def __init__(self, grid: Grid, start: datetime) -> None:
        self.notes: list[str] = []
        self._grid = grid
        self._now = self._start = start
        self._steps: list[float] = []
        self._by_name: dict[str, _DeckWell] = {}

    def take(self, keyword: Keyword) -> None:
        """Do what the keyword says."""
        if keyword.name == "TSTEP":
            for step in keyword.record.numbers():
                self._advance(step * keyword.record.units.scale("time"), keyword.record)
            return
        act = {
            "WELSPECS": self._specify,
            "COMPDAT": self._perforate,
            "WCONINJE": self._inject,
            "WCONPROD": self._produce,
            "DATES": self._date,
        }[keyword.name]
        for record in keyword.records:
            try:
                act(record)
            except DeckError:
                raise
            except InputError as error:
                raise record.error(str(error)) from error

    def wells(self, rock: Rock) -> list[Well]:
        """The wells in the order of the deck."""
        return [self._well(name, well, rock) for name, well in self._by_name.items()]

    def schedule(self) -> Schedule:
        """The report steps and what holds each well."""
        if not self._steps:
            raise InputError("the deck has no report step; give TSTEP or DATES")
        controls: dict[str, Control | list[Control]] = {}
        for name, well in self._by_name.items():
            same = all(control is well.controls[0] for control in well.controls)
            controls[name] = well.controls[0] if same else well.controls
        return Schedule(steps=tuple(self._steps), controls=controls)

    def _advance(self, seconds: float, record: Record) -> None:
        if not seconds > 0:
            raise record.error(f"got a step of {seconds:g} s; times have to increase")
        self._steps.append(seconds)
        for well in self._by_name.values():
            well.controls.append(well.control)

    def _date(self, record: Record) -> None:
        date = read_date(record)
        seconds = (date - self._start).total_seconds() - sum(self._steps)
        if self._steps and abs(seconds) < _SAME_TIME:
            self.notes.append(f"{record.place}: DATES: {date:%d.%m.%Y} is reached already; there is no step")
        else:
            self._advance(seconds, record)

    def _specify(self, record: Record) -> None:
        name = record.text(1)
        if name in self._by_name:
            raise record.error(f"well '{name}' is specified twice")
        head = (record.whole(3) - 1, record.whole(4) - 1)
        datum = record.positive(5, "length")
        record.refuse((11,), "there is one table of fluids", default=1)
        crosses = record.text(10, "YES").upper() != "NO"
        self._by_name[name] = _DeckWell(record, datum, head, crosses, controls=[_SHUT] * len(self._steps))

    def _named(self, record: Record) -> Iterator[_DeckWell]:
        """The wells of the record's first item, which may be a template such as P*."""
        template = record.text(1)
        found = [well for name, well in self._by_name.items() if fnmatchcase(name, template)]
        if not found:
            raise record.error(f"no well '{template}'; known are {list(self._by_name)}")
        yield from found

    def _perforate(self, record: Record) -> None:
        record.refuse((7,), "there is one table of saturation functions", default=1)
        for well in self._named(record):
            if self._steps and well.controls and any(control is not _SHUT for control in well.controls):
                raise record.error(f"well '{record.text(1)}' flows already; perforations cannot change later")
            if record.text(6, "OPEN").upper() == "OPEN":
                well.perforations += self._perforations(record, well)

    def _perforations(self, record: Record, well: _DeckWell) -> Iterator[_Perforation]:
        axis = record.text(13, "Z").upper()
        if axis not in _AXES:
            raise record.error(f"item 13: got '{axis}'; use X, Y or Z")
        index = record.positive(8, "conductance")
        if index is None:
            record.refuse((10, 14), "give the connection factor instead (item 8), or leave both out", default=0)
        diameter = record.positive(9, "length")
        if diameter is None and index is None:
            raise record.error("item 9: has no default without a connection factor (item 8); give the diameter")
        radius = Well.radius if diameter is None else diameter / 2
        nz = self._grid.box[2]
        i, j = (record.whole(item, 0) - 1 if record.whole(item, 0) else head
                for item, head in zip((2, 3), well.head, strict=True))  # fmt: skip
        for k in range(record.whole(4) - 1, record.whole(5)):
            if not (0 <= k < nz and 0 <= i < self._grid.box[0] and 0 <= j < self._grid.box[1]):
                raise record.error(f"cell ({i + 1}, {j + 1}, {k + 1}) is outside the grid of {self._grid.box} cells")
            # Eclipse leaves out connections to cells that are not active.
            if self._grid.is_active[i, j, k]:
                place = (i, j, k)[: len(self._grid.shape)]
                yield _Perforation(place, _AXES.index(axis), radius, record.number(11, default=0.0), index)

    def _inject(self, record: Record) -> None:
        if record.text(2).upper() != "WATER":
            raise record.error(f"item 2: got '{record.text(2)}'; only WATER can be injected")
        record.refuse((6,), "rates are at surface conditions")
        record.refuse((8, 9), "there is no tubing-head pressure", default=0)
        for well in self._named(record):
            self._become(well, "injector", record)
            if self._is_shut(well, record, 3):
                continue
            mode = record.text(4).upper()
            if mode == "RATE":
                well.control = Control(
                    kind="rate",
                    target=record.number(5, "rate"),
                    limit=record.number(7, "pressure", MOST_OF_INJECTORS),
                )
            elif mode == "BHP":
                limit = record.number(5, "rate") if record.has(5) else None
                well.control = Control(kind="bhp", target=record.number(7, "pressure"), limit=limit)
            else:
                raise record.error(f"item 4: control by '{mode}' is not supported; use RATE or BHP")

    def _produce(self, record: Record) -> None:
        record.refuse((6,), "there is no gas")
        record.refuse((8,), "rates are at surface conditions")
        record.refuse((10, 11, 12), "there is no tubing-head pressure", default=0)
        rates: dict[str, tuple[int, Kind]] = {"ORAT": (4, "oil"), "WRAT": (5, "water"), "LRAT": (7, "rate")}
        for well in self._named(record):
            self._become(well, "producer", record)
            if self._is_shut(well, record, 2):
                continue
            mode = record.text(3).upper()
            if mode in rates:
                item, kind = rates[mode]
                record.refuse([other for other, _ in rates.values() if other != item],
                              f"under {mode}, only a bottom-hole pressure can be the limit")  # fmt: skip
                limit = record.number(9, "pressure", LEAST_OF_PRODUCERS)
                well.control = Control(kind=kind, target=record.number(item, "rate"), limit=limit)
            elif mode == "BHP":
                record.refuse((4, 5), "under BHP, only the liquid rate (item 7) can be the limit")
                limit_of_rate = record.number(7, "rate") if record.has(7) else None
                well.control = Control(kind="bhp", target=record.number(9, "pressure"), limit=limit_of_rate)
            else:
                raise record.error(f"item 3: control by '{mode}' is not supported; use ORAT, WRAT, LRAT or BHP")

    @staticmethod
    def _become(well: _DeckWell, kind: Literal["injector", "producer"], record: Record) -> None:
        if well.kind not in (None, kind):
            raise record.error(f"well '{well.record.text(1)}' is {well.kind} already; it cannot change")
        well.kind = kind

    @staticmethod
    def _is_shut(well: _DeckWell, record: Record, item: int) -> bool:
        status = record.text(item, "OPEN").upper()
        if status not in ("OPEN", "SHUT", "STOP"):
            raise record.error(f"item {item}: got '{status}'; use OPEN, SHUT or STOP")
        if status != "OPEN":
            well.control = _SHUT
        return status != "OPEN"

    def _well(self, name: str, given: _DeckWell, rock: Rock) -> Well:
        if given.kind is None:
            raise given.record.error(f"well '{name}' has no WCONINJE or WCONPROD")
        if not given.perforations:
            raise given.record.error(f"well '{name}' has no open perforation; give COMPDAT")
        if len({each.cell for each in given.perforations}) < len(given.perforations):
            raise given.record.error(f"well '{name}' perforates a cell twice")
        first = given.perforations[0]
        depths = [float(rock.grid.depth[rock.grid.cell(each.cell)]) for each in given.perforations]
        # The shallowest perforation is Eclipse's datum, the first one ours.
        datum = given.datum if given.datum is not None or depths[0] == min(depths) else min(depths)
        well = Well(
            name=name,
            kind=given.kind,
            cells=[each.cell for each in given.perforations],
            axis=first.axis,
            radius=first.radius,
            skin=first.skin,
            datum=datum,
            cross_flow=given.crosses,
        )
        if all(replace(each, cell=first.cell) == replace(first, index=None) for each in given.perforations):
            return well
        indices = [self._index(well, each, rock) for each in given.perforations]
        return replace(well, index=torch.tensor(indices, dtype=torch.float64))

    @staticmethod
    def _index(well: Well, each: _Perforation, rock: Rock) -> float:
        if each.index is not None:
            return each.index
        alone = replace(well, cells=[each.cell], axis=each.axis, radius=each.radius, skin=each.skin)
        return float(peaceman_index(rock, alone))


def read_date(record: Record) -> datetime:
    """Day, month, year and time of START or DATES."""
    month = record.text(2).upper()[:3].replace("JLY", "JUL")
    clock = record.text(4, "00:00:00")
    try:
        day = datetime(record.whole(3), MONTHS.index(month) + 1, record.whole(1))
        hours, minutes, seconds = (float(part) for part in clock.split(":"))
        return day.replace(hour=int(hours), minute=int(minutes), second=int(seconds))
    except ValueError as error:
        raise record.error(
            f"expected a day, a month such as JAN, a year and a time such as 12:00:00 ({error})"
        ) from None
