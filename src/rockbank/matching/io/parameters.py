"""Section `parameters` of a match: what is unknown, by name, and its prior."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.fields import ArrayFile, FieldOf
from rockbank.flow.casefile.rock import CurvesSection, Length
from rockbank.flow.casefile.wells import Cells, read_cells, read_places
from rockbank.flow.units import Quantity
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.parameterisation import Parameterisation
from rockbank.matching.problem.parameters.curves import CurveNumbers, Part, Phase
from rockbank.matching.problem.parameters.fields import LinearField, Property, principal_components
from rockbank.matching.problem.parameters.joint import Joint
from rockbank.matching.problem.parameters.multipliers import Factor, Faults, Zones, faces_behind
from rockbank.matching.problem.parameters.prior import Prior
from rockbank.matching.problem.parameters.section import SectionOfGrid
from rockbank.matching.problem.parameters.variogram import Shape, Variogram, karhunen_loeve

_DIMENSION = {"permeability": "permeability", "porosity": "fraction"}
_PARTS: dict[str, tuple[Phase, Part]] = {
    "water.exponent": ("water", "exponent"),
    "water.end": ("water", "end"),
    "water.residual": ("water", "residual"),
    "oil.exponent": ("oil", "exponent"),
    "oil.end": ("oil", "end"),
    "oil.residual": ("oil", "residual"),
}


@dataclass(frozen=True, kw_only=True)
class PriorSection:
    """A number's prior: `mean` and `deviation`, `median` and `log_deviation`, or `low` and `high`.

    Attributes:
        mean: of a normal law.
        deviation: its standard deviation.
        median: of a log-normal law.
        log_deviation: standard deviation of the logarithm.
        low: of a uniform law, from here.
        high: to here.
    """

    mean: float | None = None
    deviation: float | None = None
    median: float | None = None
    log_deviation: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        given = [name for name, value in vars(self).items() if value is not None]
        if given not in (["mean", "deviation"], ["median", "log_deviation"], ["low", "high"]):
            raise InputError(f"mean: got {given}; give mean and deviation, median and log_deviation, or low and high")
        for name in ("deviation", "median", "log_deviation"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise InputError(f"{name}: got {value:g}; it must be positive")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InputError(f"low: got {self.low:g}, which is not below high, {self.high:g}")

    def build(self) -> Prior:
        """The law."""
        if self.mean is not None and self.deviation is not None:
            return Prior(law="normal", a=self.mean, b=self.deviation)
        if self.median is not None and self.log_deviation is not None:
            return Prior(law="log-normal", a=self.median, b=self.log_deviation)
        assert self.low is not None
        assert self.high is not None
        return Prior(law="uniform", a=self.low, b=self.high)


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
        ranges = (*self.ranges, self.ranges[0])[:3]
        variogram = Variogram(shape=self.variogram, ranges=ranges, azimuth=self.azimuth)
        basis, kept = karhunen_loeve(grid, variogram, self.components)
        mean = _transformed(arrays[0].reshape(-1)[grid.cells], self.of, "median")
        says = (f"normal field of log {self.of}" if self.of == "permeability" else "normal field of log-odds") + (
            f", {self.variogram} variogram; {self.components} directions keep {kept:.0%} of the variance"
        )
        return _field(name, self.of, grid.cells, mean, self.deviation * basis, says)


@dataclass(frozen=True, kw_only=True)
class EnsembleSection:
    """A field of permeability or porosity by the principal components of an ensemble's logarithms or log-odds.

    Attributes:
        file: .npy, .npz:NAME or .nc:VARIABLE, relative to the case file: members along the first axis, then the grid's
            axes; or one row for each member, i fastest as in a deck.
        of: permeability or porosity.
        unit: of the numbers; none is SI.
        members: which, counted from 0, such as 1..99; all where nothing is said.
        components: how many, fewer than members.
    """

    file: str
    components: int
    of: Property = "permeability"
    unit: str = ""
    members: Annotated[tuple[int, ...], read_places] = ()

    def arrays(self, case: Case, folder: Path) -> tuple[Float[np.ndarray, "m c"], ...]:
        """The members in the active cells, SI."""
        raw, name, own = ArrayFile(file=self.file, axes=("i",)).read(folder)
        grid = case.rock.grid
        n_box, m = grid.is_active.size, len(raw) if raw.ndim else 0
        if raw.shape == (m, n_box) and raw.shape[1:] != grid.shape:
            members = raw.reshape(m, *grid.box[::-1]).transpose(0, 3, 2, 1)
        elif raw.shape[1:] == grid.shape:
            members = raw
        else:
            raise InputError(f"{name}: got shape {raw.shape}; give members times {grid.shape} or times {n_box} cells")
        wrong = [each for each in self.members if each >= m]
        if wrong:
            raise InputError(f"members: got {wrong[0]}; {name} has {m}, counted from 0")
        chosen = members[list(self.members)] if self.members else members
        unit = own or self.unit
        scale = Quantity(_DIMENSION[self.of]).scale(unit) if unit and unit != "1" else 1.0
        return (chosen.reshape(len(chosen), -1)[:, grid.cells].astype(float) * scale,)

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> LinearField:
        """The field."""
        samples = _transformed(arrays[0], self.of, "file")
        mean, basis, kept = principal_components(samples, self.components)
        says = (f"{self.components} principal components of {len(samples)} members, which keep {kept:.0%} of their "
                "variance")  # fmt: skip
        return _field(name, self.of, case.rock.grid.cells, mean, basis, says)


@dataclass(frozen=True, kw_only=True)
class MultiplierSection:
    """A multiplier of the rock, zone by zone, or of the transmissibility of a fault.

    Attributes:
        of: what is multiplied; of a fault its transmissibility.
        regions: an array of a deck, such as FIPNUM, or a field in a file: a number for each of its values; without it,
            one for all cells.
        fault: name of a deck's.
        behind: instead, the cells behind which the fault's faces lie.
        axis: along which they are crossed.
        prior: of every number.
        priors: of that of a region, where it has another.
    """

    prior: PriorSection | None = None
    priors: dict[str, PriorSection] = field(default_factory=dict)
    of: Factor | None = None
    regions: Any = None
    fault: str | None = None
    behind: Annotated[Cells, read_cells] = ()
    axis: Literal["x", "y", "z"] | None = None

    def __post_init__(self) -> None:
        is_fault = self.fault is not None or bool(self.behind)
        if self.fault is not None and self.behind:
            raise InputError("behind: the deck says where the fault is; give 'fault' or 'behind'")
        if bool(self.behind) != (self.axis is not None):
            raise InputError("axis: belongs to 'behind', the cells whose faces are crossed along it; give both")
        if is_fault and (self.regions is not None or self.of not in (None, "transmissibility")):
            raise InputError("regions: a fault has a transmissibility and no regions; leave 'regions' and 'of' out")
        if not is_fault and self.of in (None, "transmissibility"):
            raise InputError("of: say what is multiplied, permeability, vertical permeability or porosity; or give a "
                             "'fault' or 'behind'")  # fmt: skip
        if self.priors and self.regions is None:
            raise InputError("priors: are those of regions; say 'prior', or give 'regions'")
        for where, each in (("prior", self.prior), *((f"priors.{key}", of) for key, of in self.priors.items())):
            if each is not None and not each.build().least >= 0:
                raise InputError(f"{where}: got a law with negative numbers, which no multiplier may be; give median "
                                 "and log_deviation, or low and high of 0 or more")  # fmt: skip

    def arrays(self, case: Case, folder: Path) -> tuple[np.ndarray, ...]:
        """The regions."""
        if self.regions is None:
            return ()
        if isinstance(self.regions, str):
            if self.regions not in case.regions:
                raise InputError(f"regions: the case has no array '{self.regions}'; it has {list(case.regions)}, or "
                                 "give {file: ...}")  # fmt: skip
            return (np.asarray(case.regions[self.regions]),)
        return (FieldOf("fraction")(self.regions).on(case.rock.grid, folder),)

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> Zones | Faults:
        """The multipliers."""
        grid = case.rock.grid
        if self.fault is not None or self.behind:
            return Faults(priors={name: self._prior("")}, faces={name: self._faces(case)})
        assert self.of is not None
        if not arrays:
            return Zones(priors={name: self._prior("")}, of=self.of, cells={name: grid.cells})
        region = arrays[0].reshape(-1)[grid.cells]
        found = [f"{each:g}" for each in np.unique(region)]
        if unknown := [each for each in self.priors if each not in found]:
            raise InputError(f"priors: no active cell is of region '{unknown[0]}'; the regions are {found}")
        cells = {f"{name}.{each}": grid.cells[region == float(each)] for each in found}
        return Zones(priors={f"{name}.{each}": self._prior(each) for each in found}, of=self.of, cells=cells)

    def _prior(self, region: str) -> Prior:
        found = self.priors.get(region, self.prior)
        if found is None:
            raise InputError(f"prior: there is none{f' of region {region}' if region else ''}; give one, such as "
                             "{median: 1, log_deviation: 0.5}")  # fmt: skip
        return found.build()

    def _faces(self, case: Case) -> np.ndarray:
        grid = case.rock.grid
        if self.fault is not None:
            if self.fault not in case.faults:
                raise InputError(f"fault: the case has no '{self.fault}'; it has {list(case.faults)}")
            return case.faults[self.fault]
        assert self.axis is not None
        places = np.array([place if len(place) == 3 else (*place, 0) for place in self.behind])
        if (places >= grid.box).any():
            raise InputError(f"behind: cell {tuple(places[(places >= grid.box).any(axis=1)][0].tolist())} is outside "
                             f"the grid of {grid.shape} cells, numbered from 0")  # fmt: skip
        return faces_behind(grid, np.ravel_multi_index(tuple(places.T), grid.box), "xyz".index(self.axis))


@dataclass(frozen=True, kw_only=True)
class CurveNumbersSection:
    """Exponents, end points and residual saturations of the relative permeabilities.

    Attributes:
        priors: of water.exponent, water.end, water.residual and the same of oil.
        law: the curves that they are of, in place of the case's, which may be a table.
    """

    priors: dict[str, PriorSection]
    law: CurvesSection | None = None

    def __post_init__(self) -> None:
        for name in self.priors:
            if name not in _PARTS:
                raise InputError(f"priors: unknown key '{name}'; known are {list(_PARTS)}")
        if not self.priors:
            raise InputError(f"priors: got none; give those of some of {list(_PARTS)}")

    def arrays(self, case: Case, folder: Path) -> tuple[np.ndarray, ...]:
        """None."""
        return ()

    def build(self, name: str, case: Case, arrays: Sequence[np.ndarray]) -> CurveNumbers:
        """The numbers."""
        return CurveNumbers(
            priors={f"{name}.{key}": prior.build() for key, prior in self.priors.items()},
            parts={f"{name}.{key}": _PARTS[key] for key in self.priors},
            law=None if self.law is None else self.law.build(),
        )


@dataclass(frozen=True, kw_only=True)
class ImagesSection:
    """Images of the registered generator on layers (k) or sections (i or j), counted from 0; all of them get the same.

    Attributes:
        i: sections across x, such as 5 or 0..3.
        j: across y.
        k: layers.
    """

    i: Annotated[tuple[int, ...], read_places] = ()
    j: Annotated[tuple[int, ...], read_places] = ()
    k: Annotated[tuple[int, ...], read_places] = ()

    def __post_init__(self) -> None:
        given = [name for name, places in vars(self).items() if places]
        if len(given) > 1:
            raise InputError(f"{given[0]}: got {given}; give one axis, across which the images lie")

    def arrays(self, case: Case, folder: Path) -> tuple[np.ndarray, ...]:
        """None."""
        return ()

    def on(self, name: str, case: Case, generator: RockGenerator) -> SectionOfGrid:
        """The images on the case's grid."""
        for axis in ("i", "j", "k"):
            if places := getattr(self, axis):
                return SectionOfGrid(name=name, generator=generator, shape=case.rock.grid.shape, axis=axis, at=places)
        return SectionOfGrid(name=name, generator=generator, shape=case.rock.grid.shape)


