"""Pressures at depths of a well as observations, as a formation tester (RFT, MDT) measures them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.wells import Cells, Time, read_cells
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.wells import Well
from rockbank.flow.simulate import check
from rockbank.flow.units import Quantity
from rockbank.matching.io.csv import unit_scale
from rockbank.matching.io.nodata import is_declared, is_suspicious, read_nodata, refusal
from rockbank.matching.io.problems import Problems
from rockbank.matching.io.table import at, head, number, one_of, read_rows
from rockbank.matching.problem.observations import CellQuantity, InCells, Observations, joined

_COMMON = ("time", "time_unit", "well", "pressure", "sigma", "unit")
_PRESSURE: tuple[CellQuantity] = ("pressure",)
# Depths are sums of layers, and files round them.
_SAME_DEPTH = 1e-6


def _lengths(raw: Any) -> tuple[float, ...]:
    """A length, or a list of them."""
    return _several(raw, "length")


def _pressures(raw: Any) -> tuple[float, ...]:
    """A pressure, or a list of them."""
    return _several(raw, "pressure")


def _several(raw: Any, dimension: str) -> tuple[float, ...]:
    return tuple(Quantity(dimension)(each) for each in (raw if isinstance(raw, list) else [raw]))


@dataclass(frozen=True, kw_only=True)
class RFTSection:
    """Pressures of a well at depths or in cells: in a table, or in the case file itself.

    A depth is in the cell of the well that holds it: of those that it perforates, else of those above and below them;
    the upper one between two. Where gravity acts, a pressure is brought to the depth of the cell's centre by the weight
    of what the cell holds at first.

    Attributes:
        file: relative to the case file: a .csv of time,time_unit,well,depth,depth_unit,pressure,sigma,unit, or with the
            columns i,j,k of the cell in the place of depth,depth_unit; a row for each measurement.
        well: instead, the name of the well.
        time: of the measurements.
        depth: of each.
        cells: or the cell of each, whose centre's pressure it is.
        pressure: of each.
        sigma: standard deviation, one for all or one of each.
        nodata: numbers that stand for no measurement, in the unit of their rows, or Pa here; .nan is not a number.
    """

    file: Path | None = None
    well: str | None = None
    time: Time | None = None
    depth: Annotated[tuple[float, ...], _lengths] = ()
    cells: Annotated[Cells, read_cells] = ()
    pressure: Annotated[tuple[float, ...], _pressures] = ()
    sigma: Annotated[tuple[float, ...], _pressures] = ()
    nodata: Annotated[tuple[float, ...], read_nodata] = ()

    def __post_init__(self) -> None:
        own = {name: getattr(self, name) for name in ("well", "time", "depth", "cells", "pressure", "sigma")}
        given = [name for name, value in own.items() if value not in (None, ())]
        if self.file is not None:
            if given:
                raise InputError(f"{given[0]}: the table {self.file} says it in its columns; leave it out")
            return
        problems = Problems()
        for name in ("well", "time", "pressure", "sigma"):
            if name not in given:
                problems.lines.append(f"{name}: is missing; give it, or a 'file' with a table")
        if ("depth" in given) == ("cells" in given):
            problems.lines.append("depth: give either 'depth' or 'cells' of the measurements")
        n = len(self.depth or self.cells)
        for name, counts in (("pressure", {n}), ("sigma", {1, n})):
            if name in given and n and len(own[name]) not in counts:
                problems.lines.append(f"{name}: got {len(own[name])} for {n} measurements; give one of each")
        problems.require_none()

    def read(self, case: Case, folder: Path) -> Observations:
        """The observations of a case.

        Raises:
            InputError: with a line for each key, or line and column of the table, of what does not fit the case.
        """
        weights = _Weights(case)
        if self.file is not None:
            return _of_table(folder / self.file, case, weights, self.nodata)
        problems, found = Problems(), []
        # __post_init__ has seen to it that none is missing.
        assert self.well is not None
        assert self.time is not None
        with problems.at("well"):
            well = _well(case, self.well)
        problems.require_none()
        sigma = self.sigma * len(self.pressure) if len(self.sigma) == 1 else self.sigma
        for i, (pressure, deviation) in enumerate(zip(self.pressure, sigma, strict=True)):
            if is_declared(np.array(pressure), self.nodata):
                continue
            with problems.at("pressure"):
                _require_pressure(well.name, self.time, pressure, "Pa", self.nodata)
            with problems.at("depth" if self.depth else "cells"):
                cell, depth = _located(case.rock.grid, well, self.depth[i] if self.depth else self.cells[i])
                found.append(_observation(case, weights, well.name, self.time, cell, depth, pressure, deviation))
        problems.require_none()
        if not found:
            raise InputError("pressure: no measurement is left; look at 'nodata'")
        return joined(found)


class _Weights:
    """Pa by metre of what the cells of a case hold at first; numbered when it is first needed."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._known: dict[int, float] = {}

    def of(self, cell: int) -> float:
        """Of the mixture of a cell."""
        fluid = self.case.fluid
        if not fluid.gravity:
            return 0.0
        if cell not in self._known:
            case = self.case
            problem, parameters = check(case.rock, fluid, case.wells, case.schedule, initial=case.initial,
                                        options=case.options)  # fmt: skip
            p, s = parameters.pressure.detach()[:1], parameters.saturation.detach()[0].numpy()
            region = np.zeros(p.shape[1], dtype=int) if fluid.regions is None else fluid.regions.region
            density = np.zeros(p.shape[1])
            for i, pair in enumerate(problem.fluid.liquids):
                water, oil = (float(of.density) * of.at(torch.as_tensor(p))[0][0].numpy() for of in pair)
                density = np.where(region == i, s * water + (1 - s) * oil, density)
            self._known = dict(enumerate((fluid.gravity * density).tolist()))
        return self._known[cell]


