"""Fields of permeability or porosity: by a variogram, or by an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.fields import ArrayFile, FieldOf, scale_of
from rockbank.flow.casefile.rock import Length
from rockbank.flow.casefile.wells import read_places
from rockbank.flow.equations.grid import Grid
from rockbank.matching.problem.parameters.fields import LinearField, Property, principal_components
from rockbank.matching.problem.parameters.variogram import Shape, Variogram, karhunen_loeve

EnsembleAxis = Literal["member", "i", "j", "k"]
_DIMENSION = {"permeability": "permeability", "porosity": "fraction"}


@dataclass(frozen=True, kw_only=True)
class GaussianSection:
    """A field of permeability or porosity by a variogram, as the first directions of its Karhunen-Loève expansion.

    Attributes:
        of: permeability, whose logarithm is normal, or porosity, whose log-odds are.
        median: of it, one number or a field in a file.
        deviation: standard deviation of the logarithm, or of the log-odds.
        variogram: its shape.
        ranges: along, across and, where there are layers, down.
        azimuth: degrees from x towards y, of the first range.
        components: how many directions; a dry run tells the part of the variance that they keep.
    """

    median: Any
    deviation: float
    ranges: tuple[Length, ...]
    components: int
    of: Property = "permeability"
    variogram: Shape = "exponential"
    azimuth: float = 0.0

    def __post_init__(self) -> None:
        if not self.deviation > 0:
            raise InputError(f"deviation: got {self.deviation:g}; it must be positive")
        if len(self.ranges) not in (2, 3):
            raise InputError(f"ranges: got {len(self.ranges)}; give two, or three where there are layers")

    def arrays(self, case: Case, folder: Path) -> tuple[Float[np.ndarray, "..."], ...]:
        """The median in every cell."""
        return (FieldOf(_DIMENSION[self.of])(self.median).on(case.rock.grid, folder),)

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> LinearField:
        """The field."""
        grid = case.rock.grid
        if len(grid.shape) != 2 and len(self.ranges) != 3:
            raise InputError("ranges: the grid has layers; give a third one, down")
        # A grid of two axes has one layer, across which no range counts.
        ranges = self.ranges[0], self.ranges[1], (*self.ranges, self.ranges[0])[2]
        variogram = Variogram(shape=self.variogram, ranges=ranges, azimuth=self.azimuth)
        basis, kept = karhunen_loeve(grid, variogram, self.components)
        mean = _transformed(arrays[0].reshape(-1)[grid.placed_cells], self.of, "median")
        says = (f"normal field of log {self.of}" if self.of == "permeability" else "normal field of log-odds") + (
            f", {self.variogram} variogram; {self.components} directions keep {kept:.0%} of the variance"
        )
        return _field(name, self.of, grid.placed_cells, mean, self.deviation * basis, says)


@dataclass(frozen=True, kw_only=True)
class EnsembleSection:
    """A field of permeability or porosity by the principal components of an ensemble's logarithms or log-odds.

    Attributes:
        file: .npy, .npz:NAME or .nc:VARIABLE, relative to the case file: members along the first axis, then the grid's
            axes, unless `axes` says others; or, not of a NetCDF, one row for each member, i fastest as in a deck.
        of: permeability or porosity.
        axes: along which axis each of the array's axes runs, such as [member, k, j, i]; a NetCDF has to say, in others
            it is members, then the grid's order.
        unit: of the numbers, where a NetCDF variable does not tell it; none is SI.
        members: which, counted from 0, such as 1..99; all where nothing is said.
        components: how many, fewer than members.
    """

    file: str
    components: int
    of: Property = "permeability"
    axes: tuple[EnsembleAxis, ...] = ()
    unit: str = ""
    members: Annotated[tuple[int, ...], read_places] = ()

    def arrays(self, case: Case, folder: Path) -> tuple[Float[np.ndarray, "m c"], ...]:
        """The members in the active cells, SI."""
        if self.file.partition(":")[0].endswith(".nc") and not self.axes:
            raise InputError("axes: give those of a NetCDF variable, such as [member, k, j, i]")
        # Which axis is which is this section's to say: the members' is none of a field's.
        raw, name, own = ArrayFile(file=self.file, axes=("i",)).read(folder)
        grid = case.rock.grid
        members = self._members(raw, name, grid)
        wrong = [each for each in self.members if each >= len(members)]
        if wrong:
            raise InputError(f"members: got {wrong[0]}; {name} has {len(members)}, counted from 0")
        chosen = members[list(self.members)] if self.members else members
        scale = scale_of(_DIMENSION[self.of], name, self.unit, own)
        return (chosen.reshape(len(chosen), -1)[:, grid.placed_cells].astype(float) * scale,)

    def _members(self, raw: np.ndarray, name: str, grid: Grid) -> Float[np.ndarray, "m *shape"]:
        """The array with its members first, then the grid's axes."""
        if self.axes:
            order = ("member", "i", "j", "k")[: 1 + len(grid.shape)]
            if sorted(self.axes) != sorted(order) or raw.ndim != len(order):
                raise InputError(f"{name}: an array of shape {raw.shape} along axes {list(self.axes)} is no ensemble "
                                 f"on a grid of {grid.shape}; its axes are {list(order)} in some order")  # fmt: skip
            raw = np.moveaxis(raw, range(len(order)), [order.index(axis) for axis in self.axes])
        n_box, m = grid.is_active.size, len(raw) if raw.ndim else 0
        if raw.shape[1:] == grid.shape:
            return raw
        if raw.shape == (m, n_box) and not self.axes:
            return raw.reshape(m, *grid.box[::-1]).transpose(0, 3, 2, 1)
        raise InputError(f"{name}: got shape {raw.shape}; give members times {grid.shape} or times {n_box} cells")

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> LinearField:
        """The field."""
        samples = _transformed(arrays[0], self.of, "file")
        mean, basis, kept = principal_components(samples, self.components)
        says = (f"{self.components} principal components of {len(samples)} members, which keep {kept:.0%} of their "
                "variance")  # fmt: skip
        return _field(name, self.of, case.rock.grid.placed_cells, mean, basis, says)


def _transformed(values: Float[np.ndarray, "*c"], of: Property, key: str) -> Float[np.ndarray, "*c"]:
    """Logarithms of permeabilities, log-odds of porosities."""
    least, most = (0.0, np.inf) if of == "permeability" else (0.0, 1.0)
    wrong = ~((values > least) & (values < most))
    if wrong.any():
        wanted = "be positive" if of == "permeability" else "lie between 0 and 1"
        raise InputError(f"{key}: got {of} {values[wrong][0]:g} in {int(wrong.sum())} of {wrong.size} values; it must "
                         f"{wanted} in every active cell")  # fmt: skip
    return np.asarray(np.log(values) if of == "permeability" else np.log(values / (1 - values)))


def _field(name: str, of: Property, cells: np.ndarray, mean: np.ndarray, basis: np.ndarray, says: str) -> LinearField:
    return LinearField(name=name, of=of, cells=cells, mean=torch.tensor(mean), basis=torch.tensor(basis), says=says)
