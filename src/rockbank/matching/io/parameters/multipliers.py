"""Multipliers of zones and of faults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.fields import FieldOf
from rockbank.flow.casefile.wells import Cells, read_cells
from rockbank.matching.io.parameters.prior import PriorSection
from rockbank.matching.problem.parameters.multipliers import Factor, Faults, Zones, faces_behind
from rockbank.matching.problem.parameters.prior import Prior


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
            return Zones(priors={name: self._prior("")}, of=self.of, cells={name: grid.placed_cells})
        region = arrays[0].reshape(-1)[grid.placed_cells]
        found = [f"{each:g}" for each in np.unique(region)]
        if unknown := [each for each in self.priors if each not in found]:
            raise InputError(f"priors: no active cell is of region '{unknown[0]}'; the regions are {found}")
        cells = {f"{name}.{each}": grid.placed_cells[region == float(each)] for each in found}
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