@dataclass(frozen=True, kw_only=True)
class ParameterSection:
    """One unknown, by one of these."""

    gaussian: GaussianSection | None = None
    ensemble: EnsembleSection | None = None
    multiplier: MultiplierSection | None = None
    curves: CurveNumbersSection | None = None
    generator: ImagesSection | None = None

    def __post_init__(self) -> None:
        given = [name for name, section in vars(self).items() if section is not None]
        if len(given) != 1:
            raise InputError(f"gaussian: got {given}; give one of {list(vars(self))}")

    @property
    def kind(self) -> GaussianSection | EnsembleSection | MultiplierSection | CurveNumbersSection | ImagesSection:
        """The one that is given."""
        (found,) = (section for section in vars(self).values() if section is not None)
        return found  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True, eq=False)
class Unknown:
    """A parameter as the case file has it.

    Attributes:
        name: of it.
        section: what the file says.
        arrays: what the files that it names say.
        where: file and key, for messages.
    """

    name: str
    section: ParameterSection
    arrays: tuple[np.ndarray, ...]
    where: str

    @property
    def is_generated(self) -> bool:
        """Whether a registered generator makes it."""
        return self.section.generator is not None

    def build(self, case: Case, generator: RockGenerator | None) -> Parameterisation:
        """Its parameterisation; InputError names file and key."""
        try:
            kind = self.section.kind
            if isinstance(kind, ImagesSection):
                assert generator is not None
                return kind.on(self.name, case, generator)
            return kind.build(self.name, case, self.arrays)
        except InputError as error:
            raise InputError(f"{self.where}: {error}") from error


