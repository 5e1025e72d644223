"""A deck's wells and schedule: WELSPECS, COMPDAT, WEFAC, the wells' controls, TSTEP and DATES."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase

import numpy as np
import torch
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.eclipse.lines import DeckError
from rockbank.flow.eclipse.record import Record
from rockbank.flow.eclipse.schedule.controls import SHUT, STOPPED, Orders, act
from rockbank.flow.eclipse.schedule.dates import read_date
from rockbank.flow.eclipse.text import Keyword
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Control, Schedule, Well, peaceman_index
from rockbank.flow.units import DAY

_AXES = ("X", "Y", "Z")
# Steps in days, summed in seconds, meet a date to this, s.
_SAME_TIME = 1e-3
_MOST_STEPS = 1_000_000


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
    perforations: dict[tuple[int, ...], _Perforation] = field(default_factory=dict)
    orders: Orders = field(default_factory=Orders)
    control: Control = SHUT
    changed: Record | None = None
    controls: list[Control] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)
    efficiency: float = 1.0

    @property
    def has_flowed(self) -> bool:
        return any(control is not SHUT for control in self.controls)


class DeckWells:
    """Wells and their controls, as the keywords of the schedule come.

    Args:
        grid: in which they are perforated.
        satnum: the table of saturation functions that each cell has, from 1.
        start: date of time 0.
        refuse: takes the errors of records, after which the others are read.
    """

    def __init__(
        self, grid: Grid, satnum: Float[np.ndarray, "nx ny nz"], start: datetime, refuse: Callable[[DeckError], None]
    ) -> None:
        self.notes: list[str] = []
        self._grid, self._satnum = grid, satnum
        self._now = self._start = start
        self._refuse = refuse
        self._steps: list[float] = []
        self._by_name: dict[str, _DeckWell] = {}
        self._lost: set[str] = set()

    def take(self, keyword: Keyword) -> None:
        """Do what the keyword says."""
        do = {"WELSPECS": self._specify, "COMPDAT": self._perforate, "WEFAC": self._take_efficiency,
              "DATES": self._date, "TSTEP": self._step}.get(keyword.name, self._order)  # fmt: skip
        for record in keyword.records:
            try:
                do(record)
            except DeckError as error:
                self._refuse(error)
            except InputError as error:
                self._refuse(record.error(str(error)))

    def lose(self, keyword: Keyword) -> None:
        """Remember that a keyword could not be read, so that what follows from it is no fault of its own."""
        self._lost |= {"*"} if keyword.name in ("WELSPECS", "COMPDAT") else set()

    def wells(self, rock: Rock) -> list[Well]:
        """The wells in the order of the deck."""
        found = []
        for name, well in self._by_name.items():
            try:
                if well.orders.kind is None:
                    self.notes.append(f"{well.record.place}: well '{name}' has no WCONINJE or WCONPROD: it is left out")
                else:
                    found.append(self._well(name, well, rock))
            except InputError as error:
                self._refuse(error if isinstance(error, DeckError) else well.record.error(str(error)))
        return found

    def has_head(self, grid: Grid) -> bool:
        """Whether a well refers to another depth than that of the first cell."""
        return any(well.datum not in (None, float(grid.depth[0])) for well in self._by_name.values())

    def schedule(self) -> Schedule:
        """The report steps and what holds each well."""
        if not self._steps:
            raise InputError("the deck has no report step; give TSTEP or DATES")
        controls: dict[str, Control | list[Control]] = {}
        for name, well in self._by_name.items():
            if well.orders.kind is None:
                continue
            all_of = [_reduced(control, well.efficiency) for control in well.controls]
            controls[name] = all_of[0] if all(control == all_of[0] for control in all_of) else all_of
        return Schedule(steps=tuple(self._steps), controls=controls)

    def history(self) -> dict[tuple[str, str], Float[np.ndarray, " t"]]:
        """What WCONHIST and WCONINJH say of each report step, by well and quantity; NaN where they say nothing.

        Rates are means over all of the time, as the run's are: those while a well flows times its part of the time.
        """
        found = {}
        for name, well in self._by_name.items():
            for quantity in dict.fromkeys(each for of in well.measured for each in of):
                part = 1.0 if quantity == "bhp" else well.efficiency
                found[name, quantity] = part * np.array([of.get(quantity, np.nan) for of in well.measured])
        return found

    def _step(self, record: Record) -> None:
        if len(record.items) > _MOST_STEPS:
            raise record.error(f"got {len(record.items)} steps; give {_MOST_STEPS} at most")
        for step in record.numbers():
            self._advance(float(step) * record.units.scale("time"), record)

    def _advance(self, seconds: float, record: Record) -> None:
        if not seconds > 0:
            raise record.error(f"got a step of {seconds:g} s; times have to increase")
        self._steps.append(seconds)
        for well in self._by_name.values():
            self._settle(well)
            well.controls.append(well.control)
            well.measured.append(well.orders.measured)

    def _settle(self, well: _DeckWell) -> None:
        """The control that follows from all records since the step before."""
        record, well.changed = well.changed, None
        if record is not None:
            # A record that a well cannot follow does not become the fault of a later record.
            well.control = SHUT
            try:
                control = well.orders.control(record)
                crosses = well.crosses and len(well.perforations) > 1
                well.control = SHUT if control is STOPPED and not crosses else control
            except DeckError as error:
                self._refuse(error)

    def _date(self, record: Record) -> None:
        date = read_date(record)
        seconds = (date - self._start).total_seconds() - sum(self._steps)
        # Long schedules of short steps do not meet a date to the last digit.
        if self._steps and abs(seconds) < max(_SAME_TIME, 1e-12 * len(self._steps) * DAY):
            self.notes.append(f"{record.place}: DATES: {date:%d.%m.%Y} is reached already; there is no step")
        else:
            self._advance(seconds, record)

    def _specify(self, record: Record) -> None:
        name = record.text(1)
        try:
            head = (record.whole(3, 0) - 1, record.whole(4, 0) - 1)
            datum = record.positive(5, "length")
            record.refuse((11,), "there is one table of fluids", default=1)
        except DeckError:
            self._lost.add(name)
            raise
        crosses = record.text(10, "YES").upper() != "NO"
        before = self._by_name.get(name)
        if before is None:
            n = len(self._steps)
            self._by_name[name] = _DeckWell(record, datum, head, crosses, controls=[SHUT] * n, measured=[{}] * n)
        elif (before.head, before.datum, before.crosses) != (head, datum, crosses):
            if before.has_flowed:
                raise record.error(f"well '{name}' flows already, from {before.record.place}; it cannot move")
            before.record, before.head, before.datum, before.crosses = record, head, datum, crosses

    def _named(self, record: Record) -> Iterator[_DeckWell]:
        """The wells of the record's first item, which may be a template such as P*."""
        template = record.text(1)
        found = [well for name, well in self._by_name.items() if fnmatchcase(name, template)]
        if not found and not any(fnmatchcase(lost, template) or lost == "*" for lost in self._lost):
            raise record.error(f"no well '{template}'; known are {list(self._by_name)}")
        yield from found

    def _perforate(self, record: Record) -> None:
        for well in self._named(record):
            new = {each.cell: each for each in self._perforations(record, well)}
            if record.choice(6, ("OPEN", "SHUT", "AUTO"), "OPEN") == "SHUT":
                if well.has_flowed and any(cell in well.perforations for cell in new):
                    raise record.error(f"well '{record.text(1)}' flows already; perforations cannot be shut later")
                well.perforations = {cell: of for cell, of in well.perforations.items() if cell not in new}
            else:
                changed = {cell for cell, each in new.items() if well.perforations.get(cell) != each}
                if well.has_flowed and changed:
                    raise record.error(f"well '{record.text(1)}' flows already; perforations cannot change later")
                well.perforations |= new

    def _perforations(self, record: Record, well: _DeckWell) -> Iterator[_Perforation]:
        axis, table = record.choice(13, _AXES, "Z"), record.whole(7, 0)
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
        for k in range(record.whole(4) - 1, min(record.whole(5), nz + 1)):
            if not (0 <= k < nz and 0 <= i < self._grid.box[0] and 0 <= j < self._grid.box[1]):
                raise record.error(f"cell ({i + 1}, {j + 1}, {k + 1}) is outside the grid of {self._grid.box} cells")
            # Eclipse leaves out connections to cells that are not active.
            if self._grid.is_active[i, j, k]:
                place = (i, j, k)[: len(self._grid.shape)]
                if table > 0 and table != (own := self._satnum[i, j, k]):
                    raise record.error(f"item 7: got '{table}', but cell ({i + 1}, {j + 1}, {k + 1}) has table {own:g} "
                                       "(SATNUM), by which a perforation flows here; give that, or leave the item "
                                       "out")  # fmt: skip
                yield _Perforation(place, _AXES.index(axis), radius, record.number(11, default=0.0), index)

    def _order(self, record: Record) -> None:
        for well in self._named(record):
            well.changed = None
            act(well.orders, record)
            well.changed = record

    def _take_efficiency(self, record: Record) -> None:
        factor = record.number(2, default=1.0)
        if not 0 < factor <= 1:
            raise record.error(f"item 2: got {factor:g}; it must lie in (0, 1]")
        for well in self._named(record):
            if well.has_flowed and factor != well.efficiency:
                raise record.error(f"item 2: well '{record.text(1)}' flows already; the factor cannot change later")
            well.efficiency = factor

    def _well(self, name: str, given: _DeckWell, rock: Rock) -> Well:
        perforations = list(given.perforations.values())
        if not perforations:
            raise given.record.error(f"well '{name}' has no open perforation; give COMPDAT")
        first = perforations[0]
        depths = [float(rock.grid.depth[rock.grid.cell(each.cell)]) for each in perforations]
        # The shallowest perforation is Eclipse's datum, the first one ours.
        datum = given.datum if given.datum is not None or depths[0] == min(depths) else min(depths)
        assert given.orders.kind is not None
        well = Well(
            name=name,
            kind=given.orders.kind,
            cells=[each.cell for each in perforations],
            axis=first.axis,
            radius=first.radius,
            skin=first.skin,
            datum=datum,
            cross_flow=given.crosses,
        )
        is_alike = all(replace(each, cell=first.cell) == replace(first, index=None) for each in perforations)
        if given.efficiency != 1.0:
            self.notes.append(f"well '{name}' flows {given.efficiency:g} of the time (WEFAC): its rates are means "
                               "over all of it")  # fmt: skip
        elif is_alike:
            peaceman_index(rock, well)
            return well
        if any(each.index is None for each in perforations):
            self.notes.append(f"well '{name}': its well indices are numbers, of the deck's permeability: perforations "
                               "that differ, or WEFAC, keep them from following another rock's")  # fmt: skip
        indices = [given.efficiency * self._index(well, each, rock) for each in perforations]
        return replace(well, index=torch.tensor(indices, dtype=torch.float64))

    @staticmethod
    def _index(well: Well, each: _Perforation, rock: Rock) -> float:
        if each.index is not None:
            return each.index
        alone = replace(well, cells=[each.cell], axis=each.axis, radius=each.radius, skin=each.skin)
        return float(peaceman_index(rock, alone))


def _reduced(control: Control, part: float) -> Control:
    """The control of a well that flows a part of the time, whose connections are reduced likewise."""
    if part == 1.0 or control.kind == "shut":
        return control
    if control.kind == "bhp":
        return control if control.limit is None else replace(control, limit=part * control.limit)
    return replace(control, target=part * control.target)
