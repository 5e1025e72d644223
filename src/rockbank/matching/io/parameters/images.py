"""Images of a registered generator."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np

from rockbank.core.errors import InputError
from rockbank.flow.case import Case
from rockbank.flow.casefile.wells import read_places
from rockbank.matching.problem.geology import RockGenerator
from rockbank.matching.problem.parameters.section import SectionOfGrid


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
