"""Writes grid, rock and states of a run as Eclipse's EGRID, INIT and unified restart, which ResInsight opens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import resfo
from jaxtyping import Float

from rockbank.core.files import replacing
from rockbank.flow.case import Case
from rockbank.flow.eclipse.text import require_deck_names
from rockbank.flow.equations.corner_point import CornerPointGrid, pillars_of
from rockbank.flow.equations.grid import Grid
from rockbank.flow.equations.problem import SHUT, Parameters, Problem
from rockbank.flow.equations.trajectory import Trajectory
from rockbank.flow.units import BAR, DAY, MILLIDARCY

Array = tuple[str, Any]
SUFFIXES = (".EGRID", ".INIT", ".UNRST")
_METRIC_SYSTEM, _OIL_AND_WATER, _ECLIPSE_100, _FORMAT = 1, 3, 100, 2007
# Lengths of the headers, and of what there is of a well and of a perforation.
_INTEHEAD, _LOGIHEAD, _DOUBHEAD, _IWEL, _ICON = 411, 121, 229, 155, 25
_PRODUCER, _WATER_INJECTOR = 1, 3


def restart_paths(results: Path) -> tuple[Path, Path, Path]:
    """Where EGRID, INIT and UNRST of a run lie: beside its results, in capitals as its summary."""
    egrid, init, unrst = (results.with_name(f"{results.stem.upper()}{suffix}") for suffix in SUFFIXES)
    return egrid, init, unrst


def write_restart(results: Path, case: Case, problem: Problem, parameters: Parameters, trajectory: Trajectory) -> None:
    """Write the three files of `restart_paths`, METRIC, each whole or not at all.

    The restart has the initial state as report 0, and the states after the report steps. Active cells come in Eclipse's
    order, i fastest; numbers are in single precision, as the format has it.

    Args:
        results: of the run, whose name they have.
        case: of one member.
        problem: of it.
        parameters: likewise.
        trajectory: what it did, report step by report step.

    Raises:
        InputError: a well's name is none of Eclipse's.
    """
    require_deck_names([well.name for well in case.wells])
    contents = (_egrid(case.rock.grid), _init(case, problem, parameters), _unrst(case, problem, trajectory))
    for path, arrays in zip(restart_paths(results), contents, strict=True):
        with replacing(path) as beside:
            resfo.write(beside, list(arrays))


def _egrid(grid: Grid) -> Iterator[Array]:
    """Corner points of boxes: straight pillars, and the depth of each layer's top and bottom at its corners."""
    nx, ny, nz = grid.box
    if isinstance(grid, CornerPointGrid):
        of_map = np.array([1.0, -1.0 if grid.is_mirrored else 1.0, 1.0])
        pillars, depths = (of.astype(np.float32) for of in pillars_of(grid.corners * of_map))
    else:
        pillars, depths = _of_boxes(grid)
    yield "FILEHEAD", _numbers(100, {0: 3, 1: _FORMAT, 6: 1})
    yield "GRIDUNIT", np.array(["METRES  ", " " * 8])
    yield "GRIDHEAD", _numbers(100, {0: 1, 1: nx, 2: ny, 3: nz, 24: 1})
    yield "COORD   ", pillars.ravel()
    yield "ZCORN   ", depths.ravel()
    yield "ACTNUM  ", _natural(grid.is_active).astype(np.int32)
    yield "ENDGRID ", np.array([], dtype=np.int32)


