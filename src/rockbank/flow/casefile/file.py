"""Case files: YAML whose numbers are SI or carry their unit, checked whole, as a Case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, is_dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, cast

from rockbank.core.config import Given, load_sections
from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.rock import FluidSection, GridSection, InitialSection, RockSection, read_gravity
from rockbank.flow.casefile.wells import ScheduleSection, WellSection
from rockbank.flow.eclipse.deck import read_deck
from rockbank.flow.equations.options import Options

DECK_SUFFIXES = (".data", ".deck")


def _date(raw: Any) -> datetime:
    """A date, such as 2000-01-01."""
    if isinstance(raw, datetime):
        return raw
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day)
    raise InputError(f"expected a date such as 2000-01-01, got {raw!r}")


@dataclass(frozen=True, kw_only=True)
class CaseFile:
    """All of a case file: a deck, or the sections that say what a deck would.

    `gravity` is for a deck, which cannot say that there is none; `matching` is read by `rockbank match`.
    """

    title: str = ""
    start: Annotated[datetime, _date] | None = None
    deck: Path | None = None
    gravity: Annotated[float, read_gravity] | None = None
    grid: GridSection | None = None
    rock: RockSection | None = None
    fluid: FluidSection | None = None
    wells: dict[str, WellSection] | None = None
    schedule: ScheduleSection | None = None
    initial: InitialSection | None = None
    options: Given[Options] | None = None
    matching: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        sections = ("grid", "rock", "fluid", "wells", "schedule", "initial")
        given = [name for name in sections if getattr(self, name) is not None]
        if self.deck is not None and given:
            raise InputError(f"deck: says what {given} say too; give the deck or the sections")
        if self.deck is None and self.gravity is not None:
            raise InputError("gravity: belongs into section 'fluid', but for a deck")
        if self.deck is None and len(given) < len(sections):
            missing = [name for name in sections if name not in given]
            raise InputError(f"missing sections {missing}; give them, or a 'deck'")


def load_case(path: Path) -> Case:
    """The case of a case file, or of a deck by its suffix .DATA.

    Raises:
        InputError: naming file, section and key of what is unknown, missing or impossible.
    """
    if path.suffix.lower() in DECK_SUFFIXES:
        return read_deck(path)
    return build_case(load_case_file(path), path)


def load_case_file(path: Path) -> CaseFile:
    """What a case file says.

    Raises:
        InputError: naming file, section and key of what is unknown or missing.
    """
    return load_sections(path, CaseFile, "give a case file, such as cases/quarter_five_spot.yaml, or a deck")


def build_case(file: CaseFile, path: Path) -> Case:
    """The case of what the file `path` says.

    Raises:
        InputError: naming file and section of what is impossible.
    """
    folder = path.parent
    files = (path, *_named_in(file, folder))
    if file.deck is not None:
        case = read_deck(folder / file.deck, gravity=file.gravity)
        with error_context(path, ""):
            return replace(
                case,
                title=file.title or case.title,
                start=file.start or case.start,
                options=_over(case.options, file.options),
                files=(*case.files, *files),
            )
    return replace(_build(file, path, folder), files=files)


def _named_in(value: Any, folder: Path) -> Iterator[Path]:
    """The files that a section, or any within it, names by its key `file`."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, Mapping):
        if isinstance(value.get("file"), str | Path):
            yield folder / str(value["file"]).partition(":")[0]
        value = tuple(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _named_in(each, folder)


def _over(of_deck: Options, of_file: Given[Options] | None) -> Options:
    """The options that the case file has, and the deck's others."""
    if of_file is None:
        return of_deck
    return replace(of_deck, **{name: getattr(of_file.section, name) for name in of_file.keys})


def _build(file: CaseFile, path: Path, folder: Path) -> Case:
    # CaseFile has seen to it that none is missing.
    grid_of, rock_of, fluid_of = (
        cast(GridSection, file.grid),
        cast(RockSection, file.rock),
        cast(FluidSection, file.fluid),
    )
    schedule_of, initial_of = cast(ScheduleSection, file.schedule), cast(InitialSection, file.initial)
    with error_context(path, "grid"):
        grid = grid_of.build(folder)
    with error_context(path, "rock"):
        rock = rock_of.build(grid, folder)
    with error_context(path, "fluid"):
        fluid = fluid_of.build()
    with error_context(path, "wells"):
        wells = tuple(section.build(name) for name, section in (file.wells or {}).items())
        for well in wells:
            well.perforations(grid)
    with error_context(path, "schedule"):
        schedule = schedule_of.build(wells)
    with error_context(path, "initial"):
        initial = initial_of.build(grid, fluid, folder)
    with error_context(path, ""):
        return Case(
            title=file.title or path.stem,
            rock=rock,
            fluid=fluid,
            wells=wells,
            schedule=schedule,
            initial=initial,
            options=file.options.section if file.options else Options(),
            start=file.start,
        )


@contextmanager
def error_context(path: Path, section: str) -> Iterator[None]:
    """Makes an InputError name file and section; an empty one is named by the error itself."""
    try:
        yield
    except InputError as error:
        lines = str(error).splitlines()
        said = [line if line.startswith(section) else f"{section}: {line}" for line in lines]
        raise InputError("\n".join(f"{path}: {line}" for line in said)) from error
