"""The part of a case file that history matching reads: section `matching`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from rockbank.core.config import convert
from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import DECK_SUFFIXES, build_case, error_context, load_case_file
from rockbank.flow.casefile.rock import Permeability
from rockbank.flow.casefile.wells import Cells, ScheduleSection, Time, read_cells
from rockbank.flow.equations.wells import peaceman_index
from rockbank.matching.io.files import ObservationsSection
from rockbank.matching.io.parameters.unknowns import ParameterSection, Unknown, read_unknowns
from rockbank.matching.io.table import at, one_of, read_rows
from rockbank.matching.problem.geology import Geology, WellFacies
from rockbank.matching.problem.observations import Observations
from rockbank.matching.problem.times import cut_at, until

# What tables, reports and MLflow take for a name.
_NAME = re.compile(r"[A-Za-z][\w -]{0,60}")


@dataclass(frozen=True, kw_only=True)
class FaciesSection:
    """What the wells go through: sand or none.

    Attributes:
        cells: of the case's own rock, the truth.
        sand: the least permeability there that is sand's, m^2; None is that of a facies probability of 0.5.
        file: instead, a CSV of i,j,sand, or i,j,k,sand where there are layers, with sand 0 or 1; relative to the
            case file.
    """

    cells: Annotated[Cells, read_cells] = ()
    sand: Permeability | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if bool(self.cells) == (self.file is not None):
            raise InputError("cells: give either 'cells' or 'file'")
        if self.file is not None and self.sand is not None:
            raise InputError("sand: the file says where it is; leave it out")

    def build(self, case: Case, geology: Geology, folder: Path) -> WellFacies:
        """The facies; InputError names the cell that is outside the grid or there twice."""
        if self.file is not None:
            return _of_file(folder / self.file, case)
        places = [_place(case, place) for place in self.cells]
        if len(set(places)) < len(places):
            raise InputError("cells: one is there twice; keep one")
        least = geology.least_permeability + 0.5 * geology.permeability_range if self.sand is None else self.sand
        k = case.rock.components[0]
        return WellFacies(cells=tuple(places), is_sand=torch.stack([k[place] >= least for place in places]))


@dataclass(frozen=True, kw_only=True)
class GeologySection:
    """See Geology."""

    facies: int = Geology.facies
    porosity: int | None = Geology.porosity
    permeability_range: Permeability = Geology.permeability_range
    least_permeability: Permeability = Geology.least_permeability
    porosity_range: float = Geology.porosity_range
    least_porosity: float = Geology.least_porosity

    def __post_init__(self) -> None:
        for name in ("permeability_range", "least_permeability", "porosity_range", "least_porosity"):
            if not getattr(self, name) >= 0 or (name.startswith("least") and not getattr(self, name) > 0):
                raise InputError(f"{name}: got {getattr(self, name)}; every cell's permeability and porosity has to be "
                                 "positive")  # fmt: skip
        if not self.least_porosity + self.porosity_range <= 1:
            raise InputError(f"porosity_range: got {self.porosity_range} above {self.least_porosity}; a porosity is at "
                             "most 1")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MatchingSection:
    """All of section `matching`; see MatchCase.

    Attributes:
        truth: whether the case's rock is the truth.
        well_index: of Peaceman in each model's own rock, or in the truth for every model.
        forecast: steps in the schedule's unit and syntax.
        parameters: what is unknown, by name; without it, the generator's images are the rock of a grid of two axes.
        until: end of the history, where the schedule goes on; steps and observations that follow are left out.
    """

    observations: ObservationsSection | None = None
    facies: FaciesSection | None = None
    geology: GeologySection = field(default_factory=GeologySection)
    truth: bool = False
    well_index: Literal["model", "truth"] = "model"
    forecast: tuple[Any, ...] = ()
    parameters: dict[str, ParameterSection] = field(default_factory=dict)
    until: Time | None = None
    generator: str | None = None
    method: str | None = None
    members: int | None = None
    seed: int = 7

    def __post_init__(self) -> None:
        if not self.truth and self.well_index == "truth":
            raise InputError(
                "well_index: is the truth's, which the case's rock is not; say 'truth: true' or leave it out"
            )
        if not self.truth and self.facies is not None and self.facies.cells:
            raise InputError("facies: cells are looked up in the case's rock, which is not the truth; say "
                             "'truth: true', or give a 'file'")  # fmt: skip
        wrong = [name for name in self.parameters if not _NAME.fullmatch(name)]
        if wrong:
            raise InputError(f"parameters: got the name '{wrong[0]}'; use letters, digits, spaces, '_' and '-', a "
                             "letter first")  # fmt: skip
        if self.generator is not None and self.parameters and not self._is_generated:
            raise InputError(f"generator: no parameter of {list(self.parameters)} is of it; leave it out, or give one "
                             "'generator: {k: 0}'")  # fmt: skip
        if self.members is not None and self.members < 1:
            raise InputError(f"members: got {self.members}; give 1 or more")
        if self.seed < 0:
            raise InputError(f"seed: got {self.seed}; give 0 or more")

    @property
    def _is_generated(self) -> bool:
        return not self.parameters or any(each.generator is not None for each in self.parameters.values())

    def steps_ahead(self, unit: float) -> tuple[float, ...]:
        """Length of each step of the forecast, s; lengths that name no unit are in `unit`."""
        if not self.forecast:
            return ()
        return tuple(ScheduleSection(steps=self.forecast, controls={}, unit=unit).build(()).steps)


@dataclass(frozen=True, kw_only=True, eq=False)
class MatchCase:
    """A case and what is known of it.

    Attributes:
        case: everything but what is to be found; its own rock lends grid and compressibility, and all that no parameter
            says.
        observations: of its wells; there may be none.
        facies: at its wells; there may be none.
        geology: from image to rock.
        unknowns: what is to be found; none is the generator's image.
        has_truth: whether the case's own rock is the truth.
        forecast: length of further report steps after the history, under the last controls, s.
        generator: by registry name and alias, if the case names one.
        method: of the match, if the case names one.
        members: how many, if the case says it.
        seed: of all that is random.
    """

    case: Case
    observations: Observations
    facies: WellFacies
    geology: Geology
    unknowns: tuple[Unknown, ...]
    has_truth: bool
    forecast: tuple[float, ...]
    generator: str | None
    method: str | None
    members: int | None
    seed: int

    @property
    def is_generated(self) -> bool:
        """Whether a registered generator makes any of it."""
        return not self.unknowns or any(unknown.is_generated for unknown in self.unknowns)


def load_match_case(path: Path) -> MatchCase:
    """The case of a case file with a section `matching`, all of it checked against the others.

    Raises:
        InputError: naming file, section and key of what is unknown, missing or impossible.
    """
    if path.suffix.lower() in DECK_SUFFIXES:
        raise InputError(f"{path}: a deck tells no observations; give a case file with 'deck: {path.name}' and a "
                         "section 'matching'")  # fmt: skip
    file = load_case_file(path)
    if file.matching is None:
        raise InputError(f"{path}: no section 'matching'; say there where the observations are, as cases/deepflow.yaml "
                         "does")  # fmt: skip
    try:
        section: MatchingSection = convert(file.matching, MatchingSection, "matching")
    except InputError as error:
        raise InputError("\n".join(f"{path}: {line}" for line in str(error).splitlines())) from error
    case, folder = build_case(file, path), path.parent
    if not section.parameters and len(case.rock.grid.shape) != 2:
        raise InputError(f"{path}: grid: got shape {list(case.rock.grid.shape)}; generators make sections of two axes: "
                         "say in 'matching.parameters' what is unknown")  # fmt: skip
    geology = Geology(**vars(section.geology))
    observations = Observations(time=np.zeros(0), well=(), quantity=(), value=np.zeros(0), sigma=np.zeros(0))
    if section.observations is not None:
        with error_context(path, "matching.observations"):
            observations = section.observations.read(case, folder)
    if section.until is not None:
        with error_context(path, "matching.until"):
            case, observations = until(case, section.until), observations.until(section.until)
    case = cut_at(case, observations.time)
    facies = WellFacies(cells=(), is_sand=torch.zeros(0, dtype=torch.bool))
    if section.facies is not None:
        with error_context(path, "matching.facies"):
            facies = section.facies.build(case, geology, folder)
    unknowns = read_unknowns(section.parameters, case, path)
    with error_context(path, "matching.forecast"):
        forecast = section.steps_ahead(1.0 if file.schedule is None else file.schedule.unit)
    return MatchCase(
        case=_with_own_indices(case) if section.well_index == "truth" else case,
        observations=observations,
        facies=facies,
        geology=geology,
        unknowns=unknowns,
        has_truth=section.truth,
        forecast=forecast,
        generator=section.generator,
        method=section.method,
        members=section.members,
        seed=section.seed,
    )


def _with_own_indices(case: Case) -> Case:
    """The case whose wells keep the indices of its own rock in any other."""
    wells = [replace(well, index=peaceman_index(case.rock, well)[0]) if well.index is None else well
             for well in case.wells]  # fmt: skip
    return replace(case, wells=tuple(wells))


def _of_file(path: Path, case: Case) -> WellFacies:
    found: dict[tuple[int, ...], bool] = {}
    axes = "ijk"[: len(case.rock.grid.shape)]
    for line, cells in read_rows(path, (*axes, "sand")):
        index = []
        for axis in axes:
            with at(path, line, axis):
                if not cells[axis].isdecimal():
                    raise InputError(f"got '{cells[axis]}'; give a whole number, counted from 0")
                index.append(int(cells[axis]))
        with at(path, line, ",".join(axes)):
            place = _place(case, tuple(index))
            if place in found:
                raise InputError(f"cell {place} is there twice; keep one")
        with at(path, line, "sand"):
            found[place] = one_of(cells["sand"], ("0", "1")) == "1"
    return WellFacies(cells=tuple(found), is_sand=torch.tensor(list(found.values()), dtype=torch.bool))


def _place(case: Case, place: tuple[int, ...]) -> tuple[int, ...]:
    case.rock.grid.cell(place)
    return place
