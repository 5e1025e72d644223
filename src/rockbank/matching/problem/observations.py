"""What was measured at the wells and in the cells, and where a run shows the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from rockbank.core.errors import InputError
from rockbank.flow.simulate import CellStates, Result
from rockbank.matching.problem.times import SAME_TIME

Quantity = Literal["bhp", "water_rate", "oil_rate"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
CellQuantity = Literal["pressure", "saturation"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InCells:
    """The cells that observations are of.

    Attributes:
        number: of each among the active cells.
        place: along the axes of the grid, counted from 0.
        depth: where a pressure was measured, or of a saturation's cell, m.
    """

    number: Int[np.ndarray, " k"]
    place: Int[np.ndarray, "k axes"]
    depth: Float[np.ndarray, " k"]

    def __len__(self) -> int:
        """How many."""
        return len(self.number)

    def take(self, rows: Sequence[int]) -> InCells:
        """Those of some observations."""
        at = list(rows)
        return InCells(number=self.number[at], place=self.place[at], depth=self.depth[at])


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """Measured values and how far to trust them, kept in the order of wells, quantities and times, cells behind.

    So the order in which a file lists them changes nothing, perturbations included.

    Attributes:
        time: s.
        well: name of the well of each; "" of a saturation.
        quantity: of each: a bottom-hole pressure (Pa), or a surface rate into the reservoir (m^3/s, a producer's
            is negative); the pressure of a cell (Pa) or its saturation of water.
        value: what was measured, SI.
        sigma: its standard deviation, SI.
        cells: of the last ones, which are of cells; None is that all are of wells.
    """

    time: Float[np.ndarray, " n"]
    well: tuple[str, ...]
    quantity: tuple[Quantity | CellQuantity, ...]
    value: Float[np.ndarray, " n"]
    sigma: Float[np.ndarray, " n"]
    cells: InCells | None = None

    def __post_init__(self) -> None:
        for i in range(len(self.time)):
            if not (self.sigma[i] > 0 and np.isfinite(self.sigma[i])):
                raise InputError(f"{self.name(i)}: got standard deviation {self.sigma[i]:g}; it must be positive: say "
                                 "how far the measurement is to be trusted, or leave it out")  # fmt: skip
            if not np.isfinite(self.time[i]):
                raise InputError(f"{self.quantity[i]} of {self.well[i]}: got time {self.time[i]}; say when it was "
                                 "measured, or leave it out")  # fmt: skip
            if not np.isfinite(self.value[i]):
                raise InputError(f"{self.name(i)}: got {self.value[i]}; leave out what was not measured")
        keys: list[tuple[str | float, ...]] = list(zip(self.well, self.quantity, self.time.tolist(), strict=True))
        n = self.n_of_wells
        if self.cells is not None:
            of_cells = zip(keys[n:], self.cells.number.tolist(), self.cells.depth.tolist(), strict=True)
            keys[n:] = [(*key, number, depth) for key, number, depth in of_cells]
        twice = {key for key, count in Counter(keys).items() if count > 1}
        if twice:
            name, _, day = self.name(keys.index(min(twice))).rpartition(" at ")
            raise InputError(f"{name} at {day} is there twice; keep one")
        order = [*sorted(range(n), key=keys.__getitem__), *sorted(range(n, len(keys)), key=keys.__getitem__)]
        for column in ("time", "value", "sigma"):
            object.__setattr__(self, column, np.asarray(getattr(self, column), dtype=float)[order])
        for column in ("well", "quantity"):
            object.__setattr__(self, column, tuple(getattr(self, column)[i] for i in order))
        if self.cells is not None:
            object.__setattr__(self, "cells", self.cells.take([i - n for i in order[n:]]))

    def __len__(self) -> int:
        """How many."""
        return len(self.time)

    @property
    def n_of_wells(self) -> int:
        """How many are of wells; those of cells follow them."""
        return len(self.time) - (0 if self.cells is None else len(self.cells))

    def name(self, i: int) -> str:
        """The i-th in words."""
        day = f"{self.time[i] / 86400:g} days"
        if self.cells is None or i < self.n_of_wells:
            return f"{self.quantity[i]} of {self.well[i]} at {day}"
        place = tuple(int(at) for at in self.cells.place[i - self.n_of_wells])
        of_well = f" of {self.well[i]}" if self.well[i] else ""
        return f"{self.quantity[i]}{of_well} in cell {place} at {day}"

    def require_within(self, steps: Sequence[float] | Float[np.ndarray, " t"], wells: Sequence[str]) -> None:
        """InputError naming the observation of no well, or not within the schedule."""
        end = float(np.sum(steps))
        for i, time in enumerate(self.time):
            if self.well[i] not in wells and self.quantity[i] != "saturation":
                raise InputError(f"{self.name(i)}: no such well; the case has {list(wells)}")
            if not 0 < time <= end * (1 + SAME_TIME):
                raise InputError(f"{self.name(i)}: lies outside the schedule of {end / 86400:g} days; leave it out, or "
                                 "give the schedule further steps")  # fmt: skip

    def until(self, end: float) -> Observations:
        """Those up to a time, s."""
        return self.take(np.flatnonzero(self.time <= end * (1 + SAME_TIME)).tolist())

    def take(self, rows: Sequence[int]) -> Observations:
        """Some of them, those of wells first."""
        at, n = list(rows), self.n_of_wells
        return Observations(
            time=self.time[at],
            well=tuple(self.well[i] for i in at),
            quantity=tuple(self.quantity[i] for i in at),
            value=self.value[at],
            sigma=self.sigma[at],
            cells=None if self.cells is None else self.cells.take([i - n for i in at if i >= n]),
        )

    def places(self, steps: Sequence[float] | Float[np.ndarray, " t"], wells: Sequence[str]) -> Int[np.ndarray, "3 n"]:
        """Where each stands among a run's observables: quantity, report step and well.

        Those of cells stand behind the quantities, each at its place among `states`.

        Raises:
            InputError: naming the observation of no well, or between the ends of the report steps, which `times.cut_at`
                makes one of.
        """
        self.require_within(steps, wells)
        ends = np.cumsum(steps)
        found = np.empty((3, len(self)), dtype=int)
        for i, time in enumerate(self.time):
            nearest = int(np.abs(ends - time).argmin())
            if abs(ends[nearest] - time) > SAME_TIME * ends[-1]:
                raise InputError(f"{self.name(i)}: no report step ends then, the nearest at {ends[nearest] / 86400:g} "
                                 f"of {ends[-1] / 86400:g} days; let a step of the schedule end there")  # fmt: skip
            quantity = self.quantity[i]
            if quantity == "pressure" or quantity == "saturation":
                found[:, i] = len(QUANTITIES), nearest, i - self.n_of_wells
            else:
                found[:, i] = QUANTITIES.index(quantity), nearest, list(wells).index(self.well[i])
        return found

    def states(self, places: Int[np.ndarray, "3 n"]) -> CellStates | None:
        """What a run has to record of its cells; None where all observations are of wells."""
        if self.cells is None:
            return None
        n = self.n_of_wells
        quantity = tuple(of for of in self.quantity[n:] if of == "pressure" or of == "saturation")
        return CellStates(report=places[1, n:], cell=self.cells.number, quantity=quantity)


def joined(parts: Sequence[Observations]) -> Observations:
    """All of them as one."""
    rows = [(part, i) for part in parts for i in range(part.n_of_wells)]
    rows += [(part, i) for part in parts for i in range(part.n_of_wells, len(part))]
    cells = [part.cells for part in parts if part.cells is not None]

    def column(name: str) -> Float[np.ndarray, " n"]:
        return np.array([getattr(part, name)[i] for part, i in rows], dtype=float)

    return Observations(
        time=column("time"),
        well=tuple(part.well[i] for part, i in rows),
        quantity=tuple(part.quantity[i] for part, i in rows),
        value=column("value"),
        sigma=column("sigma"),
        cells=_joined_cells(cells) if cells else None,
    )


def _joined_cells(parts: Sequence[InCells]) -> InCells:
    return InCells(
        number=np.concatenate([part.number for part in parts]),
        place=np.concatenate([part.place for part in parts]),
        depth=np.concatenate([part.depth for part in parts]),
    )


def observables(result: Result, places: Int[np.ndarray, "3 n"]) -> Float[Tensor, "*b n"]:
    """What a run shows where there are observations."""
    of_all = torch.stack([result.bhp, result.water_rate, result.oil_rate], dim=-3)
    is_of_well = places[0] < len(QUANTITIES)
    quantity, step, well = (torch.as_tensor(each) for each in places[:, is_of_well])
    of_wells = of_all[..., quantity, step, well]
    if is_of_well.all():
        return of_wells
    return torch.cat([of_wells, result.states[..., torch.as_tensor(places[2, ~is_of_well])]], dim=-1)