def read_unknowns(sections: Mapping[str, ParameterSection], case: Case, path: Path) -> tuple[Unknown, ...]:
    """The parameters of the case file `path`, with the arrays that they name.

    Raises:
        InputError: naming file and key.
    """
    found = []
    for name, section in sections.items():
        where = f"{path}: matching.parameters.{name}"
        try:
            arrays = section.kind.arrays(case, path.parent)
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
        found.append(Unknown(name=name, section=section, arrays=arrays, where=where))
    return tuple(found)


def parameterisation(unknowns: Sequence[Unknown], case: Case, generator: RockGenerator | None) -> Parameterisation:
    """All of them together; without any, the generator's images are the rock."""
    if not unknowns:
        assert generator is not None
        return generator
    parts = [unknown.build(case, generator) for unknown in unknowns]
    return parts[0] if len(parts) == 1 else Joint(parts)


def _transformed(values: Float[np.ndarray, "*c"], of: Property, key: str) -> Float[np.ndarray, "*c"]:
    """Logarithms of permeabilities, log-odds of porosities."""
    least, most = (0.0, np.inf) if of == "permeability" else (0.0, 1.0)
    wrong = ~((values > least) & (values < most))
    if wrong.any():
        wanted = "be positive" if of == "permeability" else "lie between 0 and 1"
        raise InputError(f"{key}: got {of} {values[wrong][0]:g} in {int(wrong.sum())} of {wrong.size} values; it must "
                         f"{wanted} in every active cell")  # fmt: skip
    return np.log(values) if of == "permeability" else np.log(values / (1 - values))


def _field(name: str, of: Property, cells: np.ndarray, mean: np.ndarray, basis: np.ndarray, says: str) -> LinearField:
    return LinearField(name=name, of=of, cells=cells, mean=torch.tensor(mean), basis=torch.tensor(basis), says=says)
