"""A case: everything that one run of the simulator needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from rockbank.flow.equations.fluid import Fluid
from rockbank.flow.equations.options import Options
from rockbank.flow.equations.problem import State
from rockbank.flow.equations.rock import Rock
from rockbank.flow.equations.wells import Schedule, Well
from rockbank.flow.simulate import check


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """Rock, fluids, wells, schedule and initial state, from a case file or a deck.

    Attributes:
        title: in words.
        rock: of one model.
        fluid: water and oil.
        wells: in the order of the results.
        schedule: report steps and controls.
        initial: pressure and saturation.
        options: how it is to be solved.
        start: date of time 0; None is not known.
        notes: what its file asks that this simulator does otherwise.
        history: what was measured in the report steps, by well and quantity ("bhp", "water_rate" and "oil_rate", into
            the reservoir), Pa and m^3/s; NaN is nothing.
        regions: numbers of regions in each cell, by the name of a deck's array, such as FIPNUM.
        faults: places in the grid's `faces`, by the name of a deck's fault.
        files: that it was read from, and those that the section `matching` names.

    Raises:
        InputError: `simulate` would refuse it.
    """

    title: str
    rock: Rock
    fluid: Fluid
    wells: tuple[Well, ...]
    schedule: Schedule
    initial: State
    options: Options = field(default_factory=Options)
    start: datetime | None = None
    notes: tuple[str, ...] = ()
    history: Mapping[tuple[str, str], Float[np.ndarray, " t"]] = field(default_factory=dict)
    regions: Mapping[str, Float[np.ndarray, "*shape"]] = field(default_factory=dict)
    faults: Mapping[str, Int[np.ndarray, " f"]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        check(self.rock, self.fluid, self.wells, self.schedule, initial=self.initial, options=self.options)

    @property
    def date_of_start(self) -> datetime:
        """Date of time 0, for files that have to have one."""
        return self.start or datetime(2000, 1, 1)
