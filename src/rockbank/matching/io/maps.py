"""Maps of saturation as observations, such as those of a 4-D seismic survey."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.fields import ArrayFile, Axis, FieldOf, FieldSource
from rockbank.flow.casefile.wells import Time
from rockbank.flow.equations.grid import Grid
from rockbank.matching.io.nodata import is_declared, read_nodata
from rockbank.matching.io.problems import Problems
from rockbank.matching.io.table import at, number, read_rows
from rockbank.matching.problem.observations import CellQuantity, InCells, Observations

# A saturation that lies further than so many standard deviations outside [0, 1] is no noise.
_NO_SATURATION = 6.0
_SATURATION: tuple[CellQuantity] = ("saturation",)


def _array(raw: Any) -> tuple[Any, ...]:
    """Numbers in lists of lists, in the order of the axes."""
    try:
        found = np.array(raw, dtype=float)
    except (TypeError, ValueError):
        found = np.zeros(())
    if not isinstance(raw, list) or found.ndim not in (2, 3):
        raise InputError("expected lists of lists of numbers, along i and j, and k where there are layers, got "
                         f"{raw!r}"[:200])  # fmt: skip
    return tuple(raw)


@dataclass(frozen=True, kw_only=True)
class MapSection:
    """Saturations of water in the cells of the grid, or of one of its layers, at a time.

    Attributes:
        time: of the survey.
        file: relative to the case file: a .npy, .npz:NAME or .nc:VARIABLE with an array; or a .csv of
            i,j,saturation, with k where there are layers and no 'layer', and sigma where the key is not given: what it
            does not list is not observed.
        values: instead, the array itself, as lists of lists.
        sigma: standard deviation, one for all cells or an array of the same shape; errors of two cells are taken for
            independent.
        layer: whose cells the array has, from 0 downwards; without it, it has the grid's shape.
        mask: array of the same shape; where it is 0 nothing is observed.
        axes: along which axis of the grid each of the array's axes runs; a NetCDF has to say, in others it is the
            grid's order.
        select: of a NetCDF variable, what to take along its other dimensions.
        unit: of an array, where the file does not tell it; none is a fraction.
        nodata: numbers that stand for no measurement; .nan is not a number.
    """

    time: Time
    file: str = ""
    values: Annotated[tuple[Any, ...], _array] = ()
    sigma: Annotated[FieldSource, FieldOf("fraction")] | None = None
    layer: int | None = None
    mask: Annotated[FieldSource, FieldOf("fraction")] | None = None
    axes: tuple[Axis, ...] = ()
    select: dict[str, str] = field(default_factory=dict)
    unit: str = ""
    nodata: Annotated[tuple[float, ...], read_nodata] = ()

    def __post_init__(self) -> None:
        if bool(self.file) == bool(self.values):
            raise InputError("file: give either 'file' or 'values'")
        is_table = self.file.lower().endswith(".csv")
        if is_table:
            for name in ("axes", "select", "unit"):
                if getattr(self, name):
                    raise InputError(f"{name}: is for an array; a .csv says it in its columns, leave it out")
        elif self.sigma is None:
            raise InputError("sigma: is missing; say how far the saturations are to be trusted, such as 0.05")
        if self.values and self.select:
            raise InputError("select: is for a NetCDF variable; leave it out")

    def read(self, case: Case, folder: Path) -> Observations:
        """The observations of a case; of an array, cells that are not active, or an aquifer's, are left out.

        Raises:
            InputError: with a line for each key, or place in a file, of what does not fit the case.
        """
        grid, problems = case.rock.grid, Problems()
        layered = self._layered(grid)
        is_there = self._is_there(grid)
        shape, name = layered.shape, str(folder / self.file) if self.file else "values"
        sigma, kept = np.full(shape, np.nan), np.ones(shape, dtype=bool)
        if self.sigma is not None:
            with problems.at("sigma"):
                sigma = self.sigma.on(layered, folder)
        if self.mask is not None:
            with problems.at("mask"):
                kept = self.mask.on(layered, folder) != 0
        value = np.full(shape, np.nan)
        with problems.at(""):
            if self.file.lower().endswith(".csv"):
                value, of_rows, is_measured = self._of_table(folder / self.file, is_there)
                sigma, kept = sigma if self.sigma is not None else of_rows, kept & is_measured
            else:
                value, is_measured = self._of_array(layered, folder)
                kept = kept & is_measured
        problems.require_none()
        kept &= is_there
        self._require(name, value, sigma, kept)
        return self._observations(grid, value[kept], sigma[kept], np.argwhere(kept))

    def _layered(self, grid: Grid) -> Grid:
        """The grid, or one of the shape of a layer; InputError where there is no such layer."""
        if self.layer is None:
            return grid
        if len(grid.shape) == 2 or not 0 <= self.layer < grid.shape[2]:
            has = f"{grid.shape[2]} of them, numbered from 0" if len(grid.shape) == 3 else "none; leave it out"
            raise InputError(f"layer: got {self.layer}; the grid has {has}")
        return Grid(shape=grid.shape[:2], spacing=(1.0, 1.0, 1.0))

    def _is_there(self, grid: Grid) -> Bool[np.ndarray, "*layer"]:
        """Which cells are active, and lie where the box has them."""
        found = np.zeros(grid.is_active.size, dtype=bool)
        found[grid.placed_cells] = True
        found = found.reshape(grid.shape)
        return found if self.layer is None else found[..., self.layer]

    def _of_array(self, grid: Grid, folder: Path) -> tuple[Float[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
        """Values, and which of them are not declared to be none."""
        array, name, own = np.array(self.values or 0.0, dtype=float), "values", None
        if self.file:
            array, name, own = ArrayFile(file=self.file, axes=self.axes, select=self.select).read(folder)
        is_none = is_declared(array.astype(float), self.nodata).astype(float)
        value = _Read(array=array, name=name, own=own, file="", axes=self.axes, unit=self.unit)
        none = _Read(array=is_none, name=name, own=None, file="", axes=self.axes)
        return (
            FieldSource("fraction", value).on(grid, folder),
            FieldSource("fraction", none).on(grid, folder) == 0,
        )

    def _of_table(
        self, path: Path, is_there: Bool[np.ndarray, "*shape"]
    ) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"]]:
        """Values, standard deviations where the table has them, and which cells it has a measurement of."""
        shape = is_there.shape
        axes, problems = "ijk"[: len(shape)], Problems()
        value, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
        line_of: dict[tuple[int, ...], int] = {}
        for line, cells in read_rows(path, (*axes, "saturation", *(() if self.sigma is not None else ("sigma",)))):
            with problems.at(""):
                with at(path, line, ",".join(axes)):
                    place = tuple(_place(cells[axis], axis, n) for axis, n in zip(axes, shape, strict=True))
                    if place in line_of:
                        raise InputError(f"cell {place} is in line {line_of[place]} too; keep one")
                    if not is_there[place]:
                        raise InputError(f"cell {place} is not active, or stands for an aquifer; leave the row out")
                line_of[place] = line
                with at(path, line, "saturation"):
                    value[place] = number(cells["saturation"], is_finite=False)
                if self.sigma is None:
                    with at(path, line, "sigma"):
                        sigma[place] = number(cells["sigma"], is_finite=False)
        problems.require_none()
        is_measured = np.zeros(shape, dtype=bool)
        for place in line_of:
            is_measured[place] = not is_declared(value[place], self.nodata)
        return value, sigma, is_measured

    def _require(
        self,
        name: str,
        value: Float[np.ndarray, "*shape"],
        sigma: Float[np.ndarray, "*shape"],
        kept: Bool[np.ndarray, "*shape"],
    ) -> None:
        if not kept.any():
            raise InputError(f"{name}: no active cell is left to be observed; look at 'mask' and 'nodata'")
        problems = Problems()
        wrong = kept & ~((sigma > 0) & np.isfinite(sigma))
        if wrong.any():
            place = _first(wrong)
            problems.lines.append(
                f"sigma: got {sigma[place]:g} in cell {place}, as in {int(wrong.sum())} of {int(kept.sum())} that are "
                "observed; it must be positive, or the cell left out by 'mask'"
            )
        room = _NO_SATURATION * np.where(np.isfinite(sigma), sigma, 0.0)
        wrong = kept & ~((value >= -room) & (value <= 1 + room))
        if wrong.any():
            place = _first(wrong)
            text = f"{value[place]:.7g}".replace("nan", ".nan").replace("inf", ".inf")
            problems.lines.append(
                f"{name}: got {text} in cell {place}, which is no saturation, as {int(wrong.sum())} of "
                f"{int(kept.sum())} values are none; give fractions of the pores, say 'nodata: {text}' where nothing "
                "was measured, or 'unit: %'"
            )
        problems.require_none()

    def _observations(
        self, grid: Grid, value: Float[np.ndarray, " n"], sigma: Float[np.ndarray, " n"], place: np.ndarray
    ) -> Observations:
        n = len(value)
        if self.layer is not None:
            place = np.column_stack([place, np.full(n, self.layer)])
        numbers = grid.number.reshape(grid.shape)[tuple(place.T)]
        return Observations(
            time=np.full(n, self.time),
            well=("",) * n,
            quantity=_SATURATION * n,
            value=value,
            sigma=sigma,
            cells=InCells(number=numbers, place=place, depth=grid.depth[numbers]),
        )


@dataclass(frozen=True, kw_only=True)
class _Read(ArrayFile):
    """An array that has been read."""

    array: Float[np.ndarray, "..."]
    name: str
    own: str | None

    def read(self, folder: Path) -> tuple[Float[np.ndarray, "..."], str, str | None]:
        """It, its name for messages, and the unit that its file tells."""
        return self.array, self.name, self.own


def _place(cell: str, axis: str, n: int) -> int:
    if not cell.isdecimal() or int(cell) >= n:
        raise InputError(f"got {axis} '{cell}'; give a whole number, counted from 0, below {n}")
    return int(cell)


def _first(where: Bool[np.ndarray, "*shape"]) -> tuple[int, ...]:
    return tuple(int(at) for at in np.argwhere(where)[0])