def _of_boxes(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    nx, ny, _ = grid.box
    x, y, z = (np.concatenate([[0.0], np.cumsum(sizes)]) for sizes in grid.sizes)
    z = z + grid.top
    pillars = np.empty((ny + 1, nx + 1, 6), dtype=np.float32)
    pillars[..., 0::3], pillars[..., 1::3] = x[None, :, None], y[:, None, None]
    pillars[..., 2::3] = z[[0, -1]]
    layers = np.stack([z[:-1], z[1:]], axis=1).ravel()
    return pillars, np.repeat(layers, 4 * nx * ny).astype(np.float32)


def _init(case: Case, problem: Problem, parameters: Parameters) -> Iterator[Array]:
    grid, rock = case.rock.grid, case.rock
    yield from _heads(case, problem, report=0, days=0.0)
    pores = np.zeros(grid.is_active.size)
    pores[grid.cells] = parameters.pore_volume[0].detach().cpu().numpy()
    yield "PORV    ", _natural(pores.reshape(grid.box)).astype(np.float32)
    yield "DEPTH   ", _active(grid, grid.depth)
    for name, sizes in zip("XYZ", grid.cell_sizes, strict=True):
        yield f"D{name}      ", _active(grid, sizes)
    yield "PORO    ", _active(grid, rock.flat(rock.porosity)[0].detach().cpu().numpy())
    for axis, name in enumerate("XYZ"):
        yield f"PERM{name}   ", _active(grid, rock.along(axis)[0].detach().cpu().numpy() / MILLIDARCY)


def _unrst(case: Case, problem: Problem, trajectory: Trajectory) -> Iterator[Array]:
    grid = case.rock.grid
    at = [0, *(trajectory.ends + 1)]
    days = np.concatenate([[0.0], np.cumsum(trajectory.steps)])[at] / DAY
    for report, (k, day) in enumerate(zip(at, days, strict=True)):
        yield "SEQNUM  ", np.array([report], dtype=np.int32)
        yield from _heads(case, problem, report=report, days=day)
        yield from _wells(problem, trajectory, max(k - 1, 0))
        yield "STARTSOL", resfo.MESS
        yield "PRESSURE", _active(grid, trajectory.pressure[k].cpu().numpy() / BAR)
        yield "SWAT    ", _active(grid, trajectory.saturation[k].cpu().numpy())
        yield "ENDSOL  ", resfo.MESS


def _heads(case: Case, problem: Problem, *, report: int, days: float) -> Iterator[Array]:
    nx, ny, nz = case.rock.grid.box
    date: datetime = case.date_of_start + timedelta(days=days)
    per_well = int(np.bincount(problem.perforation_well).max())
    yield "INTEHEAD", _numbers(_INTEHEAD, {
        1: _FORMAT, 2: _METRIC_SYSTEM, 8: nx, 9: ny, 10: nz, 11: case.rock.grid.n_cells, 14: _OIL_AND_WATER,
        16: len(problem.wells), 17: per_well, 24: _IWEL, 27: 3, 32: _ICON, 64: date.day, 65: date.month, 66: date.year,
        67: report, 68: report, 94: _ECLIPSE_100, 206: date.hour, 207: date.minute,
        410: date.second * 1_000_000})  # fmt: skip
    yield "LOGIHEAD", np.zeros(_LOGIHEAD, dtype=bool)
    heads = np.zeros(_DOUBHEAD)
    heads[0] = days
    yield "DOUBHEAD", heads


def _wells(problem: Problem, trajectory: Trajectory, step: int) -> Iterator[Array]:
    """Heads, kinds and perforations of the wells, places counted from 1."""
    per_well = int(np.bincount(problem.perforation_well).max())
    wells = np.zeros((len(problem.wells), _IWEL), dtype=np.int32)
    perforations = np.zeros((len(problem.wells), per_well, _ICON), dtype=np.int32)
    places = np.stack(np.unravel_index(problem.grid.cells[problem.perforation_cell], problem.grid.box), axis=1) + 1
    for w, well in enumerate(problem.wells):
        mine, is_open = places[problem.perforation_well == w], int(trajectory.kinds[step, w] != SHUT)
        wells[w, :3], wells[w, 4], wells[w, 10] = mine[0], len(mine), is_open
        wells[w, 6] = _WATER_INJECTOR if well.kind == "injector" else _PRODUCER
        for n, place in enumerate(mine):
            perforations[w, n, 0], perforations[w, n, 1:4] = n + 1, place
            perforations[w, n, 5], perforations[w, n, 13] = is_open, well.axis + 1
    names = [text for well in problem.wells for text in (well.name.ljust(8), " " * 8, " " * 8)]
    yield "IWEL    ", wells.ravel()
    yield "ZWEL    ", np.array(names)
    yield "ICON    ", perforations.ravel()


def _numbers(n: int, given: dict[int, int]) -> np.ndarray:
    values = np.zeros(n, dtype=np.int32)
    values[list(given)] = list(given.values())
    return values


def _natural(box: np.ndarray) -> np.ndarray:
    """In Eclipse's order, i fastest."""
    return np.asarray(box.transpose(2, 1, 0).ravel())


def _active(grid: Grid, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Of the active cells, in that order."""
    box = np.zeros(grid.is_active.size)
    box[grid.cells] = values
    return np.asarray(_natural(box.reshape(grid.box))[_natural(grid.is_active)].astype(np.float32))
