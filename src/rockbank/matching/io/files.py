"""Files of observations: CSV, NetCDF and Eclipse's summary, read for a case and checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.file import DECK_SUFFIXES
from rockbank.matching.io.csv import read_table
from rockbank.matching.io.curves import CurvesSection, SigmaSection, UnitsSection, from_curves
from rockbank.matching.io.deck import curves_of_deck
from rockbank.matching.io.maps import MapSection
from rockbank.matching.io.netcdf import curves_of_netcdf
from rockbank.matching.io.problems import Problems
from rockbank.matching.io.rft import RFTSection
from rockbank.matching.io.summary import curves_of_summary
from rockbank.matching.problem.observations import QUANTITIES, Observations, joined

# A producer that injects at more than this many standard deviations has the wrong sign rather than noise.
_WRONG_SIGN = 6.0


@dataclass(frozen=True, kw_only=True)
class ObservationsSection(CurvesSection):
    """Where the observations are: of wells' curves in a file, of pressures at depths, of maps.

    Attributes:
        file: relative to the case file: a .csv, which says all by itself; a .nc, or .nc:VARIABLE where one variable
            holds all quantities; an Eclipse summary's .SMSPEC; or a deck, of which WCONHIST and WCONINJH are read.
        rft: pressures at depths.
        map: saturations in the cells.
    """

    file: str | None = None
    rft: tuple[RFTSection, ...] = ()
    map: tuple[MapSection, ...] = ()

    def __post_init__(self) -> None:
        if self.file is not None:
            return
        if not (self.rft or self.map):
            raise InputError("file: nothing is observed; give a 'file' of wells' curves, an 'rft' or a 'map'")
        for name, plain in vars(CurvesSection()).items():
            if getattr(self, name) != plain:
                raise InputError(f"{name}: is of a 'file' of wells' curves; give one, or leave it out")

    def read(self, case: Case, folder: Path) -> Observations:
        """The observations of a case.

        Raises:
            InputError: naming the file or the key, and what does not fit the case, a line each.
        """
        problems, parts = Problems(), []
        if self.file is not None:
            with problems.at(""):
                parts.append(self._of_wells(self.file, case, folder))
        sections = {f"rft[{i}]": each for i, each in enumerate(self.rft)}
        for name, section in (sections | {f"map[{i}]": each for i, each in enumerate(self.map)}).items():
            with problems.at(name):
                of_cells = section.read(case, folder)
                of_cells.require_within(case.schedule.steps, [well.name for well in case.wells])
                parts.append(of_cells)
        problems.require_none()
        return parts[0] if len(parts) == 1 else joined(parts)

    def _of_wells(self, file: str, case: Case, folder: Path) -> Observations:
        name, _, variable = file.partition(":")
        path = folder / name
        suffix = path.suffix.lower()
        if suffix not in (".csv", ".nc", ".smspec", *DECK_SUFFIXES) or (variable and suffix != ".nc"):
            raise InputError(f"file: got '{file}'; give a .csv, a .nc, a .nc:VARIABLE, a .SMSPEC or a deck")
        if self.history and suffix in (".csv", ".nc"):
            raise InputError(f"history: is for a summary or a deck; {path} has what it has, leave it out")
        if not path.is_file():
            raise InputError(f"{path}: no such file; the path is relative to the case file, and 'rockbank observe' "
                             "makes one of a run")  # fmt: skip
        wells = [well.name for well in case.wells]
        if suffix == ".csv":
            self._refuse_sections(path)
            observations = read_table(path, case, self.nodata)
        else:
            self._require_sections(wells, is_deck=suffix in DECK_SUFFIXES)
            if suffix != ".nc" and self.units != UnitsSection():
                raise InputError(f"units: {path} tells its own; leave them out")
            if suffix == ".nc":
                curves = curves_of_netcdf(path, variable, self, case.start)
            elif suffix == ".smspec":
                curves = curves_of_summary(path, self, case.start, wells)
            else:
                curves = curves_of_deck(path, self, case.start, wells)
            sigma = {name: of for name in QUANTITIES if (of := getattr(self.sigma, name)) is not None}
            observations = from_curves(curves, sigma)
        try:
            observations.require_within(case.schedule.steps, wells)
            _require_signs(observations, case)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return observations

    def _refuse_sections(self, path: Path) -> None:
        plain: dict[str, object] = {"observed": {}, "sigma": SigmaSection(), "names": {}, "units": UnitsSection()}
        for name, value in plain.items():
            if getattr(self, name) != value:
                raise InputError(f"{name}: is for a NetCDF or a summary; {path} says it in its columns, leave it out")

    def _require_sections(self, wells: list[str], *, is_deck: bool) -> None:
        is_all = (self.history or is_deck) and not self.observed
        if not any(self.observed.values()) and not is_all:
            raise InputError(f"observed: nothing; say which quantities of which well, such as {{{wells[0]}: [bhp]}}")
        for well in self.observed:
            if well not in wells:
                raise InputError(f"observed: no well '{well}'; the case has {wells}")
        known = [*wells, *QUANTITIES, "time"]
        for name in self.names:
            if name not in known:
                raise InputError(f"names: unknown key '{name}'; known are {known}")
        observed = {*self.observed, *(quantity for _, quantity in self.pairs()), "time"}
        for name in self.names:
            if name not in observed and not (is_all and name in wells):
                raise InputError(f"names.{name}: is not observed; say it in 'observed', or leave it out")


def _require_signs(observations: Observations, case: Case) -> None:
    """InputError where a well flows the wrong way, beyond all noise."""
    way = {well.name: 1.0 if well.kind == "injector" else -1.0 for well in case.wells}
    for i, well in enumerate(observations.well):
        is_wrong = way[well] * observations.value[i] < -_WRONG_SIGN * observations.sigma[i]
        if observations.quantity[i] != "bhp" and is_wrong:
            raise InputError(f"{observations.name(i)}: got {observations.value[i]:g} m^3/s; rates are positive into "
                             "the reservoir, so that a producer's are negative: change the sign")  # fmt: skip