def _of_table(path: Path, case: Case, weights: _Weights, nodata: Sequence[float]) -> Observations:
    grid, problems = case.rock.grid, Problems()
    axes = "ijk"[: len(grid.shape)]
    by_depth = "depth" in head(path) or not set(axes) <= set(head(path))
    columns = (*_COMMON, *(("depth", "depth_unit") if by_depth else axes))
    found: list[Observations] = []
    n_rows = 0
    for line, cells in read_rows(path, columns):
        n_rows += 1
        with problems.at(""):
            one = _of_row(path, line, cells, case, weights, nodata, axes, by_depth=by_depth)
            if one is not None:
                found.append(one)
    problems.require_none()
    if not found:
        raise InputError(f"{path}: none of its {n_rows} rows is a measurement; look at 'nodata'")
    try:
        return joined(found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _of_row(
    path: Path,
    line: int,
    cells: Mapping[str, str],
    case: Case,
    weights: _Weights,
    nodata: Sequence[float],
    axes: str,
    *,
    by_depth: bool,
) -> Observations | None:
    """One measurement; None where the row declares that it is none."""
    with at(path, line, "pressure"):
        raw = number(cells["pressure"], is_finite=False)
    if is_declared(np.array(raw), nodata):
        return None
    with at(path, line, "well"):
        well = _well(case, cells["well"])
    with at(path, line, "time_unit"):
        of_time = unit_scale(cells["time_unit"], "time")
    with at(path, line, "time"):
        time = number(cells["time"]) * of_time
    with at(path, line, "unit"):
        unit = unit_scale(cells["unit"], "pressure")
    with at(path, line, "pressure"):
        _require_pressure(well.name, time, raw, cells["unit"], nodata)
    with at(path, line, "sigma"):
        sigma = number(cells["sigma"]) * unit
    place: float | tuple[int, ...]
    if by_depth:
        with at(path, line, "depth_unit"):
            of_depth = unit_scale(cells["depth_unit"], "length")
        with at(path, line, "depth"):
            place = number(cells["depth"]) * of_depth
    else:
        with at(path, line, ",".join(axes)):
            place = tuple(_index(cells[axis]) for axis in axes)
    with at(path, line, "depth" if by_depth else ",".join(axes)):
        cell, depth = _located(case.rock.grid, well, place)
    with at(path, line, "sigma"):
        one = _observation(case, weights, well.name, time, cell, depth, raw * unit, sigma)
    with at(path, line, "time"):
        one.require_within(case.schedule.steps, [well.name])
    return one


def _index(cell: str) -> int:
    if not cell.isdecimal():
        raise InputError(f"got '{cell}'; give a whole number, counted from 0")
    return int(cell)


def _well(case: Case, name: str) -> Well:
    return next(well for well in case.wells if well.name == one_of(name, [each.name for each in case.wells]))


def _require_pressure(well: str, time: float, raw: float, unit: str, nodata: Sequence[float]) -> None:
    if is_suspicious(np.array(raw), "bhp", nodata):
        raise refusal(f"pressure of {well}", time, raw, unit, 1, 1)


def _observation(
    case: Case, weights: _Weights, well: str, time: float, cell: int, depth: float, pressure: float, sigma: float
) -> Observations:
    """One measurement, at the depth of its cell's centre."""
    grid = case.rock.grid
    at_centre = pressure - weights.of(cell) * (depth - float(grid.depth[cell]))
    return Observations(
        time=np.array([time]),
        well=(well,),
        quantity=_PRESSURE,
        value=np.array([at_centre]),
        sigma=np.array([sigma]),
        cells=InCells(number=np.array([cell]), place=np.array([grid.place(cell)]), depth=np.array([depth])),
    )


def _located(grid: Grid, well: Well, place: float | tuple[int, ...]) -> tuple[int, float]:
    """The number of the cell and the depth, of either."""
    if isinstance(place, tuple):
        cell = grid.cell(place)
        return cell, float(grid.depth[cell])
    return cell_at(grid, well, place), place


def cell_at(grid: Grid, well: Well, depth: float) -> int:
    """The cell of a well that holds a depth (m): one that it perforates, else one above or below those.

    Raises:
        InputError: none holds it, or several beside each other.
    """
    perforated = np.array([grid.cell(place) for place in well.cells])
    i, j, _ = np.unravel_index(grid.cells, grid.box)
    is_crossed = np.isin(i * grid.box[1] + j, (i * grid.box[1] + j)[perforated]) & grid.has_place
    half = grid.cell_sizes[2] / 2 * (1 + _SAME_DEPTH)
    for numbers in (perforated, np.flatnonzero(is_crossed)):
        held = numbers[np.abs(grid.depth[numbers] - depth) <= half[numbers]]
        if held.size and len({grid.place(int(each))[:2] for each in held}) > 1:
            first, last = (grid.place(int(of)) for of in held[[0, -1]])
            raise InputError(f"got {depth:g} m, which lies in {held.size} cells of {well.name} beside each other, such "
                             f"as {first} and {last}; say its cell, by 'cells' or by columns i,j,k")  # fmt: skip
        if held.size:
            return int(held[grid.depth[held].argmin()])
    crossed = np.flatnonzero(is_crossed)
    top, bottom = (grid.depth[crossed] - half[crossed]).min(), (grid.depth[crossed] + half[crossed]).max()
    raise InputError(f"got {depth:g} m, which lies in no cell of {well.name}, whose cells reach from {top:g} to "
                     f"{bottom:g} m; correct the depth or its unit, or say the cell")  # fmt: skip
